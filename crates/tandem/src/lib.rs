//! The Tandem server as a library: the binary is a thin `main`, integration tests reach the rest from here.
//! Each desk is a module; no desk imports another.
#![forbid(unsafe_code)]

pub mod app;
pub mod applications;
pub mod calls;
pub mod chat;
pub mod cli;
pub mod console;
pub mod flows;
pub mod meetings;
pub mod openapi;
pub mod party;
mod phone;
pub mod platform;
mod running;
pub mod web;
pub mod widget;
