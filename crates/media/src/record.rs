//! A stereo WAV file of a recording: its header, and the two channels woven into samples.
//!
//! The file grows at its end and its header is rewritten now and then, so that it is whole after a crash up to the last rewriting.
//! Invariant: the header's sizes never claim more than what `frames` says was written.

/// Bytes before the samples.
pub const HEADER_BYTES: usize = 44;
/// Bytes of one frame: left and right, 16 bits each.
pub const FRAME_BYTES: u64 = 4;
/// Channels.
pub const CHANNELS: u16 = 2;
/// The most frames that a WAV file's 32-bit sizes can tell of: 37 hours at 8 kHz.
pub const MAX_FRAMES: u64 = (u32::MAX as u64 - HEADER_BYTES as u64) / FRAME_BYTES;

/// The header of a file with `frames` stereo samples at `rate` per second (RIFF WAVE, PCM, 16 bits, little endian).
#[must_use]
pub fn header(rate: u32, frames: u64) -> [u8; HEADER_BYTES] {
    let data_bytes = (frames.min(MAX_FRAMES) * FRAME_BYTES) as u32;
    let frame_bytes = FRAME_BYTES as u16;
    let fields: [&[u8]; 13] = [
        b"RIFF",
        &(data_bytes + HEADER_BYTES as u32 - 8).to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &16_u32.to_le_bytes(),
        &1_u16.to_le_bytes(),
        &CHANNELS.to_le_bytes(),
        &rate.to_le_bytes(),
        &rate.saturating_mul(frame_bytes.into()).to_le_bytes(),
        &frame_bytes.to_le_bytes(),
        &16_u16.to_le_bytes(),
        b"data",
        &data_bytes.to_le_bytes(),
    ];
    let mut header = [0; HEADER_BYTES];
    for (to, from) in header.iter_mut().zip(fields.into_iter().flatten()) {
        *to = *from;
    }
    header
}

/// Weaves two channels into `out` as little-endian bytes; the number of bytes. A missing sample is silence.
pub fn weave(left: &[i16], right: &[i16], out: &mut [u8]) -> usize {
    let frames = left.len().max(right.len()).min(out.len() / FRAME_BYTES as usize);
    let channels =
        left.iter().copied().chain(std::iter::repeat(0)).zip(right.iter().copied().chain(std::iter::repeat(0)));
    for (bytes, (left, right)) in out.chunks_exact_mut(FRAME_BYTES as usize).take(frames).zip(channels) {
        let [l0, l1] = left.to_le_bytes();
        let [r0, r1] = right.to_le_bytes();
        bytes.copy_from_slice(&[l0, l1, r0, r1]);
    }
    frames * FRAME_BYTES as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_reader_understands_the_file() {
        let (left, right) = ([1, -2, 3], [-32_768, 32_767, 0]);
        let mut file = header(16_000, 3).to_vec();
        let mut woven = [0; 12];
        assert_eq!(weave(&left, &right, &mut woven), 12);
        file.extend_from_slice(&woven);
        let mut reader = hound::WavReader::new(file.as_slice()).unwrap();
        assert_eq!((reader.spec().channels, reader.spec().sample_rate, reader.spec().bits_per_sample), (2, 16_000, 16));
        let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        assert_eq!(samples, [1, -32_768, -2, 32_767, 3, 0]);
    }

    #[test]
    fn a_short_channel_is_silent_and_a_short_buffer_is_filled() {
        let mut out = [9; 10];
        assert_eq!(weave(&[1, 2, 3], &[4], &mut out), 8);
        assert_eq!(out, [1, 0, 4, 0, 2, 0, 0, 0, 9, 9]);
    }

    #[test]
    fn sizes_stop_at_what_the_format_can_tell() {
        let header = header(8_000, u64::MAX);
        assert_eq!(u32::from_le_bytes(header[40..44].try_into().unwrap()), (MAX_FRAMES * FRAME_BYTES) as u32);
    }
}
