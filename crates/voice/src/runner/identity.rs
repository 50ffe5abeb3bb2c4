//! What a leg's stream is known by: random, so that streams do not collide and calls cannot be told apart by their names.

/// The random bytes of which a leg's SSRC, first sequence number, first timestamp and CNAME are made (RFC 3550, section 5.1; RFC 7022).
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity(pub(super) [u8; 22]);

impl Identity {
    /// Length of the CNAME.
    pub(super) const CNAME_BYTES: usize = 24;

    /// Our synchronisation source.
    pub(super) fn ssrc(self) -> u32 {
        u32::from_be_bytes(self.part::<0, 4>())
    }

    /// The first sequence number; the upper half is left free, so that an SRTP receiver that joins late cannot mistake the rollover.
    pub(super) fn sequence(self) -> u16 {
        u16::from_be_bytes(self.part::<4, 2>()) & 0x7fff
    }

    /// The first timestamp.
    pub(super) fn timestamp(self) -> u32 {
        u32::from_be_bytes(self.part::<6, 4>())
    }

    /// A number that spreads the legs' reports in time.
    pub(super) fn phase(self) -> u32 {
        u32::from_be_bytes(self.part::<8, 4>())
    }

    /// The canonical name: 96 random bits in hexadecimal (RFC 7022, section 4.2).
    pub(super) fn cname(self, out: &mut [u8; Self::CNAME_BYTES]) -> &str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied().unwrap_or_default();
        for (pair, byte) in out.chunks_exact_mut(2).zip(self.part::<10, 12>()) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte)]);
        }
        std::str::from_utf8(out).unwrap_or_default()
    }

    fn part<const FROM: usize, const LEN: usize>(self) -> [u8; LEN] {
        let mut part = [0; LEN];
        for (to, from) in part.iter_mut().zip(self.0.into_iter().skip(FROM)) {
            *to = from;
        }
        part
    }
}
