//! Inbound calls: from a registered phone or a trunk to people, teams, the outside, or a desk.
//!
//! Invariant: every call that comes in, within the organisation's limits, is a call with a row and
//! one call.completed, also when nobody is at the number it asks for.

use std::sync::Arc;

use tokio::sync::mpsc;
use voice::cause::Cause;
use voice::leg::{PlayId, Playable};
use voice::{Incoming, Inside, Source};

use crate::ResolveError;
use crate::call::Call;
use crate::connect::ConnectStatus;
use crate::directory::{Bound, Destination, PersonEntry};
use crate::driver::{CallEvent, Connect, ConnectEvent, LeaveVoicemail, RING_MS, TIME_LIMIT_MS, VoicemailEvent};
use crate::live::Live;
use crate::lobby;
use crate::model::{CallModel, CallState, Direction, EndedBy, LegRole};
use crate::numbers::{self, NumberError};
use crate::party::Party;
use crate::registry::Ticket;
use crate::requests::Request;
use crate::sentence::Sentence;
use crate::service::{Calls, InboundNumber};

/// SIP status for a call beyond a limit (RFC 3261, 21.5.4).
const UNAVAILABLE: u16 = 503;
/// SIP status when nobody has the dialog whose place is wanted (RFC 3891, section 3).
const NO_SUCH_DIALOG: u16 = 481;
/// Shown for a caller who withholds the number.
const ANONYMOUS: &str = "anonymous";
/// Longest message in a box, in milliseconds.
const MESSAGE_MS: i64 = 180_000;
/// So much silence ends a message, in milliseconds.
const MESSAGE_SILENCE_MS: u32 = 5_000;
/// What whoever reaches a box hears before the beep.
const GREETING: &str = "Nobody can take your call now. Please leave a message after the tone.";

/// Takes inbound calls until the server stops.
pub(crate) async fn run(calls: Calls, mut incoming: mpsc::Receiver<Incoming>) {
    let stop = calls.kernel().stop.clone();
    while let Some(Some(incoming)) = stop.run_until_cancelled(incoming.recv()).await {
        let org = match &incoming.source {
            Source::Line(line) => line.org.clone(),
            Source::Trunk { org, .. } | Source::Inside(Inside { org, .. }) => org.clone(),
        };
        let Some(incoming) = take_place(&calls, &org, incoming) else { continue };
        let now_ms = calls.kernel().clock.now_ms();
        match calls.kernel().limits.call(&org, now_ms) {
            Ok(place) if !calls.is_draining() => {
                let id: Arc<str> = calls.new_call_id().into();
                let ticket = calls.registry().enter(&org, &id, place);
                let calls = calls.clone();
                calls.kernel().tasks.clone().spawn(receive(calls, org, id, ticket, incoming));
            }
            _ => incoming.leg.reject(UNAVAILABLE),
        }
    }
}

/// A call for another leg's place goes to the call that has it, and becomes none of its own.
fn take_place(calls: &Calls, org: &Arc<str>, mut incoming: Incoming) -> Option<Incoming> {
    let Some(leg) = incoming.replaces.take() else { return Some(incoming) };
    let handle = incoming.leg.clone();
    let asked = match (&incoming.source, calls.registry().call_of(&leg)) {
        (Source::Line(line), Some(call)) => {
            let busy = calls.busy().enter(org, &line.extension);
            let request = Request::Replace { leg, incoming: Box::new(incoming), busy };
            calls.registry().ask(org, &call, request)
        }
        _ => false,
    };
    if !asked {
        handle.reject(NO_SUCH_DIALOG);
    }
    None
}

/// One inbound call, from its INVITE to its end.
async fn receive(calls: Calls, org: Arc<str>, id: Arc<str>, ticket: Ticket, incoming: Incoming) {
    let dialled = incoming.to_user.clone();
    // Boxed, each: what the look-ups take is free again while the call lasts.
    let caller = Box::pin(caller(&calls, &org, &incoming)).await;
    let destination = Box::pin(destination(&calls, &org, &incoming)).await;
    let from_trunk = matches!(incoming.source, Source::Trunk { .. });
    // Who calls for a meeting is shown to nobody, from the first row on.
    let masked = matches!(&destination, Ok(Destination::OwnNumber { bound: Bound::Meetings, .. }));
    let call = Box::pin(begin(&calls, org, id, ticket, incoming, &caller, masked)).await;
    match destination {
        Ok(Destination::OwnNumber { e164, bound }) => match calls.handler(&bound) {
            Some(desk) => desk.handle(call, InboundNumber { e164, bound }).await,
            None => Box::pin(refuse(call, Cause::NoRoute)).await,
        },
        Ok(Destination::Team(team)) if team.queues() => Box::pin(lobby::wait(&calls, call, &team)).await,
        Ok(destination) => {
            let number = match &destination {
                Destination::Person(person) => person.extension.to_string(),
                Destination::Team(team) => team.number.to_string(),
                _ => dialled,
            };
            let caller_id = caller.own_number.filter(|_| !from_trunk && !destination.is_inside());
            let connect = Connect { caller_id, timeout_ms: RING_MS, ..Connect::to(number) };
            let box_of = match destination {
                Destination::Person(person) if person.voicemail => Some(person.extension),
                _ => None,
            };
            let mailbox = box_of.map(|extension| Mailbox { extension, greeting: calls.sentence(GREETING) });
            Box::pin(ring(call, connect, mailbox)).await;
        }
        Err(error) => Box::pin(refuse(call, cause_of(&error))).await,
    }
}

struct Caller {
    number: String,
    display: Option<String>,
    /// A phone's public number: its caller id outside.
    own_number: Option<String>,
}

async fn caller(calls: &Calls, org: &str, incoming: &Incoming) -> Caller {
    let Source::Line(line) = &incoming.source else {
        let from = &incoming.from;
        let number = match numbers::e164(&from.number) {
            _ if from.anonymous || from.number.is_empty() => ANONYMOUS.to_owned(),
            Some(e164) => e164,
            // What comes from a carrier and is no public number may look like an extension: it is nobody's number.
            None if matches!(incoming.source, Source::Trunk { .. }) => ANONYMOUS.to_owned(),
            None => from.number.clone(),
        };
        let shown = from.display.clone().or_else(|| (number == ANONYMOUS).then(|| from.number.clone()));
        let display = shown.filter(|shown| !from.anonymous && !shown.is_empty());
        return Caller { number, display, own_number: None };
    };
    let person: Option<PersonEntry> = calls.directory().person(org, &line.extension).await.unwrap_or_default();
    let (display, own_number) = person.map(|person| (person.name, person.own_number)).unzip();
    Caller { number: line.extension.to_string(), display, own_number: own_number.flatten() }
}

/// A phone reaches what connect may; a trunk reaches the organisation's public numbers only.
async fn destination(calls: &Calls, org: &str, incoming: &Incoming) -> Result<Destination, ResolveError> {
    let directory = calls.directory();
    match &incoming.source {
        Source::Line(_) => directory.resolve(org, &incoming.to_user).await,
        Source::Trunk { .. } | Source::Inside(_) => {
            directory.refresh().await?;
            let e164 = numbers::e164(&incoming.to_user).ok_or(NumberError::Unknown)?;
            let bound = directory.public_number(org, &e164).await?.ok_or(NumberError::Unknown)?;
            directory.bound(org, e164, bound).await
        }
    }
}

/// The call exists from here on: a row, an event, a leg that rings nowhere yet.
async fn begin(
    calls: &Calls,
    org: Arc<str>,
    id: Arc<str>,
    ticket: Ticket,
    incoming: Incoming,
    caller: &Caller,
    masked: bool,
) -> Call {
    let model = CallModel {
        id,
        org: org.clone(),
        node: calls.kernel().node.clone(),
        direction: Direction::Inbound,
        from: caller.number.clone(),
        to: numbers::e164(&incoming.to_user).unwrap_or_else(|| incoming.to_user.clone()),
        run: None,
        masked,
        state: CallState::Initiated,
        legs: Vec::new(),
        end: None,
        started_at_ms: calls.kernel().clock.now_ms(),
        ringing_at_ms: None,
        answered_at_ms: None,
        ended_at_ms: None,
    };
    let mut live = Live::new(calls.clone(), model, ticket, TIME_LIMIT_MS, None);
    live.display = caller.display.clone();
    live.hops_left = incoming.hops_left;
    let leg = incoming.attach(live.sink.clone());
    let busy = match &incoming.source {
        Source::Line(line) => Some(calls.busy().enter(&org, &line.extension)),
        Source::Trunk { .. } | Source::Inside(_) => None,
    };
    if let Source::Inside(inside) = &incoming.source {
        live.depth = inside.depth;
    }
    live.standing = Some(leg.id().clone());
    live.add_party(Party::caller(leg, LegRole::Customer, busy), caller.number.clone());
    let writes = live.first_writes(Vec::new()).await;
    live.with_writes(writes);
    Call::new(live)
}

/// A person's box.
struct Mailbox {
    extension: Arc<str>,
    greeting: Sentence,
}

impl Mailbox {
    fn take_message(&self, call: &mut Call) {
        call.voicemail(LeaveVoicemail {
            extension: self.extension.to_string(),
            max_ms: MESSAGE_MS,
            silence_ms: MESSAGE_SILENCE_MS,
            beep: true,
        });
    }
}

/// Rings people or the outside until the call is over; an unreachable person's box takes a message.
async fn ring(mut call: Call, connect: Connect, mailbox: Option<Mailbox>) {
    call.connect(connect);
    let mut greeting: Option<PlayId> = None;
    loop {
        match call.next().await {
            CallEvent::Connect(ConnectEvent::Ended { status: ConnectStatus::Completed, .. }) => {
                call.hangup(Cause::Normal, EndedBy::Target);
            }
            CallEvent::Connect(ConnectEvent::Ended { status, cause }) => match &mailbox {
                Some(_) => call.answer(),
                None => call.hangup(cause, ended_by(status)),
            },
            CallEvent::Answered => {
                // Answered without anybody bridged: it is for the box.
                if let Some(mailbox) = mailbox.as_ref().filter(|_| !call.is_connecting()) {
                    greeting = mailbox.greeting.sound().map(|sound| call.play(Playable::Sound(sound), 1));
                    if greeting.is_none() {
                        mailbox.take_message(&mut call);
                    }
                }
            }
            CallEvent::PlayEnded { play } if greeting == Some(play) => {
                greeting = None;
                mailbox.iter().for_each(|mailbox| mailbox.take_message(&mut call));
            }
            // Who knows the greeting does not listen to it.
            CallEvent::Dtmf { .. } if greeting.take().is_some() => {
                call.stop_play();
                mailbox.iter().for_each(|mailbox| mailbox.take_message(&mut call));
            }
            CallEvent::Voicemail(VoicemailEvent::Left { .. } | VoicemailEvent::Nothing) => {
                call.hangup(Cause::Normal, EndedBy::System);
            }
            CallEvent::Ended { .. } => return,
            _ => {}
        }
    }
}

async fn refuse(mut call: Call, cause: Cause) {
    call.hangup(cause, EndedBy::System);
    while !matches!(call.next().await, CallEvent::Ended { .. }) {}
}

fn ended_by(status: ConnectStatus) -> EndedBy {
    match status {
        ConnectStatus::Busy | ConnectStatus::Rejected | ConnectStatus::Completed => EndedBy::Target,
        ConnectStatus::NoAnswer | ConnectStatus::Failed | ConnectStatus::Canceled => EndedBy::System,
    }
}

fn cause_of(error: &ResolveError) -> Cause {
    match error {
        ResolveError::Number(NumberError::Invalid | NumberError::Unknown) => Cause::InvalidNumber,
        ResolveError::Number(NumberError::NotAllowed) => Cause::Rejected,
        ResolveError::Db(_) | ResolveError::Org(_) => {
            tracing::error!(%error, "an inbound call could not be routed");
            Cause::Congestion
        }
    }
}
