//! Audio load: G.711 streams of 50 packets a second whose payload says who sent them and when, so
//! that the receiving side knows what was lost and how late each packet came.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Packet time of every stream.
pub(crate) const PTIME: Duration = Duration::from_millis(20);
/// 20 ms of G.711 behind an RTP header.
const PACKET: usize = 12 + 160;
/// What marks a packet as ours, in the first payload bytes.
const MAGIC: [u8; 4] = *b"tdmb";
const SOCKET_BUFFER: usize = 8 << 20;

/// What a receiving side saw.
#[derive(Default)]
pub(crate) struct Heard {
    /// Packets of ours that arrived.
    pub(crate) received: u64,
    /// One-way delays, microseconds.
    pub(crate) delay_us: Vec<u64>,
    /// Differences between neighbouring transit times of one stream, microseconds (RFC 3550 6.4.1's D).
    pub(crate) jitter_us: Vec<u64>,
    /// Packets that are not ours (comfort silence before the bridge, RTCP-like noise).
    pub(crate) foreign: u64,
}

/// One side's socket.
pub(crate) struct Side {
    pub(crate) socket: UdpSocket,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Frames that each leg of a conference has said.
    pub(crate) said: Cell<u32>,
}

impl Side {
    /// Binds any free port of `ip`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(crate) fn bind(ip: std::net::IpAddr) -> io::Result<Self> {
        let at = SocketAddr::new(ip, 0);
        let socket = socket2::Socket::new(socket2::Domain::for_address(at), socket2::Type::DGRAM, None)?;
        socket.set_recv_buffer_size(SOCKET_BUFFER)?;
        socket.set_send_buffer_size(SOCKET_BUFFER)?;
        socket.bind(&at.into())?;
        let socket: UdpSocket = socket.into();
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, said: Cell::new(0) })
    }

    /// Listens in a thread until `stop`; `streams` is how many streams will arrive.
    ///
    /// # Errors
    /// When the socket cannot be cloned.
    pub(crate) fn listen(
        &self,
        epoch: Instant,
        streams: usize,
        stop: &Arc<AtomicBool>,
    ) -> io::Result<JoinHandle<Heard>> {
        let socket = self.socket.try_clone()?;
        let stop = Arc::clone(stop);
        Ok(std::thread::spawn(move || hear(&socket, epoch, streams, &stop)))
    }

    /// Sends one stream to each of `peers` for `duration`, spread evenly over the packet time.
    /// Returns how many packets were sent.
    ///
    /// # Errors
    /// When a socket cannot be cloned.
    pub(crate) fn talk(
        &self,
        peers: Vec<SocketAddr>,
        epoch: Instant,
        duration: Duration,
    ) -> io::Result<JoinHandle<u64>> {
        let socket = self.socket.try_clone()?;
        Ok(std::thread::spawn(move || speak(&socket, &peers, epoch, duration)))
    }
}

fn speak(socket: &UdpSocket, peers: &[SocketAddr], epoch: Instant, duration: Duration) -> u64 {
    let start = Instant::now();
    let gap = PTIME / u32::try_from(peers.len().max(1)).unwrap_or(1);
    let mut sent = 0;
    let mut packet = [0_u8; PACKET];
    for sequence in 0_u32.. {
        for (stream, peer) in (0_u32..).zip(peers) {
            let due = PTIME * sequence + gap * stream;
            if due >= duration {
                return sent;
            }
            let now = start.elapsed();
            if due > now {
                std::thread::sleep(due - now);
            }
            write_packet(&mut packet, stream, sequence, epoch.elapsed());
            sent += u64::from(socket.send_to(&packet, peer).is_ok());
        }
    }
    sent
}

fn write_packet(packet: &mut [u8; PACKET], stream: u32, sequence: u32, now: Duration) {
    packet.fill(0xff);
    let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        for byte in bytes {
            if let Some(slot) = packet.get_mut(at) {
                *slot = *byte;
            }
            at += 1;
        }
    };
    put(&[0x80, 0]); // version 2, PCMU
    put(&u16::try_from(sequence & 0xffff).unwrap_or(0).to_be_bytes());
    put(&sequence.wrapping_mul(160).to_be_bytes());
    put(&(0x7d00_0000 | stream).to_be_bytes());
    put(&MAGIC);
    put(&stream.to_be_bytes());
    put(&nanos.to_be_bytes());
}

fn hear(socket: &UdpSocket, epoch: Instant, streams: usize, stop: &AtomicBool) -> Heard {
    let mut heard = Heard::default();
    let mut transit = vec![None; streams];
    let mut buffer = [0_u8; 2048];
    while !stop.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        let now = u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let Some((stream, sent)) = read_packet(buffer.get(..length).unwrap_or_default()) else {
            heard.foreign += 1;
            continue;
        };
        let delay = now.saturating_sub(sent) / 1000;
        heard.received += 1;
        heard.delay_us.push(delay);
        if let Some(before) = transit.get_mut(stream as usize).and_then(|last| last.replace(delay)) {
            heard.jitter_us.push(delay.abs_diff(before));
        }
    }
    heard
}

fn read_packet(packet: &[u8]) -> Option<(u32, u64)> {
    let payload = packet.get(12..)?;
    let (magic, rest) = payload.split_at_checked(4)?;
    let (stream, rest) = rest.split_at_checked(4)?;
    let (nanos, _) = rest.split_at_checked(8)?;
    (magic == MAGIC)
        .then(|| Some((u32::from_be_bytes(stream.try_into().ok()?), u64::from_be_bytes(nanos.try_into().ok()?))))?
}

/// The same load without a server between, for the delay that loopback and this program add.
///
/// # Errors
/// When sockets fail.
pub(crate) fn direct(streams: usize, duration: Duration) -> io::Result<Heard> {
    let ip = std::net::IpAddr::from([127, 0, 0, 1]);
    let (left, right) = (Side::bind(ip)?, Side::bind(ip)?);
    let epoch = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let ears = [left.listen(epoch, streams, &stop)?, right.listen(epoch, streams, &stop)?];
    let mouths = [
        left.talk(vec![right.address; streams], epoch, duration)?,
        right.talk(vec![left.address; streams], epoch, duration)?,
    ];
    for mouth in mouths {
        let _sent = mouth.join();
    }
    std::thread::sleep(Duration::from_millis(200));
    stop.store(true, Ordering::Relaxed);
    let mut all = Heard::default();
    for ear in ears {
        if let Ok(heard) = ear.join() {
            all.received += heard.received;
            all.delay_us.extend(heard.delay_us);
            all.jitter_us.extend(heard.jitter_us);
        }
    }
    Ok(all)
}
