//! SIP over loopback: hand-written messages against a running voice with ports kept in maps.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may stop")]

mod browser_media;
mod browsers;
mod calling;
mod carriers;
mod edges;
mod harness;
mod incoming;
mod masking;
mod mutations;
mod naming;
mod phones;
mod registering;
mod sipp;
mod strangers;
mod streams;
mod traps;
mod websockets;
