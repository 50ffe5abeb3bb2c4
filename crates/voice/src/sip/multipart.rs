//! Bodies of several parts (RFC 2046 §5.1): an INVITE may carry a location or a carrier's own data beside its SDP (RFC 5621).

use std::ops::Range;

/// Where the first part of a type such as `application/sdp` stands in a body with this Content-Type.
pub(super) fn find(content_type: &str, body: &[u8], kind: &str) -> Option<Range<usize>> {
    let (essence, params) = content_type.split_once(';')?;
    if !essence.trim_start().get(..10).is_some_and(|text| text.eq_ignore_ascii_case("multipart/")) {
        return None;
    }
    let boundary = super::uri::param(params, "boundary")?.trim_matches('"');
    let delimiter = format!("\r\n--{boundary}");
    // The line break before the first delimiter belongs to what goes before, which may be nothing.
    let mut at = if body.starts_with(delimiter.get(2..)?.as_bytes()) {
        delimiter.len() - 2
    } else {
        position(body, 0, delimiter.as_bytes())? + delimiter.len()
    };
    loop {
        let start = position(body, at, b"\r\n")? + 2;
        let end = position(body, start.saturating_sub(2), delimiter.as_bytes())?;
        if let Some(content) = content(body, start, end, kind) {
            return Some(content);
        }
        at = end + delimiter.len();
    }
}

/// The part's content, behind its fields, when it is of the type.
fn content(body: &[u8], start: usize, end: usize, kind: &str) -> Option<Range<usize>> {
    let fields_end = position(body, start, b"\r\n\r\n").filter(|fields_end| *fields_end < end)?;
    let fields = std::str::from_utf8(body.get(start..fields_end)?).ok()?;
    let is_kind = fields.lines().filter_map(|line| line.split_once(':')).any(|(name, value)| {
        let essence = value.split(';').next().unwrap_or_default();
        name.trim_end().eq_ignore_ascii_case("Content-Type") && essence.trim().eq_ignore_ascii_case(kind)
    });
    is_kind.then_some(fields_end + 4..end)
}

fn position(body: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    body.get(from..)?.windows(what.len()).position(|window| window == what).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdp_in(content_type: &str, body: &str) -> Option<String> {
        let range = find(content_type, body.as_bytes(), "application/sdp")?;
        Some(body[range].to_owned())
    }

    #[test]
    fn the_part_of_the_type_is_found_wherever_it_stands() {
        let isup = "Content-Type: application/isup; version=itu\r\n\r\nA\r\nB";
        let sdp = "Content-Disposition: session\r\ncontent-type : Application/SDP\r\n\r\nv=0\r\ns=-\r\n";
        for body in [
            format!("--x y\r\n{isup}\r\n--x y\r\n{sdp}\r\n--x y--\r\n"),
            format!("preamble\r\n--x y\r\n{sdp}\r\n--x y\r\n{isup}\r\n--x y--"),
        ] {
            assert_eq!(sdp_in("multipart/mixed;boundary=\"x y\"", &body).as_deref(), Some("v=0\r\ns=-\r\n"), "{body}");
            assert_eq!(sdp_in("multipart/mixed;boundary=other", &body), None);
            assert_eq!(sdp_in("text/plain;boundary=\"x y\"", &body), None);
            // Cut anywhere, it is found whole or not at all.
            for end in 0..body.len() {
                let found = sdp_in("multipart/mixed; boundary=\"x y\"", &body[..end]);
                assert!(found.is_none_or(|found| found == "v=0\r\ns=-\r\n"), "{end}");
            }
        }
        assert_eq!(sdp_in("multipart/mixed;boundary=a", &format!("--a\r\n{isup}\r\n--a--\r\n")), None);
    }
}
