//! Desk of calls: what was and is being called, its recordings, boxes of messages, and public numbers. It only shows
//! and binds; calls themselves are driven by the desks that place them and by the `calls` crate.

pub mod api;
mod audio;
pub mod codes;
mod conferences;
mod extensions;
pub(crate) mod numbers;
mod queues;
pub(crate) mod sight;
mod store;
mod supervise;
mod teams;
mod voicemail;

pub use api::routes;
pub(crate) use store::{flow_exists, flows_named};
