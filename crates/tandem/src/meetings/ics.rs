//! A meeting as a file for calendars (RFC 5545): one event, as one party sees it.
//!
//! Invariant: a later version of the same meeting has the same UID and a higher SEQUENCE, so that a calendar moves or
//! removes what it has; no text leaves its line.

use jiff::Timestamp;

/// Bytes of a line without its end (RFC 5545, 3.1).
const LINE_BYTES: usize = 75;
/// A calendar reminds so long before the beginning.
const REMIND: &str = "-PT10M";

/// What a calendar is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Unique in the world, and for ever the same for this party's meeting.
    pub uid: String,
    /// Grows with each change.
    pub sequence: i64,
    /// When this was written, UTC milliseconds.
    pub written_ms: i64,
    /// UTC milliseconds.
    pub starts_ms: i64,
    /// UTC milliseconds.
    pub ends_ms: i64,
    /// In one line.
    pub summary: String,
    /// What to do when it begins.
    pub description: String,
    /// Where to do it.
    pub url: Option<String>,
    /// Whether it does not take place.
    pub is_cancelled: bool,
}

/// The file.
#[must_use]
pub fn calendar(entry: &Entry) -> String {
    let mut lines = vec![
        "BEGIN:VCALENDAR".to_owned(),
        "VERSION:2.0".to_owned(),
        "PRODID:-//Tandem//Meetings//EN".to_owned(),
        format!("METHOD:{}", if entry.is_cancelled { "CANCEL" } else { "PUBLISH" }),
        "BEGIN:VEVENT".to_owned(),
        format!("UID:{}", text(&entry.uid)),
        format!("SEQUENCE:{}", entry.sequence),
        format!("DTSTAMP:{}", moment(entry.written_ms)),
        format!("DTSTART:{}", moment(entry.starts_ms)),
        format!("DTEND:{}", moment(entry.ends_ms.max(entry.starts_ms))),
        format!("SUMMARY:{}", text(&entry.summary)),
        format!("DESCRIPTION:{}", text(&entry.description)),
        format!("STATUS:{}", if entry.is_cancelled { "CANCELLED" } else { "CONFIRMED" }),
    ];
    lines.extend(entry.url.iter().map(|url| format!("URL:{}", one_line(url))));
    if !entry.is_cancelled {
        let alarm = ["BEGIN:VALARM", "ACTION:DISPLAY", &format!("TRIGGER:{REMIND}")].map(str::to_owned);
        lines.extend(alarm);
        lines.extend([format!("DESCRIPTION:{}", text(&entry.summary)), "END:VALARM".to_owned()]);
    }
    lines.extend(["END:VEVENT".to_owned(), "END:VCALENDAR".to_owned()]);
    lines.iter().map(|line| folded(line)).collect()
}

/// UTC, to the second (3.3.5, form 2).
fn moment(ms: i64) -> String {
    let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// A TEXT value (3.3.11): what would part or end it is escaped, other control characters are left out.
fn text(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' | ';' | ',' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

fn one_line(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).collect()
}

/// A line with its end, folded between characters where it is too long (3.1).
fn folded(line: &str) -> String {
    let mut out = String::with_capacity(line.len() + 8);
    let mut bytes = 0;
    for c in line.chars() {
        if bytes + c.len_utf8() > LINE_BYTES {
            out.push_str("\r\n ");
            // The blank counts.
            bytes = 1;
        }
        out.push(c);
        bytes += c.len_utf8();
    }
    out.push_str("\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> Entry {
        Entry {
            uid: "meeting-5-caller@calls.example.org".to_owned(),
            sequence: 3,
            written_ms: 1_795_219_200_000,
            starts_ms: 1_795_280_400_000,
            ends_ms: 1_795_282_200_000,
            summary: "Call with Tommy; bring paper, please".to_owned(),
            description: "Open the page.\nThen press Call.".to_owned(),
            url: Some("https://calls.example.org/meetings".to_owned()),
            is_cancelled: false,
        }
    }

    #[test]
    fn a_meeting_as_calendars_read_it() {
        let file = calendar(&entry());
        insta::assert_snapshot!(file.replace("\r\n", "\n"), @r"
        BEGIN:VCALENDAR
        VERSION:2.0
        PRODID:-//Tandem//Meetings//EN
        METHOD:PUBLISH
        BEGIN:VEVENT
        UID:meeting-5-caller@calls.example.org
        SEQUENCE:3
        DTSTAMP:20261121T000000Z
        DTSTART:20261121T170000Z
        DTEND:20261121T173000Z
        SUMMARY:Call with Tommy\; bring paper\, please
        DESCRIPTION:Open the page.\nThen press Call.
        STATUS:CONFIRMED
        URL:https://calls.example.org/meetings
        BEGIN:VALARM
        ACTION:DISPLAY
        TRIGGER:-PT10M
        DESCRIPTION:Call with Tommy\; bring paper\, please
        END:VALARM
        END:VEVENT
        END:VCALENDAR
        ");
        assert_eq!(file.matches('\n').count(), file.matches("\r\n").count());
    }

    #[test]
    fn what_does_not_take_place_is_taken_out() {
        let file = calendar(&Entry { is_cancelled: true, ..entry() });
        assert!(file.contains("METHOD:CANCEL\r\n") && file.contains("STATUS:CANCELLED\r\n"), "{file}");
        assert!(!file.contains("VALARM"), "{file}");
    }

    proptest! {
        /// Whatever somebody is called: no line is too long, none is more than was meant, and unfolded it is whole.
        #[test]
        fn no_name_breaks_a_line(name in "\\PC{0,120}|.{0,120}") {
            let file = calendar(&Entry { summary: name.clone(), ..entry() });
            let lines: Vec<&str> = file.split_terminator("\r\n").collect();
            prop_assert!(lines.iter().all(|line| line.len() <= LINE_BYTES && !line.contains(['\r', '\n'])));
            let whole = file.replace("\r\n ", "");
            prop_assert_eq!(whole.split_terminator("\r\n").count(), 21);
            let wanted = format!("SUMMARY:{}", text(&name));
            prop_assert!(whole.split_terminator("\r\n").any(|line| line == wanted));
        }
    }
}
