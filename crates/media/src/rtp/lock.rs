//! Symmetric RTP: where the other party's media really comes from, and who else may not speak in its place.
//!
//! Invariant: a packet in the clear counts only from the announced address, or from the IPs that [`Trust`] names. Once locked, no other
//! address is believed while the right one speaks, except the announced one.

use std::net::{IpAddr, SocketAddr};

use super::Packet;

/// Packets in sequence that an address not named in the SDP must send before it is believed.
const PROBATION_PACKETS: u8 = 3;
/// A locked source may be replaced after this much silence: a phone behind a router that changed its port. Microseconds.
const SILENCE_US: u64 = 2_000_000;

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the party's: use it.
    Accept,
    /// It is the party's, and from now on its media address is the packet's source: send there.
    Moved,
    /// Not (yet) believed: drop it.
    Refuse,
}

/// Who, beside the announced address, may turn out to be the party. Ports are guessable, so a stranger's packets prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Any port of the announced IP, and of the one that its signalling comes from: a phone behind a router.
    Signalling(Option<IpAddr>),
    /// Any address: its packets authenticate (SRTP).
    Keys,
}

/// Learns and then keeps the party's media address.
#[derive(Debug)]
pub struct SourceLock {
    /// The address of the party's SDP.
    expected: Option<SocketAddr>,
    trust: Trust,
    locked: Option<(SocketAddr, u64)>,
    candidate: Option<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    from: SocketAddr,
    ssrc: u32,
    next_sequence: u16,
    packets: u8,
}

impl SourceLock {
    /// Nothing heard yet; `expected` is the address in the party's SDP.
    #[must_use]
    pub fn new(expected: Option<SocketAddr>, trust: Trust) -> Self {
        Self { expected, trust, locked: None, candidate: None }
    }

    /// The party announced an address (anew): learn again when it is another one.
    pub fn expect(&mut self, expected: SocketAddr, trust: Trust) {
        if self.expected == Some(expected) {
            self.trust = trust;
        } else {
            *self = Self::new(Some(expected), trust);
        }
    }

    /// Where media is sent: the locked source, else the announced address.
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        self.locked.map(|(from, _)| from).or(self.expected)
    }

    /// Judges a packet that has parsed (and, with SRTP, authenticated).
    pub fn judge(&mut self, now_us: u64, from: SocketAddr, packet: &Packet<'_>) -> Verdict {
        if let Some((locked, heard_us)) = &mut self.locked
            && *locked == from
        {
            *heard_us = now_us;
            return Verdict::Accept;
        }
        if self.expected != Some(from) {
            let locked = self.locked.is_some_and(|(_, heard_us)| now_us.saturating_sub(heard_us) < SILENCE_US);
            if locked || !self.may_be(from.ip()) || !self.passes_probation(from, packet) {
                return Verdict::Refuse;
            }
        }
        let moved = self.destination() != Some(from);
        self.locked = Some((from, now_us));
        self.candidate = None;
        if moved { Verdict::Moved } else { Verdict::Accept }
    }

    /// Whether the party may be at an address that it did not announce.
    fn may_be(&self, ip: IpAddr) -> bool {
        match self.trust {
            Trust::Keys => true,
            Trust::Signalling(known) => known == Some(ip) || self.expected.map(|expected| expected.ip()) == Some(ip),
        }
    }

    fn passes_probation(&mut self, from: SocketAddr, packet: &Packet<'_>) -> bool {
        let follows = |candidate: &Candidate| {
            candidate.from == from && candidate.ssrc == packet.ssrc && candidate.next_sequence == packet.sequence
        };
        let packets =
            self.candidate.as_ref().filter(|candidate| follows(candidate)).map_or(0, |candidate| candidate.packets) + 1;
        self.candidate =
            Some(Candidate { from, ssrc: packet.ssrc, next_sequence: packet.sequence.wrapping_add(1), packets });
        packets >= PROBATION_PACKETS
    }
}
