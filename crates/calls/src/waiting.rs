//! A call that waits in a queue: rings whom the floor offers, tells it what came of it, and the driver how it stands.
//!
//! Invariant: a call has at most one seat; each queue.joined has its queue.left, before call.completed at the latest.
//! Who finds the queue full has a queue.left alone.

use serde_json::json;
use voice::cause::Cause;
use voice::leg::{PlayMode, Playable};

use crate::connect::{ConnectStatus, Input};
use crate::dialling::{Wanted, Words};
use crate::directory::{Destination, TeamEntry};
use crate::driver::{CallEvent, Connect, ConnectEvent, QueueEvent, Queueing};
use crate::live::Live;
use crate::model::EndedBy;
use crate::queue::{Leaving, Left, Offer, Patience, Seat};

/// Who waits for a team by `connect` alone takes part in the usual limit.
const MAX_CONNECTING: usize = 100;

/// What the driver asked for.
#[derive(Clone)]
pub(crate) enum Errand {
    /// To wait in a queue.
    Queue(Queueing),
    /// To be connected with a number that is a team with a queue.
    Connect(Wanted),
}

/// A call's wait.
pub(crate) struct Waiting {
    seat: Seat,
    team: TeamEntry,
    /// How an agent is rung and joined.
    connect: Connect,
    /// Set when the driver asked for a connect, and hears of one.
    wanted: Option<Wanted>,
    /// The newest offer that was taken up.
    last_offer: u64,
    /// Where the driver believes it stands.
    position: usize,
    /// The number of the offer whose agent is joined.
    bridged: Option<u64>,
}

impl Waiting {
    /// In whose words the driver hears how it goes on.
    pub(crate) fn words(&self) -> Words {
        self.wanted.as_ref().map_or(Words::Queue, |wanted| wanted.words)
    }
}

impl Live {
    /// Waits in a queue from now on.
    pub(crate) fn queue(&mut self, queueing: Queueing) {
        if self.is_ending() {
            return;
        }
        self.give_up_dialling();
        self.leave_queue(Left::Hangup);
        self.errand = Some(Errand::Queue(queueing));
    }

    /// Takes the seat that the driver asked for. Asked again when the driver gave up waiting.
    pub(crate) async fn take_seat(&mut self) {
        let Some(errand) = self.errand.clone() else { return };
        let (number, patience, joined_ms, wanted) = match errand {
            Errand::Queue(queueing) => {
                let patience = Patience { timeout_ms: queueing.timeout_ms, max_waiting: queueing.max_waiting };
                (queueing.team, patience, queueing.joined_ms, None)
            }
            Errand::Connect(wanted) => {
                let patience = Patience { timeout_ms: wanted.connect.timeout_ms, max_waiting: MAX_CONNECTING };
                let number = wanted.connect.targets.first().cloned().unwrap_or_default();
                (number, patience, None, Some(wanted))
            }
        };
        let seated = match self.calls.directory().resolve(&self.model.org, &number).await {
            Ok(Destination::Team(team)) => {
                let floors = self.calls.floors().clone();
                floors.join(&self.model.org, &team, patience, joined_ms).await.map(|seat| (team, seat)).ok()
            }
            _ => None,
        };
        self.errand = None;
        let Some((team, mut seat)) = seated.filter(|_| !self.is_ending() && self.standing.is_some()) else {
            tracing::warn!(call = %self.model.id, %number, "there is no such team to wait for");
            return self.told_left(Left::Timeout, wanted);
        };
        let template = wanted.as_ref().map_or_else(|| Connect::to(""), |wanted| wanted.connect.clone());
        let connect = Connect { timeout_ms: team.ring_ms, targets: Vec::new(), ..template };
        if wanted.is_some() && self.standing().is_some_and(|party| party.answered) {
            self.play(connect.hold_music.clone().unwrap_or(Playable::Ringback), PlayMode::FOREVER.loops);
        }
        if let Some(wanted) = wanted.as_ref().filter(|wanted| wanted.transfer) {
            let to: Vec<String> = wanted.connect.targets.iter().map(|target| self.model.shown(target)).collect();
            self.emit("transfer.started", None, json!({"to": to.join(",")}));
        }
        let position = seat.read().position;
        self.waiting = Some(Waiting { seat, team, connect, wanted, last_offer: 0, position, bridged: None });
        self.emit_joined();
        self.seat_news();
    }

    fn emit_joined(&mut self) {
        let Some(waiting) = &mut self.waiting else { return };
        let standing = waiting.seat.read();
        // Who finds the queue full has never stood in it.
        if standing.left.is_some_and(|left| left.why == Left::Full) {
            return;
        }
        waiting.position = standing.position;
        let expected_s = standing.expected_ms.map(|ms| ms / 1000);
        let data = json!({"team": &*waiting.team.number, "position": standing.position, "expected_wait_s": expected_s});
        let by_queue = waiting.wanted.is_none();
        self.emit("queue.joined", None, data);
        if by_queue {
            let (position, expected_ms) = (standing.position, standing.expected_ms);
            self.tell(CallEvent::Queue(QueueEvent::Joined { position, expected_ms }));
        }
    }

    /// What the floor wants of the call has changed.
    pub(crate) fn seat_news(&mut self) {
        let Some(waiting) = &mut self.waiting else { return };
        let standing = waiting.seat.read();
        if let Some(left) = standing.left {
            if waiting.bridged.is_none() {
                self.left_queue(left);
            }
            return;
        }
        if waiting.bridged.is_some() {
            return;
        }
        if standing.withdrawn > waiting.last_offer {
            // It was withdrawn before anybody was rung for it. The floor answers at once.
            waiting.last_offer = standing.withdrawn;
            return self.offer_ended();
        }
        let moved = waiting.position != standing.position && standing.position > 0;
        waiting.position = standing.position;
        let by_queue = waiting.wanted.is_none();
        match standing.offer {
            Some(offer) if offer.number > waiting.last_offer => self.take_up(offer),
            None if self.wanted.as_ref().is_some_and(|wanted| wanted.offer.is_some()) => {
                self.wanted = None;
                self.offer_ended();
            }
            None if self.dialling_offer().is_some() => self.dial_step(Input::Cancel),
            _ => {}
        }
        if moved && by_queue {
            let (position, expected_ms) = (standing.position, standing.expected_ms);
            self.tell(CallEvent::Queue(QueueEvent::Moved { position, expected_ms }));
        }
    }

    /// Rings the agents of an offer.
    fn take_up(&mut self, offer: Offer) {
        let Some(waiting) = &mut self.waiting else { return };
        waiting.last_offer = offer.number;
        let targets = offer.agents.iter().map(ToString::to_string).collect();
        let connect = Connect { targets, ..waiting.connect.clone() };
        let offer = Some(offer.number);
        self.wanted =
            Some(Wanted { connect, then_end: false, transfer: false, offer, words: Words::Queue, party: None });
    }

    /// An agent was joined with the customer.
    pub(crate) fn offer_answered(&mut self, offer: u64, agent: &str) {
        let Some(waiting) = &mut self.waiting else { return };
        waiting.bridged = Some(offer);
        waiting.seat.answered(offer, agent);
        let asked = waiting.wanted.as_ref().map(|wanted| wanted.words);
        let transfer = waiting.wanted.as_ref().is_some_and(|wanted| wanted.transfer);
        if let Some(left) = waiting.seat.read().left {
            self.emit_left(left);
        }
        if transfer {
            self.emit("transfer.completed", None, json!({"to": self.model.shown(agent)}));
        }
        match asked {
            None => self.tell(CallEvent::Queue(QueueEvent::Bridged { agent: agent.to_owned() })),
            Some(Words::Connect) => self.tell(CallEvent::Connect(ConnectEvent::Answered { target: agent.to_owned() })),
            // Of the agent who handed the caller on the driver has heard already.
            Some(Words::Queue) => {}
        }
    }

    /// The agent has given the caller to somebody whom it consulted, and is free for others: what becomes of the caller
    /// is the floor's business no more.
    pub(crate) fn agent_replaced(&mut self) {
        let Some(waiting) = self.waiting.take_if(|waiting| waiting.bridged.is_some()) else { return };
        waiting.seat.talk_ended(false);
        let ends_call = waiting.wanted.as_ref().is_some_and(|wanted| wanted.then_end);
        self.offer_handed_on(waiting.words(), ends_call);
    }

    /// Nobody took the offer that was rung last.
    pub(crate) fn offer_ended(&mut self) {
        if let Some(waiting) = &self.waiting {
            waiting.seat.offer_ended(waiting.last_offer);
        }
        self.seat_news();
    }

    /// The two talked. A caller whose agent was lost waits again.
    pub(crate) fn offer_talked(&mut self, cause: Cause) {
        let Some(waiting) = &mut self.waiting else { return };
        let lost = matches!(cause, Cause::MediaTimeout | Cause::Unreachable);
        waiting.seat.talk_ended(lost);
        if lost {
            waiting.bridged = None;
            let music = waiting.wanted.is_some().then(|| waiting.connect.hold_music.clone());
            if let Some(music) = music {
                self.play(music.unwrap_or(Playable::Ringback), PlayMode::FOREVER.loops);
            }
            self.emit_joined();
            return self.seat_news();
        }
        let wanted = self.waiting.take().and_then(|waiting| waiting.wanted);
        match wanted {
            None => self.tell(CallEvent::Queue(QueueEvent::Ended)),
            Some(wanted) if wanted.then_end => self.hangup(Cause::Normal, EndedBy::Target),
            Some(wanted) => self.tell_ended(wanted.words, ConnectStatus::Completed, cause),
        }
    }

    /// The driver has enough of waiting.
    pub(crate) fn give_seat_up(&mut self, why: Left) {
        if self.waiting.as_ref().is_none_or(|waiting| waiting.bridged.is_none()) {
            self.leave_queue(why);
        }
    }

    /// Gives the seat up, if there is one, without a word to the driver.
    pub(crate) fn leave_queue(&mut self, why: Left) {
        self.errand = None;
        let Some(mut waiting) = self.waiting.take() else { return };
        waiting.seat.leave(why);
        if waiting.bridged.is_none()
            && let Some(left) = waiting.seat.read().left
        {
            let (team, left) = (waiting.team.number.clone(), left);
            drop(waiting);
            self.emit("queue.left", None, left_data(&team, left));
        }
        if self.wanted.as_ref().is_some_and(|wanted| wanted.offer.is_some()) {
            self.wanted = None;
        }
        if self.dialling_offer().is_some() && self.bridged_device().is_none() {
            self.give_up_dialling();
        }
    }

    /// The floor has sent the caller away.
    fn left_queue(&mut self, left: Leaving) {
        self.emit_left(left);
        let wanted = self.waiting.take().and_then(|waiting| waiting.wanted);
        self.told_left(left.why, wanted);
    }

    fn emit_left(&mut self, left: Leaving) {
        let Some(waiting) = &self.waiting else { return };
        let data = left_data(&waiting.team.number.clone(), left);
        self.emit("queue.left", None, data);
    }

    /// Tells the driver in the words of what it asked for.
    fn told_left(&mut self, why: Left, wanted: Option<Wanted>) {
        let Some(wanted) = wanted else {
            return self.tell(CallEvent::Queue(QueueEvent::Left { why }));
        };
        let (status, cause) = match why {
            Left::Full => (ConnectStatus::Busy, Cause::Busy),
            _ => (ConnectStatus::NoAnswer, Cause::NoAnswer),
        };
        if let Some(customer) = self.standing() {
            customer.leg.stop_play();
        }
        if wanted.transfer {
            self.emit("transfer.failed", None, json!({"status": status.as_str(), "cause": cause.as_str()}));
        }
        if wanted.then_end {
            self.hangup(cause, EndedBy::System);
        } else {
            self.tell_ended(wanted.words, status, cause);
        }
    }

    /// The call ends with the connect that it waits for.
    pub(crate) fn waiting_ends_call(&self) -> bool {
        let wanted = self.waiting.as_ref().and_then(|waiting| waiting.wanted.as_ref());
        wanted.is_some_and(|wanted| wanted.then_end)
    }

    /// The driver asked for a connect, which is waited for.
    pub(crate) fn waits_to_connect(&self) -> bool {
        let asked = matches!(&self.errand, Some(Errand::Connect(_)));
        asked || self.waiting.as_ref().is_some_and(|waiting| waiting.wanted.is_some())
    }

    /// The connect that a waiting call stands for, to be changed while it waits.
    pub(crate) fn waiting_connect(&mut self) -> Option<&mut Connect> {
        let waiting = self.waiting.as_mut()?;
        (waiting.wanted.is_some() && waiting.bridged.is_none()).then_some(&mut waiting.connect)
    }
}

fn left_data(team: &str, left: Leaving) -> serde_json::Value {
    json!({
        "team": team,
        "reason": left.why.as_str(),
        "waited_s": left.waited_ms as f64 / 1000.0,
        "position": left.position,
    })
}

/// Returns when the floor wants something else of a waiting call.
pub(crate) async fn seat_changed(waiting: Option<&mut Waiting>) {
    match waiting {
        Some(waiting) => waiting.seat.changed().await,
        None => std::future::pending().await,
    }
}
