//! Sound files to PCM: mp3, wav, flac, m4a and aac, Ogg Vorbis by symphonia, Ogg Opus by our codec.
//!
//! The file comes from a URL that a flow names, so nothing about it is trusted. Invariant: whatever
//! the bytes, the answer is a sound within the limits or an error, and memory stays in proportion to
//! the limits.

mod ogg_opus;

use std::{io::Cursor, panic};

use bytes::Bytes;
use symphonia::core::{
    codecs::audio::{AudioDecoder, AudioDecoderOptions},
    errors::Error,
    formats::{FormatOptions, FormatReader, TrackType, probe::Hint},
    io::MediaSourceStream,
    meta::MetadataOptions,
};

use crate::{play::Sound, resample::Resampler};

/// Largest file that is decoded, in bytes.
pub const MAX_FILE_BYTES: usize = 20 * 1024 * 1024;
/// Longest sound that is decoded, in seconds.
pub const MAX_SECONDS: u32 = 600;
/// Sample rates that a file may have.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=192_000;
/// Packets in a row that may be damaged before the file is given up.
const MAX_DAMAGED_PACKETS: u32 = 50;

/// Why a file gave no sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Larger than [`MAX_FILE_BYTES`].
    #[error("the file is too large")]
    TooLarge,
    /// Longer than [`MAX_SECONDS`].
    #[error("the sound is too long")]
    TooLong,
    /// No format that we know.
    #[error("unknown audio format")]
    UnknownFormat,
    /// Begins as a known format and breaks off, or holds no audio.
    #[error("damaged audio")]
    Damaged,
}

/// Decodes a file to mono PCM at `rate` samples per second.
///
/// `hint` is a media type or a file extension; the content decides. It takes about 5 ms for a minute
/// of sound and more: not for a media thread, nor for an async one.
pub fn decode(file: Bytes, hint: Option<&str>, rate: u32) -> Result<Sound, DecodeError> {
    if file.len() > MAX_FILE_BYTES {
        return Err(DecodeError::TooLarge);
    }
    // The decoders are safe code that is fed hostile bytes: a panic of theirs (symphonia-format-riff
    // 0.6.1 has one for a damaged `fmt` chunk) is one damaged file.
    panic::catch_unwind(|| {
        let mut tape = Tape::new(rate);
        if ogg_opus::is_ogg_opus(&file) {
            ogg_opus::decode(&file, &mut tape)?;
        } else {
            decode_by_symphonia(file, hint, &mut tape)?;
        }
        tape.into_sound()
    })
    .unwrap_or(Err(DecodeError::Damaged))
}

/// Collects mono PCM at the wanted rate, up to the limit.
struct Tape {
    rate: u32,
    /// The rate of what is being recorded, and its way to the wanted one.
    source: Option<(u32, Resampler)>,
    pcm: Vec<i16>,
    room: Vec<i16>,
}

impl Tape {
    fn new(rate: u32) -> Self {
        Self { rate, source: None, pcm: Vec::new(), room: Vec::new() }
    }

    /// Appends mono samples of `rate`.
    fn record(&mut self, rate: u32, mono: &[i16]) -> Result<(), DecodeError> {
        if !RATES.contains(&rate) {
            return Err(DecodeError::Damaged);
        }
        let wanted = self.rate;
        let (current, resampler) = self.source.get_or_insert_with(|| (rate, Resampler::new(rate, wanted)));
        if *current != rate {
            (*current, *resampler) = (rate, Resampler::new(rate, wanted));
        }
        // In pieces of at most a second, so that a giant packet meets the limit early.
        for piece in mono.chunks(rate as usize) {
            self.room.resize(piece.len() * wanted as usize / rate as usize + 2, 0);
            let written = resampler.process(piece, &mut self.room);
            self.pcm.extend_from_slice(self.room.get(..written).unwrap_or_default());
            if self.pcm.len() / wanted.max(1) as usize >= MAX_SECONDS as usize {
                return Err(DecodeError::TooLong);
            }
        }
        Ok(())
    }

    fn into_sound(self) -> Result<Sound, DecodeError> {
        if self.pcm.is_empty() {
            return Err(DecodeError::Damaged);
        }
        Ok(Sound { rate: self.rate, pcm: self.pcm.into() })
    }
}

fn decode_by_symphonia(file: Bytes, hint: Option<&str>, tape: &mut Tape) -> Result<(), DecodeError> {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(file)), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(&as_hint(hint), stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|_| DecodeError::UnknownFormat)?;
    let (track, mut decoder) = open_track(&*format)?;
    let mut damaged = 0;
    let mut interleaved = Vec::new();
    let mut mono = Vec::new();
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            // A file that breaks off plays up to there.
            Ok(None) | Err(_) => return Ok(()),
        };
        if packet.track_id != track {
            continue;
        }
        let audio = match decoder.decode(&packet) {
            Ok(audio) => audio,
            Err(Error::DecodeError(_)) if damaged < MAX_DAMAGED_PACKETS => {
                damaged += 1;
                continue;
            }
            Err(_) => return Ok(()),
        };
        damaged = 0;
        let (rate, channels) = (audio.spec().rate(), audio.spec().channels().count());
        audio.copy_to_vec_interleaved::<i16>(&mut interleaved);
        fold_to_mono(&interleaved, channels, &mut mono);
        tape.record(rate, &mono)?;
    }
}

fn open_track(format: &dyn FormatReader) -> Result<(u32, Box<dyn AudioDecoder>), DecodeError> {
    let track = format.default_track(TrackType::Audio).ok_or(DecodeError::UnknownFormat)?;
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters.ok_or(DecodeError::UnknownFormat)?, &AudioDecoderOptions::default())
        .map_err(|_| DecodeError::UnknownFormat)?;
    Ok((track.id, decoder))
}

fn as_hint(hint: Option<&str>) -> Hint {
    let mut known = Hint::new();
    match hint {
        // Without parameters such as `; charset=...`.
        Some(media_type) if media_type.contains('/') => {
            known.mime_type(media_type.split(';').next().unwrap_or_default().trim());
        }
        Some(extension) => {
            known.with_extension(extension.trim_start_matches('.'));
        }
        None => {}
    }
    known
}

/// The mean of the channels.
fn fold_to_mono(interleaved: &[i16], channels: usize, mono: &mut Vec<i16>) {
    mono.clear();
    let mean = |frame: &[i16]| {
        let sum: i32 = frame.iter().map(|&sample| i32::from(sample)).sum();
        (sum / frame.len().max(1) as i32) as i16
    };
    mono.extend(interleaved.chunks_exact(channels.max(1)).map(mean));
}

#[cfg(test)]
mod tests;
