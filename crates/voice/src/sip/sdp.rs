//! Offers and answers (RFC 3264) of one audio stream, with SDES keys (RFC 4568) and telephone events.
//!
//! [`Session`] is one leg's side of the negotiation: it writes our offers and answers and reads the
//! peer's, and holds what was agreed last. Pure; keys come in from outside. Invariant: payload types
//! once agreed keep their meaning for the whole session (RFC 3264 §8.3.2).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use media::codec::CodecKind;
use media::srtp::{Keys, SdesLine, Suite};
use sdp_types::{Media, Session as Description};

use crate::runner::{Direction, Remote, SrtpKeys, TelephoneEvents};

/// Our payload types for formats that have no static one.
const OPUS: u8 = 96;
const EVENTS_8000: u8 = 101;
const EVENTS_48000: u8 = 102;

/// Why an offer or an answer is no ground for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SdpError {
    /// It cannot be read.
    #[error("unreadable session description")]
    Malformed,
    /// No audio stream, no codec or no protection that both know.
    #[error("no media in common")]
    NothingInCommon,
}

/// What may differ between legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Take what the peer offers; offer plain RTP.
    AsOffered,
    /// The same, and offer SRTP to a peer that refuses plain RTP.
    AsNeeded,
    /// Offer SRTP, and refuse anything else.
    Required,
}

/// A stream's format: a codec or events, by payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Format<T> {
    payload_type: u8,
    kind: T,
}

/// What was agreed, apart from where to send.
#[derive(Clone, Debug)]
struct Agreed {
    remote: Remote,
    /// The crypto line we sent.
    local_crypto: Option<SdesLine>,
    /// The peer's description, to tell a repetition from a change.
    peer: Vec<u8>,
}

/// One leg's side of offer and answer.
#[derive(Debug)]
pub(crate) struct Session {
    /// Where we receive, as the peer is told.
    local: SocketAddr,
    /// `o=` session id and version.
    id: u64,
    version: u64,
    codecs: Vec<CodecKind>,
    protection: Protection,
    /// Fresh key material for our crypto lines.
    keys: [Keys; 2],
    /// We have put the peer on hold.
    holding: bool,
    /// The last description we sent, without its `o=` line.
    sent: String,
    agreed: Option<Agreed>,
}

impl Session {
    /// A session that receives at `local`. `keys` are two random keys, used only when SRTP is.
    pub(crate) fn new(
        local: SocketAddr,
        id: u64,
        codecs: Vec<CodecKind>,
        protection: Protection,
        keys: [Keys; 2],
    ) -> Self {
        Self { local, id, version: 0, codecs, protection, keys, holding: false, sent: String::new(), agreed: None }
    }

    /// What was agreed last, for the media thread.
    pub(crate) fn remote(&self) -> Option<&Remote> {
        self.agreed.as_ref().map(|agreed| &agreed.remote)
    }

    /// Whether the peer has put us on hold: it wants to hear nothing.
    pub(crate) fn is_held(&self) -> bool {
        let wants = self.agreed.as_ref().map(|agreed| agreed.remote.direction);
        match wants {
            Some(Direction::Inactive | Direction::RecvOnly) => true,
            Some(Direction::SendRecv | Direction::SendOnly) | None => false,
        }
    }

    /// Puts the peer on hold from the next offer on.
    pub(crate) fn hold(&mut self, on: bool) {
        self.holding = on;
    }

    /// The peer refused our offer. Whether another one, with SRTP, may fare better; made so from the next offer on.
    pub(crate) fn refused(&mut self) -> bool {
        let may_change = self.protection == Protection::AsNeeded && self.agreed.is_none();
        if may_change {
            self.protection = Protection::Required;
        }
        may_change
    }

    /// Another address from the next offer on (a trunk's next target by another route).
    pub(crate) fn relocate(&mut self, local: SocketAddr) {
        self.local = local;
    }

    /// Our offer: everything we speak at first, what is in use later.
    pub(crate) fn offer(&mut self) -> String {
        let direction = if self.holding { Direction::SendOnly } else { Direction::SendRecv };
        let (formats, events, crypto) = match &self.agreed {
            Some(agreed) => {
                let remote = &agreed.remote;
                let format = Format { payload_type: remote.payload_in, kind: remote.codec };
                let events =
                    remote.events.map(|events| Format { payload_type: events.payload_in, kind: events.clock_rate });
                (vec![format], events.into_iter().collect(), agreed.local_crypto.iter().cloned().collect())
            }
            None => (self.own_formats(), self.own_events(), self.own_crypto()),
        };
        let mut media = self.media_line(&crypto, &formats, &events, direction);
        if self.agreed.as_ref().is_some_and(|agreed| agreed.remote.rtcp_mux) {
            media.push_str("a=rtcp-mux\r\n");
        }
        self.describe(media)
    }

    fn own_formats(&self) -> Vec<Format<CodecKind>> {
        let payload_type = |kind: CodecKind| {
            if kind == CodecKind::Opus { OPUS } else { kind.payload_type() }
        };
        self.codecs.iter().map(|kind| Format { payload_type: payload_type(*kind), kind: *kind }).collect()
    }

    fn own_events(&self) -> Vec<Format<u32>> {
        let mut events = vec![Format { payload_type: EVENTS_8000, kind: 8_000 }];
        if self.codecs.contains(&CodecKind::Opus) {
            events.push(Format { payload_type: EVENTS_48000, kind: 48_000 });
        }
        events
    }

    fn own_crypto(&self) -> Vec<SdesLine> {
        let [first, second] = &self.keys;
        match self.protection {
            Protection::AsOffered | Protection::AsNeeded => Vec::new(),
            Protection::Required => vec![
                SdesLine { tag: 1, suite: Suite::AesCm128HmacSha1_80, keys: first.clone() },
                SdesLine { tag: 2, suite: Suite::AesCm128HmacSha1_32, keys: second.clone() },
            ],
        }
    }

    /// Answers an offer, at the start or later. What was agreed before holds when this fails.
    pub(crate) fn answer(&mut self, offer: &[u8]) -> Result<String, SdpError> {
        let description = Description::parse(offer).map_err(|_| SdpError::Malformed)?;
        let mut lines = String::new();
        let mut agreed = None;
        for media in &description.medias {
            let accepted = if agreed.is_none() { self.accept(&description, media, offer) } else { None };
            match accepted {
                Some((answer, line)) => {
                    agreed = Some(answer);
                    lines.push_str(&line);
                }
                None => {
                    let _ = write!(lines, "m={} 0 {} {}\r\n", media.media, media.proto, media.fmt);
                }
            }
        }
        self.agreed = Some(agreed.ok_or(SdpError::NothingInCommon)?);
        Ok(self.describe(lines))
    }

    /// Our answer to one offered stream, when it is one that we can take.
    fn accept(&self, description: &Description, media: &Media, offer: &[u8]) -> Option<(Agreed, String)> {
        let stream = Stream::read(description, media)?;
        let (local_crypto, srtp) = self.answer_crypto(&stream)?;
        let current = self.agreed.as_ref().map(|agreed| agreed.remote.codec);
        // The codec in use stays when it is offered again; else the peer's order decides.
        let format = stream
            .codecs
            .iter()
            .find(|format| Some(format.kind) == current)
            .or_else(|| stream.codecs.iter().find(|format| self.codecs.contains(&format.kind)))?;
        let events = stream.events_for(format.kind);
        let direction = answer_direction(stream.direction, self.holding);
        let remote = Remote {
            rtp: stream.rtp,
            rtcp: stream.rtcp,
            rtcp_mux: stream.rtcp_mux,
            codec: format.kind,
            payload_in: format.payload_type,
            payload_out: format.payload_type,
            events: events.map(|events| TelephoneEvents {
                payload_in: events.payload_type,
                payload_out: events.payload_type,
                clock_rate: events.kind,
            }),
            direction,
            srtp,
        };
        let crypto: Vec<_> = local_crypto.iter().cloned().collect();
        let events: Vec<_> = events.into_iter().collect();
        let mut line = self.media_line(&crypto, &[*format], &events, direction);
        line.replace_range(
            ..line.find("\r\n").unwrap_or(0),
            &media_head(self.local.port(), &media.proto, &[*format], &events),
        );
        if stream.rtcp_mux {
            line.push_str("a=rtcp-mux\r\n");
        }
        if let Some(mid) = attribute(media, "mid") {
            let _ = write!(line, "a=mid:{mid}\r\n");
        }
        Some((Agreed { remote, local_crypto, peer: offer.to_vec() }, line))
    }

    /// The key exchange for an offered stream: `None` when it cannot be met.
    fn answer_crypto(&self, stream: &Stream) -> Option<(Option<SdesLine>, Option<SrtpKeys>)> {
        let Some(theirs) = stream.crypto.first() else {
            let plain = !stream.secure && self.protection != Protection::Required;
            return plain.then_some((None, None));
        };
        let [fresh, _] = &self.keys;
        let keys = match self.agreed.as_ref().and_then(|agreed| agreed.local_crypto.as_ref()) {
            Some(ours) if ours.suite == theirs.suite => ours.keys.clone(),
            _ => fresh.clone(),
        };
        let ours = SdesLine { tag: theirs.tag, suite: theirs.suite, keys };
        Some((Some(ours.clone()), Some(SrtpKeys { local: ours, remote: theirs.clone() })))
    }

    /// Reads the answer to our last offer.
    pub(crate) fn accept_answer(&mut self, answer: &[u8]) -> Result<(), SdpError> {
        let description = Description::parse(answer).map_err(|_| SdpError::Malformed)?;
        let media = description.medias.first().ok_or(SdpError::NothingInCommon)?;
        let stream = Stream::read(&description, media).ok_or(SdpError::NothingInCommon)?;
        let (formats, offered_events, offered_crypto) = match &self.agreed {
            Some(Agreed { remote, local_crypto, .. }) => (
                vec![Format { payload_type: remote.payload_in, kind: remote.codec }],
                remote
                    .events
                    .iter()
                    .map(|events| Format { payload_type: events.payload_in, kind: events.clock_rate })
                    .collect(),
                local_crypto.iter().cloned().collect(),
            ),
            None => (self.own_formats(), self.own_events(), self.own_crypto()),
        };
        let (format, ours) = stream
            .codecs
            .iter()
            .find_map(|theirs| Some((theirs, formats.iter().find(|ours| ours.kind == theirs.kind)?)))
            .ok_or(SdpError::NothingInCommon)?;
        let events = stream.events_for(format.kind).and_then(|theirs| {
            let ours = offered_events.iter().find(|ours: &&Format<u32>| ours.kind == theirs.kind)?;
            Some(TelephoneEvents {
                payload_in: ours.payload_type,
                payload_out: theirs.payload_type,
                clock_rate: theirs.kind,
            })
        });
        let (local_crypto, srtp) = chosen_crypto(&stream, offered_crypto)?;
        let own = if self.holding { Direction::SendOnly } else { Direction::SendRecv };
        let remote = Remote {
            rtp: stream.rtp,
            rtcp: stream.rtcp,
            rtcp_mux: stream.rtcp_mux && self.agreed.as_ref().is_some_and(|agreed| agreed.remote.rtcp_mux),
            codec: format.kind,
            payload_in: ours.payload_type,
            payload_out: format.payload_type,
            events,
            direction: restrict(own, reverse(stream.direction)),
            srtp,
        };
        self.agreed = Some(Agreed { remote, local_crypto, peer: answer.to_vec() });
        Ok(())
    }

    /// Whether this description is the one that was agreed on already.
    pub(crate) fn is_repeated(&self, peer: &[u8]) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| agreed.peer == peer)
    }

    fn media_line(
        &self,
        crypto: &[SdesLine],
        formats: &[Format<CodecKind>],
        events: &[Format<u32>],
        direction: Direction,
    ) -> String {
        let proto = if crypto.is_empty() { "RTP/AVP" } else { "RTP/SAVP" };
        let mut text = media_head(self.local.port(), proto, formats, events);
        text.push_str("\r\n");
        for format in formats {
            let (name, rate) = (format.kind.name(), format.kind.clock_rate());
            let channels = if format.kind == CodecKind::Opus { "/2" } else { "" };
            let _ = write!(text, "a=rtpmap:{} {name}/{rate}{channels}\r\n", format.payload_type);
            if format.kind == CodecKind::Opus {
                let _ = write!(text, "a=fmtp:{} useinbandfec=1\r\n", format.payload_type);
            }
        }
        for format in events {
            let _ = write!(
                text,
                "a=rtpmap:{0} telephone-event/{1}\r\na=fmtp:{0} 0-15\r\n",
                format.payload_type, format.kind
            );
        }
        for line in crypto {
            let _ = write!(text, "a=crypto:{}\r\n", line.format());
        }
        let _ = write!(text, "a=ptime:20\r\na={}\r\n", direction_text(direction));
        text
    }

    /// The whole description around media lines. The version rises when they changed (RFC 3264 §8).
    fn describe(&mut self, media: String) -> String {
        let family = if self.local.is_ipv4() { "IP4" } else { "IP6" };
        let ip = self.local.ip();
        let body = format!("s=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n{media}");
        if body != self.sent {
            self.version += 1;
            self.sent.clone_from(&body);
        }
        format!("v=0\r\no=- {} {} IN {family} {ip}\r\n{body}", self.id, self.version)
    }
}

fn media_head(port: u16, proto: &str, formats: &[Format<CodecKind>], events: &[Format<u32>]) -> String {
    let mut text = format!("m=audio {port} {proto}");
    for payload_type in
        formats.iter().map(|format| format.payload_type).chain(events.iter().map(|format| format.payload_type))
    {
        let _ = write!(text, " {payload_type}");
    }
    text
}

/// The line of ours that the peer chose, when keys were offered; an error when it chose none.
fn chosen_crypto(stream: &Stream, offered: Vec<SdesLine>) -> Result<(Option<SdesLine>, Option<SrtpKeys>), SdpError> {
    if offered.is_empty() {
        return if stream.secure { Err(SdpError::NothingInCommon) } else { Ok((None, None)) };
    }
    offered
        .into_iter()
        .find_map(|ours| {
            let theirs = stream.crypto.iter().find(|theirs| theirs.tag == ours.tag && theirs.suite == ours.suite)?;
            Some((Some(ours.clone()), Some(SrtpKeys { local: ours, remote: theirs.clone() })))
        })
        .ok_or(SdpError::NothingInCommon)
}

/// What we answer to the peer's wish, seen from us (RFC 3264 §6.1).
fn answer_direction(theirs: Direction, holding: bool) -> Direction {
    let own = if holding { Direction::SendOnly } else { Direction::SendRecv };
    restrict(own, reverse(theirs))
}

fn reverse(direction: Direction) -> Direction {
    match direction {
        Direction::SendOnly => Direction::RecvOnly,
        Direction::RecvOnly => Direction::SendOnly,
        same => same,
    }
}

fn restrict(a: Direction, b: Direction) -> Direction {
    match (a.sends() && b.sends(), a.receives() && b.receives()) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}

fn direction_text(direction: Direction) -> &'static str {
    match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    }
}

/// One audio stream of the peer's description.
#[derive(Debug)]
struct Stream {
    rtp: SocketAddr,
    rtcp: Option<SocketAddr>,
    rtcp_mux: bool,
    /// What we know of its formats, in its order.
    codecs: Vec<Format<CodecKind>>,
    events: Vec<Format<u32>>,
    /// As the peer sees it.
    direction: Direction,
    /// RTP/SAVP.
    secure: bool,
    crypto: Vec<SdesLine>,
}

impl Stream {
    /// `None` when it is no RTP audio, is refused (port 0) or has no usable address.
    fn read(description: &Description, media: &Media) -> Option<Self> {
        let secure = match media.proto.as_str() {
            "RTP/AVP" | "RTP/AVPF" => false,
            "RTP/SAVP" | "RTP/SAVPF" => true,
            _ => return None,
        };
        if media.media != "audio" || media.port == 0 {
            return None;
        }
        let connection = media.connections.first().or(description.connection.as_ref())?;
        let address = connection.connection_address.split('/').next()?;
        let ip: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
        let mut direction = own_direction(description, media);
        if ip.is_unspecified() {
            // The hold of RFC 2543: send nowhere.
            direction = restrict(direction, Direction::SendOnly);
        }
        let (codecs, events) = formats(media);
        Some(Self {
            rtp: SocketAddr::new(ip, media.port),
            rtcp: rtcp_address(media, ip),
            rtcp_mux: media.has_attribute("rtcp-mux"),
            codecs,
            events,
            direction,
            secure,
            crypto: media
                .get_attribute_values("crypto")
                .flatten()
                .filter_map(|value| SdesLine::parse(value).ok())
                .collect(),
        })
    }

    /// The events that go with a codec: on its clock when there are, else at 8000 Hz. With Opus
    /// never both, or browsers send malformed ones.
    fn events_for(&self, codec: CodecKind) -> Option<Format<u32>> {
        let on = |clock: u32| self.events.iter().find(|format| format.kind == clock).copied();
        on(codec.clock_rate()).or_else(|| on(8_000))
    }
}

fn attribute<'a>(media: &'a Media, name: &'a str) -> Option<&'a str> {
    media.get_first_attribute_value(name).flatten()
}

/// The direction of a stream: its own, else the session's, else both ways.
fn own_direction(description: &Description, media: &Media) -> Direction {
    let read = |attributes: &[sdp_types::Attribute]| {
        attributes.iter().find_map(|attribute| match attribute.attribute.as_str() {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::RecvOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        })
    };
    read(&media.attributes).or_else(|| read(&description.attributes)).unwrap_or(Direction::SendRecv)
}

/// `a=rtcp:53020 [IN IP4 126.16.64.4]` (RFC 3605).
fn rtcp_address(media: &Media, rtp: IpAddr) -> Option<SocketAddr> {
    let value = attribute(media, "rtcp")?;
    let mut words = value.split_ascii_whitespace();
    let port = words.next()?.parse().ok()?;
    let ip = words.nth(2).and_then(|ip| ip.parse().ok()).unwrap_or(rtp);
    Some(SocketAddr::new(ip, port))
}

/// The formats of a stream that we know, in its order.
fn formats(media: &Media) -> (Vec<Format<CodecKind>>, Vec<Format<u32>>) {
    let (mut codecs, mut events) = (Vec::new(), Vec::new());
    for payload_type in
        media.fmt.split_ascii_whitespace().filter_map(|text| text.parse::<u8>().ok()).filter(|pt| *pt < 128)
    {
        let map = media.get_attribute_values("rtpmap").flatten().find_map(|value| {
            let (number, encoding) = value.trim().split_once(' ')?;
            (number.parse() == Ok(payload_type)).then(|| encoding.trim())
        });
        let Some(encoding) = map else {
            codecs.extend(CodecKind::from_static_payload_type(payload_type).map(|kind| Format { payload_type, kind }));
            continue;
        };
        let mut parts = encoding.split('/');
        let (Some(name), Some(clock)) = (parts.next(), parts.next().and_then(|clock| clock.trim().parse::<u32>().ok()))
        else {
            continue;
        };
        if name.eq_ignore_ascii_case("telephone-event") {
            events.push(Format { payload_type, kind: clock });
        } else if let Some(kind) = CodecKind::from_name(name).filter(|kind| kind.clock_rate() == clock) {
            codecs.push(Format { payload_type, kind });
        }
    }
    (codecs, events)
}

#[cfg(test)]
mod tests;
