//! Where a carrier that is known by its domain is to be found (RFC 3263): NAPTR says by which
//! transport, SRV by which hosts and ports, A and AAAA where these are.
//!
//! Invariant: an answer is believed only from the server that was asked, to the question that was asked.

mod client;
mod locate;
mod wire;

pub(crate) use client::Resolver;
pub use locate::addresses_of;
pub(crate) use locate::{Located, Place, Server, locate, order};
