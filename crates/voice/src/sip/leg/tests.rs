//! Legs without a network: messages in, actions out, time as a number.
#![expect(clippy::unwrap_used, reason = "a test may stop")]
