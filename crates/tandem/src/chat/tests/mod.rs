//! The desk on a store, without HTTP: rooms are opened, written in, read, changed, by several at once and at any moment.

mod any_moment;
mod attachments;
mod changing;
mod opening;
mod sending;
pub(in crate::chat) mod stage;
mod telling;
