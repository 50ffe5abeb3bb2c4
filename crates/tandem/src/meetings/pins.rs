//! What the two dial in with.
//!
//! Invariant: a PIN is one person's of one meeting. Whoever comes in somebody's place gets another, in the commit of that
//! change.

use kernel::Write;

use super::model::{Meeting, Pins, Role};
use super::{Meetings, store};

/// Digits of a PIN.
pub(super) const PIN_DIGITS: usize = 8;

impl Meetings {
    /// The PINs of a new meeting.
    pub(super) fn new_pins(&self) -> Pins {
        let caller = self.pin_unlike(&[]);
        Pins { receiver: self.pin_unlike(&[&caller]), caller }
    }

    /// Who was replaced comes in no more: the PINs of those that came instead, and their rows.
    pub(super) fn renew_pins(&self, before: &Meeting, meeting: &mut Meeting) -> Vec<Write> {
        let mut writes = Vec::new();
        for role in Role::BOTH {
            if meeting.party(role).uid != before.party(role).uid {
                writes.push(store::forget_pin_write(meeting, role));
                *meeting.pins.of_mut(role) = self.pin_unlike(&Role::BOTH.map(|role| meeting.pins.of(role)));
                writes.push(store::pin_write(meeting, role));
            }
        }
        writes
    }

    fn pin_unlike(&self, known: &[&str]) -> String {
        loop {
            let pin = self.kernel().ids.digits(PIN_DIGITS);
            if !known.contains(&pin.as_str()) {
                return pin;
            }
        }
    }
}
