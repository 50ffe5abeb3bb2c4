//! The machine of the connect step: one input after the other, each answered by effects.

use std::collections::VecDeque;

use voice::cause::Cause;

use super::{
    ACCEPT_MS, Briefing, ConnectStatus, Device, Effect, Input, Rules, Strategy, TargetShape, WHISPER_MS,
    WHISPER_WAIT_MS,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum DeviceState {
    Idle,
    Dialled,
    Ringing,
    /// Answered and waiting for the whisper to be ready.
    Unbriefed {
        until_ms: i64,
    },
    /// Answered and hearing the whisper, or being waited for to press the key.
    Offered {
        until_ms: i64,
    },
    Bridged,
    Ended,
}

#[derive(Debug)]
struct Target {
    devices: Vec<DeviceState>,
    rang: bool,
    outcome: Option<(ConnectStatus, Cause)>,
}

impl Target {
    fn new(shape: TargetShape) -> Self {
        let (devices, cause) = match shape {
            TargetShape::Devices(count) => (count, Cause::Unreachable),
            TargetShape::Unreachable(cause) => (0, cause),
        };
        Self {
            devices: vec![DeviceState::Idle; devices],
            rang: false,
            outcome: (devices == 0).then_some((ConnectStatus::Failed, cause)),
        }
    }
}

/// One run of the connect step.
#[derive(Debug)]
pub struct Machine {
    rules: Rules,
    targets: Vec<Target>,
    queue: VecDeque<usize>,
    ring_until_ms: i64,
    bridged: Option<Device>,
    talk_until_ms: Option<i64>,
    done: bool,
}

impl Machine {
    /// A machine that has not begun.
    pub fn new(rules: Rules, targets: &[TargetShape]) -> Self {
        let queue = (0..targets.len()).collect();
        let targets = targets.iter().copied().map(Target::new).collect();
        Self { rules, targets, queue, ring_until_ms: i64::MAX, bridged: None, talk_until_ms: None, done: false }
    }

    /// When [`Input::Tick`] is due next, in the clock's milliseconds.
    pub fn deadline_ms(&self) -> Option<i64> {
        if self.done {
            return None;
        }
        if self.bridged.is_some() {
            return self.talk_until_ms;
        }
        let accept = self.states().filter_map(|(_, state)| match state {
            DeviceState::Unbriefed { until_ms } | DeviceState::Offered { until_ms } => Some(until_ms),
            _ => None,
        });
        let ring = self.anyone_pending().then_some(self.ring_until_ms);
        accept.chain(ring).min()
    }

    /// The device that is bridged now.
    pub fn bridged(&self) -> Option<Device> {
        self.bridged
    }

    /// The step is over.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Takes one input at `now_ms` and says what is to be done.
    pub fn apply(&mut self, input: Input, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Ended { device, cause, everywhere } => {
                self.device_ended(device, cause, everywhere, now_ms, &mut effects);
            }
            _ if self.done => {}
            Input::Start => self.dial_next(now_ms, &mut effects),
            Input::Ringing(device) => self.device_ringing(device, &mut effects),
            Input::Answered(device) => self.device_answered(device, now_ms, &mut effects),
            Input::Digit(device, key) => {
                let waiting =
                    matches!(self.state(device), Some(DeviceState::Unbriefed { .. } | DeviceState::Offered { .. }));
                if waiting && self.rules.accept_key == Some(key) {
                    self.bridge(device, now_ms, &mut effects);
                }
            }
            Input::Whisper { ready } => self.whisper_known(ready, now_ms, &mut effects),
            Input::WhisperEnded(device) => {
                if matches!(self.state(device), Some(DeviceState::Offered { .. })) {
                    self.briefed(device, now_ms, &mut effects);
                }
            }
            Input::CustomerGone | Input::Cancel => self.give_up(&mut effects),
            Input::Tick => self.tick(now_ms, &mut effects),
        }
        effects
    }

    fn dial_next(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        self.ring_until_ms = now_ms + self.rules.timeout_ms;
        while let Some(index) = self.queue.pop_front() {
            let Some(target) = self.targets.get_mut(index) else { continue };
            for (device, state) in target.devices.iter_mut().enumerate() {
                *state = DeviceState::Dialled;
                effects.push(Effect::Dial(Device { target: index, device }));
            }
            if self.rules.strategy == Strategy::Sequential && target.outcome.is_none() {
                return;
            }
        }
        self.conclude_if_nobody_is_left(effects);
    }

    fn device_ringing(&mut self, device: Device, effects: &mut Vec<Effect>) {
        if self.state(device) != Some(DeviceState::Dialled) {
            return;
        }
        self.set(device, DeviceState::Ringing);
        if let Some(target) = self.targets.get_mut(device.target)
            && !target.rang
        {
            target.rang = true;
            effects.push(Effect::Ringing { target: device.target });
        }
    }

    fn device_answered(&mut self, device: Device, now_ms: i64, effects: &mut Vec<Effect>) {
        let rings = matches!(self.state(device), Some(DeviceState::Dialled | DeviceState::Ringing));
        if !rings || self.bridged.is_some() {
            return;
        }
        match self.rules.whisper {
            Briefing::None => return self.briefed(device, now_ms, effects),
            Briefing::Coming => self.set(device, DeviceState::Unbriefed { until_ms: now_ms + WHISPER_WAIT_MS }),
            Briefing::Ready => self.offer(device, now_ms + WHISPER_MS),
        }
        if self.rules.accept_key.is_none() {
            // Whoever answers first has won; the whisper only delays the bridge.
            self.release_others(device, effects);
        }
        if self.rules.whisper == Briefing::Ready {
            effects.push(Effect::Whisper(device));
        }
    }

    /// There is nothing to hear any more: the key decides, or the device has won.
    fn briefed(&mut self, device: Device, now_ms: i64, effects: &mut Vec<Effect>) {
        if self.rules.accept_key.is_some() {
            self.offer(device, now_ms + ACCEPT_MS);
        } else {
            self.bridge(device, now_ms, effects);
        }
    }

    fn whisper_known(&mut self, ready: bool, now_ms: i64, effects: &mut Vec<Effect>) {
        if self.rules.whisper != Briefing::Coming {
            return;
        }
        self.rules.whisper = if ready { Briefing::Ready } else { Briefing::None };
        for device in self.unbriefed(i64::MAX) {
            if ready {
                self.offer(device, now_ms + WHISPER_MS);
                effects.push(Effect::Whisper(device));
            } else {
                self.briefed(device, now_ms, effects);
            }
        }
    }

    /// Devices that wait for the whisper, and will no longer at this time.
    fn unbriefed(&self, now_ms: i64) -> Vec<Device> {
        let waits = |state| matches!(state, DeviceState::Unbriefed { until_ms } if until_ms <= now_ms);
        self.states().filter(|(_, state)| waits(*state)).map(|(device, _)| device).collect()
    }

    fn offer(&mut self, device: Device, until_ms: i64) {
        self.set(device, DeviceState::Offered { until_ms });
    }

    fn bridge(&mut self, device: Device, now_ms: i64, effects: &mut Vec<Effect>) {
        self.set(device, DeviceState::Bridged);
        self.bridged = Some(device);
        self.talk_until_ms = self.rules.time_limit_ms.map(|limit| now_ms + limit);
        self.release_others(device, effects);
        effects.push(Effect::Bridge(device));
    }

    fn device_ended(&mut self, device: Device, cause: Cause, everywhere: bool, now_ms: i64, effects: &mut Vec<Effect>) {
        let Some(before) = self.state(device) else { return };
        if matches!(before, DeviceState::Ended | DeviceState::Idle) {
            return;
        }
        self.set(device, DeviceState::Ended);
        if self.done {
            return;
        }
        if self.bridged == Some(device) {
            self.end(ConnectStatus::Completed, cause, effects);
            return;
        }
        // A target that took the call and hung up before the bridge has refused it.
        let (status, cause) = match before {
            DeviceState::Unbriefed { .. } | DeviceState::Offered { .. } => (ConnectStatus::Rejected, Cause::Rejected),
            _ => (ConnectStatus::of(cause), cause),
        };
        self.note(device.target, status, cause);
        if everywhere {
            self.release_target(device.target, Cause::Canceled, effects);
        }
        self.go_on(now_ms, effects);
    }

    fn tick(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        if let Some(device) = self.bridged {
            if self.talk_until_ms.is_some_and(|until| until <= now_ms) {
                self.release(device, Cause::TimeLimit, effects);
                self.end(ConnectStatus::Completed, Cause::TimeLimit, effects);
            }
            return;
        }
        // The connection matters more than the whisper.
        for device in self.unbriefed(now_ms) {
            self.briefed(device, now_ms, effects);
        }
        let silent: Vec<Device> = self
            .states()
            .filter(|(_, state)| matches!(state, DeviceState::Offered { until_ms } if *until_ms <= now_ms))
            .map(|(device, _)| device)
            .collect();
        let rung_out: Vec<Device> = self
            .states()
            .filter(|(_, state)| {
                self.ring_until_ms <= now_ms && matches!(state, DeviceState::Dialled | DeviceState::Ringing)
            })
            .map(|(device, _)| device)
            .collect();
        if silent.is_empty() && rung_out.is_empty() {
            return;
        }
        for device in silent.into_iter().chain(rung_out) {
            self.release(device, Cause::NoAnswer, effects);
            self.note(device.target, ConnectStatus::NoAnswer, Cause::NoAnswer);
        }
        self.go_on(now_ms, effects);
    }

    fn give_up(&mut self, effects: &mut Vec<Effect>) {
        let talked = self.bridged;
        if let Some(device) = talked {
            self.release(device, Cause::Normal, effects);
            self.end(ConnectStatus::Completed, Cause::Normal, effects);
        } else {
            self.end(ConnectStatus::Canceled, Cause::Canceled, effects);
        }
    }

    /// After a device is gone: the next target, or the end, if nobody is left to answer.
    fn go_on(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        if self.anyone_pending() || self.anyone_offered() {
            return;
        }
        if self.queue.is_empty() {
            self.conclude_if_nobody_is_left(effects);
        } else {
            self.dial_next(now_ms, effects);
        }
    }

    fn conclude_if_nobody_is_left(&mut self, effects: &mut Vec<Effect>) {
        if self.done || self.anyone_pending() || self.anyone_offered() || self.bridged.is_some() {
            return;
        }
        let (status, cause) = self
            .targets
            .iter()
            .filter_map(|target| target.outcome)
            .max_by_key(|(status, _)| status.rank())
            .unwrap_or((ConnectStatus::Failed, Cause::NoRoute));
        self.end(status, cause, effects);
    }

    fn end(&mut self, status: ConnectStatus, cause: Cause, effects: &mut Vec<Effect>) {
        let loser = if status == ConnectStatus::NoAnswer { Cause::NoAnswer } else { Cause::Canceled };
        let rest: Vec<Device> = self.live().collect();
        for device in rest {
            self.release(device, loser, effects);
        }
        self.done = true;
        self.queue.clear();
        effects.push(Effect::Ended { status, cause });
    }

    fn note(&mut self, target: usize, status: ConnectStatus, cause: Cause) {
        if let Some(target) = self.targets.get_mut(target)
            && target.outcome.is_none_or(|(before, _)| before.rank() < status.rank())
        {
            target.outcome = Some((status, cause));
        }
    }

    fn release(&mut self, device: Device, cause: Cause, effects: &mut Vec<Effect>) {
        self.set(device, DeviceState::Ended);
        effects.push(Effect::Hangup(device, cause));
    }

    fn release_target(&mut self, target: usize, cause: Cause, effects: &mut Vec<Effect>) {
        let devices: Vec<Device> = self.live().filter(|d| d.target == target).collect();
        for device in devices {
            self.release(device, cause, effects);
        }
    }

    fn release_others(&mut self, winner: Device, effects: &mut Vec<Effect>) {
        self.queue.clear();
        let losers: Vec<Device> = self.live().filter(|&device| device != winner).collect();
        for device in losers {
            self.release(device, Cause::Canceled, effects);
        }
    }

    fn states(&self) -> impl Iterator<Item = (Device, DeviceState)> {
        self.targets.iter().enumerate().flat_map(|(target, each)| {
            let devices = each.devices.iter().enumerate();
            devices.map(move |(device, state)| (Device { target, device }, *state))
        })
    }

    fn live(&self) -> impl Iterator<Item = Device> {
        self.states()
            .filter(|(_, state)| !matches!(state, DeviceState::Idle | DeviceState::Ended))
            .map(|(device, _)| device)
    }

    fn anyone_pending(&self) -> bool {
        self.states().any(|(_, state)| matches!(state, DeviceState::Dialled | DeviceState::Ringing))
    }

    fn anyone_offered(&self) -> bool {
        self.states().any(|(_, state)| matches!(state, DeviceState::Unbriefed { .. } | DeviceState::Offered { .. }))
    }

    fn state(&self, device: Device) -> Option<DeviceState> {
        self.targets.get(device.target)?.devices.get(device.device).copied()
    }

    fn set(&mut self, device: Device, state: DeviceState) {
        if let Some(slot) = self.targets.get_mut(device.target).and_then(|target| target.devices.get_mut(device.device))
        {
            *slot = state;
        }
    }
}
