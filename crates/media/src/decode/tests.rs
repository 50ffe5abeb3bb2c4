//! One second of 440 Hz in each format, whole, cut and damaged.

use super::*;
use crate::frame::rms;
use proptest::prelude::*;

/// The files and their length in milliseconds; made with ffmpeg, `sine=frequency=440`.
const FILES: [(&str, &[u8], u32); 14] = [
    ("mono.mp3", include_bytes!("../../tests/tones/mono.mp3"), 1_000),
    ("stereo.mp3", include_bytes!("../../tests/tones/stereo.mp3"), 1_000),
    ("vorbis.ogg", include_bytes!("../../tests/tones/vorbis.ogg"), 1_000),
    ("opus.ogg", include_bytes!("../../tests/tones/opus.ogg"), 1_000),
    ("stereo.opus", include_bytes!("../../tests/tones/opus_stereo.opus"), 1_000),
    ("mono.flac", include_bytes!("../../tests/tones/mono.flac"), 1_000),
    ("aac.m4a", include_bytes!("../../tests/tones/aac.m4a"), 1_000),
    ("adts.aac", include_bytes!("../../tests/tones/adts.aac"), 1_000),
    ("pcm16.wav", include_bytes!("../../tests/tones/pcm16.wav"), 1_000),
    ("pcm24.wav", include_bytes!("../../tests/tones/pcm24_stereo.wav"), 250),
    ("mulaw.wav", include_bytes!("../../tests/tones/mulaw.wav"), 1_000),
    ("alaw.wav", include_bytes!("../../tests/tones/alaw.wav"), 1_000),
    ("float.wav", include_bytes!("../../tests/tones/float.wav"), 250),
    ("odd_rate.wav", include_bytes!("../../tests/tones/odd_rate.wav"), 1_000),
];

fn frequency(sound: &Sound) -> f64 {
    let crossings = sound.pcm.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    crossings as f64 * f64::from(sound.rate) / sound.pcm.len() as f64
}

#[test]
fn every_format_sounds_at_every_rate_without_a_hint() {
    for (name, file, length_ms) in FILES {
        for rate in [8_000, 16_000, 48_000] {
            let sound = decode(Bytes::from_static(file), None, rate).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(sound.rate, rate);
            let ms = sound.pcm.len() as u32 * 1_000 / rate;
            // AAC keeps its encoder's delay.
            assert!(ms.abs_diff(length_ms) <= 80, "{name} at {rate}: {ms} ms");
            let (start, end) = (sound.pcm.len() / 8, sound.pcm.len() * 7 / 8);
            let middle = Sound { rate, pcm: sound.pcm[start..end].into() };
            assert!((frequency(&middle) - 440.0).abs() < 8.0, "{name} at {rate}: {} Hz", frequency(&middle));
            let level = rms(&middle.pcm);
            assert!((1_900..=3_100).contains(&level), "{name} at {rate}: {level}");
        }
    }
}

#[test]
fn hints_help_and_wrong_hints_do_no_harm() {
    for (name, file, _) in FILES {
        for hint in ["audio/mpeg; charset=binary", "mp3", ".wav", "text/html", "", "/"] {
            assert!(decode(Bytes::from_static(file), Some(hint), 8_000).is_ok(), "{name} as {hint}");
        }
    }
}

#[test]
fn opus_begins_and_ends_where_its_header_says() {
    let (_, file, _) = FILES[3];
    let sound = decode(Bytes::from_static(file), None, 48_000).unwrap();
    assert_eq!(sound.pcm.len(), 48_000);
}

#[test]
fn what_is_no_sound_is_an_error() {
    let page = b"<!doctype html><title>404</title>".repeat(20);
    for (file, error) in [
        (Bytes::new(), DecodeError::UnknownFormat),
        (Bytes::from(page), DecodeError::UnknownFormat),
        (Bytes::from(vec![0; 10_000]), DecodeError::UnknownFormat),
        (Bytes::from(vec![0; MAX_FILE_BYTES + 1]), DecodeError::TooLarge),
    ] {
        let len = file.len();
        assert_eq!(decode(file, None, 8_000).err(), Some(error), "{len} bytes");
    }
}

#[test]
fn a_sound_beyond_ten_minutes_is_refused() {
    // Eleven minutes of mu-law are 5 MB, well below the limit of bytes.
    let samples = 8_000 * 660_u32;
    let mut file = FILES[10].1[..58].to_vec();
    file.extend(vec![0xff; samples as usize]);
    file[4..8].copy_from_slice(&(samples + 50).to_le_bytes());
    file[54..58].copy_from_slice(&samples.to_le_bytes());
    assert_eq!(decode(Bytes::from(file), None, 8_000).err(), Some(DecodeError::TooLong));
}

#[test]
fn a_file_that_breaks_off_plays_up_to_there() {
    for (name, file, _) in FILES {
        if name.ends_with("m4a") || file.starts_with(b"OggS") {
            // The index stands at the end; all of a second's sound is in one page.
            continue;
        }
        let cut = Bytes::copy_from_slice(&file[..file.len() * 3 / 4]);
        let sound = decode(cut, None, 8_000).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(sound.pcm.len() > 1_000, "{name}: {}", sound.pcm.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damage_anywhere_is_no_more_than_an_error(
        which in 0..FILES.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        head_only: bool,
        keep in 0.0..1.0f64,
    ) {
        let mut file = FILES[which].1.to_vec();
        for (place, value) in damage {
            let range = if head_only { file.len().min(200) } else { file.len() };
            let at = place.index(range);
            file[at] = value;
        }
        if keep < 0.5 {
            file.truncate((file.len() as f64 * keep * 2.0) as usize);
        }
        let _ = decode(Bytes::from(file), None, 8_000);
    }

    #[test]
    fn garbage_is_an_error(magic in prop::sample::select(vec![&b"RIFF"[..], b"OggS", b"fLaC", b"ID3\x04", b"\xff\xfb\x90", b""]), bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let file = [magic, &bytes].concat();
        let _ = decode(Bytes::from(file), None, 8_000);
    }
}
