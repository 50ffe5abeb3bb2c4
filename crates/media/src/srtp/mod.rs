//! SRTP with AES in counter mode and HMAC-SHA1 (RFC 3711), keyed by SDES (RFC 4568).
//!
//! Everything happens in the caller's buffer. Invariant: a packet that does not authenticate changes
//! no state, and one that was accepted is never accepted again.

mod rollover;
mod sdes;

pub use sdes::SdesLine;

use std::fmt;

use aes::{Aes128, cipher::KeyInit};
use ctr::{
    Ctr128BE, CtrCore,
    cipher::{InnerIvInit, StreamCipher},
};
use hmac::{Hmac, Mac};
use sha1::Sha1;

use crate::rtp;
use rollover::Streams;

/// Bytes that protection may add to a packet: SRTCP's index and tag.
pub const MAX_OVERHEAD_BYTES: usize = INDEX_BYTES + LONG_TAG_BYTES;
/// Bytes of master key and master salt together.
pub const KEYING_BYTES: usize = KEY_BYTES + SALT_BYTES;

const KEY_BYTES: usize = 16;
const SALT_BYTES: usize = 14;
const AUTH_KEY_BYTES: usize = 20;
const LONG_TAG_BYTES: usize = 10;
const SHORT_TAG_BYTES: usize = 4;
/// The SRTCP index with its encryption bit.
const INDEX_BYTES: usize = 4;
/// What of an RTCP packet stays readable: its first header and SSRC.
const RTCP_CLEAR_BYTES: usize = 8;
const ENCRYPTED_BIT: u32 = 1 << 31;

/// Crypto suite of an `a=crypto` line (RFC 4568, section 6.2). SRTCP has the long tag in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80`
    AesCm128HmacSha1_80,
    /// `AES_CM_128_HMAC_SHA1_32`
    AesCm128HmacSha1_32,
}

impl Suite {
    const fn tag_bytes(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 => LONG_TAG_BYTES,
            Self::AesCm128HmacSha1_32 => SHORT_TAG_BYTES,
        }
    }
}

/// Master key and salt. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys(pub [u8; KEYING_BYTES]);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// Why a packet or a line was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// The line cannot be read, or asks for what we do not do (an unknown suite, MKI, unencrypted
    /// streams): take another line.
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

/// One direction of a leg's SRTP and SRTCP: protects what we send, or unprotects what we hear.
pub struct Srtp {
    tag_bytes: usize,
    rtp: SessionKeys,
    rtcp: SessionKeys,
    rtp_streams: Streams,
    rtcp_streams: Streams,
    next_rtcp_index: u32,
}

/// What RFC 3711, section 4.3 derives of the master key.
struct SessionKeys {
    cipher: Aes128,
    salt: [u8; SALT_BYTES],
    mac: Hmac<Sha1>,
}

impl fmt::Debug for Srtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Srtp").field("tag_bytes", &self.tag_bytes).finish_non_exhaustive()
    }
}

impl Srtp {
    /// For the keys of one side's `a=crypto` line.
    #[must_use]
    pub fn new(suite: Suite, keys: &Keys) -> Self {
        Self {
            tag_bytes: suite.tag_bytes(),
            rtp: SessionKeys::derive(keys, 0),
            rtcp: SessionKeys::derive(keys, 3),
            rtp_streams: Streams::default(),
            rtcp_streams: Streams::default(),
            next_rtcp_index: 0,
        }
    }

    /// Encrypts and signs the RTP packet in `buffer[..len]`; its new length.
    ///
    /// The buffer needs [`MAX_OVERHEAD_BYTES`] of room behind the packet.
    pub fn protect(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let packet = buffer.get(..len).ok_or(SrtpError::BufferTooSmall)?;
        let (header, sequence, ssrc) = read_rtp(packet)?;
        let total = len + self.tag_bytes;
        let buffer = buffer.get_mut(..total).ok_or(SrtpError::BufferTooSmall)?;
        let (packet, tag) = buffer.split_at_mut(len);
        let index = self.rtp_streams.guess(ssrc, sequence);
        self.rtp.encrypt(ssrc, index, packet.get_mut(header..).unwrap_or_default());
        let mac = self.rtp.sign(packet, &rollover_bytes(index));
        copy_truncated(tag, &mac.finalize().into_bytes());
        self.rtp_streams.accept(ssrc, index);
        Ok(total)
    }

    /// Checks and decrypts an RTP packet in place; its new length.
    pub fn unprotect(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let len = packet.len().checked_sub(self.tag_bytes).ok_or(SrtpError::Malformed)?;
        let (packet, tag) = packet.split_at_mut(len);
        let (header, sequence, ssrc) = read_rtp(packet)?;
        let index = self.rtp_streams.guess(ssrc, sequence);
        if self.rtp_streams.is_replay(ssrc, index) {
            return Err(SrtpError::Replay);
        }
        let mac = self.rtp.sign(packet, &rollover_bytes(index));
        mac.verify_truncated_left(tag).map_err(|_| SrtpError::Authentication)?;
        self.rtp.encrypt(ssrc, index, packet.get_mut(header..).unwrap_or_default());
        self.rtp_streams.accept(ssrc, index);
        Ok(len)
    }

    /// As [`Srtp::protect`], for a compound RTCP packet.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let packet = buffer.get(..len).ok_or(SrtpError::BufferTooSmall)?;
        let ssrc = read_rtcp(packet)?;
        let signed = len + INDEX_BYTES;
        let total = signed + LONG_TAG_BYTES;
        let buffer = buffer.get_mut(..total).ok_or(SrtpError::BufferTooSmall)?;
        let index = self.next_rtcp_index;
        self.next_rtcp_index = (index + 1) & !ENCRYPTED_BIT;
        let (packet, tag) = buffer.split_at_mut(signed);
        let body = packet.get_mut(RTCP_CLEAR_BYTES..len).unwrap_or_default();
        self.rtcp.encrypt(ssrc, index.into(), body);
        let trailer = packet.get_mut(len..).unwrap_or_default();
        copy_truncated(trailer, &(index | ENCRYPTED_BIT).to_be_bytes());
        copy_truncated(tag, &self.rtcp.sign(packet, &[]).finalize().into_bytes());
        Ok(total)
    }

    /// As [`Srtp::unprotect`], for a compound RTCP packet.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let signed = packet.len().checked_sub(LONG_TAG_BYTES).ok_or(SrtpError::Malformed)?;
        let len = signed.checked_sub(INDEX_BYTES).ok_or(SrtpError::Malformed)?;
        let (packet, tag) = packet.split_at_mut(signed);
        let trailer = packet.last_chunk::<INDEX_BYTES>().ok_or(SrtpError::Malformed)?;
        let trailer = u32::from_be_bytes(*trailer);
        let index = u64::from(trailer & !ENCRYPTED_BIT);
        let ssrc = read_rtcp(packet.get(..len).unwrap_or_default())?;
        if self.rtcp_streams.is_replay(ssrc, index) {
            return Err(SrtpError::Replay);
        }
        let mac = self.rtcp.sign(packet, &[]);
        mac.verify_truncated_left(tag).map_err(|_| SrtpError::Authentication)?;
        if trailer & ENCRYPTED_BIT != 0 {
            let body = packet.get_mut(RTCP_CLEAR_BYTES..len).unwrap_or_default();
            self.rtcp.encrypt(ssrc, index, body);
        }
        self.rtcp_streams.accept(ssrc, index);
        Ok(len)
    }
}

impl SessionKeys {
    /// RFC 3711, section 4.3, with a key derivation rate of zero. `label` is the first of three.
    fn derive(keys: &Keys, label: u8) -> Self {
        let (master, master_salt) = split(&keys.0);
        let master = Aes128::new(&master.into());
        let generate = |label: u8, out: &mut [u8]| {
            let mut iv = [0; 16];
            for (iv, salt) in iv.iter_mut().zip(master_salt) {
                *iv = salt;
            }
            // The label stands above the 48-bit index, which is zero (section 4.3.1).
            iv[7] ^= label;
            keystream(&master, iv, out);
        };
        let (mut key, mut auth, mut salt) = ([0; KEY_BYTES], [0; AUTH_KEY_BYTES], [0; SALT_BYTES]);
        generate(label, &mut key);
        generate(label + 1, &mut auth);
        generate(label + 2, &mut salt);
        // HMAC takes keys of a whole block; a shorter one is filled with zeros (RFC 2104).
        let mut block = hmac::digest::Key::<Hmac<Sha1>>::default();
        for (place, byte) in block.iter_mut().zip(auth) {
            *place = byte;
        }
        Self { cipher: Aes128::new(&key.into()), salt, mac: Hmac::new(&block) }
    }

    /// Encrypts, or decrypts: counter mode is its own inverse (section 4.1.1).
    fn encrypt(&self, ssrc: u32, index: u64, body: &mut [u8]) {
        let mut iv = [0; 16];
        for (iv, salt) in iv.iter_mut().zip(self.salt) {
            *iv = salt;
        }
        for (iv, byte) in iv.iter_mut().skip(4).zip(ssrc.to_be_bytes()) {
            *iv ^= byte;
        }
        let [_, _, index @ ..] = index.to_be_bytes();
        for (iv, byte) in iv.iter_mut().skip(8).zip(index) {
            *iv ^= byte;
        }
        keystream(&self.cipher, iv, body);
    }

    fn sign(&self, packet: &[u8], rollover: &[u8]) -> Hmac<Sha1> {
        let mut mac = self.mac.clone();
        mac.update(packet);
        mac.update(rollover);
        mac
    }
}

/// Adds the key stream that begins at `iv` to `bytes`.
fn keystream(cipher: &Aes128, iv: [u8; 16], bytes: &mut [u8]) {
    let mut stream = Ctr128BE::from_core(CtrCore::inner_iv_init(cipher, &iv.into()));
    stream.apply_keystream(bytes);
}

fn split(keying: &[u8; KEYING_BYTES]) -> ([u8; KEY_BYTES], [u8; SALT_BYTES]) {
    let (mut key, mut salt) = ([0; KEY_BYTES], [0; SALT_BYTES]);
    let all = key.iter_mut().chain(&mut salt);
    for (place, byte) in all.zip(keying) {
        *place = *byte;
    }
    (key, salt)
}

/// Where the payload begins, the sequence number and the SSRC.
fn read_rtp(packet: &[u8]) -> Result<(usize, u16, u32), SrtpError> {
    let header = rtp::header_bytes(packet).ok_or(SrtpError::Malformed)?;
    match packet {
        [_, _, s0, s1, _, _, _, _, c0, c1, c2, c3, ..] => {
            Ok((header, u16::from_be_bytes([*s0, *s1]), u32::from_be_bytes([*c0, *c1, *c2, *c3])))
        }
        _ => Err(SrtpError::Malformed),
    }
}

/// The SSRC of the first part.
fn read_rtcp(packet: &[u8]) -> Result<u32, SrtpError> {
    match packet {
        [first, _, _, _, c0, c1, c2, c3, ..] if first >> 6 == 2 => Ok(u32::from_be_bytes([*c0, *c1, *c2, *c3])),
        _ => Err(SrtpError::Malformed),
    }
}

/// The rollover counter as it is signed.
fn rollover_bytes(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// Fills `out` with the beginning of `bytes`.
fn copy_truncated(out: &mut [u8], bytes: &[u8]) {
    for (place, byte) in out.iter_mut().zip(bytes) {
        *place = *byte;
    }
}

#[cfg(test)]
mod tests;
