//! A call's audio for a program: what the customer says and hears as mu-law, and what the program says to him.
//!
//! Invariant: a tap ends with its customer's leg; dropped, it is closed.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use voice::leg::{Leg, TapEvent, TapTrack};

use crate::live::Live;

/// An open tap.
pub struct Tap {
    leg: Leg,
    events: mpsc::Receiver<TapEvent>,
    /// Marks among what was skipped.
    marks: VecDeque<TapEvent>,
}

impl Live {
    /// Opens a tap on the customer's leg; none when he is not on the line.
    pub(crate) fn tap(&self, track: TapTrack) -> Option<Tap> {
        let leg = self.standing().filter(|party| party.answered)?.leg.clone();
        let events = leg.tap(track);
        Some(Tap { leg, events, marks: VecDeque::new() })
    }
}

impl Tap {
    /// What comes next; none when the leg is over. Safe to give up and ask again.
    pub async fn next(&mut self) -> Option<TapEvent> {
        match self.marks.pop_front() {
            Some(mark) => Some(mark),
            None => self.events.recv().await,
        }
    }

    /// How many events wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.events.len()
    }

    /// Leaves out so many events; marks among them still come.
    pub fn skip(&mut self, events: usize) {
        for _ in 0..events {
            match self.events.try_recv() {
                Ok(mark @ TapEvent::Mark(_)) => self.marks.push_back(mark),
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }

    /// Says mu-law at 8000 Hz to the customer, after what was said before.
    pub fn say(&self, speech: Box<[u8]>) {
        self.leg.tap_say(speech);
    }

    /// Asks for [`TapEvent::Mark`] when everything so far was heard.
    pub fn mark(&self, mark: u32) {
        self.leg.tap_mark(mark);
    }

    /// What was said and is still to be heard is forgotten.
    pub fn clear(&self) {
        self.leg.tap_clear();
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.leg.close_tap();
    }
}
