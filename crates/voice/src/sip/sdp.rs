//! Offers and answers (RFC 3264) of one audio stream, with SDES keys (RFC 4568) or, for browsers, ICE and DTLS, and with
//! telephone events.
//!
//! [`Session`] is one leg's side of the negotiation: it writes our offers and answers and reads the
//! peer's, and holds what was agreed last. Pure but for fresh keys. Streams are read in [`stream`],
//! payload types kept in [`formats`], what browsers need beside it in [`ice`].

mod formats;
mod ice;
mod lines;
mod stream;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use kernel::Ids;
use media::codec::CodecKind;
use media::srtp::{Keys, SdesLine, Suite};
use sdp_types::{Media, Session as Description};

use self::formats::{Format, Formats};
pub(crate) use self::ice::IceSide;
use self::lines::{answer_direction, media_lines, restrict, reverse};
use self::stream::{Profile, Stream};
use crate::runner::{self, Direction, Handshake, Remote, SrtpKeys, TelephoneEvents};

/// The port that stands where none is known (RFC 8839 §4.2.1).
const DISCARD_PORT: u16 = 9;

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

/// Whether an offer comes of a browser: its audio has keys of a handshake.
pub(crate) fn is_browsers(offer: &[u8]) -> bool {
    let is_dtls = |media: &Media| media.media == "audio" && Profile::read(&media.proto) == Some(Profile::Dtls);
    Description::parse(offer).is_ok_and(|description| description.medias.iter().any(is_dtls))
}

/// An offer of ours: what its answers are judged by. Several may come, from several phones (RFC 3261 §13.2.2.4).
#[derive(Clone, Debug)]
struct Offer {
    formats: Formats,
    crypto: Vec<SdesLine>,
    rtcp_mux: bool,
    direction: Direction,
}

/// What was agreed, apart from where to send.
#[derive(Clone, Debug)]
struct Agreed {
    remote: Remote,
    /// The crypto line we sent.
    local_crypto: Option<SdesLine>,
    /// What the numbers mean.
    formats: Formats,
    /// The peer wants to hear nothing.
    held: bool,
    /// The peer's description, to tell a repetition from a change.
    peer: Vec<u8>,
}

/// The refused streams around ours: every later description names them again (RFC 3264 §8).
#[derive(Clone, Debug, Default)]
struct Others {
    before: String,
    after: String,
    /// How many stand before ours.
    place: usize,
}

/// One leg's side of offer and answer.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Where we receive, as the peer is told.
    local: SocketAddr,
    /// `o=` session id and version.
    id: u64,
    version: u64,
    codecs: Vec<CodecKind>,
    protection: Protection,
    /// Where our keys come from: each is used for one stream of packets, ever.
    ids: Ids,
    /// The crypto lines of our first offer.
    own_crypto: Vec<SdesLine>,
    /// The peer is a browser: keys come of a handshake.
    ice: Option<IceSide>,
    /// We have put the peer on hold.
    holding: bool,
    /// The last description we sent, without its `o=` line.
    sent: String,
    offered: Option<Offer>,
    others: Others,
    agreed: Option<Agreed>,
}

impl Session {
    /// A session that receives at `local`. Keys are drawn from `ids` when SRTP is spoken.
    pub(crate) fn new(local: SocketAddr, id: u64, codecs: Vec<CodecKind>, protection: Protection, ids: Ids) -> Self {
        Self {
            local,
            id,
            version: 0,
            codecs,
            protection,
            ids,
            own_crypto: Vec::new(),
            ice: None,
            holding: false,
            sent: String::new(),
            offered: None,
            others: Others::default(),
            agreed: None,
        }
    }

    /// A session with a browser, which finds us by `ice`.
    pub(crate) fn with_browser(ice: IceSide, id: u64, codecs: Vec<CodecKind>, ids: Ids) -> Self {
        let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), DISCARD_PORT);
        let local = ice.address().unwrap_or(nowhere);
        Self { ice: Some(ice), ..Self::new(local, id, codecs, Protection::AsOffered, ids) }
    }

    /// What was agreed last, for the media thread.
    pub(crate) fn remote(&self) -> Option<&Remote> {
        self.agreed.as_ref().map(|agreed| &agreed.remote)
    }

    /// Whether the peer has put us on hold: it wants to hear nothing.
    pub(crate) fn is_held(&self) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| agreed.held)
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
        if self.ice.is_none() {
            self.local = local;
        }
    }

    /// Forgets what was agreed: the next offer goes to somebody else.
    pub(crate) fn restart(&mut self) {
        self.own_crypto.clear();
        self.offered = None;
        self.others = Others::default();
        self.agreed = None;
    }

    /// The same offer with another phone that it reached: nothing is agreed there yet.
    pub(crate) fn fork(&self) -> Self {
        Self { agreed: None, ..self.clone() }
    }

    /// Our offer: everything we speak at first, what is in use later.
    pub(crate) fn offer(&mut self) -> String {
        let formats = match &self.agreed {
            Some(Agreed { remote, .. }) => Formats {
                codecs: vec![Format { payload_type: remote.payload_in, kind: remote.codec }],
                events: remote
                    .events
                    .iter()
                    .map(|events| Format { payload_type: events.payload_in, kind: events.clock_rate })
                    .collect(),
                taken: Vec::new(),
            },
            None => self.first_formats(),
        };
        self.write_offer(formats)
    }

    /// What we offer first. To a browser only what has one clock: it makes a mess of keys when it is given two.
    fn first_formats(&self) -> Formats {
        let Some(first) = self.codecs.first().filter(|_| self.ice.is_some()) else {
            return Formats::default().offer(self.codecs.iter().copied());
        };
        let clock = first.clock_rate();
        let fitting = self.codecs.iter().copied().filter(|kind| kind.clock_rate() == clock);
        let mut formats = Formats::default().offer(fitting);
        formats.events.retain(|events| events.kind == clock);
        formats
    }

    /// Our offer to a peer that asks for one: everything we speak, first what is in use.
    pub(crate) fn offer_anew(&mut self) -> String {
        let formats = match &self.agreed {
            // A browser's codec does not change.
            Some(_) if self.ice.is_some() => return self.offer(),
            Some(agreed) => {
                let current = agreed.remote.codec;
                let others = self.codecs.iter().copied().filter(|kind| *kind != current);
                agreed.formats.offer(std::iter::once(current).chain(others))
            }
            None => self.first_formats(),
        };
        self.write_offer(formats)
    }

    fn write_offer(&mut self, formats: Formats) -> String {
        let direction = if self.holding { Direction::SendOnly } else { Direction::SendRecv };
        let (crypto, rtcp_mux) = match &self.agreed {
            Some(agreed) => (agreed.local_crypto.iter().cloned().collect(), agreed.remote.rtcp_mux),
            None => (self.first_crypto(), false),
        };
        let proto = match &self.ice {
            Some(_) => "UDP/TLS/RTP/SAVPF",
            None if crypto.is_empty() => "RTP/AVP",
            None => "RTP/SAVP",
        };
        let mut media = media_lines(self.local.port(), proto, &formats, &crypto, direction);
        match &self.ice {
            Some(ice) => media.push_str(&ice.offer_lines()),
            None if rtcp_mux => media.push_str("a=rtcp-mux\r\n"),
            None => {}
        }
        let rtcp_mux = rtcp_mux || self.ice.is_some();
        self.offered = Some(Offer { formats, crypto, rtcp_mux, direction });
        self.describe(&media, None)
    }

    fn first_crypto(&mut self) -> Vec<SdesLine> {
        if self.protection == Protection::Required && self.own_crypto.is_empty() {
            let line = |tag, suite| SdesLine { tag, suite, keys: Keys(self.ids.bytes()) };
            self.own_crypto = vec![line(1, Suite::AesCm128HmacSha1_80), line(2, Suite::AesCm128HmacSha1_32)];
        }
        self.own_crypto.clone()
    }

    /// Answers an offer, at the start or later. What was agreed before holds when this fails.
    pub(crate) fn answer(&mut self, offer: &[u8]) -> Result<String, SdpError> {
        let description = Description::parse(offer).map_err(|_| SdpError::Malformed)?;
        let mut others = Others::default();
        let mut ours = None;
        for media in &description.medias {
            if ours.is_none() {
                ours = self.accept(&description, media, offer);
                if ours.is_some() {
                    continue;
                }
                others.place += 1;
            }
            let side = if ours.is_none() { &mut others.before } else { &mut others.after };
            let _ = write!(side, "m={} 0 {} {}\r\n", media.media, media.proto, media.fmt);
            if let Some(mid) = stream::attribute(media, "mid") {
                let _ = write!(side, "a=mid:{mid}\r\n");
            }
        }
        let (agreed, lines, mid) = ours.ok_or(SdpError::NothingInCommon)?;
        self.settle(agreed, mid.as_deref());
        self.others = others;
        Ok(self.describe(&lines, mid.as_deref()))
    }

    /// It is agreed.
    fn settle(&mut self, agreed: Agreed, mid: Option<&str>) {
        if let (Some(ice), runner::Protection::Dtls(handshake)) = (&mut self.ice, &agreed.remote.protection) {
            ice.settle(handshake, mid);
        }
        self.agreed = Some(agreed);
    }

    /// The handshake that is agreed.
    fn handshake(&self) -> Option<&Handshake> {
        match &self.agreed.as_ref()?.remote.protection {
            runner::Protection::Dtls(handshake) => Some(handshake),
            runner::Protection::None | runner::Protection::Sdes(_) => None,
        }
    }

    /// An audio stream of the peer, when it is one that can be reached from here.
    fn read(&self, description: &Description, media: &Media) -> Option<Stream> {
        let is_near = |ip: IpAddr| ip.is_ipv4() == self.local.is_ipv4() || ip.is_unspecified();
        Stream::read(description, media).filter(|stream| match stream.profile {
            Profile::Plain | Profile::Keyed => self.ice.is_none() && is_near(stream.rtp.ip()),
            Profile::Dtls => self.ice.is_some(),
        })
    }

    /// Our answer to one offered stream, when it is one that we can take.
    fn accept(
        &self,
        description: &Description,
        media: &Media,
        offer: &[u8],
    ) -> Option<(Agreed, String, Option<String>)> {
        let stream = self.read(description, media)?;
        let (local_crypto, protection) = self.answer_protection(&stream)?;
        let current = self.agreed.as_ref().map(|agreed| agreed.remote.codec);
        // The codec in use stays when it is offered again; else the peer's order decides.
        let format = *stream
            .codecs
            .iter()
            .find(|format| Some(format.kind) == current)
            .or_else(|| stream.codecs.iter().find(|format| self.codecs.contains(&format.kind)))?;
        let events = stream.events_for(format.kind);
        let direction = answer_direction(stream.direction, self.holding);
        let chosen = Formats { codecs: vec![format], events: events.into_iter().collect(), taken: Vec::new() };
        let mut lines = media_lines(self.local.port(), &media.proto, &chosen, local_crypto.as_slice(), direction);
        let mid = stream::attribute(media, "mid").map(str::to_owned);
        if let (Some(ice), runner::Protection::Dtls(handshake)) = (&self.ice, &protection) {
            lines.push_str(&ice.answer_lines(handshake, mid.as_deref()));
        } else {
            if stream.rtcp_mux {
                lines.push_str("a=rtcp-mux\r\n");
            }
            if let Some(mid) = &mid {
                let _ = write!(lines, "a=mid:{mid}\r\n");
            }
        }
        let remote = Remote {
            rtp: stream.rtp,
            signalling: None,
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
            protection,
        };
        let held = !stream.direction.receives();
        let formats = self.numbered(Formats { codecs: stream.codecs, events: stream.events, taken: stream.taken });
        Some((Agreed { remote, local_crypto, formats, held, peer: offer.to_vec() }, lines, mid))
    }

    /// What numbers mean from now on.
    fn numbered(&self, mut formats: Formats) -> Formats {
        if let Some(agreed) = &self.agreed {
            formats.remember(&agreed.formats);
        }
        formats
    }

    /// The protection of an offered stream, and our line of keys: `None` when it cannot be met.
    fn answer_protection(&self, stream: &Stream) -> Option<(Option<SdesLine>, runner::Protection)> {
        if let Some(ice) = &self.ice {
            let handshake = ice.answer(stream.ice.as_ref()?, self.handshake(), &self.ids);
            return Some((None, runner::Protection::Dtls(Box::new(handshake))));
        }
        let Some(theirs) = stream.crypto.first() else {
            let plain = stream.profile == Profile::Plain && self.protection != Protection::Required;
            return plain.then_some((None, runner::Protection::None));
        };
        // Another suite is another stream of packets, and wants a key that has protected none.
        let keys = match self.agreed.as_ref().and_then(|agreed| agreed.local_crypto.as_ref()) {
            Some(ours) if ours.suite == theirs.suite => ours.keys.clone(),
            _ => Keys(self.ids.bytes()),
        };
        let ours = SdesLine { tag: theirs.tag, suite: theirs.suite, keys };
        Some((Some(ours.clone()), runner::Protection::Sdes(SrtpKeys { local: ours, remote: theirs.clone() })))
    }

    /// Reads an answer to our last offer: the first, or another phone's or a later one to the same INVITE.
    pub(crate) fn accept_answer(&mut self, answer: &[u8]) -> Result<(), SdpError> {
        let description = Description::parse(answer).map_err(|_| SdpError::Malformed)?;
        let media = description.medias.get(self.others.place).ok_or(SdpError::NothingInCommon)?;
        let stream = self.read(&description, media).ok_or(SdpError::NothingInCommon)?;
        let offered = self.offered.as_ref().ok_or(SdpError::NothingInCommon)?;
        let (format, ours) = stream
            .codecs
            .iter()
            .find_map(|theirs| Some((theirs, offered.formats.codecs.iter().find(|ours| ours.kind == theirs.kind)?)))
            .ok_or(SdpError::NothingInCommon)?;
        let events = stream.events_for(format.kind).and_then(|theirs| {
            let ours = offered.formats.events.iter().find(|ours| ours.kind == theirs.kind)?;
            Some(TelephoneEvents {
                payload_in: ours.payload_type,
                payload_out: theirs.payload_type,
                clock_rate: theirs.kind,
            })
        });
        let (local_crypto, protection) = match &self.ice {
            Some(ice) => {
                let peer = stream.ice.as_ref().ok_or(SdpError::NothingInCommon)?;
                (None, runner::Protection::Dtls(Box::new(ice.accept(peer, self.handshake()))))
            }
            None => chosen_crypto(&stream, &offered.crypto)?,
        };
        let remote = Remote {
            rtp: stream.rtp,
            signalling: None,
            rtcp: stream.rtcp,
            rtcp_mux: stream.rtcp_mux && offered.rtcp_mux,
            codec: format.kind,
            payload_in: ours.payload_type,
            payload_out: format.payload_type,
            events,
            direction: restrict(offered.direction, reverse(stream.direction)),
            protection,
        };
        // To a peer on hold sending nothing is no wish of its own.
        let held = match (offered.direction, stream.direction) {
            (Direction::SendOnly, Direction::Inactive) => self.is_held(),
            (_, theirs) => !theirs.receives(),
        };
        let formats = self.numbered(offered.formats.clone());
        self.settle(Agreed { remote, local_crypto, formats, held, peer: answer.to_vec() }, None);
        Ok(())
    }

    /// Whether this description is the one that was agreed on already.
    pub(crate) fn is_repeated(&self, peer: &[u8]) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| agreed.peer == peer)
    }

    /// The whole description around our stream. The version rises when it changed (RFC 3264 §8).
    fn describe(&mut self, media: &str, mid: Option<&str>) -> String {
        let family = if self.local.is_ipv4() { "IP4" } else { "IP6" };
        let ip = self.local.ip();
        let Others { before, after, .. } = &self.others;
        let session = self.ice.as_ref().map(|ice| ice.session_lines(mid)).unwrap_or_default();
        let body = format!("s=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n{session}{before}{media}{after}");
        if body != self.sent {
            self.version += 1;
            self.sent.clone_from(&body);
        }
        format!("v=0\r\no=- {} {} IN {family} {ip}\r\n{body}", self.id, self.version)
    }
}

/// The line of ours that the peer chose, when keys were offered; an error when it chose none.
fn chosen_crypto(stream: &Stream, offered: &[SdesLine]) -> Result<(Option<SdesLine>, runner::Protection), SdpError> {
    if offered.is_empty() {
        let plain = (None, runner::Protection::None);
        return if stream.profile == Profile::Plain { Ok(plain) } else { Err(SdpError::NothingInCommon) };
    }
    offered
        .iter()
        .find_map(|ours| {
            let theirs = stream.crypto.iter().find(|theirs| theirs.tag == ours.tag && theirs.suite == ours.suite)?;
            let keys = SrtpKeys { local: ours.clone(), remote: theirs.clone() };
            Some((Some(ours.clone()), runner::Protection::Sdes(keys)))
        })
        .ok_or(SdpError::NothingInCommon)
}

#[cfg(test)]
pub(crate) mod browser_tests;
#[cfg(test)]
mod tests;
