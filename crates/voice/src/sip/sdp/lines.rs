//! Our stream as the lines of a description, and whose wish about its direction prevails.

use std::fmt::Write as _;

use media::codec::CodecKind;
use media::srtp::SdesLine;

use super::formats::{Format, Formats};
use crate::runner::Direction;

/// Our stream, as its lines.
pub(super) fn media_lines(
    port: u16,
    proto: &str,
    formats: &Formats,
    crypto: &[SdesLine],
    direction: Direction,
) -> String {
    let mut text = format!("m=audio {port} {proto}");
    let codecs = formats.codecs.iter().map(|format| format.payload_type);
    for payload_type in codecs.chain(formats.events.iter().map(|format| format.payload_type)) {
        let _ = write!(text, " {payload_type}");
    }
    text.push_str("\r\n");
    for Format { payload_type, kind } in &formats.codecs {
        let (name, rate) = (kind.name(), kind.clock_rate());
        let channels = if *kind == CodecKind::Opus { "/2" } else { "" };
        let _ = write!(text, "a=rtpmap:{payload_type} {name}/{rate}{channels}\r\n");
        if *kind == CodecKind::Opus {
            let _ = write!(text, "a=fmtp:{payload_type} useinbandfec=1\r\n");
        }
    }
    for Format { payload_type, kind } in &formats.events {
        let _ = write!(text, "a=rtpmap:{payload_type} telephone-event/{kind}\r\na=fmtp:{payload_type} 0-15\r\n");
    }
    for line in crypto {
        let _ = write!(text, "a=crypto:{}\r\n", line.format());
    }
    let _ = write!(text, "a=ptime:20\r\na={}\r\n", direction_text(direction));
    text
}

/// What we answer to the peer's wish, seen from us (RFC 3264 §6.1).
pub(super) fn answer_direction(theirs: Direction, holding: bool) -> Direction {
    let own = if holding { Direction::SendOnly } else { Direction::SendRecv };
    restrict(own, reverse(theirs))
}

pub(super) fn reverse(direction: Direction) -> Direction {
    match direction {
        Direction::SendOnly => Direction::RecvOnly,
        Direction::RecvOnly => Direction::SendOnly,
        same => same,
    }
}

pub(super) fn restrict(a: Direction, b: Direction) -> Direction {
    Direction::of(a.sends() && b.sends(), a.receives() && b.receives())
}

fn direction_text(direction: Direction) -> &'static str {
    match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    }
}
