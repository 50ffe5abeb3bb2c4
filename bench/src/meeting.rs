//! A conference's load: legs of several codecs, each of which says a tone of its own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media::codec::{CodecKind, Encoder};
use media::rtp::{HEADER_BYTES, Packet};

use crate::audio::{PTIME, Side};

/// Frames that a leg says again and again: a second.
const FRAMES: usize = 50;
/// Loudness of a tone: twenty of them do not overdrive the mix.
const LOUDNESS: f64 = 900.0;

/// One leg as it speaks.
struct Speaker {
    to: SocketAddr,
    codec: CodecKind,
    ssrc: u32,
    payloads: Vec<Vec<u8>>,
}

impl Speaker {
    fn new(ssrc: u32, to: SocketAddr, codec: CodecKind) -> Result<Self, String> {
        let mut encoder = Encoder::new(codec).map_err(|error| error.to_string())?;
        let (samples, rate) = (codec.frame_samples(), f64::from(codec.sample_rate()));
        let hertz = 300.0 + 50.0 * f64::from(ssrc);
        let mut payloads = Vec::with_capacity(FRAMES);
        for frame in 0..FRAMES {
            let sample = |at: usize| ((at as f64 * hertz * std::f64::consts::TAU / rate).sin() * LOUDNESS) as i16;
            let pcm: Vec<i16> = (frame * samples..(frame + 1) * samples).map(sample).collect();
            let mut payload = vec![0; 1_500];
            let length = encoder.encode(&pcm, &mut payload).map_err(|error| error.to_string())?;
            payload.truncate(length);
            payloads.push(payload);
        }
        Ok(Self { to, codec, ssrc, payloads })
    }

    /// The packet of this number.
    fn packet(&self, number: u32) -> Option<Vec<u8>> {
        let payload = self.payloads.get(number as usize % FRAMES)?;
        let packet = Packet {
            marker: false,
            payload_type: self.codec.payload_type(),
            sequence: u16::try_from(number & 0xffff).unwrap_or(0),
            timestamp: number.wrapping_mul(self.codec.frame_ticks()),
            ssrc: self.ssrc,
            payload,
        };
        let mut datagram = vec![0; HEADER_BYTES + payload.len()];
        packet.write(&mut datagram).ok()?;
        Some(datagram)
    }
}

impl Side {
    /// All talk for `duration`, from the numbers at which they stopped before; how many packets came back.
    ///
    /// # Errors
    /// When a codec cannot be set up.
    pub(crate) fn meet(&self, legs: &[(SocketAddr, CodecKind)], duration: Duration) -> Result<u64, String> {
        let speakers = (1_u32..).zip(legs).map(|(ssrc, (to, codec))| Speaker::new(ssrc, *to, *codec));
        let speakers = speakers.collect::<Result<Vec<_>, _>>()?;
        let first = self.said.get();
        let start = Instant::now();
        let mut heard = 0;
        for number in 0_u32.. {
            let due = PTIME * number;
            if due >= duration {
                self.said.set(first + number);
                break;
            }
            for speaker in &speakers {
                if let Some(datagram) = speaker.packet(first + number) {
                    let _sent = self.socket.send_to(&datagram, speaker.to);
                }
            }
            heard += self.count_until(start + due + PTIME);
        }
        Ok(heard)
    }

    /// Counts what comes until then.
    fn count_until(&self, until: Instant) -> u64 {
        let mut buffer = [0; 2_048];
        let mut heard = 0;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return heard;
            }
            let _set = self.socket.set_read_timeout(Some(left));
            heard += u64::from(self.socket.recv(&mut buffer).is_ok());
        }
    }
}
