//! What tests are made of: a server, clients, phones, ears, stubs. One file a noun.

pub(crate) mod baresip;
pub(crate) mod bot;
pub(crate) mod browser;
pub(crate) mod chance;
pub(crate) mod chat;
pub(crate) mod choir;
pub(crate) mod client;
pub(crate) mod crowd;
pub(crate) mod ear;
pub(crate) mod handset;
pub(crate) mod house;
pub(crate) mod linphone;
pub(crate) mod meeting;
mod message;
pub(crate) mod office;
pub(crate) mod order;
pub(crate) mod person;
pub(crate) mod phone;
pub(crate) mod postbox;
pub(crate) mod process;
pub(crate) mod queue_log;
pub(crate) mod relay;
pub(crate) mod server;
pub(crate) mod sipp;
pub(crate) mod stub;
pub(crate) mod visitor;
pub(crate) mod web_phone;
