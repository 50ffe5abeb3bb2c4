//! What every desk stands on: the store, the event log and its delivery, jobs, the bus, ids and time, organisations
//! and their credentials, the manners of HTTP.
//!
//! Invariant: the kernel knows no desk and no call. It is told about them by events, jobs and organisations' rows.

#![forbid(unsafe_code)]

pub mod bus;
pub mod db;
pub mod ids;
pub mod time;

pub use bus::Bus;
pub use db::{Arg, Db, DbError, Row, Tx, Wake, Write, Writer};
pub use ids::Ids;
pub use time::{Clock, ClockHand};
