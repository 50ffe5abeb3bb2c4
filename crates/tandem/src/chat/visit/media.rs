//! What an attachment is, by its first bytes, and how its name is written.
//!
//! Invariant: nothing is shown inline but pictures of four kinds that browsers draw and do not run; whatever a sender
//! calls a file, it is offered as bytes.

/// As which everything else goes out.
pub(super) const BYTES: &str = "application/octet-stream";
/// Bytes that tell a picture.
pub(super) const HEAD: usize = 16;
/// Longest name, characters.
const MAX_NAME: usize = 150;
/// Longest media type that is kept.
const MAX_TYPE: usize = 100;

/// The media type of a picture that may be shown, by the file's first bytes.
pub(super) fn picture(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// The type to be noted: a picture's own, else what the sender said unless that is a picture or runs somewhere.
pub(super) fn noted(head: &[u8], said: &str) -> String {
    if let Some(picture) = picture(head) {
        return picture.to_owned();
    }
    let said = said.trim().to_ascii_lowercase();
    let is_plain = said.len() <= MAX_TYPE
        && said.split_once('/').is_some_and(|(kind, form)| !kind.is_empty() && !form.is_empty())
        && said.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'+'));
    let runs =
        said.starts_with("image/") || ["html", "xml", "javascript", "svg"].iter().any(|word| said.contains(word));
    if is_plain && !runs { said } else { BYTES.to_owned() }
}

/// The last part of a path, without what could lead elsewhere or turn the line about.
pub(super) fn name(said: &str) -> String {
    let last = said.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_kept = |c: &char| {
        !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let name: String = last.chars().filter(is_kept).collect();
    let name = name.trim().trim_start_matches('.');
    let short: String = match name.chars().count() {
        0 => "file".to_owned(),
        count if count <= MAX_NAME => name.to_owned(),
        // The end of a name says what it is.
        count => name.chars().skip(count - MAX_NAME).collect(),
    };
    short
}

/// `Content-Disposition` with any name (RFC 6266, RFC 8187).
pub(super) fn disposition(how: &str, name: &str) -> String {
    let mut coded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            coded.push(char::from(byte));
        } else {
            coded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{how}; filename*=UTF-8''{coded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_what_begins_like_one() {
        assert_eq!(noted(b"\x89PNG\r\n\x1a\n0000", "text/html"), "image/png");
        assert_eq!(noted(b"\xff\xd8\xff\xe0", ""), "image/jpeg");
        assert_eq!(noted(b"GIF89a..", "image/png"), "image/gif");
        assert_eq!(noted(b"RIFF1234WEBPVP8 ", "x"), "image/webp");
        assert_eq!(noted(b"RIFF1234WAVEfmt ", "audio/wav"), "audio/wav");
        assert_eq!(noted(b"%PDF-1.7", "application/pdf"), "application/pdf");
        for runs in [
            "image/svg+xml",
            "text/html",
            "application/xhtml+xml",
            "text/javascript",
            "image/png",
            "",
            "a b/c",
            "pdf",
            "a/",
        ] {
            assert_eq!(noted(b"<svg onload=x>", runs), BYTES, "{runs}");
        }
    }

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert_eq!(name("../../etc/passwd"), "passwd");
        assert_eq!(name("C:\\x\\y.png"), "y.png");
        assert_eq!(name("...\u{202e}gnp.exe\r\n"), "gnp.exe");
        assert_eq!(name(""), "file");
        assert_eq!(name(&format!("{}.pdf", "ü".repeat(400))).chars().count(), MAX_NAME);
        assert_eq!(disposition("attachment", "a \"b\"é.txt"), "attachment; filename*=UTF-8''a%20%22b%22%C3%A9.txt");
    }
}
