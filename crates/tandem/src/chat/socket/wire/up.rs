//! What a client says, and how a text is read as it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kernel::Secret;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{MAX_CURSORS, Refusal};
use crate::chat::model::{Body, Draft, Id, Kind, MAX_CID};

/// Longest id of a room or message, in bytes.
const MAX_ID: usize = 64;
/// Longest draft, in characters (contract, "limits").
const MAX_DRAFT: usize = 8_000;

/// What a client says.
#[derive(Clone, Debug, PartialEq)]
pub enum Up {
    /// The first frame; later, more rooms.
    Hello {
        /// A visitor's, a person's or an application's; none where the request carried a credential.
        token: Option<Secret>,
        /// The last `seq` seen of each room.
        cursors: BTreeMap<String, i64>,
    },
    /// A message.
    Send {
        /// Where.
        room: Id,
        /// What; it has a `cid`.
        draft: Draft,
    },
    /// Somebody types, or has stopped.
    Typing {
        /// Where.
        room: Id,
        /// Types, or has stopped.
        on: bool,
        /// What stands in the field so far.
        draft: Option<String>,
    },
    /// How far somebody has come.
    Mark {
        /// Where.
        room: Id,
        /// Up to this message.
        seq: i64,
        /// Read, not only delivered.
        is_read: bool,
    },
    /// Changes a message.
    Edit {
        /// Where.
        room: Id,
        /// Which.
        which: Which,
        /// What it says now.
        body: Body,
    },
    /// Takes a message back; a tombstone stays.
    Delete {
        /// Where.
        room: Id,
        /// Which.
        which: Which,
    },
    /// Asks for a sign of life.
    Ping,
}

/// A message of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// By its number.
    Seq(i64),
    /// By its id.
    Id(Id),
}

/// Every member that a frame may have. A flat shape is read in one pass, without keeping what came before `type`.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(rename = "type", borrow)]
    word: Cow<'a, str>,
    token: Option<Secret>,
    rooms: Option<BTreeMap<String, i64>>,
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    side: Option<&'a RawValue>,
    author: Option<String>,
    on: Option<bool>,
    text: Option<String>,
    seq: Option<i64>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

impl Up {
    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, Refusal> {
        let malformed = |why: &dyn std::fmt::Display| Refusal::new("invalid_request", format!("not a frame: {why}"));
        // A list of the members' values would be read too.
        if !text.trim_start().starts_with('{') {
            return Err(malformed(&"a JSON object is expected"));
        }
        let raw: Raw<'_> = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        if kernel::http::find_nul(text).is_some() {
            return Err(raw.about(Refusal::new("nul_character", "a text holds U+0000")));
        }
        raw.frame()
    }
}

impl Raw<'_> {
    fn frame(self) -> Result<Up, Refusal> {
        match &*self.word {
            "hello" => {
                let cursors = self.rooms.unwrap_or_default();
                if cursors.len() > MAX_CURSORS {
                    return Err(Refusal::field("rooms", &format!("at most {MAX_CURSORS}")));
                }
                Ok(Up::Hello { token: self.token, cursors })
            }
            "send" => self.sending(),
            "typing" => Ok(Up::Typing { room: self.room()?, on: self.on.unwrap_or(true), draft: None }),
            "draft" => {
                let room = self.room()?;
                let text = self.text.unwrap_or_default();
                if text.chars().count() > MAX_DRAFT {
                    return Err(Refusal::field("text", &format!("at most {MAX_DRAFT} characters")));
                }
                Ok(Up::Typing { room, on: !text.is_empty(), draft: Some(text) })
            }
            word @ ("read" | "delivered") => {
                let seq = self.seq.filter(|seq| *seq >= 0).ok_or_else(|| Refusal::field("seq", "a number"))?;
                Ok(Up::Mark { room: self.room()?, seq, is_read: word == "read" })
            }
            "edit" => Ok(Up::Edit { room: self.room()?, which: self.which()?, body: self.body()? }),
            "delete" => Ok(Up::Delete { room: self.room()?, which: self.which()? }),
            "ping" => Ok(Up::Ping),
            other => {
                let word: String = other.chars().take(MAX_ID).collect();
                Err(Refusal::new("invalid_request", format!("no frame is called {word:?}")))
            }
        }
    }

    fn sending(self) -> Result<Up, Refusal> {
        let room = self.room()?;
        let cid: Id = match self.cid.as_deref() {
            Some(cid) if !cid.is_empty() && cid.len() <= MAX_CID => cid.into(),
            _ => {
                let what = format!("your own name of the message, 1 to {MAX_CID} bytes");
                return Err(Refusal::field("cid", &what).about(&room, None));
            }
        };
        let about = |refusal: Refusal| refusal.about(&room, Some(&cid));
        let kind = match self.kind.as_deref() {
            None => Kind::Text,
            Some(word) => Kind::parse(word).ok_or_else(|| about(Refusal::field("kind", "text, image or file")))?,
        };
        let body = self.body().map_err(about)?;
        let side = self.side.map(|side| as_body(side, "side")).transpose().map_err(about)?;
        let author = self.author.unwrap_or_default();
        Ok(Up::Send { draft: Draft { cid: Some(cid.clone()), kind, body, side, author }, room })
    }

    /// What it is about, as far as that can be told back: a client that sends again must know which to leave.
    fn about(&self, refusal: Refusal) -> Refusal {
        let id = |id: Option<&str>, most: usize| {
            id.filter(|id| !id.is_empty() && id.len() <= most && !id.contains('\0')).map(Id::from)
        };
        Refusal { room: id(self.room.as_deref(), MAX_ID), cid: id(self.cid.as_deref(), MAX_CID), ..refusal }
    }

    fn room(&self) -> Result<Id, Refusal> {
        let id = self.room.as_deref().filter(|id| !id.is_empty() && id.len() <= MAX_ID);
        id.map(Into::into).ok_or_else(|| Refusal::field("room", "the id of a room"))
    }

    fn body(&self) -> Result<Body, Refusal> {
        let body = self.body.ok_or_else(|| Refusal::field("body", "what the message says"))?;
        as_body(body, "body")
    }

    fn which(&self) -> Result<Which, Refusal> {
        match (self.seq, self.id.as_deref()) {
            (Some(seq), _) if seq > 0 => Ok(Which::Seq(seq)),
            (None, Some(id)) if !id.is_empty() && id.len() <= MAX_ID => Ok(Which::Id(id.into())),
            _ => Err(Refusal::field("seq", "the number of a message, or its id as id")),
        }
    }
}

fn as_body(raw: &RawValue, field: &'static str) -> Result<Body, Refusal> {
    Body::parse(raw.get()).map_err(|error| Refusal::field(field, &error.to_string()))
}
