//! Queues: a team is a queue, and all teams of an organisation stand on one [`floor`].
//!
//! The rules are pure: [`floor`] says who is offered to whom, [`team`] in what order, [`agent`] what an agent is doing.

pub mod agent;
pub mod floor;
pub mod team;

pub use agent::{AgentState, Availability};
pub use floor::Left;
pub use team::TeamStrategy;
