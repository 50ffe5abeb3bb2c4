//! Pictures of document 002: base 64 in a message, a file of ours from then on.
//!
//! Invariant: what is kept is a picture of a kind that browsers show without running anything; what it says of itself
//! counts for nothing, its first bytes do.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Largest picture, in bytes.
pub(super) const MAX_PICTURE: usize = 1 << 20;
/// Clients leave the padding out as often as not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A picture that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) kind: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// Why a text is no picture that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPicture {
    #[error("a picture is base 64 without a data: prefix")]
    Prefix,
    #[error("a picture is base 64")]
    Base64,
    #[error("a picture has at most 1 MiB")]
    TooLarge,
    #[error("a picture is PNG, JPEG, GIF or WebP")]
    Kind,
}

/// The picture of a text.
///
/// # Errors
/// Why it is none.
pub(super) fn read(text: &str) -> Result<Picture, NoPicture> {
    if text.starts_with("data:") {
        return Err(NoPicture::Prefix);
    }
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if digits.len() > MAX_PICTURE.div_ceil(3) * 4 {
        return Err(NoPicture::TooLarge);
    }
    let bytes = BASE64.decode(&digits).map_err(|_| NoPicture::Base64)?;
    if bytes.len() > MAX_PICTURE {
        return Err(NoPicture::TooLarge);
    }
    let kind = kind_of(&bytes).ok_or(NoPicture::Kind)?;
    Ok(Picture { kind, bytes })
}

/// The media type of a picture, by its first bytes.
fn kind_of(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(bytes: &[u8]) -> String {
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }

    #[test]
    fn pictures_are_known_by_their_first_bytes() {
        for (bytes, kind) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF89a", "image/gif"),
            (b"RIFF....WEBPVP8 ", "image/webp"),
        ] {
            let text = encoded(bytes);
            assert_eq!(read(&text).unwrap(), Picture { kind, bytes: bytes.to_vec() });
            assert_eq!(read(text.trim_end_matches('=')).unwrap().kind, kind, "without padding");
        }
        let wrapped = encoded(b"\x89PNG\r\n\x1a\n....").replace('G', "G\r\n");
        assert!(read(&wrapped).is_ok(), "in lines");
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        assert_eq!(read("data:image/png;base64,iVBORw0KGgo="), Err(NoPicture::Prefix));
        assert_eq!(read("not base 64!"), Err(NoPicture::Base64));
        assert_eq!(read(&encoded(b"<svg onload=alert(1)>")), Err(NoPicture::Kind));
        assert_eq!(read(""), Err(NoPicture::Kind));
        let mut large = b"GIF89a".to_vec();
        large.resize(MAX_PICTURE, 0);
        assert!(read(&encoded(&large)).is_ok());
        large.push(0);
        assert_eq!(read(&encoded(&large)), Err(NoPicture::TooLarge));
        large.resize(2 * MAX_PICTURE, 0);
        assert_eq!(read(&encoded(&large)), Err(NoPicture::TooLarge));
    }
}
