//! Desk of meetings (document 000): an application posts an order, and its two people talk through the server without
//! learning each other's number.
//!
//! The rules are pure: `model` says what a meeting does next. Around it stand its store, its jobs, its live call and its
//! pages. Source: docs/contracts/meetings.md.

pub mod model;
