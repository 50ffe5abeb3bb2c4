//! Tests of whole calls: a fake clock, scripted legs, a real database.

mod any_moment;
mod any_pair;
mod conferring;
mod consultation;
mod directory;
mod inbound;
mod joined;
mod kept;
mod masking;
mod outbound;
mod pairing;
mod queueing;
mod recovery;
mod stage;
mod stores;
mod supervision;
