//! What may be written, changed and taken back.

use super::super::settings::Limits;
use super::{Body, Id, Kind, Message, Room, Sender};

/// Longest body of a message as JSON, bytes: what fits into one frame.
pub const MAX_BODY_BYTES: usize = 48 * 1024;
/// Longest name of an author, characters.
pub const MAX_AUTHOR: usize = 200;
/// Longest name that a client gives its message, bytes.
pub const MAX_CID: usize = 128;
/// So long after it was sent a sender may change or take back a message, milliseconds.
pub const EDIT_WINDOW_MS: i64 = 15 * 60_000;

/// Why something is not done in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The room is closed.
    #[error("the chat is closed")]
    Closed,
    /// `null` says nothing.
    #[error("a message says something: any JSON but null")]
    Empty,
    /// Too many characters.
    #[error("a message has at most {max} characters")]
    TooLong {
        /// How many it may have.
        max: usize,
    },
    /// Too many bytes for a frame.
    #[error("a message has at most {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// The author's name.
    #[error("an author's name has at most {MAX_AUTHOR} characters, and none that is not printed")]
    Author,
    /// The client's own name of the message.
    #[error("cid has 1 to {MAX_CID} printed characters")]
    Cid,
    /// `side` is neither true nor false.
    #[error("side is true or false")]
    Side,
    /// The server alone says this kind of thing.
    #[error("this kind of message comes from the server alone")]
    Kind,
    /// It was taken back.
    #[error("the message was deleted")]
    Deleted,
    /// Only words can be changed.
    #[error("only the text of a message can be changed")]
    NotText,
    /// Its time for changes is over.
    #[error("a message can be changed for 15 minutes")]
    TooLate,
    /// An attachment has bytes, and not too many.
    #[error("an attachment has 1 to {max} bytes")]
    FileSize {
        /// How many it may have.
        max: i64,
    },
    /// A message names a file that does not stand in its room.
    #[error("there is no such file in this room")]
    NoFile,
    /// The chat still goes on.
    #[error("a chat is rated when it is over")]
    NotOver,
    /// A score.
    #[error("a rating has a score of 1 to 5")]
    Rating,
    /// A product's name.
    #[error("a product's name is a line of at most 200 characters")]
    Product,
    /// Who somebody is.
    #[error("a name is needed")]
    NoName,
    /// A rating's words.
    #[error("a comment has at most 2000 characters")]
    Comment,
    /// Where mail is to go.
    #[error("a mail address is needed")]
    Email,
}

/// A message that somebody wants to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What the sender calls it, so that a retry is known. None = each try is another message.
    pub cid: Option<Id>,
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub body: Body,
    /// `side` as it was sent; none = that of the sender.
    pub side: Option<Body>,
    /// The sender's name, for people.
    pub author: String,
}

impl Draft {
    /// Plain words.
    #[must_use]
    pub fn text(words: &str) -> Self {
        Self { cid: None, kind: Kind::Text, body: Body::text(words), side: None, author: String::new() }
    }

    /// Whether `side`, as it was sent, claims to be support; none when it is neither true nor false.
    #[must_use]
    pub fn claims_support(&self) -> Option<bool> {
        self.side.as_ref().map_or(Some(false), said_true)
    }

    /// Whether such a message may stand in a room.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, limits: &Limits) -> Result<(), Refused> {
        // The others are the server's own words.
        if !matches!(self.kind, Kind::Text | Kind::Image | Kind::File) {
            return Err(Refused::Kind);
        }
        check_body(&self.body, limits)?;
        let printed = |text: &str| !text.chars().any(char::is_control);
        if self.author.chars().count() > MAX_AUTHOR || !printed(&self.author) {
            return Err(Refused::Author);
        }
        if self.cid.as_ref().is_some_and(|cid| cid.is_empty() || cid.len() > MAX_CID || !printed(cid)) {
            return Err(Refused::Cid);
        }
        self.claims_support().map(drop).ok_or(Refused::Side)
    }
}

/// `true` and `"true"`, whatever the case.
fn said_true(side: &Body) -> Option<bool> {
    let word = side.as_json().trim_matches('"');
    if word.eq_ignore_ascii_case("true") { Some(true) } else { word.eq_ignore_ascii_case("false").then_some(false) }
}

fn check_body(body: &Body, limits: &Limits) -> Result<(), Refused> {
    let max = limits.characters;
    if body.is_null() {
        Err(Refused::Empty)
    } else if body.as_json().len() > MAX_BODY_BYTES {
        Err(Refused::TooLarge)
    } else if body.as_json().len() > max && body.words().chars().count() > max {
        Err(Refused::TooLong { max })
    } else {
        Ok(())
    }
}

impl Room {
    /// Whether anything may be written in it.
    ///
    /// # Errors
    /// [`Refused::Closed`].
    pub fn takes_messages(&self) -> Result<(), Refused> {
        if self.is_open() { Ok(()) } else { Err(Refused::Closed) }
    }
}

impl Message {
    /// Whether a message may say something else.
    ///
    /// # Errors
    /// Why not.
    pub fn check_edit(&self, body: &Body, limits: &Limits, now_ms: i64) -> Result<(), Refused> {
        if self.deleted_ms.is_some() {
            return Err(Refused::Deleted);
        }
        if self.kind != Kind::Text {
            return Err(Refused::NotText);
        }
        if now_ms - self.created_ms > EDIT_WINDOW_MS {
            return Err(Refused::TooLate);
        }
        check_body(body, limits)
    }

    /// Whether a message may be taken back; who stands above its sender may do so at any time.
    ///
    /// # Errors
    /// Why not. That it was deleted already is no reason.
    pub fn check_delete(&self, by: &Sender, now_ms: i64) -> Result<(), Refused> {
        if self.sender == *by && matches!(by, Sender::Visitor(_)) && now_ms - self.created_ms > EDIT_WINDOW_MS {
            return Err(Refused::TooLate);
        }
        Ok(())
    }
}
