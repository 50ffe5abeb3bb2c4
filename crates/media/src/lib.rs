//! Sans-IO audio: bytes and time in, bytes out.
//!
//! Nothing here opens a socket, reads a clock or starts a task. Whatever has a timer takes `now` as an argument (microseconds on any monotonic
//! scale), so an hour of call is tested in a millisecond. PCM is mono `i16` in frames of 20 ms at the codec's own sample rate.
//! After its constructor nothing on the packet path allocates.
#![forbid(unsafe_code)]

pub mod bridge;
pub mod codec;
pub mod decode;
pub mod dtmf;
pub mod frame;
pub mod jitter;
pub mod mix;
pub mod play;
pub mod record;
pub mod resample;
pub mod rtcp;
pub mod rtp;
pub mod srtp;
pub mod tone;
