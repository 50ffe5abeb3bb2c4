//! Stories: what somebody wants to do, from the beginning to the end, without a real phone.

mod command_line;
mod idempotency;
mod life;
mod tap;
mod webhooks;
