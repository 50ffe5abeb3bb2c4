//! Legs without a network: messages in, actions out, time as a number.

mod early;
mod lasting;

use std::sync::Arc;

use kernel::Ids;
use media::codec::CodecKind;
use proptest::prelude::*;

use super::{Action, Caller, Cx, Hop, HopAddress, Purpose, SipLeg};
use crate::cause::Cause;
use crate::leg::{EndedBy, LegEnd, LegEvent, Signal};
use crate::ports::Transport;
use crate::sip::dialog::Dialog;
use crate::sip::flow::{Flow, Link, Path};
use crate::sip::message::{Message, Method, Name};
use crate::sip::sdp::{Protection, Session};
use crate::sip::transaction::NEVER;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

fn flow() -> Flow {
    Flow {
        transport: Transport::Udp,
        local: "10.0.0.1:5060".parse().unwrap(),
        remote: "192.0.2.1:5060".parse().unwrap(),
        link: Link::Nowhere,
    }
}

fn path() -> Path {
    Path { flow: flow(), own: "10.0.0.1:5060".parse().unwrap() }
}

fn session() -> Session {
    let local = "10.0.0.1:10000".parse().unwrap();
    Session::new(local, 1, CodecKind::ALL.to_vec(), Protection::AsOffered, Ids::seeded(2))
}

/// A leg, a clock and what the leg asked for last.
struct Bench {
    leg: SipLeg,
    now: i64,
    ids: Ids,
    out: Vec<Action>,
    /// Ends told so far.
    ends: Vec<LegEnd>,
}

impl Bench {
    fn step(&mut self, act: impl FnOnce(&mut SipLeg, &mut Cx<'_>)) {
        self.out.clear();
        let mut cx = Cx { now: self.now, ids: &self.ids, agent: "test", out: &mut self.out };
        act(&mut self.leg, &mut cx);
        self.ends.extend(self.out.iter().filter_map(|action| match action {
            Action::Ended(end) => Some(end.clone()),
            _ => None,
        }));
    }

    fn signal(&mut self, signal: Signal) {
        self.step(|leg, cx| leg.signal(signal, cx));
    }

    /// Lets time pass until the leg has something to do; false when it never will.
    fn wait(&mut self) -> bool {
        let next = self.leg.next();
        if next == NEVER {
            return false;
        }
        self.now = self.now.max(next);
        self.step(SipLeg::due);
        true
    }

    /// The request of a method that was asked for last.
    fn sent(&self, method: Method) -> Option<(Message, String, Purpose)> {
        self.out.iter().find_map(|action| match action {
            Action::Request { method: sent, branch, bytes, purpose, .. } if *sent == method => {
                Some((Message::parse(bytes).unwrap(), branch.clone(), purpose.clone()))
            }
            _ => None,
        })
    }

    fn acks(&self) -> usize {
        self.out.iter().filter(|action| matches!(action, Action::Acknowledge { .. })).count()
    }

    /// The final or provisional response that was asked for last.
    fn answered(&self) -> Option<Message> {
        self.out.iter().find_map(|action| match action {
            Action::Respond { bytes, .. } => Some(Message::parse(bytes).unwrap()),
            _ => None,
        })
    }

    fn events(&self) -> Vec<&LegEvent> {
        self.out
            .iter()
            .filter_map(|action| match action {
                Action::Event(event) => Some(event),
                _ => None,
            })
            .collect()
    }

    /// The peer's response to a request of ours.
    fn respond(&mut self, sent: &(Message, String, Purpose), code: u16, fields: &str, body: &str) {
        self.respond_as("peer", sent, code, fields, body);
    }

    /// The response of a phone with its own tag.
    fn respond_as(&mut self, tag: &str, sent: &(Message, String, Purpose), code: u16, fields: &str, body: &str) {
        let (request, branch, purpose) = sent;
        let to = request.field(Name::To).unwrap();
        let tag = if request.to_tag().is_some() || code == 100 { String::new() } else { format!(";tag={tag}") };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "SIP/2.0 {code} X\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:peer@192.0.2.1>\r\n{fields}{kind}\r\n{body}",
            request.field(Name::Via).unwrap(),
            request.field(Name::From).unwrap(),
            request.call_id(),
            request.field(Name::CSeq).unwrap(),
        );
        let response = Message::parse(text.as_bytes()).unwrap();
        let (branch, purpose) = (branch.clone(), purpose.clone());
        self.step(|leg, cx| leg.response(purpose, &branch, &response, &flow(), cx));
    }

    /// A request of the peer's inside the dialog.
    fn ask(&mut self, method: Method, seq: u32, fields: &str, body: &str) {
        let tag = self.leg.dialog.remote_tag.clone();
        self.ask_as(&tag, method, seq, fields, body);
    }

    /// A request of one of the peers.
    fn ask_as(&mut self, tag: &str, method: Method, seq: u32, fields: &str, body: &str) {
        let request = self.inside_as(tag, method, seq, fields, body);
        let tx: Arc<str> = format!("tx {seq}").into();
        self.step(|leg, cx| leg.request(&request, &tx, &flow(), cx));
    }

    fn inside(&self, method: Method, seq: u32, fields: &str, body: &str) -> Message {
        self.inside_as(&self.leg.dialog.remote_tag, method, seq, fields, body)
    }

    fn inside_as(&self, theirs: &str, method: Method, seq: u32, fields: &str, body: &str) -> Message {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let ours = &self.leg.dialog.local_tag;
        let method = method.as_str();
        let text = format!(
            "{method} sip:x@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKin{seq}\r\nFrom: <sip:p@h>;tag={theirs}\r\n\
             To: <sip:us@h>;tag={ours}\r\nCall-ID: {}\r\nCSeq: {seq} {method}\r\nContact: <sip:peer@192.0.2.1>\r\n{fields}{kind}\r\n{body}",
            self.leg.dialog.call_id
        );
        Message::parse(text.as_bytes()).unwrap()
    }
}

fn hop(host: &str) -> Hop {
    Hop {
        uri: format!("sip:1@{host}"),
        routes: Vec::new(),
        to: HopAddress::Host { host: host.to_owned(), port: None, transport: Transport::Udp },
    }
}

/// A leg that calls, its first INVITE sent.
fn calling(hops: &[&str]) -> Bench {
    calling_with(session(), hops)
}

fn calling_with(session: Session, hops: &[&str]) -> Bench {
    let invite =
        "INVITE sip:x@h SIP/2.0\r\nFrom: <sip:us@h>;tag=ours\r\nTo: <sip:p@h>\r\nCall-ID: c\r\nCSeq: 0 INVITE\r\n\r\n";
    let dialog = Dialog::of_invite(&Message::parse(invite.as_bytes()).unwrap(), path());
    let caller = Caller::new(hops.iter().map(|host| hop(host)).collect(), Vec::new(), 60_000);
    start(SipLeg::calling(dialog, session, caller, None))
}

/// Runs a leg that calls up to its first INVITE.
fn start(leg: SipLeg) -> Bench {
    let mut bench = Bench { leg, now: 0, ids: Ids::seeded(1), out: Vec::new(), ends: Vec::new() };
    bench.step(SipLeg::start);
    dialled(&mut bench);
    bench
}

fn dialled(bench: &mut Bench) {
    assert!(matches!(bench.out.last(), Some(Action::Dial(_))), "{:?}", bench.out);
    bench.step(|leg, cx| leg.dial(path(), "10.0.0.1:10000".parse().unwrap(), cx));
}

/// A leg that was called, with these fields in the INVITE.
fn called(fields: &str, body: &str) -> Bench {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let invite = format!(
        "INVITE sip:x@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:p@h>;tag=peer\r\nTo: <sip:us@h>\r\n\
         Call-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:peer@192.0.2.1>\r\n{fields}{kind}\r\n{body}"
    );
    let invite = Message::parse(invite.as_bytes()).unwrap();
    let dialog = Dialog::answering(&invite, path(), "ours".to_owned(), false);
    let leg = SipLeg::called(Arc::new(invite), "tx 1".into(), flow(), dialog, session(), 0).unwrap();
    Bench { leg, now: 0, ids: Ids::seeded(1), out: Vec::new(), ends: Vec::new() }
}

/// A leg that talks after our INVITE, with these fields in the 2xx.
fn talking(fields: &str) -> Bench {
    let mut bench = calling(&["a"]);
    let invite = bench.sent(Method::Invite).unwrap();
    bench.respond(&invite, 200, fields, SDP);
    assert!(matches!(bench.events()[..], [LegEvent::Answered { codec: CodecKind::Pcmu }]));
    bench
}

#[test]
fn a_silent_hop_is_left_and_its_late_answer_cancelled() {
    let mut bench = calling(&["a", "b"]);
    let first = bench.sent(Method::Invite).unwrap();
    assert!(bench.wait());
    assert_eq!(bench.now, 3_000);
    assert!(matches!(&bench.out[0], Action::Abandon { branch } if *branch == first.1));
    assert!(matches!(&bench.out[1], Action::HopFailed(failed) if *failed == hop("a")));
    dialled(&mut bench);
    let second = bench.sent(Method::Invite).unwrap();
    assert_eq!(second.0.request_uri(), "sip:1@b");
    bench.respond(&first, 180, "", "");
    assert!(matches!(&bench.out[..], [Action::Cancel { branch }] if *branch == first.1));
    bench.respond(&first, 200, "", SDP);
    assert_eq!((bench.acks(), bench.sent(Method::Bye).is_some()), (1, true), "a late 2xx there is hung up");
    bench.respond(&second, 200, "", SDP);
    assert!(matches!(bench.events()[..], [LegEvent::Answered { .. }]));
    // The only hop left is not abandoned for its silence.
    let mut last = calling(&["a"]);
    assert!(last.wait());
    assert_eq!((last.now, last.ends.len()), (60_000, 1), "but the ring timer ends the leg");
    assert_eq!(last.ends[0].cause, Cause::NoAnswer);
}

#[test]
fn the_last_failure_is_told_when_no_hop_is_left() {
    let mut bench = calling(&["a", "b"]);
    let first = bench.sent(Method::Invite).unwrap();
    bench.respond(&first, 503, "", "");
    dialled(&mut bench);
    let second = bench.sent(Method::Invite).unwrap();
    bench.step(|leg, cx| leg.unanswered(second.2, &second.1, cx));
    let end = LegEnd { cause: Cause::Congestion, by: EndedBy::Remote, sip_code: Some(503), q850: None };
    assert_eq!((bench.ends, bench.leg.is_over()), (vec![end], true));

    let mut nowhere = calling(&["a"]);
    let only = nowhere.sent(Method::Invite).unwrap();
    nowhere.step(|leg, cx| leg.unanswered(only.2, &only.1, cx));
    assert_eq!(nowhere.ends[0].cause, Cause::Unreachable);
}

#[test]
fn what_comes_after_ringing_is_the_phone_s_answer_and_not_the_hop_s() {
    for (first, code, next) in
        [(100, 500, true), (100, 504, true), (180, 500, false), (183, 408, false), (181, 503, false)]
    {
        let mut bench = calling(&["a", "b"]);
        let invite = bench.sent(Method::Invite).unwrap();
        bench.respond(&invite, first, "", "");
        bench.respond(&invite, code, "", "");
        let dials = bench.out.iter().any(|action| matches!(action, Action::Dial(hop) if hop.uri == "sip:1@b"));
        assert_eq!((dials, bench.ends.len()), (next, usize::from(!next)), "{first} {code}");
        assert!(!bench.out.iter().any(|action| matches!(action, Action::HopFailed(_))), "{first} {code}: a is well");
    }
    let mut full = calling(&["a", "b"]);
    let invite = full.sent(Method::Invite).unwrap();
    full.respond(&invite, 503, "", "");
    assert!(matches!(&full.out[0], Action::HopFailed(failed) if *failed == hop("a")));
}

#[test]
fn a_phone_that_refuses_plain_rtp_is_offered_srtp_once() {
    let session = Session::new(
        "10.0.0.1:10000".parse().unwrap(),
        1,
        CodecKind::ALL.to_vec(),
        Protection::AsNeeded,
        Ids::seeded(2),
    );
    let mut bench = calling_with(session, &["a"]);
    let plain = bench.sent(Method::Invite).unwrap();
    assert!(String::from_utf8_lossy(&plain.0.body).contains("RTP/AVP"));
    bench.respond(&plain, 488, "", "");
    let secure = bench.sent(Method::Invite).unwrap();
    assert!(String::from_utf8_lossy(&secure.0.body).contains("RTP/SAVP") && secure.0.to_tag().is_none());
    assert!(bench.ends.is_empty());
    bench.respond(&secure, 488, "", "");
    assert_eq!((bench.ends[0].cause, bench.leg.is_over()), (Cause::MediaIncompatible, true));
    // A leg that is to keep to plain RTP takes the first refusal for the last.
    let mut strict = calling(&["a"]);
    let only = strict.sent(Method::Invite).unwrap();
    strict.respond(&only, 488, "", "");
    assert_eq!(strict.ends[0].cause, Cause::MediaIncompatible);
}

#[test]
fn we_refresh_by_update_when_the_peer_can_else_by_invite() {
    let mut bench = talking("Allow: INVITE, UPDATE\r\nSession-Expires: 90;refresher=uac\r\n");
    bench.now = 45_000;
    bench.step(SipLeg::due);
    let update = bench.sent(Method::Update).unwrap();
    assert_eq!(update.0.field(Name::SessionExpires), Some("90;refresher=uac"));
    assert!(update.0.body.is_empty());
    bench.respond(&update, 200, "Session-Expires: 90;refresher=uac\r\n", "");
    bench.now = 90_000;
    bench.step(SipLeg::due);
    let update = bench.sent(Method::Update).unwrap();
    bench.respond(&update, 481, "", "");
    assert_eq!((bench.ends[0].cause, bench.leg.is_over()), (Cause::Unreachable, true));

    let mut old = talking("Session-Expires: 90;refresher=uac\r\n");
    old.now = 45_000;
    old.step(SipLeg::due);
    let invite = old.sent(Method::Invite).unwrap();
    let offer = String::from_utf8(invite.0.body.to_vec()).unwrap();
    assert!(offer.contains("m=audio 10000 RTP/AVP 0 101\r\n"), "what is in use, nothing else: {offer}");
    old.respond(&invite, 422, "Min-SE: 200\r\n", "");
    assert!(old.wait());
    assert_eq!(old.sent(Method::Invite).unwrap().0.field(Name::SessionExpires), Some("200;refresher=uac"));
}

#[test]
fn a_session_that_nobody_refreshes_is_ended() {
    let mut bench = talking("Session-Expires: 90;refresher=uas\r\n");
    bench.ask(Method::Update, 1, "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n", "");
    bench.now = 59_999;
    bench.step(SipLeg::due);
    assert!(bench.ends.is_empty());
    bench.now = 60_000;
    bench.step(SipLeg::due);
    assert_eq!((bench.ends[0].cause, bench.ends[0].by), (Cause::Unreachable, EndedBy::Remote));
    assert!(bench.sent(Method::Bye).is_some() && bench.leg.is_over());

    let mut called = called("Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n", SDP);
    called.signal(Signal::Answer);
    assert_eq!(called.answered().unwrap().field(Name::SessionExpires), Some("90;refresher=uac"));
    let ack = called.inside(Method::Ack, 1, "", "");
    called.step(|leg, cx| leg.ack(&ack, cx));
    assert!(called.wait());
    assert_eq!((called.now, called.ends[0].cause), (60_000, Cause::Unreachable));
}

#[test]
fn a_hang_up_before_the_ack_waits_for_it() {
    let mut bench = called("", SDP);
    bench.signal(Signal::Answer);
    bench.signal(Signal::Hangup(Cause::Normal));
    assert!(bench.sent(Method::Bye).is_none());
    assert_eq!((bench.ends.len(), bench.leg.is_over()), (1, false), "told at once");
    let ack = bench.inside(Method::Ack, 1, "", "");
    bench.step(|leg, cx| leg.ack(&ack, cx));
    assert!(bench.sent(Method::Bye).is_some() && bench.leg.is_over());

    let mut lost = called("", SDP);
    lost.signal(Signal::Answer);
    lost.step(|leg, cx| leg.unacknowledged(cx));
    assert!(lost.sent(Method::Bye).is_some() && lost.leg.is_over());
    assert_eq!(lost.ends[0].cause, Cause::Unreachable);
}

#[test]
fn trying_is_said_only_when_nothing_else_was() {
    let mut slow = called("", SDP);
    assert!(slow.wait());
    assert_eq!((slow.now, slow.answered().unwrap().code()), (150, 100));
    assert_eq!(slow.leg.next(), NEVER);
    let mut quick = called("", SDP);
    quick.signal(Signal::Ring);
    assert_eq!(quick.answered().unwrap().code(), 180);
    quick.signal(Signal::Ring);
    assert!(quick.out.is_empty(), "once");
    assert_eq!(quick.leg.next(), NEVER);
}

#[test]
fn a_reliable_response_is_repeated_until_the_call_is_given_up() {
    let mut bench = called("Require: 100rel\r\n", SDP);
    bench.signal(Signal::Ring);
    let mut repeated = 0;
    while bench.ends.is_empty() && bench.wait() {
        repeated += usize::from(matches!(&bench.out[..], [Action::Send { .. }]));
    }
    assert_eq!((repeated, bench.now), (6, 32_000));
    assert_eq!((bench.answered().unwrap().code(), bench.ends[0].cause), (504, Cause::Unreachable));
}

#[test]
fn our_offer_in_a_reliable_183_is_answered_in_the_prack() {
    let mut bench = called("Require: 100rel\r\n", "");
    bench.signal(Signal::EarlyMedia);
    let early = bench.answered().unwrap();
    assert!(early.body_is("application/sdp") && early.field(Name::RSeq) == Some("1"));
    bench.signal(Signal::Answer);
    assert!(bench.out.is_empty(), "the 2xx waits for the PRACK");
    bench.ask(Method::Prack, 2, "RAck: 1 1 INVITE\r\n", SDP);
    assert!(bench.out.iter().any(|action| matches!(action, Action::Media(_))));
    let codes = bench.out.iter().filter_map(|action| match action {
        Action::Respond { code, .. } => Some(*code),
        _ => None,
    });
    assert_eq!(codes.collect::<Vec<_>>(), [200, 200], "PRACK's and INVITE's");
}

#[test]
fn requests_out_of_order_are_refused_and_a_crossing_invite_too() {
    let mut bench = talking("");
    bench.ask(Method::Info, 5, "", "");
    assert_eq!(bench.answered().unwrap().code(), 200);
    bench.ask(Method::Info, 5, "", "");
    assert_eq!(bench.answered().unwrap().code(), 500);
    bench.ask(Method::Invite, 6, "", SDP);
    assert_eq!(bench.answered().unwrap().code(), 200);
    bench.ask(Method::Invite, 7, "", SDP);
    assert_eq!(bench.answered().unwrap().code(), 500, "the ACK of the first is missing");
    let ack = bench.inside(Method::Ack, 6, "", "");
    bench.step(|leg, cx| leg.ack(&ack, cx));
    bench.signal(Signal::Hold(true));
    assert!(bench.sent(Method::Invite).is_some());
    bench.ask(Method::Invite, 8, "", SDP);
    assert_eq!(bench.answered().unwrap().code(), 491);
    bench.ask(Method::Update, 9, "", SDP);
    assert_eq!(bench.answered().unwrap().code(), 491);
}

#[test]
fn an_offer_that_cannot_be_met_changes_nothing() {
    let mut bench = talking("");
    bench.ask(Method::Invite, 5, "", &SDP.replace("RTP/AVP 0 101", "RTP/AVP 18"));
    assert_eq!(bench.answered().unwrap().code(), 488);
    assert!(!bench.out.iter().any(|action| matches!(action, Action::Media(_))));
    bench.ask(Method::Invite, 6, "", SDP);
    assert_eq!(bench.answered().unwrap().code(), 200, "and the next one is welcome");
}

/// What can happen to a leg.
#[derive(Clone, Debug)]
enum Happening {
    Signal(usize),
    /// A response to one of our requests that are out.
    Response(usize, usize),
    Unanswered(usize),
    Request(usize),
    Ack,
    Cancel,
    Time,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0..8_usize).prop_map(Happening::Signal),
        (0..8_usize, 0..12_usize).prop_map(|(request, code)| Happening::Response(request, code)),
        (0..8_usize).prop_map(Happening::Unanswered),
        (0..7_usize).prop_map(Happening::Request),
        Just(Happening::Ack),
        Just(Happening::Cancel),
        Just(Happening::Time),
    ]
}

/// Runs a leg through a random life, then hangs up and lets every request go unanswered.
fn live(mut bench: Bench, life: &[Happening], called: bool) {
    let mut out: Vec<(Message, String, Purpose)> = Vec::new();
    let mut seq = 10;
    let collect = |bench: &Bench, out: &mut Vec<(Message, String, Purpose)>| {
        out.extend(bench.out.iter().filter_map(|action| match action {
            Action::Request { branch, bytes, purpose, .. } => {
                Some((Message::parse(bytes).unwrap(), branch.clone(), purpose.clone()))
            }
            _ => None,
        }));
    };
    collect(&bench, &mut out);
    for happening in life {
        match happening {
            Happening::Signal(which) => bench.signal(
                [
                    Signal::Ring,
                    Signal::EarlyMedia,
                    Signal::Answer,
                    Signal::Reject(486),
                    Signal::Hold(true),
                    Signal::Refer("sip:x@y".to_owned()),
                    Signal::AcceptTransfer(true),
                    Signal::Hangup(Cause::Normal),
                ][*which]
                    .clone(),
            ),
            Happening::Response(which, code) => {
                let code = [100, 180, 183, 200, 200, 302, 401, 422, 481, 486, 491, 503][*code];
                if let Some(sent) = out.get(which % out.len().max(1)).cloned() {
                    let body = if sent.0.body.is_empty() { "" } else { SDP };
                    bench.respond(
                        &sent,
                        code,
                        "Require: 100rel\r\nRSeq: 1\r\nSession-Expires: 90;refresher=uac\r\n",
                        body,
                    );
                }
            }
            Happening::Unanswered(which) => {
                if let Some((_, branch, purpose)) = out.get(which % out.len().max(1)).cloned() {
                    bench.step(|leg, cx| leg.unanswered(purpose, &branch, cx));
                }
            }
            Happening::Request(which) => {
                seq += 1;
                let (method, fields, body) = [
                    (Method::Bye, "", ""),
                    (Method::Invite, "", SDP),
                    (Method::Update, "Session-Expires: 90\r\nSupported: timer\r\n", SDP),
                    (Method::Invite, "", ""),
                    (Method::Prack, "RAck: 1 1 INVITE\r\n", ""),
                    (Method::Refer, "Refer-To: <sip:z@h>\r\n", ""),
                    (Method::Notify, "Event: refer\r\n", ""),
                ][*which];
                bench.ask(method, seq, fields, body);
            }
            Happening::Ack => {
                let number = if seq == 10 { 1 } else { seq };
                let ack = bench.inside(Method::Ack, number, "", "");
                bench.step(|leg, cx| leg.ack(&ack, cx));
            }
            Happening::Cancel if called => {
                let cancel = bench.inside(Method::Cancel, 1, "", "");
                bench.step(|leg, cx| leg.cancelled(&cancel, cx));
            }
            Happening::Cancel => {}
            Happening::Time => {
                bench.wait();
            }
        }
        collect(&bench, &mut out);
        if matches!(bench.out.last(), Some(Action::Dial(_))) {
            dialled(&mut bench);
            collect(&bench, &mut out);
        }
    }
    bench.signal(Signal::Hangup(Cause::Normal));
    collect(&bench, &mut out);
    for (_, branch, purpose) in out {
        bench.step(|leg, cx| leg.unanswered(purpose, &branch, cx));
    }
    bench.step(|leg, cx| leg.unacknowledged(cx));
    assert_eq!(bench.ends.len(), 1, "one end");
    assert!(bench.leg.is_over(), "nothing is owed: {:?}", bench.leg);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_leg_that_calls_ends_once(life in prop::collection::vec(happening(), 0..14)) {
        live(calling(&["a", "b"]), &life, false);
    }

    #[test]
    fn whatever_happens_a_leg_that_was_called_ends_once(life in prop::collection::vec(happening(), 0..14), reliable: bool, offer: bool) {
        let fields = if reliable { "Require: 100rel\r\n" } else { "" };
        live(called(fields, if offer { SDP } else { "" }), &life, true);
    }
}
