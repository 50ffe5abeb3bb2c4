//! The frames of a media stream, both ways. Pure: audio and keys go in, JSON texts come out, and what the other side says
//! becomes orders. Invariant: `sequenceNumber` counts every frame from `start` on, `chunk` every frame of a track.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use voice::leg::{TapFrame, TapTrack};

/// Time of a frame, in milliseconds.
const FRAME_MS: u64 = 20;
/// Longest name of a mark, in bytes.
const MAX_MARK: usize = 1_024;
/// Marks that may be open.
const MAX_MARKS: usize = 256;

/// What the other side must know of the stream.
#[derive(Debug, Clone)]
pub(crate) struct Hello {
    pub(crate) stream: String,
    pub(crate) account: String,
    pub(crate) call: String,
    pub(crate) track: TapTrack,
    pub(crate) params: Vec<(String, String)>,
}

/// Which way a frame went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Inbound,
    Outbound,
}

/// What the other side wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// Mu-law to be heard.
    Say(Vec<u8>),
    /// To be told when everything so far was heard.
    Mark(u32),
    /// What it said is not to be heard any more.
    Clear,
    /// A mark beyond those that may be open, or with a name beyond all names.
    TooMuch,
}

/// One side of a stream.
pub(super) struct Wire {
    hello: Hello,
    sequence: u64,
    chunks: [u64; 2],
    next_mark: u32,
    marks: BTreeMap<u32, String>,
}

/// What the other side sends; more fields are allowed.
#[derive(Deserialize)]
struct Received {
    event: String,
    media: Option<Media>,
    mark: Option<Mark>,
}

#[derive(Deserialize)]
struct Media {
    payload: String,
}

#[derive(Deserialize)]
struct Mark {
    name: String,
}

impl Wire {
    pub(super) fn new(hello: Hello) -> Self {
        Self { hello, sequence: 0, chunks: [0, 0], next_mark: 0, marks: BTreeMap::new() }
    }

    /// The two frames that open a stream.
    pub(super) fn opening(&mut self) -> [String; 2] {
        let connected = json!({"event": "connected", "protocol": "Call", "version": "1.0.0"});
        let tracks = match self.hello.track {
            TapTrack::Inbound | TapTrack::Bidirectional => json!(["inbound"]),
            TapTrack::Outbound => json!(["outbound"]),
            TapTrack::Both => json!(["inbound", "outbound"]),
        };
        let params: Map<String, Value> =
            self.hello.params.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let start = json!({
            "streamSid": self.hello.stream,
            "accountSid": self.hello.account,
            "callSid": self.hello.call,
            "tracks": tracks,
            "customParameters": params,
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        });
        [connected.to_string(), self.frame("start", start)]
    }

    /// 20 ms of audio.
    pub(super) fn media(&mut self, way: Way, audio: &TapFrame) -> String {
        let (track, index) = match way {
            Way::Inbound => ("inbound", 0),
            Way::Outbound => ("outbound", 1),
        };
        let chunk = self.chunks.get_mut(index).map_or(0, |chunk| {
            *chunk += 1;
            *chunk
        });
        let media = json!({
            "track": track,
            "chunk": chunk.to_string(),
            "timestamp": ((chunk.saturating_sub(1)) * FRAME_MS).to_string(),
            "payload": STANDARD.encode(audio),
        });
        self.frame("media", media)
    }

    /// A key of the caller's.
    pub(super) fn dtmf(&mut self, symbol: char) -> String {
        self.frame("dtmf", json!({"track": "inbound_track", "digit": symbol.to_string()}))
    }

    /// A mark was reached; none when nobody set it.
    pub(super) fn mark(&mut self, mark: u32) -> Option<String> {
        let name = self.marks.remove(&mark)?;
        Some(self.frame("mark", json!({ "name": name })))
    }

    /// The last frame.
    pub(super) fn stop(&mut self) -> String {
        let stop = json!({"accountSid": self.hello.account, "callSid": self.hello.call});
        self.frame("stop", stop)
    }

    fn frame(&mut self, event: &str, data: Value) -> String {
        self.sequence += 1;
        let sequence = self.sequence.to_string();
        json!({"event": event, "sequenceNumber": sequence, "streamSid": self.hello.stream, event: data}).to_string()
    }

    /// What a text of the other side wants; what cannot be read, or is none of its business, wants nothing.
    pub(super) fn read(&mut self, text: &str) -> Option<Wish> {
        let received: Received = serde_json::from_str(text).ok()?;
        match received.event.as_str() {
            "media" => STANDARD.decode(received.media?.payload).ok().map(Wish::Say),
            "clear" => Some(Wish::Clear),
            "mark" => {
                let name = received.mark?.name;
                if name.len() > MAX_MARK || self.marks.len() >= MAX_MARKS {
                    return Some(Wish::TooMuch);
                }
                self.next_mark = self.next_mark.wrapping_add(1);
                self.marks.insert(self.next_mark, name);
                Some(Wish::Mark(self.next_mark))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(track: TapTrack) -> Wire {
        Wire::new(Hello {
            stream: "stream_1".into(),
            account: "AC1".into(),
            call: "call_1".into(),
            track,
            params: vec![("bot".into(), "x".into())],
        })
    }

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_stream_opens_as_its_protocol_says() {
        let [connected, start] = wire(TapTrack::Both).opening();
        assert_eq!(value(&connected), json!({"event": "connected", "protocol": "Call", "version": "1.0.0"}));
        assert_eq!(
            value(&start),
            json!({
                "event": "start", "sequenceNumber": "1", "streamSid": "stream_1",
                "start": {
                    "streamSid": "stream_1", "accountSid": "AC1", "callSid": "call_1",
                    "tracks": ["inbound", "outbound"], "customParameters": {"bot": "x"},
                    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                },
            })
        );
        for (track, tracks) in
            [(TapTrack::Bidirectional, "inbound"), (TapTrack::Inbound, "inbound"), (TapTrack::Outbound, "outbound")]
        {
            assert_eq!(value(&wire(track).opening()[1])["start"]["tracks"], json!([tracks]));
        }
    }

    #[test]
    fn frames_are_numbered_and_chunks_by_track() {
        let mut wire = wire(TapTrack::Both);
        let _opening = wire.opening();
        let frames: Vec<Value> = [Way::Inbound, Way::Outbound, Way::Inbound]
            .iter()
            .map(|way| value(&wire.media(*way, &[0xff; 160])))
            .collect();
        let of = |name: &str| frames.iter().map(|frame| frame["media"][name].clone()).collect::<Vec<_>>();
        assert_eq!(of("chunk"), [json!("1"), json!("1"), json!("2")]);
        assert_eq!(of("timestamp"), [json!("0"), json!("0"), json!("20")]);
        assert_eq!(frames[2]["sequenceNumber"], "4");
        assert_eq!(STANDARD.decode(frames[0]["media"]["payload"].as_str().unwrap()).unwrap(), [0xff; 160]);
        assert_eq!(value(&wire.dtmf('5'))["dtmf"], json!({"track": "inbound_track", "digit": "5"}));
        assert_eq!(value(&wire.stop())["stop"], json!({"accountSid": "AC1", "callSid": "call_1"}));
    }

    #[test]
    fn what_the_other_side_says_is_read_and_rubbish_is_not() {
        let mut wire = wire(TapTrack::Bidirectional);
        let media = json!({"event": "media", "streamSid": "x", "media": {"payload": STANDARD.encode([1, 2])}});
        assert_eq!(wire.read(&media.to_string()), Some(Wish::Say(vec![1, 2])));
        assert_eq!(wire.read(r#"{"event":"clear","streamSid":"x"}"#), Some(Wish::Clear));
        let Some(Wish::Mark(mark)) = wire.read(r#"{"event":"mark","mark":{"name":"end"}}"#) else { panic!("no mark") };
        assert_eq!(value(&wire.mark(mark).unwrap())["mark"], json!({"name": "end"}));
        assert_eq!(wire.mark(mark), None, "told once");
        for rubbish in [
            "",
            "[]",
            "{}",
            r#"{"event":"media"}"#,
            r#"{"event":"media","media":{"payload":"!"}}"#,
            r#"{"event":"mark"}"#,
            r#"{"event":"stop"}"#,
        ] {
            assert_eq!(wire.read(rubbish), None, "{rubbish}");
        }
        let marks: Vec<_> =
            (0..MAX_MARKS + 5).map(|_| wire.read(r#"{"event":"mark","mark":{"name":"m"}}"#).unwrap()).collect();
        assert_eq!(marks.iter().filter(|wish| **wish == Wish::TooMuch).count(), 5);
    }
}
