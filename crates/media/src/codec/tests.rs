//! What goes in comes out, what is lost is filled in, and garbage is an error.

use super::*;
use crate::frame::{MAX_PACKET_SAMPLES, rms};
use proptest::prelude::*;
use std::f64::consts::TAU;

fn tone(kind: CodecKind, hz: f64, frames: usize) -> Vec<i16> {
    let step = TAU * hz / f64::from(kind.sample_rate());
    (0..frames * kind.frame_samples()).map(|n| (8_000.0 * (step * n as f64).sin()) as i16).collect()
}

/// Something like a voice: a pulse train of 120 Hz through two resonances, swelling and fading.
fn voice(kind: CodecKind, frames: usize) -> Vec<i16> {
    let rate = f64::from(kind.sample_rate());
    (0..frames * kind.frame_samples())
        .map(|n| {
            let time = n as f64 / rate;
            let since_pulse = time % (1.0 / 120.0);
            let ring = |hz: f64, decay: f64| (TAU * hz * since_pulse).sin() * (-since_pulse * decay).exp();
            (6_000.0 * (ring(600.0, 300.0) + 0.5 * ring(1_700.0, 500.0)) * (0.6 + 0.4 * (TAU * 3.0 * time).sin()))
                as i16
        })
        .collect()
}

fn encode(kind: CodecKind, pcm: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(kind).unwrap();
    let mut payload = [0; MAX_PAYLOAD_BYTES];
    pcm.chunks_exact(kind.frame_samples())
        .map(|frame| {
            let len = encoder.encode(frame, &mut payload).unwrap();
            payload[..len].to_vec()
        })
        .collect()
}

fn decode_one(decoder: &mut Decoder, payload: &[u8]) -> Vec<i16> {
    let mut pcm = vec![0; MAX_PACKET_SAMPLES];
    let len = decoder.decode(payload, &mut pcm).unwrap();
    pcm.truncate(len);
    pcm
}

/// Signal to noise in dB at the best alignment within 20 ms.
fn best_snr(original: &[i16], copy: &[i16], max_lag: usize) -> f64 {
    let snr = |lag: usize| {
        let pairs = || original.iter().zip(&copy[lag..]).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let noise: f64 = pairs().map(|(a, b)| (a - b).powi(2)).sum();
        let signal: f64 = pairs().map(|(a, _)| a.powi(2)).sum();
        10.0 * (signal / noise.max(1.0)).log10()
    };
    (0..=max_lag).map(snr).fold(f64::MIN, f64::max)
}

#[test]
fn a_tone_survives_each_codec() {
    for (kind, hz, least_db) in [
        (CodecKind::Pcmu, 1_000.0, 35.0),
        (CodecKind::Pcma, 1_000.0, 35.0),
        (CodecKind::G722, 1_000.0, 25.0),
        (CodecKind::G722, 5_500.0, 10.0),
        (CodecKind::Opus, 1_000.0, 12.0),
    ] {
        let pcm = tone(kind, hz, 50);
        let mut decoder = Decoder::new(kind).unwrap();
        let decoded: Vec<i16> =
            encode(kind, &pcm).iter().flat_map(|payload| decode_one(&mut decoder, payload)).collect();
        assert_eq!(decoded.len(), pcm.len());
        let settled = kind.frame_samples() * 10..kind.frame_samples() * 40;
        let snr = best_snr(&pcm[settled.clone()], &decoded[settled.start..], kind.frame_samples());
        assert!(snr > least_db, "{kind:?} {hz}: {snr} dB");
    }
}

/// ITU-T G.711, tables 1 and 2.
#[test]
fn g711_codes_are_the_standards() {
    let mut out = [0; 160];
    let mut frame = [0_i16; 160];
    frame[..4].copy_from_slice(&[0, i16::MAX, i16::MIN, -9]);
    Encoder::new(CodecKind::Pcmu).unwrap().encode(&frame, &mut out).unwrap();
    assert_eq!(out[..3], [0xff, 0x80, 0x00]);
    Encoder::new(CodecKind::Pcma).unwrap().encode(&frame, &mut out).unwrap();
    assert_eq!(out[..4], [0xd5, 0xaa, 0x2a, 0x55]);
    for (kind, loudest) in [(CodecKind::Pcmu, 32_124), (CodecKind::Pcma, 32_256)] {
        let all: Vec<u8> = (0..=255).collect();
        let levels = decode_one(&mut Decoder::new(kind).unwrap(), &all);
        assert_eq!(levels.iter().max(), Some(&loudest));
        assert_eq!(levels.iter().min(), Some(&-loudest));
    }
}

#[test]
fn sizes_are_those_of_the_standards() {
    for (kind, bytes) in [(CodecKind::Pcmu, 160), (CodecKind::Pcma, 160), (CodecKind::G722, 160)] {
        assert!(encode(kind, &tone(kind, 440.0, 3)).iter().all(|payload| payload.len() == bytes), "{kind:?}");
    }
    let opus: usize = encode(CodecKind::Opus, &voice(CodecKind::Opus, 100)).iter().map(Vec::len).sum();
    assert!((4_000..14_000).contains(&opus), "two seconds took {opus} bytes");
}

#[test]
fn packets_of_any_length_are_decoded() {
    for (kind, bytes, samples) in
        [(CodecKind::Pcmu, 80, 80), (CodecKind::Pcma, 480, 480), (CodecKind::G722, 240, 480), (CodecKind::Pcmu, 0, 0)]
    {
        let mut decoder = Decoder::new(kind).unwrap();
        assert_eq!(decode_one(&mut decoder, &vec![0x55; bytes]).len(), samples, "{kind:?}");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    for kind in CodecKind::ALL {
        let mut encoder = Encoder::new(kind).unwrap();
        let frame = tone(kind, 440.0, 1);
        let mut room = [0; MAX_PAYLOAD_BYTES];
        assert_eq!(encoder.encode(&frame[1..], &mut room), Err(CodecError::FrameLength), "{kind:?}");
        assert_eq!(encoder.encode(&[], &mut room), Err(CodecError::FrameLength), "{kind:?}");
        let len = encoder.encode(&frame, &mut room).unwrap();
        let mut decoder = Decoder::new(kind).unwrap();
        let mut short = vec![0; kind.frame_samples() - 1];
        assert_eq!(decoder.decode(&room[..len], &mut short), Err(CodecError::BufferTooSmall), "{kind:?}");
        assert_eq!(decoder.conceal(&mut short), 0, "{kind:?}");
        if kind != CodecKind::Opus {
            assert_eq!(encoder.encode(&frame, &mut room[..159]), Err(CodecError::BufferTooSmall), "{kind:?}");
        }
    }
    let mut opus = Decoder::new(CodecKind::Opus).unwrap();
    assert_eq!(opus.decode(&[], &mut [0; 960]), Err(CodecError::Malformed));
}

#[test]
fn one_lost_frame_is_hardly_heard_and_many_are_silence() {
    for kind in CodecKind::ALL {
        let pcm = voice(kind, 60);
        let payloads = encode(kind, &pcm);
        let mut decoder = Decoder::new(kind).unwrap();
        let mut frame = vec![0; kind.frame_samples()];
        let mut last = Vec::new();
        for payload in &payloads[..30] {
            last = decode_one(&mut decoder, payload);
        }
        assert_eq!(decoder.conceal(&mut frame), kind.frame_samples());
        let (before, lost) = (rms(&last), rms(&frame));
        assert!(lost * 3 > before && lost < before * 2, "{kind:?}: {before} then {lost}");
        let next = decode_one(&mut decoder, &payloads[31]);
        let steepest = |pcm: &[i16]| pcm.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max();
        let joined = [last, frame.clone(), next].concat();
        assert!(
            steepest(&joined) <= steepest(&pcm).map(|usual| usual * 3 / 2),
            "{kind:?} clicks: {:?}",
            steepest(&joined)
        );
        for _ in 0..12 {
            decoder.conceal(&mut frame);
        }
        // Opus goes on with the background noise that it knows.
        let rest = if kind == CodecKind::Opus { before * 2 } else { 1 };
        assert!(rms(&frame) < rest, "{kind:?}: still {} after 240 ms", rms(&frame));
    }
}

#[test]
fn opus_carries_a_copy_of_the_frame_before() {
    let kind = CodecKind::Opus;
    // A voice that stops and starts: no extrapolation knows when.
    let mut pcm = voice(kind, 60);
    pcm[..30 * 960].fill(0);
    let payloads = encode(kind, &pcm);
    let decode_until = |lost: usize| {
        let mut decoder = Decoder::new(kind).unwrap();
        payloads[..lost].iter().for_each(|payload| drop(decode_one(&mut decoder, payload)));
        decoder
    };
    let heard_in_place_of = |lost: usize, with_next: bool| {
        let mut frame = [0; 960];
        let mut decoder = decode_until(lost);
        match with_next {
            true => decoder.recover(&payloads[lost + 1], &mut frame),
            false => decoder.conceal(&mut frame),
        };
        rms(&frame)
    };
    let level = |with_next: bool| (31..34).map(|lost| heard_in_place_of(lost, with_next)).max();
    assert!(level(true) > Some(800), "the copy is heard: {:?}", level(true));
    assert!(heard_in_place_of(31, true) > heard_in_place_of(31, false) * 2, "the extrapolation of silence is silence");
}

#[test]
fn a_loss_at_the_very_beginning_is_silence() {
    for kind in CodecKind::ALL {
        let mut frame = vec![1; kind.frame_samples()];
        assert_eq!(Decoder::new(kind).unwrap().conceal(&mut frame), kind.frame_samples());
        assert!(rms(&frame) < 5, "{kind:?}");
    }
}

#[test]
fn names_and_numbers_of_sdp() {
    for kind in CodecKind::ALL {
        assert_eq!(CodecKind::from_name(&kind.name().to_lowercase()), Some(kind));
        let is_static = kind != CodecKind::Opus;
        assert_eq!(CodecKind::from_static_payload_type(kind.payload_type()), is_static.then_some(kind));
        assert_eq!(kind.frame_ticks() * 50, kind.clock_rate());
    }
    assert_eq!(CodecKind::from_name("G729"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn garbage_is_decoded_or_refused_and_never_more(
        which in 0_usize..4,
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..6),
    ) {
        let mut decoder = Decoder::new(CodecKind::ALL[which]).unwrap();
        let mut pcm = vec![0; MAX_PACKET_SAMPLES];
        for payload in &payloads {
            if let Ok(len) = decoder.decode(payload, &mut pcm) {
                prop_assert!(len <= MAX_PACKET_SAMPLES);
            }
            decoder.recover(payload, &mut pcm);
            decoder.conceal(&mut pcm);
        }
    }

    #[test]
    fn any_samples_are_encoded_within_the_largest_payload(which in 0_usize..4, seed: u32) {
        let kind = CodecKind::ALL[which];
        let mut dice = seed;
        let mut loud = || {
            dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (dice >> 16) as i16
        };
        let pcm: Vec<i16> = (0..kind.frame_samples() * 3).map(|_| loud()).collect();
        prop_assert!(encode(kind, &pcm).iter().all(|payload| !payload.is_empty() && payload.len() <= MAX_PAYLOAD_BYTES));
    }
}
