//! Browser phones: signalling by WebSocket frames, over legs that speak ICE, DTLS and SRTP.
//!
//! | part | what it is |
//! |---|---|
//! | [`frame`] | what phone and server say to each other |
//! | `call` | one call of a phone: a state machine, pure |
//! | `phone` | a phone and its calls: frames, commands and time in, actions out, pure |
//! | `desk` | the task that owns a phone: carries its actions out |
//! | `exchange` | all phones that are online, and those whose socket was lost a moment ago |
//! | `turn` | credentials for relays that browsers may need |
//! | `candidates` | where a browser finds the media thread's port |

mod call;
pub(crate) mod candidates;
mod desk;
mod exchange;
pub mod frame;
mod phone;
#[cfg(test)]
mod phone_tests;
mod turn;

pub(crate) use desk::Surroundings;
pub(crate) use exchange::Exchange;
pub use exchange::{BrowserPhone, PhoneAccount, PhoneRefused, PhoneRights};
pub(crate) use phone::CODECS;
pub use turn::{ICE_SERVERS_FRESH_MS, ice_servers};
