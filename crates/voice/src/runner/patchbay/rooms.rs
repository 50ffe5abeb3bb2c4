//! The rooms of a patch bay: who comes and goes, and their part of a tick.
//!
//! Invariant: a leg names a room exactly when the room has it as a member, once; a leg in a room has no peer.

use media::frame::MAX_FRAME_SAMPLES;

use super::super::bench::Bench;
use super::super::leg_media::LegMedia;
use super::super::line::Wire;
use super::super::mailbox::RoomOrder;
use super::super::room::{Part, Room, RoomKey};
use super::Patchbay;

impl Patchbay {
    /// Carries out an order that concerns a whole room.
    pub(in super::super) fn carry_out_in_room(&mut self, now_us: u64, key: RoomKey, order: RoomOrder) {
        match order {
            RoomOrder::Open => {
                self.rooms.insert(key, Box::new(Room::new()));
            }
            RoomOrder::Record(command, events) => {
                if let Some(room) = self.rooms.get_mut(&key) {
                    room.record(command, events, &mut self.recorder);
                }
            }
            RoomOrder::Close => self.close_room(now_us, key),
        }
    }

    /// A leg of this thread comes into a room, or has another part there from now on. A room that is closed takes nobody.
    pub(in super::super) fn enter_room(&mut self, now_us: u64, slot: usize, key: RoomKey, part: Part) {
        let Some(leg) = self.leg(slot) else { return };
        let (leg_key, is_here) = (leg.key, leg.room == Some(key));
        if !is_here {
            self.unbridge(now_us, slot);
            self.leave_room(now_us, slot);
            self.wish(slot, None);
        }
        let Some(room) = self.rooms.get_mut(&key) else { return };
        if is_here {
            return room.cast(slot, part);
        }
        room.admit(slot, leg_key, part);
        self.be_in_room(now_us, slot, Some(key));
    }

    /// A leg leaves the room that it is in.
    pub(in super::super) fn leave_room(&mut self, now_us: u64, slot: usize) {
        let Some(key) = self.leg(slot).and_then(|leg| leg.room) else { return };
        if let Some(room) = self.rooms.get_mut(&key) {
            room.release(slot);
        }
        self.be_in_room(now_us, slot, None);
    }

    /// Completes the recordings of all rooms: the thread ends.
    pub(in super::super) fn close_rooms(&mut self, now_us: u64) {
        let keys: Vec<RoomKey> = self.rooms.keys().copied().collect();
        keys.into_iter().for_each(|key| self.close_room(now_us, key));
    }

    /// The party of the same room who hears a party's keys.
    pub(super) fn other_party(&self, slot: usize) -> Option<usize> {
        self.rooms.get(&self.leg(slot)?.room?)?.other_party(slot)
    }

    fn close_room(&mut self, now_us: u64, key: RoomKey) {
        let Some(mut room) = self.rooms.remove(&key) else { return };
        room.end_recording(&mut self.recorder);
        for slot in room.slots() {
            self.be_in_room(now_us, slot, None);
        }
    }

    fn be_in_room(&mut self, now_us: u64, slot: usize, room: Option<RoomKey>) {
        if let Some(Some(leg)) = self.legs.get_mut(slot) {
            leg.room = room;
        }
        self.settle(now_us, slot);
    }

    /// The rooms' part of a tick: everybody has listened, now the mixes go out.
    pub(super) fn tick_rooms(&mut self, now_us: u64, wire: &mut impl Wire) {
        let Self { rooms, legs, working_on, post, recorder, comfort, .. } = self;
        for room in rooms.values_mut() {
            let rates = |slot| legs.get(slot).and_then(Option::as_deref).map(LegMedia::rate);
            let rate = Room::rate_of(room.slots().filter_map(rates));
            room.begin(rate);
            for index in 0..room.len() {
                let Some(slot) = room.slot(index) else { break };
                *working_on = slot;
                let said = legs.get(slot).and_then(Option::as_deref).and_then(LegMedia::says);
                room.hear(index, said);
            }
            for index in 0..room.len() {
                let Some(slot) = room.slot(index) else { break };
                let Some(Some(leg)) = legs.get_mut(slot) else { continue };
                *working_on = slot;
                let mut bench = Bench { now_us, slot, wire: &mut *wire, post, recorder, comfort };
                let mut frame = [0; MAX_FRAME_SAMPLES];
                let mix = room.mix(index, &mut frame);
                leg.speak(Some(mix), &mut bench);
                leg.record_tick(&mut bench);
            }
            room.record_tick(recorder);
        }
    }
}
