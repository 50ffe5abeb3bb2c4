//! The lines by which browsers find and trust each other: ICE (RFC 8839), DTLS (RFC 8842), BUNDLE (RFC 9143).
//!
//! We are ICE-lite: our candidates stand in each description, the peer's are not needed. Invariant: our credentials change
//! exactly when the peer's do (an ICE restart), and who begins the handshake stays as long as the certificates do.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use kernel::Ids;
use sdp_types::{Media, Session as Description};

use super::stream::attribute;
use crate::runner::{Fingerprint, Handshake, IceCredentials};

/// Type preference of a host candidate (RFC 8445 §5.1.2.1).
const HOST_PREFERENCE: u32 = 126;
/// Bytes of a user name fragment and of a password, before they become text: 64 and 144 bits (RFC 8445 §5.3 asks for 24 and 128).
const UFRAG_BYTES: usize = 8;
const PASSWORD_BYTES: usize = 18;
/// Lengths of the peer's (RFC 8839 §5.4).
const UFRAG_CHARS: std::ops::RangeInclusive<usize> = 4..=256;
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 22..=256;
/// The name of our stream when we offer it first.
const OWN_MID: &str = "0";

/// What a browser's leg is reached by.
#[derive(Clone, Debug)]
pub(crate) struct IceSide {
    /// Addresses of the media thread's port, the best first.
    candidates: Vec<SocketAddr>,
    fingerprint: Fingerprint,
    credentials: IceCredentials,
    ssrc: u32,
    cname: String,
    mid: String,
}

/// What a peer says of itself.
#[derive(Clone, Debug)]
pub(super) struct PeerIce {
    credentials: IceCredentials,
    fingerprint: Fingerprint,
    setup: Setup,
}

/// `a=setup` (RFC 4145): who begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setup {
    Either,
    Peer,
    We,
}

impl IceSide {
    /// A leg that receives at `candidates`, with a certificate of that fingerprint.
    pub(crate) fn new(candidates: Vec<SocketAddr>, fingerprint: Fingerprint, ids: &Ids) -> Self {
        Self {
            candidates,
            fingerprint,
            credentials: fresh(ids),
            ssrc: u32::from_be_bytes(ids.bytes()).max(1),
            cname: text(&ids.bytes::<12>()),
            mid: OWN_MID.to_owned(),
        }
    }

    /// The address that stands where a description wants one.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.candidates.first().copied()
    }

    /// What follows from an offer of the peer's: a restart is answered with a restart.
    pub(super) fn answer(&self, peer: &PeerIce, agreed: Option<&Handshake>, ids: &Ids) -> Handshake {
        let restarts = agreed.is_some_and(|agreed| agreed.remote != peer.credentials);
        let local = if restarts { fresh(ids) } else { self.credentials.clone() };
        Handshake { local, ..self.accept(peer, agreed) }
    }

    /// What follows from an answer of the peer's.
    pub(super) fn accept(&self, peer: &PeerIce, agreed: Option<&Handshake>) -> Handshake {
        let same = agreed.filter(|agreed| agreed.fingerprint == peer.fingerprint);
        Handshake {
            local: self.credentials.clone(),
            remote: peer.credentials.clone(),
            fingerprint: peer.fingerprint.clone(),
            is_client: same.map_or(peer.setup == Setup::We, |agreed| agreed.is_client),
            ssrc: self.ssrc,
        }
    }

    /// It is agreed: later descriptions say the same.
    pub(super) fn settle(&mut self, handshake: &Handshake, mid: Option<&str>) {
        self.credentials = handshake.local.clone();
        if let Some(mid) = mid {
            mid.clone_into(&mut self.mid);
        }
    }

    /// The session's lines.
    pub(super) fn session_lines(&self, mid: Option<&str>) -> String {
        format!("a=group:BUNDLE {}\r\na=ice-lite\r\n", mid.unwrap_or(&self.mid))
    }

    /// The lines of an offer's stream.
    pub(super) fn offer_lines(&self) -> String {
        self.lines(&self.credentials, "actpass", &self.mid)
    }

    /// The lines of an answer's stream.
    pub(super) fn answer_lines(&self, handshake: &Handshake, mid: Option<&str>) -> String {
        let setup = if handshake.is_client { "active" } else { "passive" };
        self.lines(&handshake.local, setup, mid.unwrap_or(&self.mid))
    }

    fn lines(&self, credentials: &IceCredentials, setup: &str, mid: &str) -> String {
        let IceCredentials { ufrag, password } = credentials;
        let Fingerprint { hash, digest } = &self.fingerprint;
        let digest: Vec<_> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        let mut lines = format!(
            "a=rtcp-mux\r\na=mid:{mid}\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\na=fingerprint:{hash} {}\r\na=setup:{setup}\r\n",
            digest.join(":")
        );
        for (index, candidate) in (0_u32..).zip(&self.candidates) {
            let priority = (HOST_PREFERENCE << 24) | ((65_535 - index.min(65_535)) << 8) | 255;
            let (ip, port) = (candidate.ip(), candidate.port());
            let _ = write!(lines, "a=candidate:{} 1 udp {priority} {ip} {port} typ host\r\n", index + 1);
        }
        let (ssrc, cname) = (self.ssrc, &self.cname);
        let _ = write!(lines, "a=end-of-candidates\r\na=msid:tandem audio\r\na=ssrc:{ssrc} cname:{cname}\r\n");
        lines
    }
}

impl PeerIce {
    /// `None` when something that the handshake needs is not said, or in a way that we do not speak.
    pub(super) fn read(description: &Description, media: &Media) -> Option<Self> {
        let said = |name: &'static str| {
            attribute(media, name).or_else(|| description.get_first_attribute_value(name).flatten()).map(str::trim)
        };
        let ufrag = said("ice-ufrag").filter(|text| UFRAG_CHARS.contains(&text.len()))?;
        let password = said("ice-pwd").filter(|text| PASSWORD_CHARS.contains(&text.len()))?;
        let setup = match said("setup") {
            Some("active") => Setup::Peer,
            Some("passive") => Setup::We,
            Some("actpass") | None => Setup::Either,
            Some(_) => return None,
        };
        let of_media: Vec<_> = media.get_attribute_values("fingerprint").flatten().collect();
        let of_session = description.attributes.iter().filter(|attribute| attribute.attribute == "fingerprint");
        let of_session: Vec<_> = of_session.filter_map(|attribute| attribute.value.as_deref()).collect();
        let all = if of_media.is_empty() { of_session } else { of_media };
        Some(Self {
            credentials: IceCredentials { ufrag: Arc::from(ufrag), password: Arc::from(password) },
            fingerprint: all.into_iter().find_map(read_fingerprint)?,
            setup,
        })
    }
}

/// `sha-256 4A:AD:...`; what is made by a hash function that we do not check is none.
fn read_fingerprint(value: &str) -> Option<Fingerprint> {
    let (hash, digest) = value.trim().split_once(' ')?;
    if !hash.eq_ignore_ascii_case("sha-256") {
        return None;
    }
    let digest: Result<Vec<u8>, _> = digest.trim().split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
    let digest = digest.ok().filter(|digest| digest.len() == 32)?;
    Some(Fingerprint { hash: hash.to_ascii_lowercase(), digest })
}

fn fresh(ids: &Ids) -> IceCredentials {
    IceCredentials {
        ufrag: text(&ids.bytes::<UFRAG_BYTES>()).into(),
        password: text(&ids.bytes::<PASSWORD_BYTES>()).into(),
    }
}

/// Bytes as hexadecimal digits: all of them are ice-chars.
fn text(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
