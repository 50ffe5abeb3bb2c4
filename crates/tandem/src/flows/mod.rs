//! Desk of call flows (document 003): a JSON list of steps runs on a real call.
//! The rules are pure (model, lenient, check, template, zones, machine); run, store and api are the shell around them.

mod check;
pub mod due;
mod effect;
pub mod lenient;
pub mod machine;
pub mod model;
pub mod sounds;
pub mod steps;
pub mod store;
pub mod template;
pub mod zones;

pub use check::{Ask, Checked, Problem, Purpose, Question, Report, check};
