//! The work bench of a media thread: what it lends a leg while it works on it.
//!
//! Invariant: nothing on it blocks; what finds no room waits or is counted.

use std::collections::VecDeque;

use super::comfort::Comfort;
use super::recorder::RecorderFeed;
use crate::leg::{LegEvent, LegEvents};

/// Events of all legs that wait for room in their calls' queues.
const MAX_WAITING_EVENTS: usize = 1_024;

/// Events on their way to the calls; a full queue is tried again.
#[derive(Default)]
pub(super) struct Post {
    waiting: VecDeque<(LegEvents, LegEvent)>,
}

impl Post {
    /// Sends an event. A key press that finds no room is dropped and counted, everything else waits.
    pub(super) fn tell(&mut self, events: &LegEvents, event: LegEvent) {
        let Err(event) = events.offer(event) else {
            return;
        };
        if matches!(event, LegEvent::Dtmf { .. }) || self.waiting.len() >= MAX_WAITING_EVENTS {
            metrics::counter!("voice_leg_events_dropped_total").increment(1);
        } else {
            self.waiting.push_back((events.clone(), event));
        }
    }

    /// Tries again what waits.
    pub(super) fn flush(&mut self) {
        for (events, event) in std::mem::take(&mut self.waiting) {
            self.tell(&events, event);
        }
    }
}

/// What a leg needs of its thread to do its work.
pub(super) struct Bench<'a, W> {
    pub(super) now_us: u64,
    pub(super) slot: usize,
    pub(super) wire: &'a mut W,
    pub(super) post: &'a mut Post,
    pub(super) recorder: &'a mut RecorderFeed,
    pub(super) comfort: &'a Comfort,
}
