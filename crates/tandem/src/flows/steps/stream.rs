//! `stream`: the caller talks with a program at the other end of a WebSocket (contracts/flows.md "stream").

use std::sync::Arc;

use serde_json::json;

use super::{Context, Exit, Running, Turn};
use crate::flows::{
    check::fields::Fields,
    machine::{Effect, Input, StreamNews, StreamOrder, StreamTrack},
    template::Template,
};

pub(super) const EDGES: &[&str] = &["closed", "failed"];

/// Configuration of a `stream` step.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// ws or wss.
    pub url: Template,
    /// What is copied, and whether the caller hears the program.
    pub track: StreamTrack,
    /// Told to the program.
    pub params: Vec<(String, String)>,
}

impl Stream {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            url: fields.required("url", Fields::stream_url),
            track: fields.choice(
                "track",
                &[
                    ("bidirectional", StreamTrack::Bidirectional),
                    ("inbound", StreamTrack::Inbound),
                    ("outbound", StreamTrack::Outbound),
                    ("both_tracks", StreamTrack::Both),
                ],
                StreamTrack::Bidirectional,
            ),
            params: fields.text_map("params"),
        }
    }
}

pub(super) fn start(stream: &Arc<Stream>, context: &mut Context<'_>) -> Turn {
    let url = match stream.url.url(context.variables) {
        Ok(url) => url,
        Err(error) => return Turn::Done(Exit::failed("failed", error.to_string())),
    };
    context.push(Effect::Stream(StreamOrder { url, track: stream.track, params: stream.params.clone() }));
    Turn::Wait(Box::new(Streaming { stream: None }))
}

struct Streaming {
    /// Its id, once it runs.
    stream: Option<String>,
}

impl Running for Streaming {
    fn on(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Exit> {
        let Input::Stream(news) = input else { return None };
        match news {
            StreamNews::Started { stream } => {
                context.emit("stream.started", json!({ "stream_sid": stream }));
                self.stream = Some(stream.clone());
                None
            }
            StreamNews::Closed => {
                self.stopped("closed", context);
                Some(Exit::by("closed"))
            }
            StreamNews::Failed(error) => {
                self.stopped("failed", context);
                Some(Exit::failed("failed", error.clone()))
            }
        }
    }

    // Nothing follows call.completed: that the stream is over, the call says before it.
    fn abandon(&mut self, context: &mut Context<'_>) {
        context.push(Effect::StopStream);
    }
}

impl Streaming {
    /// A stream that has begun is over.
    fn stopped(&mut self, reason: &'static str, context: &mut Context<'_>) {
        if let Some(stream) = self.stream.take() {
            context.emit("stream.stopped", json!({ "stream_sid": stream, "reason": reason }));
        }
    }
}
