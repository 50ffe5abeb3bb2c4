//! One audio stream of a peer's description, read.

use std::net::{IpAddr, SocketAddr};

use media::codec::CodecKind;
use media::srtp::SdesLine;
use sdp_types::{Media, Session as Description};

use super::formats::{self, Format};
use super::ice::PeerIce;
use super::restrict;
use crate::runner::Direction;

/// How a stream is protected, by the name of its transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// RTP/AVP.
    Plain,
    /// RTP/SAVP: keys stand in the description.
    Keyed,
    /// UDP/TLS/RTP/SAVP: keys come of a handshake.
    Dtls,
}

impl Profile {
    pub(super) fn read(proto: &str) -> Option<Self> {
        match proto {
            "RTP/AVP" | "RTP/AVPF" => Some(Self::Plain),
            "RTP/SAVP" | "RTP/SAVPF" => Some(Self::Keyed),
            "UDP/TLS/RTP/SAVP" | "UDP/TLS/RTP/SAVPF" => Some(Self::Dtls),
            _ => None,
        }
    }
}

/// One audio stream of the peer's description.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) rtp: SocketAddr,
    pub(super) rtcp: Option<SocketAddr>,
    pub(super) rtcp_mux: bool,
    /// What we know of its formats, in its order.
    pub(super) codecs: Vec<Format<CodecKind>>,
    pub(super) events: Vec<Format<u32>>,
    /// As the peer sees it.
    pub(super) direction: Direction,
    pub(super) profile: Profile,
    /// How a browser is found and trusted.
    pub(super) ice: Option<PeerIce>,
    pub(super) crypto: Vec<SdesLine>,
    /// All its payload types, known or not.
    pub(super) taken: Vec<u8>,
}

impl Stream {
    /// `None` when it is no RTP audio, is refused (port 0) or has no usable address.
    pub(super) fn read(description: &Description, media: &Media) -> Option<Self> {
        let profile = Profile::read(&media.proto)?;
        if media.media != "audio" || media.port == 0 {
            return None;
        }
        let connection = media.connections.first().or(description.connection.as_ref())?;
        let address = connection.connection_address.split('/').next()?;
        let ip: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
        let mut direction = own_direction(description, media);
        if ip.is_unspecified() && profile != Profile::Dtls {
            // The hold of RFC 2543: send nowhere. A browser that has not looked for its addresses yet means nothing by it.
            direction = restrict(direction, Direction::SendOnly);
        }
        let (codecs, events) = formats::read(media);
        Some(Self {
            rtp: SocketAddr::new(ip, media.port),
            rtcp: rtcp_address(media, ip),
            rtcp_mux: media.has_attribute("rtcp-mux"),
            codecs,
            events,
            taken: formats::payload_types(media).collect(),
            direction,
            profile,
            ice: PeerIce::read(description, media),
            crypto: media
                .get_attribute_values("crypto")
                .flatten()
                .filter_map(|value| SdesLine::parse(value).ok())
                .collect(),
        })
    }

    /// The events that go with a codec: on its clock when there are, else at 8000 Hz. With Opus
    /// never both, or browsers send malformed ones.
    pub(super) fn events_for(&self, codec: CodecKind) -> Option<Format<u32>> {
        let on = |clock: u32| self.events.iter().find(|format| format.kind == clock).copied();
        on(codec.clock_rate()).or_else(|| on(8_000))
    }
}

pub(super) fn attribute<'a>(media: &'a Media, name: &'a str) -> Option<&'a str> {
    media.get_first_attribute_value(name).flatten()
}

/// The direction of a stream: its own, else the session's, else both ways.
fn own_direction(description: &Description, media: &Media) -> Direction {
    let read = |attributes: &[sdp_types::Attribute]| {
        attributes.iter().find_map(|attribute| match attribute.attribute.as_str() {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::RecvOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        })
    };
    read(&media.attributes).or_else(|| read(&description.attributes)).unwrap_or(Direction::SendRecv)
}

/// `a=rtcp:53020 [IN IP4 126.16.64.4]` (RFC 3605).
fn rtcp_address(media: &Media, rtp: IpAddr) -> Option<SocketAddr> {
    let value = attribute(media, "rtcp")?;
    let mut words = value.split_ascii_whitespace();
    let port = words.next()?.parse().ok()?;
    let ip = words.nth(2).and_then(|ip| ip.parse().ok()).unwrap_or(rtp);
    (ip.is_ipv4() == rtp.is_ipv4()).then(|| SocketAddr::new(ip, port))
}
