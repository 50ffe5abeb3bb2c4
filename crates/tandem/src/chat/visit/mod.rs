//! What a visitor's page needs beside rooms and messages: how the widget looks and when somebody is there, a room opened by
//! one request, attachments, the message that is left while nobody is there, the rating and the transcript.
//!
//! Invariant: everything here is asked for by strangers, so each has a limit, and whatever belongs to a room asks
//! [`super::access::may`] first. Source: docs/contracts/chat.md.

pub mod api;
pub(in crate::chat) mod attachments;
pub mod hours;
mod media;
pub mod offline;
mod open;
mod rating;
pub mod settings;
mod store;
mod transcript;
pub mod words;

pub use attachments::{Attachment, AwaitedFile, Carried, NewFile};
pub(in crate::chat) use attachments::{forget_file_write, named_file};
pub use open::{Door, Wish};
pub use rating::Rating;

/// As mails name the room that they tell of, so that they are erased with it.
pub(in crate::chat) fn mail_about(room: &str) -> String {
    format!("chat:{room}")
}
