//! The tests that see Tandem from outside: over HTTP and SIP, by its command line, with real phones.
//! One binary, so that it is linked once; nextest gives each test a process of its own.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that panics has failed; tasks and clocks of tests end with their process"
)]

mod coverage;
mod documents;
mod harness;
mod real;
mod stores;
mod stories;
