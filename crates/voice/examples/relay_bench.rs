//! What relaying costs: `cargo run --release -p voice --example relay_bench [calls] [seconds] [threads]`.
//!
//! Bridged G.711 calls on loopback, 50 packets a second and direction, spread evenly over each 20 ms. Prints the media threads' CPU time per
//! relayed packet, the packets lost, and the delay that relaying adds to the same packets sent without it.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a measuring tool: it may fail, and it measures real time"
)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kernel::ids::Ids;
use media::codec::CodecKind;
use media::rtp::Packet;
use tokio::sync::mpsc;
use voice::leg::LegEvents;
use voice::runner::{Direction, MediaConfig, MediaLeg, MediaThreads, Protection, Remote};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const FRAME: Duration = Duration::from_millis(20);

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().unwrap());
    let calls: usize = arguments.next().unwrap_or(200);
    let seconds: u64 = arguments.next().unwrap_or(10) as u64;
    let threads: usize = arguments.next().unwrap_or(1);

    let media = MediaThreads::start(
        &MediaConfig { threads, rtp_ports: (22_000, 29_999), rtc: Vec::new(), media_timeout_ms: 30_000 },
        Ids::os(),
    )
    .unwrap();
    let phones = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    // One socket plays all phones: it must not be what loses packets.
    socket2::SockRef::from(&phones).set_recv_buffer_size(4 << 20).unwrap();

    let (sink, _events) = mpsc::channel(64);
    let leg = |near: Option<&MediaLeg>, remote: SocketAddr| {
        let leg = media.leg(LegEvents::new("leg_1".into(), Some(sink.clone())), near);
        let address = leg.open(LOOPBACK).unwrap();
        leg.set_remote(Remote {
            rtp: remote,
            signalling: None,
            rtcp: None,
            rtcp_mux: false,
            codec: CodecKind::Pcmu,
            payload_in: 0,
            payload_out: 0,
            events: None,
            direction: Direction::SendRecv,
            protection: Protection::None,
        });
        (leg, address)
    };
    let speaks_from = phones.local_addr().unwrap();
    let mut legs = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..calls {
        let (one, address) = leg(None, speaks_from);
        let (other, other_address) = leg(Some(&one), speaks_from);
        one.bridge(&other);
        legs.extend([one, other]);
        addresses.extend([address, other_address]);
    }

    let direct = measure(&phones, &[speaks_from], calls * 2, 2);
    println!("direct:  {}", direct.text());
    let before = media_cpu_us();
    let relayed = measure(&phones, &addresses, calls * 2, seconds);
    let cpu_us = media_cpu_us() - before;
    println!("relayed: {}", relayed.text());
    let sent = relayed.sent as f64;
    println!(
        "{calls} calls, {threads} media thread(s): {:.2} us of CPU a packet, {} of {} packets lost, {} us added delay in the median, {} us at the 99th percentile",
        cpu_us / sent,
        relayed.sent.saturating_sub(relayed.delays_us.len()),
        relayed.sent,
        relayed.at(0.5).saturating_sub(direct.at(0.5)),
        relayed.at(0.99).saturating_sub(direct.at(0.99)),
    );
    let idle = media_cpu_us();
    std::thread::sleep(Duration::from_secs(2));
    println!("idle with all legs up: {:.3} % of a core", (media_cpu_us() - idle) / 20_000.0);
    drop(legs);
}

struct Measured {
    sent: usize,
    /// Sorted.
    delays_us: Vec<u64>,
}

impl Measured {
    fn at(&self, quantile: f64) -> u64 {
        let index = (self.delays_us.len() as f64 * quantile) as usize;
        self.delays_us.get(index).copied().unwrap_or_default()
    }

    fn text(&self) -> String {
        format!("{} packets, delay p50 {} us, p99 {} us", self.sent, self.at(0.5), self.at(0.99))
    }
}

/// Sends `streams` streams round robin to `to` for `seconds`, every packet carrying its time, and measures what comes back.
fn measure(phones: &UdpSocket, to: &[SocketAddr], streams: usize, seconds: u64) -> Measured {
    let start = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let socket = phones.try_clone().unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let stopped = stop.clone();
    let reader = std::thread::spawn(move || {
        let (mut delays_us, mut datagram) = (Vec::new(), [0; 400]);
        while !stopped.load(Ordering::Relaxed) {
            let Ok(len) = socket.recv(&mut datagram) else {
                continue;
            };
            let now = start.elapsed().as_nanos() as u64;
            let Ok(packet) = Packet::parse(&datagram[..len]) else {
                continue;
            };
            // Comfort frames and reports carry no time.
            if packet.payload.len() == 160 && packet.payload[8] == 1 {
                let sent = u64::from_be_bytes(packet.payload[..8].try_into().unwrap());
                delays_us.push((now - sent) / 1_000);
            }
        }
        delays_us
    });

    let step = FRAME / streams as u32;
    let packets = (seconds * 50) as usize * streams;
    let (mut payload, mut datagram) = ([1; 160], [0; 172]);
    for index in 0..packets {
        let due = step * index as u32;
        while let Some(wait) = due.checked_sub(start.elapsed()) {
            if wait > Duration::from_micros(80) {
                std::thread::sleep(wait - Duration::from_micros(70));
            } else {
                std::thread::yield_now();
            }
        }
        let round = (index / streams) as u32;
        payload[..8].copy_from_slice(&(start.elapsed().as_nanos() as u64).to_be_bytes());
        let packet = Packet {
            marker: false,
            payload_type: 0,
            sequence: round as u16,
            timestamp: round * 160,
            ssrc: (index % streams) as u32,
            payload: &payload,
        };
        packet.write(&mut datagram).unwrap();
        phones.send_to(&datagram, to[index % streams % to.len()]).unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    stop.store(true, Ordering::Relaxed);
    let mut delays_us = reader.join().unwrap();
    delays_us.sort_unstable();
    Measured { sent: packets, delays_us }
}

/// CPU time of all media threads so far, in microseconds, as the scheduler counts it.
fn media_cpu_us() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let nanoseconds: u64 = tasks
        .filter_map(|task| {
            let path = task.ok()?.path();
            let name = std::fs::read_to_string(path.join("comm")).ok()?;
            let stat = std::fs::read_to_string(path.join("schedstat")).ok()?;
            let on_cpu = stat.split_whitespace().next()?.parse::<u64>().ok()?;
            name.starts_with("media-").then_some(on_cpu)
        })
        .sum();
    nanoseconds as f64 / 1_000.0
}
