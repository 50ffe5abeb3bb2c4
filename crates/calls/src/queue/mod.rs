//! Queues: a team is a queue, and all teams of an organisation stand on one [`floor`].
//!
//! The rules are pure: [`floor`] says who is offered to whom, [`team`] in what order, [`agent`] what an agent is doing.
//! `floors` holds it and says what is asked of it, `keeper` keeps the time and the rows; `seat` is a caller's end of it.

pub mod agent;
pub mod announce;
pub mod floor;
mod floors;
mod keeper;
mod people;
mod seat;
pub mod team;
mod turn;

pub use agent::{AgentState, Availability, PersonState};
pub use floor::Left;
pub use floors::{AgentView, OwnState, QueueView};
pub use team::TeamStrategy;
pub use turn::{Turn, TurnWish};

pub(crate) use floor::Patience;
pub(crate) use floors::Floors;
#[cfg(test)]
pub(crate) use keeper::Trouble;
#[cfg(test)]
pub(crate) use people::ALL as STATEMENTS;
pub(crate) use seat::{Leaving, Offer, Seat};
