//! What every desk stands on: the store, the event log and its delivery, jobs, the bus, ids and time, organisations
//! and their credentials, the manners of HTTP.
//!
//! Invariant: the kernel knows no desk and no call. It is told about them by events, jobs and organisations' rows.

#![forbid(unsafe_code)]

pub mod administrator;
pub mod app;
pub mod audit;
pub mod backup;
pub mod bus;
pub mod config;
pub mod credential;
pub mod db;
pub mod egress;
pub mod error;
pub mod events;
pub mod files;
pub mod http;
pub mod ids;
pub mod jobs;
pub mod kernel;
pub mod lenient;
pub mod limit;
pub mod notice;
pub mod org;
pub mod org_settings;
pub mod outbox;
pub mod password;
pub mod person;
pub mod principal;
pub mod problem;
pub mod pulse;
pub mod push;
pub mod qr;
pub mod record;
pub mod retention;
pub mod role;
pub mod secret;
pub mod session;
pub mod sign_in;
pub mod telemetry;
pub mod time;
pub mod webhook;
pub mod zones;

pub use bus::Bus;
pub use config::Config;
pub use credential::Credential;
pub use db::{Arg, Db, DbError, Row, Tx, Wake, Write, Writer};
pub use egress::{Egress, EgressError, EgressRequest, EgressResponse};
pub use events::{Event, Events};
pub use files::{Files, Shelf};
pub use ids::Ids;
pub use jobs::{Job, JobHandler, JobOutcome, Jobs};
pub use kernel::Kernel;
pub use limit::Limits;
pub use org::Org;
pub use org_settings::OrgSettings;
pub use outbox::{Outbox, Target};
pub use principal::Principal;
pub use problem::Problem;
pub use record::RecordError;
pub use role::{Action, Role, Scope};
pub use secret::{Secret, Secrets};
pub use time::{Clock, ClockHand};
