//! DNS messages (RFC 1035), as far as locating a carrier needs them: one question, and the records of
//! five types. Pure; every length is checked, a message that lies about one is no message.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER_BYTES: usize = 12;
/// QR and the response code's bits of the second word.
const RESPONSE: u16 = 0x8000;
const TRUNCATED: u16 = 0x0200;
const CODE: u16 = 0x000f;
const RECURSION_DESIRED: u16 = 0x0100;
/// The name does not exist (NXDOMAIN).
const NO_SUCH_NAME: u16 = 3;
const INTERNET: u16 = 1;
/// Pointers followed in one name: more is a circle.
const MAX_POINTERS: usize = 16;
/// Longest name and longest label (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A type of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    A = 1,
    Aaaa = 28,
    Srv = 33,
    Naptr = 35,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Address(IpAddr),
    /// RFC 2782.
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: String,
    },
    /// RFC 3403; the regular expression is of no use here.
    Naptr {
        order: u16,
        preference: u16,
        flags: String,
        service: String,
        replacement: String,
    },
}

/// A record that answers the question, or the records behind an alias of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) ttl_s: u32,
    pub(super) data: Data,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The records; none when the name has none of this type.
    Records(Vec<Record>),
    /// They did not fit: ask by TCP.
    Truncated,
    /// The server cannot tell now (SERVFAIL, REFUSED and the like).
    Failed,
}

/// A question; none for a name that cannot be asked for.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let name = name.trim_end_matches('.');
    if name.is_empty() || name.len() > MAX_NAME {
        return None;
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + name.len() + 6);
    for word in [id, RECURSION_DESIRED, 1, 0, 0, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=MAX_LABEL).contains(&usize::from(*length)))?;
        bytes.push(length);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&(kind as u16).to_be_bytes());
    bytes.extend_from_slice(&INTERNET.to_be_bytes());
    Some(bytes)
}

/// Reads a message; none when it does not answer this question.
pub(super) fn answer(bytes: &[u8], id: u16, name: &str, kind: Kind) -> Option<Reply> {
    let mut reader = Reader { bytes, at: 0 };
    let (answers_to, flags) = (reader.u16()?, reader.u16()?);
    let (questions, answers) = (reader.u16()?, reader.u16()?);
    reader.skip(4)?;
    if answers_to != id || flags & RESPONSE == 0 || questions != 1 {
        return None;
    }
    let asked = reader.name()?;
    if !asked.eq_ignore_ascii_case(name.trim_end_matches('.')) || reader.u16()? != kind as u16 {
        return None;
    }
    reader.skip(2)?;
    match flags & CODE {
        0 => {}
        NO_SUCH_NAME => return Some(Reply::Records(Vec::new())),
        _ => return Some(Reply::Failed),
    }
    if flags & TRUNCATED != 0 {
        return Some(Reply::Truncated);
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        // Aliases (CNAME) stand before what they lead to; a recursive server gives both.
        let Some(record) = reader.record(kind) else { break };
        records.extend(record);
    }
    Some(Reply::Records(records))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(|_| ())
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A character-string (RFC 1035 §3.3).
    fn text(&mut self) -> Option<String> {
        let length = self.u8()?;
        Some(String::from_utf8_lossy(self.take(usize::from(length))?).into_owned())
    }

    /// A name, its pointers followed; "" is the root.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut pointers = 0;
        let mut back = None;
        loop {
            let length = self.u8()?;
            match length {
                0 => break,
                1..=63 => {
                    let label = self.take(usize::from(length))?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.push_str(&String::from_utf8_lossy(label));
                    if name.len() > MAX_NAME {
                        return None;
                    }
                }
                0xc0.. => {
                    let low = self.u8()?;
                    pointers += 1;
                    if pointers > MAX_POINTERS {
                        return None;
                    }
                    back.get_or_insert(self.at);
                    self.at = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                }
                _ => return None,
            }
        }
        self.at = back.unwrap_or(self.at);
        Some(name)
    }

    /// The next record; the inner none is one of another type.
    fn record(&mut self, wanted: Kind) -> Option<Option<Record>> {
        self.name()?;
        let (kind, class) = (self.u16()?, self.u16()?);
        let ttl_s = self.u32()?;
        let length = usize::from(self.u16()?);
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        let data = if kind == wanted as u16 && class == INTERNET { self.data(wanted, length) } else { None };
        self.at = end;
        Some(data.map(|data| Record { ttl_s, data }))
    }

    fn data(&mut self, kind: Kind, length: usize) -> Option<Data> {
        Some(match kind {
            Kind::A => {
                let octets: [u8; 4] = self.take(length)?.try_into().ok()?;
                Data::Address(Ipv4Addr::from(octets).into())
            }
            Kind::Aaaa => {
                let octets: [u8; 16] = self.take(length)?.try_into().ok()?;
                Data::Address(Ipv6Addr::from(octets).into())
            }
            Kind::Srv => {
                Data::Srv { priority: self.u16()?, weight: self.u16()?, port: self.u16()?, target: self.name()? }
            }
            Kind::Naptr => {
                let (order, preference) = (self.u16()?, self.u16()?);
                let (flags, service, _expression) = (self.text()?, self.text()?, self.text()?);
                Data::Naptr { order, preference, flags, service, replacement: self.name()? }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "_sip._udp.carrier.example";

    /// An answer with an alias, one SRV record whose target points back into the message, and a TTL.
    fn srv() -> Vec<u8> {
        let mut bytes = question(7, NAME, Kind::Srv).unwrap();
        bytes[2] |= 0x80;
        bytes[7] = 2;
        // carrier.example begins after the labels _sip and _udp.
        let carrier = u8::try_from(HEADER_BYTES + 10).unwrap();
        bytes.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]);
        bytes.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 10]);
        bytes.extend_from_slice(&[0, 10, 0, 20, 0x13, 0xc4, 1, b'a', 0xc0, carrier]);
        bytes
    }

    #[test]
    fn a_record_is_read_through_pointers_and_past_an_alias() {
        let data = Data::Srv { priority: 10, weight: 20, port: 5_060, target: "a.carrier.example".to_owned() };
        let record = Record { ttl_s: 60, data };
        assert_eq!(answer(&srv(), 7, "_SIP._udp.carrier.example.", Kind::Srv), Some(Reply::Records(vec![record])));
    }

    #[test]
    fn only_the_answer_to_the_question_counts() {
        assert_eq!(answer(&srv(), 8, NAME, Kind::Srv), None);
        assert_eq!(answer(&srv(), 7, "_sip._udp.other.example", Kind::Srv), None);
        assert_eq!(answer(&srv(), 7, NAME, Kind::A), None);
        assert_eq!(answer(&question(7, NAME, Kind::Srv).unwrap(), 7, NAME, Kind::Srv), None, "a question");
        let with_flags = |high: u8, low: u8| {
            let mut bytes = srv();
            (bytes[2], bytes[3]) = (bytes[2] | high, low);
            answer(&bytes, 7, NAME, Kind::Srv)
        };
        assert_eq!(with_flags(0, 3), Some(Reply::Records(Vec::new())));
        assert_eq!(with_flags(0, 2), Some(Reply::Failed));
        assert_eq!(with_flags(2, 0), Some(Reply::Truncated));
    }

    #[test]
    fn a_name_that_points_to_itself_is_no_name() {
        let mut bytes = srv();
        let last = bytes.len() - 1;
        bytes[last] = u8::try_from(last - 1).unwrap();
        assert_eq!(answer(&bytes, 7, NAME, Kind::Srv), Some(Reply::Records(Vec::new())));
        for name in ["", "a..b", &"x".repeat(64), &"x.".repeat(130)] {
            assert_eq!(question(1, name, Kind::A), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn torn_messages_break_nothing(at in 0usize..100, byte: u8, cut in 0usize..100) {
            let mut bytes = srv();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut.max(12));
            let _ = answer(&bytes, 7, NAME, Kind::Srv);
        }
    }
}
