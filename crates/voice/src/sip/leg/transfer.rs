//! Transfers by REFER (RFC 3515), in both directions, with their news by NOTIFY.

use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::{Action, Cx, Phase, Purpose, SipLeg, respond};
use crate::cause::Cause;
use crate::leg::LegEvent;
use crate::sip::draft::{Draft, reason_phrase};
use crate::sip::flow::Flow;
use crate::sip::message::{Message, Name};
use crate::sip::uri::{NameAddr, Uri};

/// How long we promise news of a transfer, seconds.
const NEWS_S: u32 = 60;

impl SipLeg {
    /// The peer asks to be connected elsewhere.
    pub(super) fn referred(&mut self, request: &Message, tx: &Arc<str>, flow: &Flow, cx: &mut Cx<'_>) {
        let target = request.field(Name::ReferTo).and_then(NameAddr::parse).filter(|to| Uri::parse(to.uri).is_some());
        let Some(target) = target else {
            return self.status(request, tx, flow, 400, cx);
        };
        if self.phase != Phase::Talking || self.subscription.is_some() {
            // One transfer at a time.
            let draft = self.reply(request, flow, 500, cx).field("Retry-After", 5);
            return respond(tx, 500, draft, cx);
        }
        let (to, headers) = target.uri.split_once('?').unwrap_or((target.uri, ""));
        let replaces = headers.split('&').find_map(|header| {
            let (name, value) = header.split_once('=')?;
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            name.eq_ignore_ascii_case("Replaces").then_some(value)
        });
        let draft = self.reply(request, flow, 202, cx).field("Contact", self.dialog.contact());
        respond(tx, 202, draft, cx);
        self.subscription = Some(request.cseq().map_or(0, |(seq, _)| seq));
        self.send(Purpose::Notify(100, false), cx);
        cx.out.push(Action::Referred { to: to.to_owned(), replaces });
    }

    /// The call's verdict on the transfer that the peer asked for.
    pub(super) fn accept_transfer(&mut self, ok: bool, cx: &mut Cx<'_>) {
        if self.phase == Phase::Talking && self.subscription.is_some() {
            self.send(Purpose::Notify(if ok { 200 } else { 603 }, true), cx);
            self.subscription = None;
        }
    }

    /// The fields of a NOTIFY about the peer's REFER.
    pub(super) fn notifying(&self, draft: Draft, last: bool) -> Draft {
        let state = if last { "terminated;reason=noresource".to_owned() } else { format!("active;expires={NEWS_S}") };
        draft
            .field("Contact", self.dialog.contact())
            .field("Event", format_args!("refer;id={}", self.subscription.unwrap_or(0)))
            .field("Subscription-State", state)
    }

    /// Asks the peer to call someone else.
    pub(super) fn refer(&mut self, to: String, cx: &mut Cx<'_>) {
        if self.phase == Phase::Talking {
            self.send(Purpose::Refer(to), cx);
        }
    }

    /// What the peer says to our REFER at once.
    pub(super) fn refer_response(&mut self, code: u16, cx: &mut Cx<'_>) {
        match code {
            ..300 => {}
            408 | 481 => self.lost(code, cx),
            code => cx.event(LegEvent::TransferEnded { sip_code: code }),
        }
    }

    /// News of the transfer that we asked for: the last word ends our leg when it is a good one.
    pub(super) fn notified(&mut self, request: &Message, tx: &Arc<str>, flow: &Flow, cx: &mut Cx<'_>) {
        let about = request.field(Name::Event).and_then(|event| event.split(';').next()).unwrap_or_default().trim();
        if !about.eq_ignore_ascii_case("refer") {
            return self.status(request, tx, flow, 489, cx);
        }
        self.status(request, tx, flow, 200, cx);
        let text = String::from_utf8_lossy(&request.body);
        let code: Option<u16> = text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok());
        if let Some(code) = code.filter(|code| *code >= 200 && self.phase == Phase::Talking) {
            cx.event(LegEvent::TransferEnded { sip_code: code });
            if code < 300 {
                self.hangup(Cause::Normal, cx);
            }
        }
    }
}

/// The body of a NOTIFY: the status line of the call that the transfer makes.
pub(super) fn fragment(code: u16) -> String {
    format!("SIP/2.0 {code} {}\r\n", reason_phrase(code))
}
