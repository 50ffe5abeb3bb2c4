//! A call's audio on a WebSocket that we open, by Twilio's media-stream protocol (contracts/flows.md "stream"): `wire`
//! knows the frames, `socket` carries them, and `allowance` says how much the other side may order.

mod allowance;
mod socket;
mod wire;

pub(super) use socket::{Ended, Plan, carry};
pub(super) use wire::Hello;
