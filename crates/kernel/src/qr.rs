//! QR codes as pictures: of a chat's link, of a phone that sets itself up.
//!
//! Invariant: black on white with the quiet zone that readers need (ISO/IEC 18004 section 6.3.8), whatever the colours
//! of the page around it.

use qrcodegen::{QrCode, QrCodeEcc};

/// White modules around the code.
const QUIET: i32 = 4;
/// Pixels of a module in a PNG.
const SCALE: i32 = 8;
/// Longest stored block of DEFLATE, in bytes (RFC 1951 section 3.2.4).
const MAX_STORED: usize = 65_535;
/// Largest sum that Adler-32 counts to (RFC 1950 section 9).
const ADLER: u32 = 65_521;

/// A text that is too long for a QR code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too long for a QR code")]
pub struct TooLong;

/// The code of a text.
pub struct Qr(QrCode);

impl std::fmt::Debug for Qr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What it says may be a secret.
        write!(f, "Qr({} modules)", self.0.size())
    }
}

impl Qr {
    /// The code of `text`, which survives 15 % of dirt.
    ///
    /// # Errors
    /// [`TooLong`] above about 2,300 bytes.
    pub fn of(text: &str) -> Result<Self, TooLong> {
        QrCode::encode_text(text, QrCodeEcc::Medium).map(Self).map_err(|_| TooLong)
    }

    /// Modules of a side, the quiet zone among them.
    fn side(&self) -> i32 {
        self.0.size() + 2 * QUIET
    }

    /// As SVG: a module is one unit.
    #[must_use]
    pub fn svg(&self) -> String {
        let (side, size) = (self.side(), self.0.size());
        let mut path = String::new();
        for y in 0..size {
            for x in (0..size).filter(|x| self.0.get_module(*x, y)) {
                path += &format!("M{} {}h1v1h-1z", x + QUIET, y + QUIET);
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
             <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path fill=\"#000\" d=\"{path}\"/></svg>"
        )
    }

    /// As PNG with one bit a pixel: every reader of pictures takes it.
    #[must_use]
    pub fn png(&self) -> Vec<u8> {
        let pixels = self.side() * SCALE;
        let mut rows = Vec::new();
        for y in 0..pixels {
            rows.push(0); // no filter
            for byte in 0..(pixels + 7) / 8 {
                let bit = |bit: i32| u8::from(self.is_white(byte * 8 + bit, y)) << (7 - bit);
                rows.push((0..8).map(bit).sum());
            }
        }
        let side = pixels.cast_unsigned().to_be_bytes();
        // One bit, grey, the only methods there are, not interlaced.
        let header = [&side[..], &side[..], &[1, 0, 0, 0, 0]].concat();
        let chunks = [chunk(*b"IHDR", &header), chunk(*b"IDAT", &stored(&rows)), chunk(*b"IEND", &[])];
        [&b"\x89PNG\r\n\x1a\n"[..], &chunks.concat()].concat()
    }

    fn is_white(&self, x: i32, y: i32) -> bool {
        !self.0.get_module(x / SCALE - QUIET, y / SCALE - QUIET)
    }
}

/// A chunk of a PNG: its length, name, data and checksum.
fn chunk(name: [u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [&name[..], data].concat();
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &named, &crc32(&named).to_be_bytes()].concat()
}

/// A zlib stream that compresses nothing: a code is a few kilobytes.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = bytes.chunks(MAX_STORED).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    stream.extend(adler32(bytes).to_be_bytes());
    stream
}

/// RFC 1950 section 8.2.
fn adler32(bytes: &[u8]) -> u32 {
    let step = |(a, b): (u32, u32), byte: &u8| {
        let a = (a + u32::from(*byte)) % ADLER;
        (a, (b + a) % ADLER)
    };
    let (a, b) = bytes.iter().fold((1, 0), step);
    b << 16 | a
}

/// The checksum of PNG (ISO/IEC 15948 annex D), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b"IEND"), 0xae42_6082);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn both_pictures_show_the_same_modules_within_a_quiet_zone() {
        let qr = Qr::of("https://chat.example.org/c/ZiQ7qUH73Q83").unwrap();
        let png = qr.png();
        let pixels = usize::try_from(qr.side() * SCALE).unwrap();
        assert_eq!(u32::from_be_bytes(png[16..20].try_into().unwrap()) as usize, pixels);
        // Behind signature, IHDR and the heads of IDAT, zlib and its one block.
        let (row, first) = (1 + pixels / 8, 8 + 25 + 8 + 2 + 5);
        assert!(row * pixels < MAX_STORED, "one block");
        let black_at = |x: i32, y: i32| {
            let (x, y) = (usize::try_from(x * SCALE).unwrap(), usize::try_from(y * SCALE).unwrap());
            png[first + y * row + 1 + x / 8] & (0x80 >> (x % 8)) == 0
        };
        let svg = qr.svg();
        for y in 0..qr.side() {
            for x in 0..qr.side() {
                let drawn = svg.contains(&format!("M{x} {y}h1"));
                assert_eq!(black_at(x, y), drawn, "{x} {y}");
                let quiet = [x, y].iter().any(|at| !(QUIET..qr.side() - QUIET).contains(at));
                assert!(!(quiet && drawn), "{x} {y} lies in the quiet zone");
            }
        }
        assert!(black_at(QUIET, QUIET) && !black_at(QUIET + 1, QUIET + 1), "the corner of a finder pattern");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(matches!(Qr::of(&"x".repeat(3_000)), Err(TooLong)));
        assert!(Qr::of(&"x".repeat(1_000)).unwrap().png().len() > MAX_STORED, "more than one block");
    }
}
