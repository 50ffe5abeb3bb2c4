//! What the server holds at this moment, as gauges of `/metrics`.
//!
//! Invariant: each of them falls back to where it was once the calls are over and the timers of
//! RFC 3261 have run out; the leak story counts on it. docs/operating.md explains them.

use calls::Calls;
use kernel::Kernel;
use voice::Voice;

/// Whoever knows what is held.
#[derive(Clone)]
pub struct Vitals {
    kernel: Kernel,
    calls: Calls,
    voice: Voice,
}

impl Vitals {
    /// Reads these parts of a server.
    #[must_use]
    pub fn of(kernel: &Kernel, calls: &Calls, voice: &Voice) -> Self {
        Self { kernel: kernel.clone(), calls: calls.clone(), voice: voice.clone() }
    }

    /// Name, meaning and value of each gauge.
    fn gauges(&self) -> [(&'static str, &'static str, usize); 9] {
        let voice = self.voice.stats();
        let runtime = tokio::runtime::Handle::current().metrics();
        [
            ("tandem_calls", "Calls that are not over.", self.calls.live()),
            ("tandem_sip_legs", "Parties whose signalling is not over.", voice.dialogs),
            (
                "tandem_sip_transactions",
                "SIP transactions, those included that wait for late repetitions.",
                voice.transactions,
            ),
            ("tandem_media_legs", "Parties on media threads.", voice.legs),
            ("tandem_rtp_port_pairs", "Pairs of RTP and RTCP ports in use.", voice.ports_in_use),
            ("tandem_recordings", "Recordings and messages being written.", voice.recordings),
            ("tandem_taps", "Live taps that are open, by WebSocket and SSE.", self.kernel.limits.taps()),
            ("tandem_tasks", "Tasks that the server waits for when it stops.", self.kernel.tasks.len()),
            (
                "tandem_runtime_tasks",
                "All tasks of the runtime, those of open connections included.",
                runtime.num_alive_tasks(),
            ),
        ]
    }

    /// The gauges in Prometheus' text format.
    #[must_use]
    pub fn text(&self) -> String {
        let line = |(name, help, value)| format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n");
        self.gauges().into_iter().map(line).collect()
    }
}
