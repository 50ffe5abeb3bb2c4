//! What was agreed with the other side about media: the outcome of an offer and its answer, without SDP.

use std::net::{IpAddr, SocketAddr};

use media::codec::CodecKind;
use media::srtp::SdesLine;

/// The agreed media of a leg. A later offer and answer replaces it as a whole.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Where the other side says it receives RTP; where it really sends from is learned (symmetric RTP).
    pub rtp: SocketAddr,
    /// Where its signalling comes from: RTP from there is its own too. A phone behind a router knows no better address than its inner one.
    pub signalling: Option<IpAddr>,
    /// Where it receives RTCP; none is the port after `rtp`'s.
    pub rtcp: Option<SocketAddr>,
    /// RTP and RTCP share one port (RFC 5761).
    pub rtcp_mux: bool,
    /// What both speak.
    pub codec: CodecKind,
    /// The payload type by which it sends `codec` to us.
    pub payload_in: u8,
    /// The payload type by which we send `codec` to it.
    pub payload_out: u8,
    /// Keys as RFC 4733 events, if agreed.
    pub events: Option<TelephoneEvents>,
    /// Who sends, as seen from us.
    pub direction: Direction,
    /// SRTP by SDES keys, if agreed.
    pub srtp: Option<SrtpKeys>,
}

/// The agreed `telephone-event` format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvents {
    /// The payload type towards us.
    pub payload_in: u8,
    /// The payload type from us.
    pub payload_out: u8,
    /// Its clock, in Hz: the unit of an event's duration.
    pub clock_rate: u32,
}

/// Who sends media, as seen from us (RFC 3264, section 5.1). A leg on which we do not send is held by the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both.
    SendRecv,
    /// Only we.
    SendOnly,
    /// Only the other side.
    RecvOnly,
    /// Nobody.
    Inactive,
}

impl Direction {
    /// Whether we send.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the other side sends.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// The two lines of an SDES exchange (RFC 4568). Neither shows its key in logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtpKeys {
    /// Ours: protects what we send.
    pub local: SdesLine,
    /// Theirs: opens what we receive.
    pub remote: SdesLine,
}
