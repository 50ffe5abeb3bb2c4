//! Tests of whole calls: a fake clock, scripted legs, a real database.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod any_moment;
mod directory;
mod inbound;
mod outbound;
mod recovery;
mod stage;
mod stores;
