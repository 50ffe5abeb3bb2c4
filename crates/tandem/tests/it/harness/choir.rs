//! Twenty voices behind one SIP address: each call to it is answered by a phone of its own codec that sings its own
//! tone and writes down what it hears. The last two digits of the number say which voice it is.
//!
//! It stands where a carrier would: bind it as the target of a trunk.

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use media::codec::{CodecKind, Decoder, Encoder};
use media::frame::MAX_PACKET_SAMPLES;
use media::rtp::Packet;
use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinSet};

use super::ear::Heard;
use super::message::{Message, response};

/// A tone that twenty of do not overdrive.
const LOUDNESS: f64 = 900.0;
/// What a tone must have of a mix of up to twenty to be in it, and what it may have when it is not: gaps on a machine
/// that is short of time smear tones.
const PRESENT: f64 = 0.02;
const ABSENT: f64 = 0.01;

/// How often a voice is listened to until it hears what it should.
const HEARINGS: usize = 60;

type Ears = Arc<Mutex<HashMap<usize, Heard>>>;

/// The running choir; dropped, it falls silent.
pub(crate) struct Choir {
    pub(crate) address: SocketAddr,
    ears: Ears,
    task: tokio::task::JoinHandle<()>,
}

/// The codec of a voice: all four in turn.
pub(crate) fn codec(voice: usize) -> CodecKind {
    CodecKind::ALL[voice % CodecKind::ALL.len()]
}

/// The tone of a voice: whole hertz, so that whole seconds of two have nothing of each other.
fn hertz(voice: usize) -> f64 {
    300.0 + 140.0 * voice as f64
}

impl Choir {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let ears = Ears::default();
        let stage = Stage { socket, address, ears: Arc::clone(&ears), singing: HashMap::new() };
        Self { address, ears, task: tokio::spawn(stage.run()) }
    }

    /// Waits until a voice has heard just these, of the first `of`, for a whole second.
    pub(crate) async fn until_hears(&self, voice: usize, of: usize, expected: &[usize]) {
        let mut last = Err(Vec::new());
        for _ in 0..HEARINGS {
            let heard = self.ears.lock().unwrap()[&voice].clone();
            last = voices_in(&heard.part(heard.seconds() - 1.0..heard.seconds()), of);
            if last.as_deref() == Ok(expected) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("voice {voice} hears {last:?}, never {expected:?}");
    }
}

/// The voices, of the first `of`, that are in a sound; the shares of all when one is in doubt.
pub(crate) fn voices_in(heard: &Heard, of: usize) -> Result<Vec<usize>, Vec<f64>> {
    let shares: Vec<f64> = (0..of).map(|voice| heard.share_of(hertz(voice))).collect();
    if shares.iter().any(|share| (ABSENT..PRESENT).contains(share)) {
        return Err(shares);
    }
    Ok((0..of).filter(|voice| shares[*voice] >= PRESENT).collect())
}

impl Drop for Choir {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The choir's signalling: one task, and one more for each voice.
struct Stage {
    socket: UdpSocket,
    address: SocketAddr,
    ears: Ears,
    /// By Call-ID.
    singing: HashMap<String, AbortHandle>,
}

impl Stage {
    async fn run(mut self) {
        let mut voices = JoinSet::new();
        let mut buffer = vec![0; 65_535];
        loop {
            let (length, from) = self.socket.recv_from(&mut buffer).await.unwrap();
            let Some(request) = Message::read(&buffer[..length]).filter(|message| message.status().is_none()) else {
                continue;
            };
            let singing = self.singing.get(request.call_id());
            let body = match (request.method(), singing) {
                // Again: its answer is on its way.
                ("ACK", _) | ("INVITE", Some(_)) => continue,
                ("INVITE", None) => self.begin(&request, &mut voices).await,
                ("BYE" | "CANCEL", Some(task)) => {
                    task.abort();
                    String::new()
                }
                _ => String::new(),
            };
            let answer = response(&request, "200 OK", "choir", self.address, &body);
            self.socket.send_to(answer.as_bytes(), from).await.unwrap();
        }
    }

    /// A voice begins to sing; its session description.
    async fn begin(&mut self, invite: &Message, voices: &mut JoinSet<()>) -> String {
        let number = invite.number();
        let voice: usize = number[number.len() - 2..].parse().unwrap();
        let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let payload_type = offered_type(invite, codec(voice));
        let body = sdp(rtp.local_addr().unwrap().port(), codec(voice), payload_type);
        self.ears.lock().unwrap().insert(voice, Heard { rate: codec(voice).sample_rate(), samples: Vec::new() });
        let singing = sing(voice, payload_type, rtp, invite.media().unwrap(), Arc::clone(&self.ears));
        let task = voices.spawn(singing);
        self.singing.insert(invite.call_id().to_owned(), task);
        body
    }
}

/// The number by which the offer names a codec.
fn offered_type(invite: &Message, codec: CodecKind) -> u8 {
    let named = invite.body().lines().find_map(|line| {
        let (number, name) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        name.starts_with(&format!("{}/", codec.name())).then(|| number.parse().unwrap())
    });
    named.unwrap_or_else(|| codec.payload_type())
}

fn sdp(port: u16, codec: CodecKind, payload_type: u8) -> String {
    let map = match codec {
        CodecKind::Opus => "opus/48000/2",
        CodecKind::G722 => "G722/8000",
        CodecKind::Pcmu => "PCMU/8000",
        CodecKind::Pcma => "PCMA/8000",
    };
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {payload_type}\r\na=rtpmap:{payload_type} {map}\r\n"
    )
}

/// Sings a frame every 20 ms, and notes what comes.
async fn sing(voice: usize, payload_type: u8, rtp: UdpSocket, to: SocketAddr, ears: Ears) {
    let codec = codec(voice);
    let (mut encoder, mut decoder) = (Encoder::new(codec).unwrap(), Decoder::new(codec).unwrap());
    let (samples, rate) = (codec.frame_samples(), f64::from(codec.sample_rate()));
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    let (mut sequence, mut sung) = (0_u16, 0_usize);
    let (mut buffer, mut pcm) = ([0; 2_048], vec![0; MAX_PACKET_SAMPLES]);
    loop {
        tokio::select! {
            received = rtp.recv_from(&mut buffer) => {
                let (length, _) = received.unwrap();
                let Ok(packet) = Packet::parse(&buffer[..length]) else { continue };
                if packet.payload_type == payload_type {
                    let decoded = decoder.decode(packet.payload, &mut pcm).unwrap();
                    let mut ears = ears.lock().unwrap();
                    ears.get_mut(&voice).unwrap().samples.extend_from_slice(&pcm[..decoded]);
                }
            }
            _ = clock.tick() => {
                let tone = |at: usize| (LOUDNESS * (TAU * hertz(voice) * at as f64 / rate).sin()) as i16;
                let frame: Vec<i16> = (sung..sung + samples).map(tone).collect();
                sung += samples;
                let mut payload = [0; 1_500];
                let length = encoder.encode(&frame, &mut payload).unwrap();
                let timestamp = u32::from(sequence) * codec.frame_ticks();
                let ssrc = 0x5100 + voice as u32;
                let payload = &payload[..length];
                let packet = Packet { marker: false, payload_type, sequence, timestamp, ssrc, payload };
                let mut datagram = vec![0; 12 + length];
                packet.write(&mut datagram).unwrap();
                rtp.send_to(&datagram, to).await.unwrap();
                sequence = sequence.wrapping_add(1);
            }
        }
    }
}
