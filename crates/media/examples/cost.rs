//! What each step of the media path costs, in nanoseconds a 20 ms frame or packet.
//!
//! `cargo run --release -p media --example cost`. One line a step, the best of several rounds: compare lines of one run.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement, not the server")]

use std::{hint::black_box, time::Duration};

use media::{
    codec::{CodecKind, Decoder, Encoder, MAX_PAYLOAD_BYTES},
    dtmf::Detector,
    frame::MAX_PACKET_SAMPLES,
    jitter::JitterBuffer,
    mix::Mixer,
    resample::Resampler,
    rtp::{Packet, Rewriter, Sender, Source, SourceLock, Trust},
    srtp::{Keys, MAX_OVERHEAD_BYTES, Srtp, Suite},
    tone::{Generator, Tone},
};

/// Rounds of one measurement; the fastest counts, so that a busy machine does not.
const ROUNDS: u32 = 7;
const ROUND: Duration = Duration::from_millis(30);

/// Prints the cost of one call of `step`.
fn measure(name: &str, mut step: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        #[expect(clippy::disallowed_methods, reason = "it measures real time")]
        let start = std::time::Instant::now();
        let mut calls = 0_u32;
        while start.elapsed() < ROUND {
            (0..16).for_each(|_| step());
            calls += 16;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    println!("{name:32} {best:10.0} ns");
}

/// Speech-like samples: pulses through a resonance.
fn voice(rate: u32, samples: usize) -> Vec<i16> {
    let sample = |n: usize| {
        let since_pulse = (n as f64 / f64::from(rate)) % (1.0 / 120.0);
        (9_000.0 * (since_pulse * 3_800.0).sin() * (-since_pulse * 300.0).exp()) as i16
    };
    (0..samples).map(sample).collect()
}

fn main() {
    codecs();
    rates();
    packets();
    secrets();
    listening();
}

fn codecs() {
    let mut payload = [0; MAX_PAYLOAD_BYTES];
    let mut pcm = [0; MAX_PACKET_SAMPLES];
    for kind in CodecKind::ALL {
        let frames = voice(kind.sample_rate(), kind.frame_samples() * 50);
        let (mut encoder, mut decoder) = (Encoder::new(kind).unwrap(), Decoder::new(kind).unwrap());
        let mut turn = frames.chunks_exact(kind.frame_samples()).cycle();
        let mut len = 0;
        measure(&format!("encode {}", kind.name()), || {
            len = encoder.encode(turn.next().unwrap(), &mut payload).unwrap()
        });
        measure(&format!("decode {}", kind.name()), || {
            black_box(decoder.decode(&payload[..len], &mut pcm).unwrap());
        });
        measure(&format!("conceal {}", kind.name()), || {
            black_box(decoder.conceal(&mut pcm));
        });
    }
}

fn rates() {
    let mut out = [0; 961];
    for (from, to) in
        [(8_000, 16_000), (16_000, 8_000), (8_000, 48_000), (48_000, 8_000), (16_000, 48_000), (48_000, 16_000)]
    {
        let pcm = voice(from, from as usize / 50);
        let mut resampler = Resampler::new(from, to);
        measure(&format!("resample {from} to {to}"), || {
            black_box(resampler.process(&pcm, &mut out));
        });
    }
    let mut mixer = Mixer::new(160);
    let pcm = voice(8_000, 160);
    measure("mix one voice in, one out", || {
        mixer.clear();
        mixer.add(&pcm);
        mixer.without(&pcm, &mut out);
    });
}

fn packets() {
    let mut datagram = [0_u8; 172];
    let mut packet =
        Packet { marker: false, payload_type: 0, sequence: 0, timestamp: 0, ssrc: 7, payload: &[0x55; 160] };
    let mut now_us = 0_u64;
    let mut next = || {
        now_us += 20_000;
        packet.sequence = packet.sequence.wrapping_add(1);
        packet.timestamp = packet.timestamp.wrapping_add(160);
        (now_us, packet)
    };
    measure("parse", || {
        datagram[0] = 0x80;
        black_box(Packet::parse(black_box(&datagram)).unwrap());
    });
    let (mut lock, mut source) = (SourceLock::new(None, Trust::Keys), Source::new(8_000));
    let from = std::net::SocketAddr::from(([127, 0, 0, 1], 4_000));
    measure("judge and count", || {
        let (now_us, packet) = next();
        black_box(lock.judge(now_us, from, &packet));
        source.heard(now_us, &packet);
    });
    let (mut sender, mut rewriter) = (Sender::new(1, 2, 3, 8_000), Rewriter::new());
    measure("write and rewrite", || {
        let (now_us, packet) = next();
        packet.write(&mut datagram).unwrap();
        rewriter.rewrite(&mut sender, now_us, 8, &mut datagram).unwrap();
    });
    let mut jitter = JitterBuffer::new(CodecKind::Pcmu);
    measure("jitter buffer in and out", || {
        let (now_us, packet) = next();
        jitter.push(now_us, &packet);
        black_box(jitter.pop(now_us));
    });
}

fn secrets() {
    let keys = Keys(std::array::from_fn(|n| n as u8));
    for (name, suite) in [("80", Suite::AesCm128HmacSha1_80), ("32", Suite::AesCm128HmacSha1_32)] {
        let mut buffer = [0_u8; 172 + MAX_OVERHEAD_BYTES];
        let mut sequence = 0_u16;
        let mut protect = |ours: &mut Srtp, buffer: &mut [u8]| {
            sequence = sequence.wrapping_add(1);
            let packet =
                Packet { marker: false, payload_type: 0, sequence, timestamp: 0, ssrc: 7, payload: &[0x55; 160] };
            let len = packet.write(buffer).unwrap();
            ours.protect(buffer, len).unwrap()
        };
        let mut ours = Srtp::new(suite, &keys);
        measure(&format!("srtp protect, tag of {name}"), || {
            black_box(protect(&mut ours, &mut buffer));
        });
        let (mut ours, mut theirs) = (Srtp::new(suite, &keys), Srtp::new(suite, &keys));
        measure(&format!("srtp both ways, tag of {name}"), || {
            let len = protect(&mut ours, &mut buffer);
            black_box(theirs.unprotect(&mut buffer[..len]).unwrap());
        });
    }
}

fn listening() {
    for rate in [8_000, 48_000] {
        let pcm = voice(rate, rate as usize / 50);
        let mut detector = Detector::new(rate);
        measure(&format!("listen for keys at {rate}"), || {
            black_box(detector.listen(&pcm));
        });
    }
    let mut pcm = [0; 160];
    let mut ringback = Generator::new(Tone::Ringback, 8_000);
    measure("ringback at 8000", || {
        black_box(ringback.fill(&mut pcm));
    });
}
