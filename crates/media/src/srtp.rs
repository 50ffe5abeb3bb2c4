//! SRTP keyed by SDES (RFC 3711, RFC 4568).

use std::fmt;

/// Bytes that protection may add to a packet: SRTCP index and tag.
pub const MAX_OVERHEAD_BYTES: usize = 14;

/// Crypto suite of an `a=crypto` line (RFC 4568, section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// AES_CM_128_HMAC_SHA1_80
    AesCm128HmacSha1_80,
    /// AES_CM_128_HMAC_SHA1_32
    AesCm128HmacSha1_32,
}

/// Master key and salt. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys(pub [u8; 30]);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// One `a=crypto` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdesLine {
    /// Its number; the answer repeats the chosen one.
    pub tag: u32,
    /// The suite.
    pub suite: Suite,
    /// What the line's author sends with.
    pub keys: Keys,
}

/// Why a packet or a line was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// The line cannot be read, or asks for what we do not do (an unknown suite, MKI, unencrypted streams): take another line.
    #[error("unusable crypto line")]
    Line,
    /// Not an RTP or RTCP packet.
    #[error("not an RTP packet")]
    Malformed,
    /// The authentication tag is wrong.
    #[error("authentication failed")]
    Authentication,
    /// The packet was seen before, or is too old to tell.
    #[error("replayed packet")]
    Replay,
    /// No room for the tag.
    #[error("the output buffer is too small")]
    BufferTooSmall,
}

impl SdesLine {
    /// Reads the value of an `a=crypto` attribute: `1 AES_CM_128_HMAC_SHA1_80 inline:...`.
    pub fn parse(value: &str) -> Result<Self, SrtpError> {
        todo!("{value}")
    }

    /// Writes the attribute's value.
    #[must_use]
    pub fn format(&self) -> String {
        todo!()
    }
}

/// One direction of a leg's SRTP.
pub struct Srtp {}

impl Srtp {
    /// For the given keys.
    #[must_use]
    pub fn new(suite: Suite, keys: &Keys) -> Self {
        todo!("{suite:?} {keys:?}")
    }

    /// Encrypts and signs the packet in `buffer[..len]`; its new length. The buffer needs [`MAX_OVERHEAD_BYTES`] of room behind it.
    pub fn protect(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        todo!("{} {len}", buffer.len())
    }

    /// Checks and decrypts a packet in place; its new length.
    pub fn unprotect(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        todo!("{}", packet.len())
    }

    /// As [`Srtp::protect`], for RTCP.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        todo!("{} {len}", buffer.len())
    }

    /// As [`Srtp::unprotect`], for RTCP.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        todo!("{}", packet.len())
    }
}
