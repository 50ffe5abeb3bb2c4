//! Media threads: each owns its sockets and whole legs, and is talked to by message.
//!
//! Signalling holds a [`MediaLeg`] for every leg: a handle whose commands are queued for the leg's thread. When a bridge joins legs of two
//! threads, one leg moves with its sockets, by message.
//! Invariant: a packet is received, handled and sent on by one thread, without a lock, a channel or an allocation.

mod bench;
mod browser;
mod callers;
mod comfort;
mod handle;
mod identity;
#[cfg(test)]
mod key_tests;
mod keys;
mod leg_media;
mod line;
mod mailbox;
mod patchbay;
#[cfg(test)]
mod patchbay_orders;
#[cfg(test)]
mod patchbay_tests;
mod poll;
mod port_pool;
mod recorder;
mod recording;
#[cfg(test)]
mod recording_tests;
mod remote;
mod room;
mod room_handle;
#[cfg(test)]
mod room_tests;
pub mod script;
mod shared_port;
mod silence;
mod socket;
#[cfg(test)]
mod stage;
mod tap;
mod thread;
#[cfg(test)]
mod threads_tests;
mod timepiece;
mod tune;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

pub use handle::{LegKey, MediaLeg, MediaThreads};
pub use remote::{Direction, Fingerprint, Handshake, IceCredentials, Protection, Remote, SrtpKeys, TelephoneEvents};
pub use room::{Part, RoomKey};
pub use room_handle::Room;
pub use tap::{TAP_FRAME_BYTES, TapEvent, TapFrame, TapTrack};

/// What the media threads are started with.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// How many threads; 0 means one a core.
    pub threads: usize,
    /// First and last UDP port for RTP (even) and RTCP (the odd one after it).
    pub rtp_ports: (u16, u16),
    /// Where browsers' legs receive: thread n takes the port plus n, or any for port 0. Empty: there are none.
    pub rtc: Vec<SocketAddr>,
    /// An answered leg that is not on hold ends after so many milliseconds without RTP and RTCP.
    pub media_timeout_ms: u32,
}

/// Why a media socket or thread could not be had.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// Every port of the range is in use.
    #[error("no free RTP port in {}-{}", .0.0, .0.1)]
    NoPort((u16, u16)),
    /// The range holds no pair of ports.
    #[error("the RTP port range {}-{} holds no even port with an odd one after it", .0.0, .0.1)]
    EmptyRange((u16, u16)),
    /// The port of browsers' legs cannot be had.
    #[error("cannot receive from browsers on {0} by UDP: {1}")]
    Shared(SocketAddr, Arc<io::Error>),
    /// No certificate for the handshakes with browsers could be made.
    #[error("no certificate for browsers can be made")]
    NoCertificate,
    /// The leg has its socket already.
    #[error("the leg's media socket is open already")]
    AlreadyOpen,
    /// The operating system refused.
    #[error("media socket: {0}")]
    Io(#[from] Arc<io::Error>),
}

/// What the media threads hold, for leak tests and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaStats {
    /// Legs on all threads.
    pub legs: usize,
    /// Pairs of ports in use.
    pub ports_in_use: usize,
    /// Recordings that are being written or completed.
    pub recordings: usize,
}
