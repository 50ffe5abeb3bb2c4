//! What the measurements ask of a chat server: to let visitors into rooms of their own and listeners into all of them,
//! and to pass on what a visitor says.

use std::time::Duration;

use crate::sockets::Sockets;

/// What goes wrong is a sentence.
pub(super) type Done<T = ()> = Result<T, String>;

/// What each visitor says.
pub(super) const WORDS: &str = "Where is my parcel, please? It should have been here on Monday.";

/// A chat server, and how its clients speak.
pub(super) trait Talk {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// CPU time of its processes so far.
    fn cpu(&self) -> Duration;

    /// Resident memory of its processes, bytes.
    fn memory(&self) -> u64;

    /// Opens the socket of the visitor of a room; returns once it hears the room.
    ///
    /// # Errors
    /// What went wrong.
    fn enter(&self, sockets: &mut Sockets, room: usize) -> Done;

    /// Opens a socket that hears the first so many rooms; returns once it does.
    ///
    /// # Errors
    /// What went wrong.
    fn listen(&self, sockets: &mut Sockets, rooms: usize) -> Done;

    /// Lets the visitor on socket `room` say something in that room, for the `count`-th time of all.
    ///
    /// # Errors
    /// When the server has gone.
    fn say(&self, sockets: &mut Sockets, room: usize, count: usize) -> Done;

    /// Whether a text tells a visitor that what it said is kept and passed on.
    fn is_acknowledgement(&self, text: &str) -> bool;

    /// Whether a text is a message that somebody said.
    fn is_message(&self, text: &str) -> bool;
}
