//! The legs of one media thread and how they are joined: bytes, commands and time in, datagrams and events out. No sockets, no clock.
//!
//! Two legs are joined as peers, many in a room ([`rooms`]).
//! Invariant: `a.peer == b` exactly when `b.peer == a`, and every leg that has something to do every 20 ms stands once in the list of active ones.

mod rooms;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use media::codec::CodecError;
use media::dtmf::Digit;
use media::frame::FRAME_US;

use super::bench::{Bench, Post};
use super::browser::{Opened, Site};
use super::callers::Callers;
use super::comfort::Comfort;
use super::handle::LegKey;
use super::identity::Identity;
use super::leg_media::{KeyWay, LegMedia, PeerView};
use super::line::{Heard, Wire};
use super::mailbox::Order;
use super::poll::Urgency;
use super::recorder::RecorderFeed;
use super::room::{Room, RoomKey};
use crate::leg::LegEvents;

/// A thread that was held up for longer than this does not make up for the ticks it missed.
const MAX_LATE_US: u64 = 5 * FRAME_US;
/// How often all legs are looked at for comfort, reports and time-outs.
const SWEEP_US: u64 = 200_000;

/// The legs of one thread.
pub(super) struct Patchbay {
    legs: Vec<Option<Box<LegMedia>>>,
    free: Vec<usize>,
    slots: HashMap<LegKey, usize>,
    active: Vec<usize>,
    rooms: HashMap<RoomKey, Box<Room>>,
    /// Legs whose urgency has changed.
    hurried: Vec<usize>,
    tick_due_us: u64,
    sweep_due_us: u64,
    timeout_us: u64,
    /// The leg that is being worked on: guilty, should there be a panic. `usize::MAX` is nobody's slot.
    working_on: usize,
    post: Post,
    recorder: RecorderFeed,
    comfort: Comfort,
    site: Arc<Site>,
    callers: Callers,
}

impl Patchbay {
    /// Without legs.
    ///
    /// # Errors
    /// When silence cannot be coded.
    pub(super) fn new(timeout_us: u64, recorder: RecorderFeed, site: Arc<Site>) -> Result<Self, CodecError> {
        Ok(Self {
            legs: Vec::new(),
            free: Vec::new(),
            slots: HashMap::new(),
            active: Vec::new(),
            rooms: HashMap::new(),
            hurried: Vec::new(),
            tick_due_us: 0,
            sweep_due_us: 0,
            timeout_us,
            working_on: usize::MAX,
            post: Post::default(),
            recorder,
            comfort: Comfort::new()?,
            site,
            callers: Callers::default(),
        })
    }

    /// Where a leg stands.
    pub(super) fn slot(&self, key: LegKey) -> Option<usize> {
        self.slots.get(&key).copied()
    }

    /// All slots in use.
    pub(super) fn slots(&self) -> Vec<usize> {
        self.slots.values().copied().collect()
    }

    /// How soon a leg's packets are to be read.
    pub(super) fn urgency(&self, slot: usize) -> Urgency {
        self.leg(slot).map(|leg| leg.urgency).unwrap_or_default()
    }

    /// A leg whose packets are to be read sooner, or later, than before.
    pub(super) fn next_change_of_urgency(&mut self) -> Option<(usize, Urgency)> {
        let slot = self.hurried.pop()?;
        Some((slot, self.urgency(slot)))
    }

    /// When [`Patchbay::advance`] is to be called next; never, without legs.
    pub(super) fn due_us(&self) -> Option<u64> {
        let tick = (!self.active.is_empty()).then_some(self.tick_due_us);
        let sweep = (!self.slots.is_empty()).then_some(self.sweep_due_us);
        tick.into_iter().chain(sweep).min()
    }

    /// A new leg.
    pub(super) fn add(&mut self, now_us: u64, key: LegKey, events: LegEvents, identity: Identity) {
        self.insert(now_us, Box::new(LegMedia::new(key, events, identity)));
    }

    /// A leg that came from another thread; its slot.
    pub(super) fn insert(&mut self, now_us: u64, mut leg: Box<LegMedia>) -> usize {
        if self.slots.is_empty() {
            self.sweep_due_us = now_us + SWEEP_US;
        }
        leg.is_active = false;
        leg.room = None;
        leg.join(None);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.legs.push(None);
            self.legs.len() - 1
        });
        self.slots.insert(leg.key, slot);
        if let Some(place) = self.legs.get_mut(slot) {
            *place = Some(leg);
        }
        self.settle(now_us, slot);
        slot
    }

    /// Takes a leg out, alone.
    pub(super) fn remove(&mut self, now_us: u64, slot: usize) -> Option<Box<LegMedia>> {
        self.unbridge(now_us, slot);
        self.leave_room(now_us, slot);
        let leg = self.legs.get_mut(slot)?.take()?;
        self.slots.remove(&leg.key);
        self.callers.forget(slot);
        self.active.retain(|&other| other != slot);
        self.free.push(slot);
        Some(leg)
    }

    /// Ends a leg.
    pub(super) fn close(&mut self, now_us: u64, ntp: u64, slot: usize, wire: &mut impl Wire) {
        if let Some(mut leg) = self.remove(now_us, slot) {
            leg.close(ntp, &mut self.bench(now_us, slot, wire));
        }
    }

    /// Notes that a leg waits for another one to come to this thread.
    pub(super) fn wish(&mut self, slot: usize, other: Option<LegKey>) {
        if let Some(Some(leg)) = self.legs.get_mut(slot) {
            leg.awaits = other;
        }
    }

    /// Whether a leg still waits for that one.
    pub(super) fn wishes(&self, slot: usize, other: LegKey) -> bool {
        self.leg(slot).is_some_and(|leg| leg.awaits == Some(other))
    }

    /// Joins two legs of this thread.
    pub(super) fn bridge(&mut self, now_us: u64, one: usize, other: usize) {
        if one == other || self.peer(one) == Some(other) {
            return;
        }
        if self.leg(one).is_none() || self.leg(other).is_none() {
            return;
        }
        for slot in [one, other] {
            self.unbridge(now_us, slot);
            self.leave_room(now_us, slot);
            self.wish(slot, None);
        }
        self.join(one, Some(other));
        self.join(other, Some(one));
        self.settle(now_us, one);
        self.settle(now_us, other);
    }

    /// Parts a leg from its peer.
    pub(super) fn unbridge(&mut self, now_us: u64, slot: usize) {
        if let Some(peer) = self.peer(slot) {
            self.join(slot, None);
            self.join(peer, None);
            self.settle(now_us, slot);
            self.settle(now_us, peer);
        }
    }

    /// Carries out an order that concerns the leg's media alone.
    pub(super) fn carry_out(&mut self, now_us: u64, slot: usize, order: Order) {
        self.working_on = slot;
        let Some(Some(leg)) = self.legs.get_mut(slot) else {
            return;
        };
        match order {
            Order::Remote(remote) => {
                leg.agree(now_us, *remote, &self.site);
                if let Some(name) = leg.ufrag() {
                    self.callers.name(slot, name);
                }
            }
            Order::Established => leg.establish(now_us),
            Order::Play(play, what, mode) => leg.play(play, what, mode),
            Order::StopPlay => leg.stop_play(),
            Order::SendDtmf(digits, play) => leg.dial(&digits, play, &mut self.post),
            Order::Record(command) => leg.record(command, &mut self.recorder),
            Order::ListenSilence(after_ms) => leg.listen_silence(after_ms),
            Order::InbandDtmf(on) => leg.inband_dtmf(on),
            Order::Tap(order) => leg.tap(order),
            Order::Digit(symbol, duration_ms) => {
                self.pressed(now_us, slot, KeyWay::Signalling, Some(Digit { symbol, duration_ms }));
            }
            Order::Unbridge => {
                leg.awaits = None;
                self.unbridge(now_us, slot);
            }
            Order::LeaveRoom => self.leave_room(now_us, slot),
            // These concern sockets or other threads, and are the thread's own.
            Order::Add(..)
            | Order::Open(_)
            | Order::Bridge { .. }
            | Order::BridgeStill { .. }
            | Order::EnterRoom { .. }
            | Order::Depart { .. }
            | Order::Follow { .. }
            | Order::Close => {}
        }
        self.settle(now_us, slot);
        if let Some(peer) = self.peer(slot) {
            self.settle(now_us, peer);
        }
    }

    /// A datagram of `len` bytes stands at the start of `buffer`, which has room behind it. It came to the leg's RTP port.
    pub(super) fn receive(
        &mut self,
        now_us: u64,
        slot: usize,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
        wire: &mut impl Wire,
    ) {
        self.working_on = slot;
        let (Some(Some(leg)), Some(datagram)) = (self.legs.get_mut(slot), buffer.get_mut(..len)) else {
            return;
        };
        let heard = leg.hear(now_us, from, datagram);
        let peer = leg.peer.filter(|_| leg.relays());
        match heard {
            Heard::Nothing => {}
            Heard::Audio { len } => {
                if let Some(peer) = peer
                    && let Some(Some(leg)) = self.legs.get_mut(peer)
                {
                    leg.relay(now_us, peer, buffer, len, wire);
                }
            }
            Heard::Event { len, digit } => {
                if let Some(peer) = peer
                    && let Some(Some(leg)) = self.legs.get_mut(peer)
                {
                    leg.leave_out(buffer.get(..len).unwrap_or_default());
                }
                self.pressed(now_us, slot, KeyWay::Event, digit);
            }
        }
    }

    /// A datagram of `len` bytes stands at the start of `buffer`, which has room behind it. It came to the browsers' port.
    pub(super) fn receive_shared(
        &mut self,
        now_us: u64,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
        wire: &mut impl Wire,
    ) {
        // Nobody's fault, should a stranger's datagram be the end of the look at it.
        self.working_on = usize::MAX;
        let Some(slot) = self.callers.whose(from, buffer.get(..len).unwrap_or_default()) else {
            return;
        };
        self.working_on = slot;
        let Some(Some(leg)) = self.legs.get_mut(slot) else {
            return;
        };
        match leg.open(now_us, from, buffer, len, wire) {
            Opened::Nothing => {}
            Opened::Check => self.callers.checked(now_us, from, slot),
            Opened::Rtp(len) => self.receive(now_us, slot, from, buffer, len, wire),
        }
    }

    /// A datagram came to the leg's RTCP port.
    pub(super) fn receive_rtcp(&mut self, now_us: u64, slot: usize, from: SocketAddr, datagram: &mut [u8]) {
        self.working_on = slot;
        if let Some(Some(leg)) = self.legs.get_mut(slot) {
            leg.hear_rtcp(now_us, from, datagram);
        }
    }

    /// Does what is due: ticks of 20 ms at their very times, and the coarse look. `ntp` is the wall clock's time.
    pub(super) fn advance(&mut self, now_us: u64, ntp: u64, wire: &mut impl Wire) {
        if now_us.saturating_sub(self.tick_due_us) > MAX_LATE_US {
            self.tick_due_us = now_us;
        }
        while !self.active.is_empty() && self.tick_due_us <= now_us {
            self.tick_due_us += FRAME_US;
            self.tick(now_us, wire);
        }
        if !self.slots.is_empty() && self.sweep_due_us <= now_us {
            self.sweep_due_us = now_us + SWEEP_US;
            self.sweep(now_us, ntp, wire);
        }
    }

    /// Throws out the leg at whose work the thread panicked, so that it ends and no other does; its slot.
    pub(super) fn evict(&mut self, now_us: u64) -> Option<usize> {
        let slot = self.working_on;
        let mut leg = self.remove(now_us, slot)?;
        leg.give_up(&mut self.recorder);
        Some(slot)
    }

    /// The leg that stands there, for tests.
    #[cfg(test)]
    pub(super) fn key(&self, slot: usize) -> Option<LegKey> {
        self.leg(slot).map(|leg| leg.key)
    }

    /// The invariant, for tests.
    #[cfg(test)]
    pub(super) fn assert_well_joined(&self) {
        let legs = || self.legs.iter().enumerate().filter_map(|(slot, leg)| Some((slot, leg.as_deref()?)));
        assert_eq!(legs().count(), self.slots.len());
        assert_eq!(self.legs.len(), self.slots.len() + self.free.len());
        for (slot, leg) in legs() {
            assert_eq!(self.slots.get(&leg.key), Some(&slot));
            if let Some(peer) = leg.peer {
                assert_eq!(self.peer(peer), Some(slot), "a peer that knows nothing of it");
            }
            let rooms = self.rooms.iter().filter(|(_, room)| room.slots().any(|other| other == slot));
            assert_eq!(rooms.map(|(key, _)| *key).collect::<Vec<_>>(), Vec::from_iter(leg.room));
            assert!(leg.room.is_none() || leg.peer.is_none(), "in a room and bridged");
            let times_active = self.active.iter().filter(|&&other| other == slot).count();
            assert_eq!(times_active, usize::from(leg.is_active));
        }
        assert!(self.active.iter().all(|&slot| self.leg(slot).is_some()));
        let mut members = self.rooms.values().flat_map(|room| room.slots());
        assert!(members.all(|slot| self.leg(slot).is_some()), "a room with a member that is gone");
    }

    /// The recorder's feed, once the thread ends.
    pub(super) fn into_recorder(self) -> RecorderFeed {
        self.recorder
    }

    fn tick(&mut self, now_us: u64, wire: &mut impl Wire) {
        for index in 0..self.active.len() {
            let Some(&slot) = self.active.get(index) else {
                break;
            };
            let digit = self.with_leg(now_us, slot, wire, |leg, bench| leg.listen(bench));
            self.pressed(now_us, slot, KeyWay::Event, digit.flatten());
        }
        for index in 0..self.active.len() {
            let Some(&slot) = self.active.get(index) else {
                break;
            };
            self.working_on = slot;
            if self.leg(slot).is_some_and(|leg| leg.room.is_some()) {
                continue;
            }
            let peer = self.leg(slot).and_then(|leg| leg.peer.filter(|_| !leg.relays()));
            let mut bench = Bench {
                now_us,
                slot,
                wire,
                post: &mut self.post,
                recorder: &mut self.recorder,
                comfort: &self.comfort,
            };
            match peer.map(|peer| self.legs.get_disjoint_mut([slot, peer])) {
                Some(Ok([Some(leg), Some(peer)])) => {
                    leg.speak(peer.heard(), &mut bench);
                    leg.record_tick(&mut bench);
                }
                _ => {
                    if let Some(Some(leg)) = self.legs.get_mut(slot) {
                        leg.speak(None, &mut bench);
                        leg.record_tick(&mut bench);
                    }
                }
            }
        }
        self.tick_rooms(now_us, wire);
        // What has ended frees its codecs, and whoever needs no more ticks leaves the list.
        for index in (0..self.active.len()).rev() {
            if let Some(&slot) = self.active.get(index) {
                self.settle(now_us, slot);
            }
        }
    }

    fn sweep(&mut self, now_us: u64, ntp: u64, wire: &mut impl Wire) {
        let timeout_us = self.timeout_us;
        for slot in 0..self.legs.len() {
            self.with_leg(now_us, slot, wire, |leg, bench| leg.sweep(ntp, timeout_us, bench));
        }
        self.post.flush();
        self.recorder.flush();
    }

    /// A key press, if there is one, is told and made again for the peer. A key that is held needs ticks: its end may be lost.
    fn pressed(&mut self, now_us: u64, slot: usize, way: KeyWay, digit: Option<Digit>) {
        if let Some(digit) = digit
            && let Some(Some(leg)) = self.legs.get_mut(slot)
            && leg.pressed(now_us, way, digit, &mut self.post)
        {
            self.press_at_peer(now_us, slot, digit);
        }
        self.settle(now_us, slot);
    }

    fn press_at_peer(&mut self, now_us: u64, slot: usize, digit: Digit) {
        if let Some(peer) = self.peer(slot).or_else(|| self.other_party(slot)) {
            if let Some(Some(leg)) = self.legs.get_mut(peer) {
                leg.press(digit);
            }
            self.settle(now_us, peer);
        }
    }

    /// Brings a leg into line with its own and its peer's state, and into or out of the list of active legs.
    fn settle(&mut self, now_us: u64, slot: usize) {
        let peer: Option<PeerView> = self.peer(slot).and_then(|peer| self.leg(peer)?.view());
        let Some(Some(leg)) = self.legs.get_mut(slot) else {
            return;
        };
        let needs_ticks = leg.settle(peer);
        let urgency = leg.demands();
        if leg.urgency != urgency {
            leg.urgency = urgency;
            self.hurried.push(slot);
        }
        if needs_ticks == leg.is_active {
            return;
        }
        leg.is_active = needs_ticks;
        if needs_ticks {
            if self.active.is_empty() {
                self.tick_due_us = now_us;
            }
            self.active.push(slot);
        } else {
            self.active.retain(|&other| other != slot);
        }
    }

    fn with_leg<W: Wire, T>(
        &mut self,
        now_us: u64,
        slot: usize,
        wire: &mut W,
        act: impl FnOnce(&mut LegMedia, &mut Bench<'_, W>) -> T,
    ) -> Option<T> {
        self.working_on = slot;
        let mut bench =
            Bench { now_us, slot, wire, post: &mut self.post, recorder: &mut self.recorder, comfort: &self.comfort };
        let leg = self.legs.get_mut(slot)?.as_deref_mut()?;
        Some(act(leg, &mut bench))
    }

    fn bench<'a, W>(&'a mut self, now_us: u64, slot: usize, wire: &'a mut W) -> Bench<'a, W> {
        Bench { now_us, slot, wire, post: &mut self.post, recorder: &mut self.recorder, comfort: &self.comfort }
    }

    fn leg(&self, slot: usize) -> Option<&LegMedia> {
        self.legs.get(slot)?.as_deref()
    }

    fn peer(&self, slot: usize) -> Option<usize> {
        self.leg(slot)?.peer
    }

    fn join(&mut self, slot: usize, peer: Option<usize>) {
        if let Some(Some(leg)) = self.legs.get_mut(slot) {
            leg.join(peer);
        }
    }
}
