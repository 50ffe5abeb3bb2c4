//! Desk of call flows (document 003): a JSON list of steps runs on a real call.
//! The rules are pure (model, lenient, check, template, zones, machine); run, store and api are the shell around them.

pub mod lenient;
pub mod template;
pub mod zones;
