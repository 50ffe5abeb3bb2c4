//! The edge: sockets in, whole messages out.
//!
//! What is read here is parsed and handed over in batches through one bounded channel: when the
//! endpoint lags, the kernel's buffers fill and datagrams are lost there, as the network may lose
//! them. Nothing here knows transactions.

pub(crate) mod stream;
pub(crate) mod tls;
pub(crate) mod udp;
pub(crate) mod web;

use std::sync::Arc;

use kernel::Clock;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::endpoint::Input;
use super::gate::Gate;

/// What every reader needs.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Clock,
    pub(crate) input: mpsc::Sender<Input>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}
