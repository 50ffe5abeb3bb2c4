//! The agreed media of one leg: who the other side is, what we hear of it and what we say to it.
//!
//! Invariant: only packets of the locked source, and with SRTP only authentic ones, have any effect; everything else on the port is ignored.

use std::net::SocketAddr;
use std::sync::Arc;

use media::dtmf::{Digit, EventPacket, EventReceiver};
use media::rtcp::{self, Told};
use media::rtp::{self, Packet, Rewriter, Sender, Source, SourceLock, Trust, Verdict};
use media::srtp::{MAX_OVERHEAD_BYTES, SdesLine, Srtp};

use super::browser::{Opened, Peer, Site};
use super::identity::Identity;
use super::poll::Urgency;
use super::remote::{Direction, Protection, Remote, SrtpKeys};

/// A browser's consent to be sent to ends so long after its last check (RFC 7675, section 5.1), microseconds.
const CONSENT_US: u64 = 30_000_000;

/// Where datagrams go out. The sockets implement it; tests write them down.
pub(super) trait Wire {
    /// Sends from the leg's RTP socket.
    fn rtp(&mut self, slot: usize, to: SocketAddr, datagram: &[u8]);
    /// Sends from the leg's RTCP socket.
    fn rtcp(&mut self, slot: usize, to: SocketAddr, datagram: &[u8]);
    /// Sends from the socket that all browsers' legs share.
    fn shared(&mut self, to: SocketAddr, datagram: &[u8]);
}

/// What a datagram turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing of ours.
    Nothing,
    /// Audio; an RTP packet of `len` bytes now stands at the buffer's start, in the clear.
    Audio { len: usize },
    /// Part of a key press; so does its packet.
    Event { len: usize, digit: Option<Digit> },
}

/// The agreed media of a leg.
pub(super) struct Line {
    remote: Remote,
    guard: Guard,
    lock: SourceLock,
    source: Source,
    sender: Sender,
    events: Option<EventReceiver>,
    /// Where RTCP came from, behind a router that changed the port.
    rtcp_from: Option<SocketAddr>,
    /// A report of ours has gone out.
    reported: bool,
    last_sent_us: u64,
    /// Since when neither side holds the other.
    talking_since_us: u64,
}

/// What stands between the wire and the packets.
enum Guard {
    None,
    Sdes(Box<Crypto>),
    Browser(Box<Peer>),
}

impl Guard {
    fn new(now_us: u64, protection: &Protection, site: &Arc<Site>) -> Self {
        match protection {
            Protection::None => Self::None,
            Protection::Sdes(keys) => Self::Sdes(Crypto::new(keys)),
            Protection::Dtls(terms) => Self::Browser(Box::new(Peer::new(now_us, site.clone(), terms))),
        }
    }

    /// Takes a later agreement; what it leaves as it was goes on.
    fn renew(&mut self, now_us: u64, protection: &Protection, site: &Arc<Site>) {
        match (protection, &mut *self) {
            (Protection::Sdes(keys), Self::Sdes(crypto)) => crypto.renew(keys),
            (Protection::Dtls(terms), Self::Browser(peer)) => peer.renew(now_us, terms),
            _ => *self = Self::new(now_us, protection, site),
        }
    }
}

struct Crypto {
    keys: SrtpKeys,
    outbound: Srtp,
    inbound: Srtp,
}

impl Crypto {
    fn new(keys: &SrtpKeys) -> Box<Self> {
        Box::new(Self {
            outbound: Srtp::new(keys.local.suite, &keys.local.keys),
            inbound: Srtp::new(keys.remote.suite, &keys.remote.keys),
            keys: keys.clone(),
        })
    }

    /// Takes new keys. A direction whose key stays goes on where it was: to start over would use its key stream twice.
    fn renew(&mut self, keys: &SrtpKeys) {
        let same = |one: &SdesLine, other: &SdesLine| one.suite == other.suite && one.keys == other.keys;
        if !same(&keys.local, &self.keys.local) {
            self.outbound = Srtp::new(keys.local.suite, &keys.local.keys);
        }
        if !same(&keys.remote, &self.keys.remote) {
            self.inbound = Srtp::new(keys.remote.suite, &keys.remote.keys);
        }
        self.keys.clone_from(keys);
    }
}

/// Whose packets are believed.
fn trust(remote: &Remote) -> Trust {
    if remote.protection.proves() { Trust::Keys } else { Trust::Signalling(remote.signalling) }
}

impl Line {
    /// The first agreement.
    pub(super) fn new(now_us: u64, identity: Identity, remote: Remote, site: &Arc<Site>) -> Self {
        let clock_rate = remote.codec.clock_rate();
        let ssrc = match &remote.protection {
            Protection::Dtls(terms) => terms.ssrc,
            Protection::None | Protection::Sdes(_) => identity.ssrc(),
        };
        Self {
            guard: Guard::new(now_us, &remote.protection, site),
            lock: SourceLock::new(Some(remote.rtp), trust(&remote)),
            source: Source::new(clock_rate),
            sender: Sender::new(ssrc, identity.sequence(), identity.timestamp(), clock_rate),
            events: remote.events.map(|events| EventReceiver::new(events.clock_rate)),
            rtcp_from: None,
            reported: false,
            last_sent_us: now_us,
            talking_since_us: now_us,
            remote,
        }
    }

    /// A later agreement. What it leaves as it was goes on without a break: the stream's numbers, the SRTP state, the learned address.
    pub(super) fn renew(&mut self, now_us: u64, remote: Remote, site: &Arc<Site>) {
        self.guard.renew(now_us, &remote.protection, site);
        if remote.codec.clock_rate() != self.remote.codec.clock_rate() {
            self.sender.set_clock_rate(remote.codec.clock_rate());
            self.source = Source::new(remote.codec.clock_rate());
        }
        if remote.events != self.remote.events {
            self.events = remote.events.map(|events| EventReceiver::new(events.clock_rate));
        }
        if remote.rtp != self.remote.rtp {
            self.rtcp_from = None;
        }
        if self.remote.direction != Direction::SendRecv {
            self.talking_since_us = now_us;
        }
        self.lock.expect(remote.rtp, trust(&remote));
        self.remote = remote;
    }

    /// What was agreed.
    pub(super) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Whether we may send audio now.
    pub(super) fn sends(&self) -> bool {
        self.remote.direction.sends()
    }

    /// Whether what we send arrives: a browser hears nothing before its handshake is through.
    pub(super) fn is_through(&self) -> bool {
        match &self.guard {
            Guard::None | Guard::Sdes(_) => true,
            Guard::Browser(peer) => peer.is_connected(),
        }
    }

    /// Whether a datagram on the RTP port is RTCP.
    pub(super) fn carries_rtcp(&self, datagram: &[u8]) -> bool {
        self.remote.rtcp_mux && rtp::is_rtcp(datagram)
    }

    /// Takes a datagram of the RTP port, decrypting it in place; `urgency` is how it was read. `audio` is shown the audio packets.
    pub(super) fn hear(
        &mut self,
        now_us: u64,
        from: SocketAddr,
        datagram: &mut [u8],
        urgency: Urgency,
        audio: impl FnOnce(&Packet<'_>),
    ) -> Heard {
        let len = match &mut self.guard {
            // What comes of a browser has been opened.
            Guard::None | Guard::Browser(_) => datagram.len(),
            Guard::Sdes(crypto) => match crypto.inbound.unprotect(datagram) {
                Ok(len) => len,
                Err(_) => return Heard::Nothing,
            },
        };
        let is_browser = matches!(self.guard, Guard::Browser(_));
        let Ok(packet) = Packet::parse(datagram.get(..len).unwrap_or_default()) else {
            return Heard::Nothing;
        };
        let is_audio = packet.payload_type == self.remote.payload_in;
        let is_event = self.remote.events.is_some_and(|events| events.payload_in == packet.payload_type);
        if !is_audio && !is_event {
            // Comfort noise and the like: a sign of life, no more.
            if is_browser || self.lock.destination() == Some(from) {
                self.source.heard(now_us, &packet);
            }
            return Heard::Nothing;
        }
        // ICE says where a browser is.
        if !is_browser && self.lock.judge(now_us, from, &packet) == Verdict::Refuse {
            return Heard::Nothing;
        }
        match urgency {
            Urgency::Prompt => self.source.heard(now_us, &packet),
            Urgency::Patient => self.source.counted(now_us, &packet),
        }
        if is_audio {
            audio(&packet);
            return Heard::Audio { len };
        }
        let digit = self.events.as_mut().and_then(|events| events.receive(now_us, packet.timestamp, packet.payload));
        Heard::Event { len, digit }
    }

    /// Opens a datagram that came to the browsers' socket, in `buffer[..len]`: a packet of theirs then stands there in
    /// the clear.
    pub(super) fn open(
        &mut self,
        now_us: u64,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
        wire: &mut impl Wire,
    ) -> Opened {
        let Guard::Browser(peer) = &mut self.guard else {
            return Opened::Nothing;
        };
        let opened = peer.hear(now_us, from, buffer, len, wire);
        // Checks of a browser whose handshake never ends are no life: nothing will ever be heard of it.
        if opened == Opened::Check && peer.is_connected() {
            self.source.alive(now_us);
        }
        opened
    }

    /// Does what is due between us and a browser.
    pub(super) fn attend(&mut self, now_us: u64, wire: &mut impl Wire) {
        if let Guard::Browser(peer) = &mut self.guard {
            peer.attend(now_us, wire);
        }
    }

    /// The name by which a browser's checks know this leg.
    pub(super) fn ufrag(&self) -> Option<&Arc<str>> {
        match &self.remote.protection {
            Protection::Dtls(terms) => Some(&terms.local.ufrag),
            Protection::None | Protection::Sdes(_) => None,
        }
    }

    /// Takes a datagram of the RTCP port.
    pub(super) fn hear_rtcp(&mut self, now_us: u64, from: SocketAddr, datagram: &mut [u8]) {
        let known = self.lock.destination().map(|to| to.ip()) == Some(from.ip()) || from == self.rtcp_destination();
        if !known {
            return;
        }
        let len = match &mut self.guard {
            Guard::None => datagram.len(),
            Guard::Sdes(crypto) => match crypto.inbound.unprotect_rtcp(datagram) {
                Ok(len) => len,
                Err(_) => return,
            },
            Guard::Browser(_) => return,
        };
        let source = &mut self.source;
        let told = rtcp::parse(datagram.get(..len).unwrap_or_default(), |told| match told {
            Told::Sender(info) => source.reported(now_us, &info),
            Told::Received(_) => source.alive(now_us),
            Told::Bye(_) => {}
        });
        if told.is_ok() {
            self.rtcp_from = Some(from);
            self.source.alive(now_us);
        }
    }

    /// A key whose end packets were lost.
    pub(super) fn poll_digit(&mut self, now_us: u64) -> Option<Digit> {
        self.events.as_mut()?.poll(now_us)
    }

    /// Whether the other side holds a key down right now.
    pub(super) fn is_pressed(&self) -> bool {
        self.events.as_ref().is_some_and(EventReceiver::is_pressed)
    }

    /// Whether nothing has been heard for too long of a leg that was answered at `answered_us`. While either side holds
    /// the other that is said of browsers alone: their checks go on, and are their consent to be sent to (RFC 7675), for
    /// which we, being ICE-lite, do not ask.
    pub(super) fn is_lost(&self, now_us: u64, answered_us: u64, timeout_us: u64) -> bool {
        let timeout_us = match (self.remote.direction, &self.guard) {
            (Direction::SendRecv, _) => timeout_us,
            (_, Guard::Browser(_)) => timeout_us.max(CONSENT_US),
            (_, Guard::None | Guard::Sdes(_)) => return false,
        };
        let heard_us = self.source.last_heard_us().unwrap_or_default();
        let since_us = heard_us.max(self.talking_since_us).max(answered_us);
        now_us.saturating_sub(since_us) >= timeout_us
    }

    /// When we last sent RTP.
    pub(super) fn last_sent_us(&self) -> u64 {
        self.last_sent_us
    }

    /// Numbers a frame of our own: `buffer` holds a header's room and `payload_len` bytes of coded audio; the packet's length.
    pub(super) fn frame(&mut self, now_us: u64, buffer: &mut [u8], payload_len: usize) -> Option<usize> {
        let len = rtp::HEADER_BYTES + payload_len;
        let packet = buffer.get_mut(..len)?;
        let ticks = self.remote.codec.frame_ticks();
        self.sender.frame(now_us, self.remote.payload_out, ticks, packet).ok()?;
        Some(len)
    }

    /// Numbers a packet of the bridged leg in place; its length, none when it comes too late.
    pub(super) fn relay(&mut self, now_us: u64, rewriter: &mut Rewriter, packet: &mut [u8]) -> Option<usize> {
        rewriter.rewrite(&mut self.sender, now_us, self.remote.payload_out, packet).ok()
    }

    /// Closes the gap that a packet of the bridged leg leaves which is not relayed.
    pub(super) fn leave_out(&mut self, rewriter: &mut Rewriter, packet: &[u8]) {
        if let Ok(packet) = Packet::parse(packet) {
            rewriter.leave_out(&mut self.sender, &packet);
        }
    }

    /// Writes a packet of a key press into `buffer`; its length. None when the other side takes no events.
    pub(super) fn event(&mut self, now_us: u64, event: &EventPacket, buffer: &mut [u8]) -> Option<usize> {
        let payload_type = self.remote.events?.payload_out;
        self.sender.event(now_us, payload_type, event, buffer).ok()
    }

    /// Sends the packet in `buffer[..len]`; behind it the buffer has [`MAX_OVERHEAD_BYTES`] of room.
    pub(super) fn send(&mut self, now_us: u64, slot: usize, buffer: &mut [u8], len: usize, wire: &mut impl Wire) {
        self.last_sent_us = now_us;
        let len = match &mut self.guard {
            Guard::None => len,
            Guard::Sdes(crypto) => match crypto.outbound.protect(buffer, len) {
                Ok(len) => len,
                Err(_) => return,
            },
            Guard::Browser(peer) => return peer.send(now_us, buffer.get(..len).unwrap_or_default(), wire),
        };
        if let (Some(to), Some(datagram)) = (self.lock.destination(), buffer.get(..len)) {
            wire.rtp(slot, to, datagram);
        }
    }

    /// Sends an RTCP report, and BYE when `leaving`. Whoever never said anything leaves without a word (RFC 3550,
    /// section 6.3.7).
    pub(super) fn report(
        &mut self,
        now_us: u64,
        ntp: u64,
        identity: Identity,
        leaving: bool,
        slot: usize,
        wire: &mut impl Wire,
    ) {
        if let Guard::Browser(peer) = &mut self.guard {
            // It reports by itself.
            if leaving {
                peer.leave(now_us, wire);
            }
            return;
        }
        let mut buffer = [0; rtcp::MAX_REPORT_BYTES + MAX_OVERHEAD_BYTES];
        let mut cname = [0; Identity::CNAME_BYTES];
        let info = self.sender.report(now_us, ntp);
        if leaving && info.is_none() && !self.reported {
            return;
        }
        self.reported = true;
        let block = self.source.report(now_us);
        let Ok(len) = rtcp::write_report(
            self.sender.ssrc(),
            info.as_ref(),
            block.as_ref(),
            identity.cname(&mut cname),
            leaving,
            &mut buffer,
        ) else {
            return;
        };
        let len = match &mut self.guard {
            Guard::Sdes(crypto) => match crypto.outbound.protect_rtcp(&mut buffer, len) {
                Ok(len) => len,
                Err(_) => return,
            },
            Guard::None | Guard::Browser(_) => len,
        };
        let Some(datagram) = buffer.get(..len) else {
            return;
        };
        if self.remote.rtcp_mux {
            if let Some(to) = self.lock.destination() {
                wire.rtp(slot, to, datagram);
            }
        } else {
            wire.rtcp(slot, self.rtcp_destination(), datagram);
        }
    }

    fn rtcp_destination(&self) -> SocketAddr {
        let next_port = || {
            let rtp = self.lock.destination().unwrap_or(self.remote.rtp);
            SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1))
        };
        self.rtcp_from.or(self.remote.rtcp).unwrap_or_else(next_port)
    }
}

#[cfg(test)]
mod tests {
    use media::codec::CodecKind;
    use media::srtp::{Keys, SdesLine, Suite};

    use super::super::remote::{Fingerprint, Handshake, IceCredentials};
    use super::*;

    /// RTCP as it went out.
    #[derive(Default)]
    struct Sent(Vec<Vec<u8>>);

    impl Wire for Sent {
        fn rtp(&mut self, _: usize, _: SocketAddr, _: &[u8]) {}

        fn rtcp(&mut self, _: usize, _: SocketAddr, datagram: &[u8]) {
            self.0.push(datagram.to_vec());
        }

        fn shared(&mut self, _: SocketAddr, _: &[u8]) {}
    }

    fn sdes(tag: u32, key: u8) -> SdesLine {
        SdesLine { tag, suite: Suite::AesCm128HmacSha1_80, keys: Keys([key; 30]) }
    }

    fn remote(local: SdesLine, remote: SdesLine) -> Remote {
        Remote {
            rtp: SocketAddr::from(([192, 0, 2, 1], 4_000)),
            signalling: None,
            rtcp: None,
            rtcp_mux: false,
            codec: CodecKind::Pcmu,
            payload_in: 0,
            payload_out: 0,
            events: None,
            direction: Direction::SendRecv,
            protection: Protection::Sdes(SrtpKeys { local, remote }),
        }
    }

    #[test]
    fn who_holds_may_be_silent_but_a_browsers_checks_must_go_on() {
        let (identity, site) = (Identity([7; 22]), Site::closed());
        let credentials = |name: &str| IceCredentials { ufrag: name.into(), password: "0123456789012345678901".into() };
        let terms = Handshake {
            local: credentials("ours"),
            remote: credentials("theirs"),
            fingerprint: Fingerprint { hash: "sha-256".to_owned(), digest: vec![7; 32] },
            is_client: false,
            ssrc: 9,
        };
        let phone = remote(sdes(1, 1), sdes(1, 2));
        let browser = Remote { protection: Protection::Dtls(Box::new(terms)), ..phone.clone() };
        let lost = |remote: &Remote, direction, now_s: u64, timeout_s: u64| {
            let line = Line::new(0, identity, Remote { direction, ..remote.clone() }, &site);
            line.is_lost(now_s * 1_000_000, 1_000_000, timeout_s * 1_000_000)
        };
        for remote in [&phone, &browser] {
            assert!(!lost(remote, Direction::SendRecv, 5, 5) && lost(remote, Direction::SendRecv, 6, 5));
        }
        for direction in [Direction::RecvOnly, Direction::SendOnly, Direction::Inactive] {
            assert!(!lost(&phone, direction, 1_000, 5), "{direction:?}");
            assert!(!lost(&browser, direction, 30, 5) && lost(&browser, direction, 31, 5), "{direction:?}");
            assert!(!lost(&browser, direction, 60, 60) && lost(&browser, direction, 61, 60), "{direction:?}");
        }
    }

    #[test]
    fn a_key_that_stays_is_not_used_from_the_start_again() {
        let (identity, site) = (Identity([7; 22]), Site::closed());
        let mut line = Line::new(0, identity, remote(sdes(1, 1), sdes(1, 2)), &site);
        let mut sent = Sent::default();
        let mut speaker = Srtp::new(Suite::AesCm128HmacSha1_80, &Keys([3; 30]));
        let mut packet = vec![0; 12 + MAX_OVERHEAD_BYTES];
        packet[0] = 0x80;
        packet[3] = 9;
        let len = speaker.protect(&mut packet, 12).unwrap();
        let heard = |line: &mut Line| {
            let from = SocketAddr::from(([192, 0, 2, 1], 4_000));
            line.hear(0, from, &mut packet[..len].to_vec(), Urgency::Prompt, |_| {}) != Heard::Nothing
        };
        let mut report = |line: &mut Line| line.report(0, 0, identity, false, 0, &mut sent);
        report(&mut line);
        assert!(!heard(&mut line), "of a key that is not agreed yet");
        line.renew(0, remote(sdes(2, 1), sdes(2, 3)), &site);
        report(&mut line);
        assert!(heard(&mut line), "the peer's new key opens");
        line.renew(0, remote(sdes(1, 4), sdes(1, 3)), &site);
        report(&mut line);
        assert!(!heard(&mut line), "a packet that was taken is not taken twice");
        let mut first = Srtp::new(Suite::AesCm128HmacSha1_80, &Keys([1; 30]));
        let mut second = Srtp::new(Suite::AesCm128HmacSha1_80, &Keys([4; 30]));
        let opens = |srtp: &mut Srtp, datagram: &[u8]| srtp.unprotect_rtcp(&mut datagram.to_vec()).is_ok();
        assert!(opens(&mut first, &sent.0[0]));
        assert!(opens(&mut first, &sent.0[1]), "with the next number, not the first one again");
        assert!(opens(&mut second, &sent.0[2]), "our new key protects");
    }
}
