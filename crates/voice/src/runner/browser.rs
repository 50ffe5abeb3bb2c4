//! The far end of a browser's leg: ICE-lite, DTLS and SRTP by str0m, which is fed datagrams and time.
//!
//! Invariants: after each change all that str0m has to say is taken out before the next one; a bad packet is the end of
//! the packet, not of the leg.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use media::rtp::{self, Packet};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::format::{Codec, FormatParams};
use str0m::ice::StunMessage;
use str0m::media::{Frequency, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, Event, IceCreds, Input, Output, Rtc};

use super::line::Wire;
use super::remote::{Fingerprint, Handshake, IceCredentials};

/// Sources that a browser may send from, one after the other; with the next one that is authentic the oldest is
/// forgotten.
const MAX_SOURCES: usize = 4;
/// What str0m may say after one change; more than that is a loop.
const MAX_OUTPUTS: usize = 512;
/// The payload types that RFC 3551 (section 6) and RFC 5761 (section 4) leave to session descriptions.
const DYNAMIC: [std::ops::RangeInclusive<u8>; 2] = [96..=127, 35..=63];
/// The clocks that are not the usual one of a dynamic payload type, Hz.
const STATIC: [(u8, Codec); 3] = [(0, Codec::PCMU), (8, Codec::PCMA), (9, Codec::G722)];

/// What all browsers' legs of a thread share.
pub(super) struct Site {
    certificate: DtlsCert,
    crypto: Arc<CryptoProvider>,
    /// The ports that datagrams come to, IPv4's and IPv6's.
    ports: [Option<u16>; 2],
    start: Instant,
}

impl Site {
    /// Of a thread whose time began at `start` and that receives at `local`.
    pub(super) fn new(certificate: DtlsCert, local: &[SocketAddr], start: Instant) -> Arc<Self> {
        let port = |v4: bool| local.iter().find(|local| local.is_ipv4() == v4).map(SocketAddr::port);
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        Arc::new(Self { certificate, crypto, ports: [port(true), port(false)], start })
    }

    /// Of a thread that has no browsers.
    #[cfg(test)]
    pub(super) fn closed() -> Arc<Self> {
        Self::new(certificate().unwrap(), &[], super::timepiece::Timepiece::start().instant(0))
    }

    /// Where str0m believes to receive what came from `remote`: it knows one address a family, whatever the socket is
    /// bound to.
    fn local(&self, remote: SocketAddr) -> Option<SocketAddr> {
        let [v4, v6] = self.ports;
        match remote {
            SocketAddr::V4(_) => v4.map(|port| (Ipv4Addr::LOCALHOST, port).into()),
            SocketAddr::V6(_) => v6.map(|port| (Ipv6Addr::LOCALHOST, port).into()),
        }
    }

    fn instant(&self, now_us: u64) -> Instant {
        self.start + Duration::from_micros(now_us)
    }

    fn us(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }
}

/// A certificate for the handshakes of one server's life.
pub(super) fn certificate() -> Option<DtlsCert> {
    str0m::crypto::from_feature_flags().dtls_provider.generate_certificate()
}

/// By which browsers know a certificate of ours.
pub(super) fn fingerprint(of: &DtlsCert) -> Fingerprint {
    Fingerprint { hash: "sha-256".to_owned(), digest: Sha256::digest(&of.certificate).to_vec() }
}

/// What a datagram from a browser turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// Nothing for the layers above.
    Nothing,
    /// A check that proves that the browser is where it came from (RFC 7675).
    Check,
    /// An RTP packet of so many bytes, which now stands at the buffer's start, in the clear.
    Rtp(usize),
}

/// The far end of one leg.
pub(super) struct Peer {
    site: Arc<Site>,
    rtc: Rtc,
    terms: Handshake,
    /// The handshake is through.
    connected: bool,
    /// The last number that we sent, with its rollovers.
    sequence: Option<u64>,
    /// Sources of authentic packets, the oldest first.
    sources: Vec<u32>,
    /// Where audio came from last: that is where ours goes, sooner than ICE notices a change.
    heard_from: Option<SocketAddr>,
    due_us: u64,
}

impl Peer {
    /// Waits for the checks of a browser.
    pub(super) fn new(now_us: u64, site: Arc<Site>, terms: &Handshake) -> Self {
        let rtc = connect(now_us, &site, terms);
        Self {
            site,
            rtc,
            terms: terms.clone(),
            connected: false,
            sequence: None,
            sources: Vec::with_capacity(MAX_SOURCES + 1),
            heard_from: None,
            due_us: now_us,
        }
    }

    /// Takes a later agreement: an ICE restart goes on with the keys that there are, another certificate starts over.
    pub(super) fn renew(&mut self, now_us: u64, terms: &Handshake) {
        if terms.fingerprint != self.terms.fingerprint || terms.is_client != self.terms.is_client {
            *self = Self::new(now_us, self.site.clone(), terms);
            return;
        }
        let mut direct = self.rtc.direct_api();
        if terms.local != self.terms.local {
            direct.set_local_ice_credentials(credentials(&terms.local));
        }
        if terms.remote != self.terms.remote {
            direct.set_remote_ice_credentials(credentials(&terms.remote));
            // The browser looks for another way: where it was heard says nothing any more.
            self.heard_from = None;
        }
        self.terms = terms.clone();
        self.due_us = now_us;
    }

    /// Whether the handshake is through.
    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Takes a datagram in `buffer[..len]`.
    pub(super) fn hear(
        &mut self,
        now_us: u64,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
        wire: &mut impl Wire,
    ) -> Opened {
        let Some(local) = self.site.local(from) else {
            return Opened::Nothing;
        };
        let datagram = buffer.get(..len).unwrap_or_default();
        let is_check = is_stun(datagram);
        if is_check && !self.is_authentic(datagram) {
            return Opened::Nothing;
        }
        let newcomer = self.expect(now_us, datagram, wire);
        let received = match Receive::new(Protocol::Udp, from, local, datagram) {
            Ok(received) => Input::Receive(self.site.instant(now_us), received),
            Err(error) => {
                tracing::debug!(%from, %error, "a browser's datagram cannot be read");
                return Opened::Nothing;
            }
        };
        if is_check && !self.rtc.accepts(&received) {
            return Opened::Nothing;
        }
        if let Err(error) = self.rtc.handle_input(received) {
            tracing::debug!(%from, %error, "a browser's datagram is of no use");
        }
        let mut opened = if is_check { Opened::Check } else { Opened::Nothing };
        self.drain(now_us, wire, |packet| {
            if let Some(len) = write_clear(packet, buffer) {
                opened = Opened::Rtp(len);
            }
        });
        let is_proven = matches!(opened, Opened::Rtp(_));
        if is_proven {
            self.heard_from = Some(from);
        }
        if let Some(newcomer) = newcomer {
            self.judge(newcomer, is_proven);
        }
        opened
    }

    /// Whether a check knows the password. str0m takes one from the address that it sends to without a look.
    fn is_authentic(&self, datagram: &[u8]) -> bool {
        let password = self.terms.local.password.as_bytes();
        StunMessage::parse(datagram).is_ok_and(|check| check.verify(password, hmac_sha1))
    }

    /// Sends an RTP packet, which is in the clear; before the handshake is through it is lost.
    pub(super) fn send(&mut self, now_us: u64, packet: &[u8], wire: &mut impl Wire) {
        let Ok(packet) = Packet::parse(packet) else { return };
        if !self.connected || !self.rtc.is_alive() {
            return;
        }
        let sequence = extended(self.sequence, packet.sequence);
        self.sequence = Some(self.sequence.unwrap_or(0).max(sequence));
        let now = self.site.instant(now_us);
        let write = RtpWrite::new(packet.payload_type.into(), sequence.into(), packet.timestamp, now, packet.payload)
            .marker(packet.marker);
        if let Some(stream) = self.rtc.direct_api().stream_tx(&Ssrc::from(self.terms.ssrc)) {
            stream.write_rtp(write);
        }
        self.pass_time(now_us, wire);
    }

    /// Does what is due: repetitions of the handshake, reports.
    pub(super) fn attend(&mut self, now_us: u64, wire: &mut impl Wire) {
        if self.due_us <= now_us {
            self.pass_time(now_us, wire);
        }
    }

    /// Says goodbye (RTCP BYE and DTLS `close_notify`).
    pub(super) fn leave(&mut self, now_us: u64, wire: &mut impl Wire) {
        if let Err(error) = self.rtc.close() {
            tracing::debug!(%error, "a browser's connection does not close in order");
        }
        self.drain(now_us, wire, |_| {});
    }

    fn pass_time(&mut self, now_us: u64, wire: &mut impl Wire) {
        if let Err(error) = self.rtc.handle_input(Input::Timeout(self.site.instant(now_us))) {
            tracing::debug!(%error, "a browser's connection");
        }
        self.drain(now_us, wire, |_| {});
    }

    /// Takes out all that str0m has to say.
    fn drain(&mut self, now_us: u64, wire: &mut impl Wire, mut packet: impl FnMut(&RtpPacket)) {
        for _ in 0..MAX_OUTPUTS {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.due_us = self.site.us(at).max(now_us);
                    return;
                }
                Ok(Output::Transmit(transmit)) => {
                    let to = match self.heard_from {
                        Some(heard) if !is_stun(&transmit.contents) => heard,
                        _ => transmit.destination,
                    };
                    wire.shared(to, &transmit.contents);
                }
                Ok(Output::Event(Event::RtpPacket(received))) => packet(&received),
                Ok(Output::Event(Event::Connected)) => self.connected = true,
                // The browser has closed it: what were written now would only pile up.
                Ok(Output::Event(Event::Closed)) => self.connected = false,
                Ok(Output::Event(_)) => {}
                Err(error) => tracing::debug!(%error, "a browser's packet"),
            }
        }
        tracing::error!("a browser's connection does not come to rest");
        self.due_us = now_us + 1_000_000;
    }

    /// A source is announced to str0m when it speaks first; its number, when it is a new one.
    fn expect(&mut self, now_us: u64, datagram: &[u8], wire: &mut impl Wire) -> Option<u32> {
        let ssrc = source(datagram).filter(|ssrc| *ssrc != 0 && !self.sources.contains(ssrc))?;
        self.rtc.direct_api().expect_stream_rx(ssrc.into(), None, mid(), None).suppress_nack(true);
        self.drain(now_us, wire, |_| {});
        Some(ssrc)
    }

    /// A new source stays when what it said was authentic: whoever only invents sources drives none out.
    fn judge(&mut self, newcomer: u32, is_proven: bool) {
        let forgotten = if !is_proven {
            newcomer
        } else {
            self.sources.push(newcomer);
            if self.sources.len() <= MAX_SOURCES {
                return;
            }
            self.sources.remove(0)
        };
        self.rtc.direct_api().remove_stream_rx(forgotten.into());
    }
}

/// A connection that waits for a browser's checks.
fn connect(now_us: u64, site: &Site, terms: &Handshake) -> Rtc {
    let mut config = Rtc::builder()
        .set_crypto_provider(site.crypto.clone())
        .set_dtls_cert(site.certificate.clone())
        .set_ice_lite(true)
        .set_local_ice_credentials(credentials(&terms.local))
        .set_rtp_mode(true)
        .clear_codecs()
        .clear_extension_map();
    // What a number means is known above, and may change: str0m is only told that they all exist.
    let codecs = config.codec_config();
    for (number, codec) in STATIC {
        codecs.add_config(number.into(), None, codec, Frequency::EIGHT_KHZ, None, FormatParams::default());
    }
    for number in DYNAMIC.into_iter().flatten() {
        let (clock, channels) = (Frequency::FORTY_EIGHT_KHZ, Some(2));
        codecs.add_config(number.into(), None, Codec::Opus, clock, channels, FormatParams::default());
    }
    let mut rtc = config.build(site.instant(now_us));
    for local in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].map(|ip| SocketAddr::new(ip, 0)) {
        if let Some(candidate) = site.local(local).and_then(|local| Candidate::host(local, Protocol::Udp).ok()) {
            rtc.add_local_candidate(candidate);
        }
    }
    let mut direct = rtc.direct_api();
    direct.set_ice_controlling(false);
    direct.set_remote_ice_credentials(credentials(&terms.remote));
    direct.set_remote_fingerprint(str0m::config::Fingerprint {
        hash_func: terms.fingerprint.hash.clone(),
        bytes: terms.fingerprint.digest.clone(),
    });
    direct.declare_media(mid(), MediaKind::Audio);
    direct.declare_stream_tx(terms.ssrc.into(), None, mid(), None);
    if let Err(error) = direct.start_dtls(terms.is_client) {
        tracing::error!(%error, "a handshake with a browser does not begin");
    }
    rtc
}

/// str0m's name for the one stream that there is; it goes nowhere.
fn mid() -> Mid {
    Mid::from("0")
}

fn credentials(of: &IceCredentials) -> IceCreds {
    IceCreds { ufrag: of.ufrag.to_string(), pass: of.password.to_string() }
}

/// Whether a datagram is STUN (RFC 7983, section 7).
pub(super) fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram, [0..=3, ..])
}

/// What STUN's integrity is made of (RFC 8489, section 14.5).
fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("a key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The source of an RTP packet, protected or not.
fn source(datagram: &[u8]) -> Option<u32> {
    let is_rtp = matches!(datagram, [128..=191, ..]) && !rtp::is_rtcp(datagram);
    let bytes = datagram.get(8..12).filter(|_| is_rtp)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// The number nearest to the last one that ends so.
fn extended(last: Option<u64>, sequence: u16) -> u64 {
    let Some(last) = last else { return sequence.into() };
    let [.., high, low] = last.to_be_bytes();
    let step = sequence.wrapping_sub(u16::from_be_bytes([high, low])).cast_signed();
    last.saturating_add_signed(step.into())
}

/// Writes a packet without what only concerns the way here: extensions and padding.
fn write_clear(packet: &RtpPacket, buffer: &mut [u8]) -> Option<usize> {
    let header = &packet.header;
    let clear = Packet {
        marker: header.marker,
        payload_type: *header.payload_type,
        sequence: header.sequence_number,
        timestamp: header.timestamp,
        ssrc: *header.ssrc,
        payload: &packet.payload,
    };
    clear.write(buffer).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_beyond_their_rollover_and_back() {
        assert_eq!(extended(None, 65_535), 65_535);
        assert_eq!(extended(Some(65_535), 0), 65_536);
        assert_eq!(extended(Some(65_536), 65_535), 65_535);
        assert_eq!(extended(Some(200_000), 3_393), 200_001);
        assert_eq!(extended(Some(2), 65_535), 0, "never below the first");
    }

    /// Lets everything fall.
    struct Nowhere;

    impl Wire for Nowhere {
        fn rtp(&mut self, _: usize, _: SocketAddr, _: &[u8]) {}

        fn rtcp(&mut self, _: usize, _: SocketAddr, _: &[u8]) {}

        fn shared(&mut self, _: SocketAddr, _: &[u8]) {}
    }

    #[test]
    fn a_source_is_known_from_its_first_authentic_packet_on() {
        let start = super::super::timepiece::Timepiece::start().instant(0);
        let site = Site::new(certificate().unwrap(), &[([127, 0, 0, 1], 3_479).into()], start);
        let credentials = |name: &str| IceCredentials { ufrag: name.into(), password: "0123456789012345678901".into() };
        let fingerprint = Fingerprint { hash: "sha-256".to_owned(), digest: vec![7; 32] };
        let (local, remote) = (credentials("ours"), credentials("theirs"));
        let terms = Handshake { local, remote, fingerprint, is_client: false, ssrc: 9 };
        let mut peer = Peer::new(0, site, &terms);
        for ssrc in 1..=9_u8 {
            let mut datagram = [0x5a; 100];
            datagram[..12].copy_from_slice(&[128, 96, 0, 7, 0, 0, 0, 9, 0, 0, 0, ssrc]);
            let from = ([192, 0, 2, 1], 4_000).into();
            assert_eq!(peer.hear(0, from, &mut datagram, 72, &mut Nowhere), Opened::Nothing);
            assert!(peer.rtc.direct_api().stream_rx(&u32::from(ssrc).into()).is_none(), "{ssrc}");
        }
        assert!(peer.sources.is_empty());
        (11..=16).for_each(|ssrc| peer.judge(ssrc, true));
        peer.judge(17, false);
        assert_eq!(peer.sources, [13, 14, 15, 16], "the oldest make room, for those that are real");
    }

    #[test]
    fn what_comes_to_one_port_is_told_apart() {
        assert!(is_stun(&[0, 1, 0, 0]) && !is_stun(&[22, 254, 253]) && !is_stun(&[128, 111]));
        assert_eq!(source(&[128, 111, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]), Some(3));
        assert_eq!(source(&[128, 200, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]), None, "RTCP");
        assert_eq!(source(&[128, 111, 0, 1]), None, "too short");
    }
}
