//! Stories: what somebody wants to do, from the beginning to the end, without a real phone.

mod browser_phone;
mod command_line;
mod conference;
mod console;
mod console_account;
mod console_edits;
mod crash;
mod crash_callbacks;
mod hangups;
mod idempotency;
mod leaks;
mod life;
mod limits;
mod outage;
mod privacy;
mod queues;
mod recordings;
mod restore;
mod retention;
mod settings;
mod sip_websocket;
mod ssrf;
mod strangers;
mod takeover;
mod tap;
mod webhooks;
