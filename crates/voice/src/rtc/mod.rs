//! Browser phones: their signalling by WebSocket frames, over legs that speak ICE, DTLS and SRTP.

pub mod frame;
