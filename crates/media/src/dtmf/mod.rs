//! Keys of a telephone: RFC 4733 events in and out, and tones in the audio for phones that know no events.
//!
//! Invariant: one press is one [`Digit`], however many packets or blocks it took.

mod detect;
mod receive;
mod send;

pub use detect::Detector;
pub use receive::EventReceiver;
pub use send::{EventPacket, EventSender};

/// A key that was pressed and released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    /// `0`-`9`, `*`, `#`, `A`-`D`.
    pub symbol: char,
    /// How long it was held, in milliseconds.
    pub duration_ms: u32,
}

/// The sixteen keys in the order of their event codes (RFC 4733, table 3).
const SYMBOLS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];
/// Tones of the keypad's rows and columns, in hertz (ITU-T Q.23).
const ROWS_HZ: [u16; 4] = [697, 770, 852, 941];
const COLUMNS_HZ: [u16; 4] = [1_209, 1_336, 1_477, 1_633];
const KEYPAD: [[char; 4]; 4] = [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

/// The event code of a key.
#[must_use]
pub fn event_code(symbol: char) -> Option<u8> {
    let symbol = symbol.to_ascii_uppercase();
    SYMBOLS.iter().position(|&known| known == symbol).map(|code| code as u8)
}

/// The key of an event code; None for events that are no keys (flash, tones).
#[must_use]
pub fn symbol(event_code: u8) -> Option<char> {
    SYMBOLS.get(usize::from(event_code)).copied()
}

/// The two tones of a key, in hertz.
#[must_use]
pub fn tone_pair(symbol: char) -> Option<(u16, u16)> {
    let symbol = symbol.to_ascii_uppercase();
    let rows = KEYPAD.iter().zip(ROWS_HZ);
    rows.into_iter().find_map(|(row, low)| {
        let keys = row.iter().zip(COLUMNS_HZ);
        keys.into_iter().find_map(|(&key, high)| (key == symbol).then_some((low, high)))
    })
}
