//! Voice: signalling and media sockets. Gives `calls` a [`leg::Leg`]; knows no routes and no SQL.
//!
//! [`Voice`] is the door; what voice needs of the floors above stands in [`ports`].

pub mod cause;
pub mod leg;
pub mod ports;
pub mod rtc;
pub mod runner;
mod sip;
pub mod speech;
mod voice;

pub use sip::addresses_of;
pub use sip::edge::web::{WebFrame, WebSocketPlace};
pub use voice::{
    CallerId, Incoming, Inside, MAX_FORWARDS, Originate, SipLimits, Source, Target, TlsConfig, Voice, VoiceConfig,
    VoiceError, VoiceStats,
};
