//! SIP (RFC 3261 and friends), from the wire to the leg. (map: see the end of this work)
mod digest;
mod message;
mod sdp;
mod transaction;
mod uri;

use std::net::SocketAddr;
use std::sync::Arc;

use kernel::{Clock, Ids};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::leg::{LegEvents, Signals};
use crate::ports::Ports;
use crate::runner::{MediaLeg, MediaThreads};
use crate::voice::{Incoming, Originate, VoiceConfig, VoiceError};

#[derive(Clone)]
pub(crate) struct Sip {}

impl Sip {
    #[expect(clippy::too_many_arguments, reason = "called once, from Voice::start")]
    pub(crate) async fn start(
        _config: VoiceConfig,
        _ports: Arc<dyn Ports>,
        _media: MediaThreads,
        _clock: Clock,
        _ids: Ids,
        _tasks: TaskTracker,
        _stop: CancellationToken,
        _incoming: mpsc::Sender<Incoming>,
    ) -> Result<Self, VoiceError> {
        Ok(Self {})
    }
    pub(crate) fn originate(&self, _order: Originate, _signals: Signals, _media: MediaLeg, _events: LegEvents) {}
    pub(crate) fn local(&self) -> Vec<SocketAddr> {
        Vec::new()
    }
    pub(crate) fn local_tls(&self) -> Vec<SocketAddr> {
        Vec::new()
    }
    pub(crate) fn stats(&self) -> (usize, usize) {
        (0, 0)
    }
    pub(crate) async fn reload_tls(&self) -> Result<(), VoiceError> {
        Ok(())
    }
    pub(crate) async fn reload_trunks(&self) {}
}
