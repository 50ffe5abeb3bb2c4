//! SIP (RFC 3261 and friends), from the wire to the leg. (map: see the end of this work)
mod digest;
mod message;
mod transaction;
mod uri;
