//! The `tandem` binary: a start that reads as a story.
#![forbid(unsafe_code)]

fn main() {}
