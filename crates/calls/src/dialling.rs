//! Dialling: carries out what the connect machine decides, for the first party of a call and for
//! everyone that the customer is connected to later.
//!
//! Invariant: one dialling at a time; when its machine has ended, [`Live::dialling`] is empty.

use serde_json::json;
use voice::cause::Cause;
use voice::leg::{EndedBy as Side, LegEnd, LegId, PlayMode, Playable};
use voice::{Originate, Target};

use crate::connect::{Briefing, ConnectStatus, Device, Effect, Input, Machine, Rules, TargetShape};
use crate::driver::{CallEvent, Connect, ConnectEvent, QueueEvent, RecordAction, Whisper};
use crate::live::Live;
use crate::model::{CallEnd, Change, EndedBy, LegRole};
use crate::pairing::{PartyDial, is_party_line};
use crate::party::Party;
use crate::queue::Left;
use crate::routes::{Route, Routed};
use crate::waiting::Errand;

/// Voice gives a leg up this much later than the machine would, in milliseconds: only when the
/// machine's own timer has failed.
const RING_NET_MS: i64 = 5_000;

/// A connect that was asked for.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) connect: Connect,
    /// The call ends with it.
    pub(crate) then_end: bool,
    /// It hands the customer on, which has events of its own.
    pub(crate) transfer: bool,
    /// It rings agents for a call that waits, by this offer.
    pub(crate) offer: Option<u64>,
    /// How the driver hears of it.
    pub(crate) words: Words,
    /// It rings the second party of a pair, here; the driver says what the customer hears meanwhile.
    pub(crate) party: Option<Box<PartyDial>>,
}

/// In whose words a driver hears what becomes of a connect: those of what it asked for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    Connect,
    /// The agent of a queue has handed the caller on.
    Queue,
}

/// What is being dialled for.
enum Purpose {
    /// The call's first party.
    First,
    /// Somebody for the customer.
    Target(Wanted),
}

/// One dialling.
pub(crate) struct Dialling {
    purpose: Purpose,
    role: LegRole,
    timeout_ms: i64,
    targets: Vec<Routed>,
    pub(crate) machine: Machine,
    /// How the last leg of it ended.
    pub(crate) last_end: Option<LegEnd>,
    /// When the two were bridged.
    bridged_at_ms: Option<i64>,
    /// The call is recorded because of it, and no longer than it lasts.
    records: bool,
}

impl Dialling {
    fn number(&self, target: usize) -> String {
        self.targets.get(target).map(|target| target.number.clone()).unwrap_or_default()
    }

    fn route(&self, device: Device) -> Option<&Route> {
        self.targets.get(device.target)?.routes.as_ref().ok()?.get(device.device)
    }

    /// The connect that it carries out.
    fn connect(&self) -> Option<&Connect> {
        match &self.purpose {
            Purpose::Target(wanted) => Some(&wanted.connect),
            Purpose::First => None,
        }
    }
}

impl Live {
    /// Dials the party that the call is with.
    pub(crate) fn dial_first(&mut self, targets: Vec<Routed>, role: LegRole, timeout_ms: i64) {
        let rules = Rules { timeout_ms, ..Rules::default() };
        self.dial(Purpose::First, role, rules, targets);
    }

    /// Looks up the targets of a connect that was asked for, and begins it. Asked again when the
    /// driver gave up waiting.
    pub(crate) async fn look_up_wanted(&mut self) {
        let Some(wanted) = self.wanted.clone() else { return };
        let Connect { targets, caller_id, .. } = &wanted.connect;
        if let Some(party) = &wanted.party {
            let routed = self.calls.directory().party_route(&self.model.org, party, caller_id.as_deref()).await;
            self.wanted = None;
            return self.begin_connect(wanted, vec![routed]);
        }
        if wanted.offer.is_none() && self.calls.directory().has_queue(&self.model.org, targets).await {
            self.wanted = None;
            self.errand = Some(Errand::Connect(wanted));
            return;
        }
        // Of a masked customer the other side sees neither number nor name.
        let asking = crate::routes::Asking {
            caller_id: caller_id.as_deref(),
            customer: Some(self.customer_number()).filter(|_| !self.model.masked),
            display: self.display.as_deref().filter(|_| !self.model.masked),
            depth: self.depth,
        };
        let routed = self.calls.directory().routes(&self.model.org, targets, asking).await;
        self.wanted = None;
        self.begin_connect(wanted, routed);
    }

    fn begin_connect(&mut self, wanted: Wanted, targets: Vec<Routed>) {
        if self.is_ending() || self.standing.is_none() {
            return;
        }
        let connect = &wanted.connect;
        for target in targets.iter().filter(|target| target.caller_id_replaced) {
            tracing::debug!(call = %self.model.id, target = %target.number, "caller id replaced");
        }
        let rules = Rules {
            strategy: connect.strategy,
            timeout_ms: connect.timeout_ms,
            time_limit_ms: connect.time_limit_ms,
            whisper: connect.whisper.briefing(),
            accept_key: connect.accept_key,
        };
        // Who waits in a queue goes on hearing what he hears there.
        let waits = wanted.offer.is_none() && wanted.party.is_none();
        if waits && self.standing().is_some_and(|party| party.answered) {
            let sound = connect.hold_music.clone().unwrap_or(Playable::Ringback);
            self.play(sound, PlayMode::FOREVER.loops);
        }
        if wanted.transfer {
            let to: Vec<String> = connect.targets.iter().map(|target| self.model.shown(target)).collect();
            self.emit("transfer.started", None, json!({"to": to.join(",")}));
        }
        self.dial(Purpose::Target(wanted), LegRole::Target, rules, targets);
    }

    fn dial(&mut self, purpose: Purpose, role: LegRole, rules: Rules, targets: Vec<Routed>) {
        let shapes: Vec<TargetShape> = targets
            .iter()
            .map(|target| match &target.routes {
                Ok(routes) => TargetShape::Devices(routes.len()),
                Err(cause) => TargetShape::Unreachable(*cause),
            })
            .collect();
        // Devices are numbered anew; whoever is still here from before has a number no more.
        self.parties.iter_mut().for_each(|party| party.device = None);
        let timeout_ms = rules.timeout_ms;
        let machine = Machine::new(rules, &shapes);
        self.dialling = Some(Dialling {
            purpose,
            role,
            timeout_ms,
            targets,
            machine,
            last_end: None,
            bridged_at_ms: None,
            records: false,
        });
        self.dial_step(Input::Start);
    }

    /// Ends what is being dialled or bridged without a word to the driver.
    pub(crate) fn give_up_dialling(&mut self) {
        let Some(dialling) = &mut self.dialling else { return };
        if let Purpose::Target(wanted) = &mut dialling.purpose {
            wanted.then_end = false;
        }
        self.dial_step_quietly(Input::Cancel);
    }

    /// The device that is bridged with the customer.
    pub(crate) fn bridged_device(&self) -> Option<Device> {
        self.dialling.as_ref().and_then(|dialling| dialling.machine.bridged())
    }

    /// The call ends with the connect that is under way.
    pub(crate) fn dialling_ends_call(&self) -> bool {
        matches!(&self.dialling, Some(Dialling { purpose: Purpose::Target(Wanted { then_end: true, .. }), .. }))
            || self.waiting_ends_call()
    }

    /// The offer whose agents are rung or talked to.
    pub(crate) fn dialling_offer(&self) -> Option<u64> {
        match &self.dialling.as_ref()?.purpose {
            Purpose::Target(wanted) => wanted.offer,
            Purpose::First => None,
        }
    }

    /// In whose words the driver hears of whoever is rung or talked to; none when only the queue hears of it.
    fn dialling_words(&self) -> Option<Words> {
        match &self.dialling.as_ref()?.purpose {
            Purpose::Target(wanted) if wanted.offer.is_none() => Some(wanted.words),
            Purpose::Target(_) | Purpose::First => None,
        }
    }

    /// In whose words the driver hears what becomes of the customer when the one he talks with hands him on.
    pub(crate) fn words(&self) -> Words {
        match &self.waiting {
            Some(waiting) => waiting.words(),
            None => self.dialling_words().unwrap_or(Words::Connect),
        }
    }

    /// The agent who took the offer has handed the caller on: what is left is a connect like any other.
    pub(crate) fn offer_handed_on(&mut self, words: Words, ends_call: bool) {
        if let Some(Dialling { purpose: Purpose::Target(wanted), .. }) = &mut self.dialling {
            (wanted.offer, wanted.words) = (None, words);
            wanted.then_end |= ends_call;
        }
    }

    /// Tells the machine something and carries out what it decides.
    pub(crate) fn dial_step(&mut self, input: Input) {
        self.step_machine(input, true);
    }

    fn dial_step_quietly(&mut self, input: Input) {
        self.step_machine(input, false);
    }

    fn step_machine(&mut self, input: Input, tell: bool) {
        let now_ms = self.now_ms();
        let Some(dialling) = &mut self.dialling else { return };
        for effect in dialling.machine.apply(input, now_ms) {
            match effect {
                Effect::Dial(device) => self.dial_device(device),
                Effect::Ringing { target } => self.target_rings(target),
                Effect::Whisper(device) => self.whisper(device),
                Effect::Bridge(device) => self.bridge(device),
                Effect::Hangup(device, cause) => self.hang_up_device(device, cause),
                Effect::Ended { status, cause } => self.dialling_ended(status, cause, tell),
            }
        }
    }

    fn dial_device(&mut self, device: Device) {
        let now_ms = self.now_ms();
        let Some(dialling) = &self.dialling else { return };
        let Some(route) = dialling.route(device) else { return };
        let kernel = self.calls.kernel();
        let order = Originate {
            leg: kernel.ids.new("leg", now_ms).into(),
            target: route.target.clone(),
            from: route.from.clone(),
            to_user: route.to_user.clone(),
            near: self.standing().map(|party| party.leg.clone()),
            prefer: self.standing().and_then(|party| party.codec),
            max_forwards: self.hops_left,
            ring_timeout_ms: u32::try_from(dialling.timeout_ms + RING_NET_MS).unwrap_or(u32::MAX),
        };
        let (role, number) = (dialling.role, dialling.number(device.target));
        let extension = match &order.target {
            Target::Binding(binding) => Some(binding.extension.clone()),
            // A party's page is nobody's phone of the organisation.
            Target::Browser { .. } if is_party_line(&order.to_user) => None,
            Target::Browser { .. } => Some(order.to_user.as_str().into()),
            Target::Trunk { .. } | Target::Uri(_) | Target::Own { .. } => None,
        };
        let busy = extension.map(|extension| self.calls.busy().enter(&self.model.org, &extension));
        let leg = self.calls.dialer().originate(order, self.sink.clone());
        self.add_party(Party::dialled(leg, role, device, busy), number);
    }

    fn target_rings(&mut self, target: usize) {
        let Some(dialling) = &self.dialling else { return };
        match dialling.purpose {
            Purpose::First => {
                if self.change(Change::Ringing) {
                    self.emit("call.ringing", None, json!({}));
                    self.tell(CallEvent::Ringing);
                }
            }
            Purpose::Target(_) => {
                let target = dialling.number(target);
                self.emit("connect.ringing", None, json!({"target": self.model.shown(&target)}));
                self.ring();
                if self.dialling_words() == Some(Words::Connect) {
                    self.tell(CallEvent::Connect(ConnectEvent::Ringing { target }));
                }
            }
        }
    }

    /// Audio before the answer. The call's first party: worth an event. A target's: let through to
    /// a caller who is not answered yet and has nobody else ringing; who is answered goes on
    /// hearing the ringing tone, because early media may be silence.
    pub(crate) fn early_media(&mut self, id: &LegId) {
        let Some(dialling) = &self.dialling else { return };
        if matches!(dialling.purpose, Purpose::First) {
            self.emit("call.early_media", Some(id), json!({}));
            return self.tell(CallEvent::EarlyMedia);
        }
        let alone = self.dialling_offer().is_none()
            && dialling.targets.len() == 1
            && self.parties.len() == 2
            && dialling.connect().is_some_and(|connect| matches!(connect.whisper, Whisper::None));
        if let (true, Some(caller), Some(target)) = (alone, self.standing(), self.party(id))
            && !caller.answered
        {
            caller.leg.early_media();
            caller.leg.bridge(&target.leg);
        }
    }

    fn whisper(&mut self, device: Device) {
        let connect = self.dialling.as_ref().and_then(Dialling::connect);
        let Some(Whisper::Sounds(sounds)) = connect.map(|connect| &connect.whisper) else { return };
        let rest = sounds.iter().rev().cloned().collect();
        if let Some(party) = self.device(device) {
            party.whisper_rest = rest;
        }
        self.whisper_goes_on(device);
    }

    /// Plays the next part of the whisper; false when all was heard.
    pub(crate) fn whisper_goes_on(&mut self, device: Device) -> bool {
        let play = self.new_play();
        let Some(party) = self.device(device) else { return false };
        let Some(sound) = party.whisper_rest.pop() else { return false };
        party.whisper = Some(play);
        party.leg.play(play, Playable::Sound(sound), PlayMode::ONCE);
        true
    }

    /// The driver knows now what the whisper is that it announced.
    pub(crate) fn whisper_is(&mut self, whisper: Whisper) {
        // Whoever is rung later hears it too.
        if let Some(connect) = self.waiting_connect()
            && matches!(connect.whisper, Whisper::Coming)
        {
            connect.whisper = whisper.clone();
        }
        let wanted = self.wanted.as_mut().or_else(|| match &mut self.dialling.as_mut()?.purpose {
            Purpose::Target(wanted) => Some(wanted),
            Purpose::First => None,
        });
        let Some(coming) = wanted.map(|wanted| &mut wanted.connect.whisper) else { return };
        if !matches!(coming, Whisper::Coming) {
            return;
        }
        let ready = whisper.briefing() == Briefing::Ready;
        *coming = whisper;
        if self.wanted.is_none() {
            self.dial_step(Input::Whisper { ready });
        }
    }

    /// What the customer hears from now on, if he still waits to be connected.
    pub(crate) fn hold_music(&mut self, what: Playable) {
        if let Some(connect) = self.waiting_connect() {
            connect.hold_music = Some(what.clone());
            if self.standing().is_some_and(|party| party.answered) {
                self.play(what, PlayMode::FOREVER.loops);
            }
        } else if let Some(wanted) = &mut self.wanted {
            wanted.connect.hold_music = Some(what);
        } else if self.dialling.as_ref().is_some_and(|dialling| dialling.connect().is_some())
            && self.bridged_device().is_none()
            && self.standing().is_some_and(|party| party.answered)
        {
            self.play(what, PlayMode::FOREVER.loops);
        }
    }

    fn bridge(&mut self, device: Device) {
        let now_ms = self.now_ms();
        let Some(party) = self.device(device) else { return };
        // Who accepts by key has heard enough.
        party.whisper = None;
        party.whisper_rest.clear();
        let id = party.leg.id().clone();
        let Some(dialling) = &mut self.dialling else { return };
        dialling.bridged_at_ms = Some(now_ms);
        match &dialling.purpose {
            Purpose::First => {
                self.dialling = None;
                self.standing = Some(id.clone());
                self.call_answered(&id);
            }
            Purpose::Target(Wanted { connect, transfer, offer, words, .. }) => {
                let (offer, words) = (*offer, *words);
                let (record, transfer) = (connect.record && !self.keeping.is_recording(), *transfer);
                dialling.records = record;
                let target = dialling.number(device.target);
                if let (Some(customer), Some(party)) = (self.standing(), self.party(&id)) {
                    if !customer.answered {
                        customer.leg.answer();
                    }
                    customer.leg.stop_play();
                    customer.leg.bridge(&party.leg);
                }
                self.emit("connect.answered", Some(&id), json!({"target": self.model.shown(&target)}));
                if transfer {
                    self.emit("transfer.completed", Some(&id), json!({"to": self.model.shown(&target)}));
                }
                match offer {
                    Some(offer) => self.offer_answered(offer, &target),
                    None if words == Words::Connect => self.tell(CallEvent::Connect(ConnectEvent::Answered { target })),
                    None => {}
                }
                if record {
                    self.record(RecordAction::Start);
                }
            }
        }
    }

    fn hang_up_device(&mut self, device: Device, cause: Cause) {
        if let Some(party) = self.device(device) {
            party.leg.hangup(cause);
        }
    }

    /// What was being dialled or bridged is another's business from now on.
    pub(crate) fn forget_dialling(&mut self) {
        self.wanted = None;
        self.drop_dialling();
        self.parties.iter_mut().for_each(|party| party.device = None);
    }

    /// Forgets a dialling whose device belongs to somebody else now. Who talked by it does so no more in these terms.
    pub(crate) fn drop_dialling(&mut self) {
        if let Some(Dialling { bridged_at_ms: Some(_), .. }) = &self.dialling {
            self.emit_connect_ended(ConnectStatus::Completed, Cause::Normal);
        }
        self.dialling = None;
    }

    fn emit_connect_ended(&mut self, status: ConnectStatus, cause: Cause) {
        let bridged_at_ms = self.dialling.as_ref().and_then(|dialling| dialling.bridged_at_ms);
        let talk_ms = bridged_at_ms.map_or(0, |at| self.now_ms() - at);
        let talk_s = talk_ms as f64 / 1000.0;
        self.emit("connect.ended", None, json!({"status": status.as_str(), "cause": cause.as_str(), "talk_s": talk_s}));
    }

    fn dialling_ended(&mut self, status: ConnectStatus, cause: Cause, tell: bool) {
        self.end_supervision();
        if let Some(Dialling { purpose: Purpose::Target(_), .. }) = &self.dialling {
            self.emit_connect_ended(status, cause);
        }
        let Some(dialling) = self.dialling.take() else { return };
        match dialling.purpose {
            Purpose::First => self.first_failed(cause, dialling.role, dialling.last_end),
            Purpose::Target(Wanted { then_end, transfer, offer, words, .. }) => {
                let talked = dialling.bridged_at_ms.is_some();
                if transfer && !talked {
                    let data = json!({"status": status.as_str(), "cause": cause.as_str()});
                    self.emit("transfer.failed", None, data);
                }
                if dialling.records {
                    self.record(RecordAction::Stop);
                }
                // Who was offered in vain goes on hearing what he hears in the queue.
                if let Some(customer) = self.standing().filter(|_| talked || offer.is_none()) {
                    customer.leg.unbridge();
                    customer.leg.stop_play();
                }
                if offer.is_some() {
                    return match talked {
                        _ if !tell || self.is_ending() => self.leave_queue(Left::Hangup),
                        true => self.offer_talked(cause),
                        false => self.offer_ended(),
                    };
                }
                if then_end && !self.is_ending() {
                    let talked = status == ConnectStatus::Completed;
                    let by = if talked { EndedBy::Target } else { EndedBy::System };
                    self.hangup(if talked { Cause::Normal } else { cause }, by);
                } else if tell {
                    self.tell_ended(words, status, cause);
                }
            }
        }
    }

    /// Tells the driver that nobody talks with the customer any more, or ever did.
    pub(crate) fn tell_ended(&mut self, words: Words, status: ConnectStatus, cause: Cause) {
        self.tell(match words {
            Words::Connect => CallEvent::Connect(ConnectEvent::Ended { status, cause }),
            Words::Queue => CallEvent::Queue(QueueEvent::Ended),
        });
    }

    /// The call's first party was not reached: the call is over, unless an end is under way that
    /// waits for its legs.
    fn first_failed(&mut self, cause: Cause, role: LegRole, last_end: Option<LegEnd>) {
        if self.is_ending() {
            return;
        }
        let end = match last_end.filter(|end| end.cause == cause) {
            Some(end) => {
                let by = if end.by == Side::Remote { role.into() } else { EndedBy::System };
                CallEnd::of_leg(&end, by)
            }
            None => CallEnd::local(cause, EndedBy::System),
        };
        if self.continue_unanswered {
            self.unanswered = Some(end);
            return self.tell(CallEvent::NotAnswered { cause });
        }
        self.complete(end);
    }

    fn device(&mut self, device: Device) -> Option<&mut Party> {
        self.parties.iter_mut().find(|party| party.device == Some(device))
    }

    /// The number of the party that the customer stands for, as people inside may see it.
    pub(crate) fn customer_number(&self) -> &str {
        match self.model.direction {
            crate::model::Direction::Inbound => &self.model.from,
            crate::model::Direction::Outbound => &self.model.to,
        }
    }
}
