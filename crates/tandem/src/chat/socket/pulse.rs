//! One timer for every open socket and stream.
//!
//! Invariant: each has its beat once in a round, and they do not all have it at once: a beat costs a ping and a look at a
//! credential, and thousands of them in one moment would be a wait for everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kernel::Kernel;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Parts of a round.
const STEPS: usize = 20;
/// From one part to the next: a socket has its beat every 20 s, so that proxies keep its connection.
const STEP: Duration = Duration::from_secs(1);

/// The timer. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pulse(Arc<Inner>);

struct Inner {
    steps: [watch::Sender<()>; STEPS],
    next: AtomicUsize,
}

/// The beats of one socket.
pub(super) struct Beats(watch::Receiver<()>);

impl Pulse {
    /// Starts it; it ends with the server.
    pub(super) fn start(kernel: &Kernel) -> Self {
        let pulse =
            Self(Arc::new(Inner { steps: std::array::from_fn(|_| watch::Sender::new(())), next: AtomicUsize::new(0) }));
        let (beating, stop) = (pulse.clone(), kernel.stop.clone());
        kernel.tasks.spawn(async move {
            let mut every = interval(STEP);
            every.set_missed_tick_behavior(MissedTickBehavior::Skip);
            for step in beating.0.steps.iter().cycle() {
                tokio::select! {
                    _ = every.tick() => drop(step.send(())),
                    () = stop.cancelled() => return,
                }
            }
        });
        pulse
    }

    /// Beats for one more socket; sockets are spread over the parts of a round.
    pub(super) fn join(&self) -> Beats {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed) % STEPS;
        // The remainder is an index.
        let step = self.0.steps.get(number).or(self.0.steps.first());
        Beats(step.map_or_else(|| watch::channel(()).1, watch::Sender::subscribe))
    }
}

impl Beats {
    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
