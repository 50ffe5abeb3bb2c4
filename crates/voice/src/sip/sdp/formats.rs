//! Payload types and what they stand for.
//!
//! Invariant: a number once agreed keeps its meaning for the whole session (RFC 3264 §8.3.2).

use media::codec::CodecKind;
use sdp_types::Media;

/// Our payload types for formats that have no static one.
const OPUS: u8 = 96;
const EVENTS_8000: u8 = 101;
const EVENTS_48000: u8 = 102;
/// The numbers that have no fixed meaning (RFC 3551 §6).
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;

/// A stream's format: a codec or events, by payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format<T> {
    pub(super) payload_type: u8,
    pub(super) kind: T,
}

/// The formats of a description, and all numbers that have had a meaning.
#[derive(Clone, Debug, Default)]
pub(super) struct Formats {
    pub(super) codecs: Vec<Format<CodecKind>>,
    pub(super) events: Vec<Format<u32>>,
    pub(super) taken: Vec<u8>,
}

impl Formats {
    /// Codecs in this order, and the events that go with them. What has a number keeps it.
    pub(super) fn offer(&self, kinds: impl Iterator<Item = CodecKind>) -> Self {
        let mut offer = Self { taken: self.taken.clone(), ..Self::default() };
        for kind in kinds {
            let own = if kind == CodecKind::Opus { OPUS } else { kind.payload_type() };
            offer.codecs.extend(number(&self.codecs, &mut offer.taken, kind, own));
        }
        let opus = offer.codecs.iter().any(|format| format.kind == CodecKind::Opus);
        for (kind, own) in [(8_000, EVENTS_8000), (48_000, EVENTS_48000)] {
            if kind == 8_000 || opus {
                offer.events.extend(number(&self.events, &mut offer.taken, kind, own));
            }
        }
        offer
    }

    /// Adds what an earlier description said and this one does not gainsay.
    pub(super) fn remember(&mut self, earlier: &Self) {
        keep(&mut self.codecs, &earlier.codecs, &self.taken);
        keep(&mut self.events, &earlier.events, &self.taken);
        for payload_type in &earlier.taken {
            if !self.taken.contains(payload_type) {
                self.taken.push(*payload_type);
            }
        }
    }
}

fn keep<T: Copy + PartialEq>(formats: &mut Vec<Format<T>>, earlier: &[Format<T>], taken: &[u8]) {
    for format in earlier {
        if !taken.contains(&format.payload_type) && !formats.iter().any(|known| known.kind == format.kind) {
            formats.push(*format);
        }
    }
}

/// The number of a format: the one it has, else our own, else the first that is free.
fn number<T: Copy + PartialEq>(known: &[Format<T>], taken: &mut Vec<u8>, kind: T, own: u8) -> Option<Format<T>> {
    if let Some(format) = known.iter().find(|format| format.kind == kind) {
        return Some(*format);
    }
    let payload_type = std::iter::once(own).chain(DYNAMIC).find(|payload_type| !taken.contains(payload_type))?;
    taken.push(payload_type);
    Some(Format { payload_type, kind })
}

/// The payload types of a stream, in its order.
pub(super) fn payload_types(media: &Media) -> impl Iterator<Item = u8> + '_ {
    media.fmt.split_ascii_whitespace().filter_map(|text| text.parse().ok()).filter(|payload_type| *payload_type < 128)
}

/// The formats of a stream that we know, in its order.
pub(super) fn read(media: &Media) -> (Vec<Format<CodecKind>>, Vec<Format<u32>>) {
    let (mut codecs, mut events) = (Vec::new(), Vec::new());
    for payload_type in payload_types(media) {
        let map = media.get_attribute_values("rtpmap").flatten().find_map(|value| {
            let (number, encoding) = value.trim().split_once(' ')?;
            (number.parse() == Ok(payload_type)).then(|| encoding.trim())
        });
        let Some(encoding) = map else {
            codecs.extend(CodecKind::from_static_payload_type(payload_type).map(|kind| Format { payload_type, kind }));
            continue;
        };
        let mut parts = encoding.split('/');
        let (Some(name), Some(clock)) = (parts.next(), parts.next().and_then(|clock| clock.trim().parse::<u32>().ok()))
        else {
            continue;
        };
        if name.eq_ignore_ascii_case("telephone-event") {
            events.push(Format { payload_type, kind: clock });
        } else if let Some(kind) = CodecKind::from_name(name).filter(|kind| kind.clock_rate() == clock) {
            codecs.push(Format { payload_type, kind });
        }
    }
    (codecs, events)
}
