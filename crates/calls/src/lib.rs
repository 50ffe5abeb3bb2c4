//! A call and its legs, whatever they are made of: originate, answer, bridge, play, gather, record,
//! transfer, hang up. No HTTP routes, no sockets.
//!
//! Pure rules stand in [`model`], [`connect`], [`gather`] and [`numbers`].

#![forbid(unsafe_code)]

pub mod connect;
pub mod driver;
pub mod gather;
pub mod model;
pub mod numbers;

pub use connect::{ConnectStatus, Strategy};
pub use driver::{
    CallEvent, Connect, ConnectEvent, LeaveVoicemail, NewCall, RecordAction, RecordingEvent, VoicemailEvent,
};
pub use model::{CallEnd, CallModel, CallState, CallView, Direction, EndedBy, LegRecord, LegRole, LegState};
