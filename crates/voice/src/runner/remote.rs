//! What was agreed with the other side about media: the outcome of an offer and its answer, without SDP.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

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
    /// How it is kept from strangers.
    pub protection: Protection,
}

/// How media is kept from strangers.
#[derive(Clone, Debug)]
pub enum Protection {
    /// Not at all.
    None,
    /// SRTP with keys from the session descriptions.
    Sdes(SrtpKeys),
    /// SRTP with keys from a DTLS handshake, over addresses found by ICE: what browsers speak.
    Dtls(Box<Handshake>),
}

impl Protection {
    /// Whether a packet that is let in proves by itself whose it is.
    pub(super) fn proves(&self) -> bool {
        !matches!(self, Self::None)
    }
}

/// What both sides have told each other about ICE (RFC 8445) and DTLS-SRTP (RFC 5763).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// By which the other side's checks know us.
    pub local: IceCredentials,
    /// Its own. Other ones than before are an ICE restart.
    pub remote: IceCredentials,
    /// Of its certificate. Another one than before is another connection.
    pub fingerprint: Fingerprint,
    /// We begin the handshake (`a=setup:active` is ours).
    pub is_client: bool,
    /// Our synchronisation source, as announced.
    pub ssrc: u32,
}

/// One side's ICE credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// `a=ice-ufrag`: the name.
    pub ufrag: Arc<str>,
    /// `a=ice-pwd`: the password.
    pub password: Arc<str>,
}

impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IceCredentials({})", self.ufrag)
    }
}

/// `a=fingerprint` (RFC 8122).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The hash function, in lower case.
    pub hash: String,
    /// The certificate's digest by it.
    pub digest: Vec<u8>,
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
    /// The direction in which we send, or not, and receive, or not.
    #[must_use]
    pub const fn of(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

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
