//! Reliable provisional responses (RFC 3262), the side that sends them.

use bytes::Bytes;

use crate::sip::message::{Message, Method, Name};
use crate::sip::transaction::{T1_MS, TIMEOUT_MS};

/// When our provisional responses are sent reliably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reliability {
    /// Never: the caller does not know how.
    None,
    /// Those that carry SDP, whose loss would matter: the caller can.
    Described(u32),
    /// All: the caller requires it.
    All(u32),
}

impl Reliability {
    pub(super) fn of(invite: &Message) -> Self {
        if invite.lists(Name::Require, "100rel") {
            Self::All(0)
        } else if invite.lists(Name::Supported, "100rel") {
            Self::Described(0)
        } else {
            Self::None
        }
    }

    pub(super) fn applies(self, with_sdp: bool) -> bool {
        match self {
            Self::None => false,
            Self::Described(_) => with_sdp,
            Self::All(_) => true,
        }
    }

    /// The next RSeq; they start at 1, which RFC 3262 §3 allows.
    pub(super) fn next_rseq(&mut self) -> u32 {
        match self {
            Self::None => 0,
            Self::Described(last) | Self::All(last) => {
                *last += 1;
                *last
            }
        }
    }
}

/// A reliable response whose PRACK has not come.
#[derive(Debug)]
pub(super) struct Pending {
    rseq: u32,
    invite_seq: u32,
    bytes: Bytes,
    /// It carried our offer, so the PRACK carries the answer.
    pub(super) offered: bool,
    interval_ms: i64,
    resend_at: i64,
    lost_at: i64,
}

impl Pending {
    pub(super) fn new(rseq: u32, invite_seq: u32, bytes: Bytes, offered: bool, now: i64) -> Self {
        Self { rseq, invite_seq, bytes, offered, interval_ms: T1_MS, resend_at: now + T1_MS, lost_at: now + TIMEOUT_MS }
    }

    /// Whether a PRACK's RAck names it: `RSeq CSeq-number method`.
    pub(super) fn is_acknowledged(&self, prack: &Message) -> bool {
        let mut words = prack.field(Name::RAck).unwrap_or_default().split_ascii_whitespace();
        let rseq = words.next().and_then(|word| word.parse().ok());
        let seq = words.next().and_then(|word| word.parse().ok());
        (rseq, seq, words.next()) == (Some(self.rseq), Some(self.invite_seq), Some(Method::Invite.as_str()))
    }

    pub(super) fn next(&self) -> i64 {
        self.resend_at.min(self.lost_at)
    }

    pub(super) fn is_lost(&self, now: i64) -> bool {
        now >= self.lost_at
    }

    /// The bytes, when it is time to send them again; pauses double without a ceiling (RFC 3262 §3).
    pub(super) fn repeat(&mut self, now: i64) -> Option<Bytes> {
        if now < self.resend_at {
            return None;
        }
        self.interval_ms *= 2;
        self.resend_at = now + self.interval_ms;
        Some(self.bytes.clone())
    }
}
