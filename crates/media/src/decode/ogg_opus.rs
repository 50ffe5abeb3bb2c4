//! Opus in Ogg (RFC 7845), mono or stereo.

use std::io::Cursor;

use ogg::PacketReader;
use ropus::{Channels, DecodeMode, Decoder};

use super::{DecodeError, Tape};
use crate::frame::MAX_PACKET_SAMPLES;

const RATE: u32 = 48_000;
const HEAD: &[u8] = b"OpusHead";
const TAGS: &[u8] = b"OpusTags";
/// Where the first packet of the first page begins: 27 bytes of page header, one segment length.
const FIRST_PACKET_AT: usize = 28;

/// Whether the file begins with an Opus stream.
pub(super) fn is_ogg_opus(file: &[u8]) -> bool {
    file.starts_with(b"OggS") && file.get(FIRST_PACKET_AT..).is_some_and(|packet| packet.starts_with(HEAD))
}

/// Decodes all of it; what breaks off plays up to there.
pub(super) fn decode(file: &[u8], tape: &mut Tape) -> Result<(), DecodeError> {
    let mut packets = PacketReader::new(Cursor::new(file));
    let mut decoder = Decoder::new(RATE, Channels::Mono).map_err(|_| DecodeError::Damaged)?;
    let mut pcm = vec![0; MAX_PACKET_SAMPLES];
    // Samples that the encoder put before the sound (section 4.2).
    let mut skip = 0;
    let mut played = 0_u64;
    while let Ok(Some(packet)) = packets.read_packet() {
        if packet.data.starts_with(HEAD) {
            let head = Head::read(&packet.data)?;
            decoder.set_gain(head.gain.into()).map_err(|_| DecodeError::Damaged)?;
            skip = head.pre_skip.into();
            played = 0;
            continue;
        }
        if packet.data.is_empty() || packet.data.starts_with(TAGS) {
            continue;
        }
        let Ok(samples) = decoder.decode(&packet.data, &mut pcm, DecodeMode::Normal) else {
            continue;
        };
        played += samples as u64;
        // The last page's position says where the sound ends within its last packet (section 4.5).
        let beyond = if packet.last_in_stream() { played.saturating_sub(packet.absgp_page()) } else { 0 };
        let end = samples.saturating_sub(usize::try_from(beyond).unwrap_or(0));
        let start = skip.min(end);
        skip -= start;
        tape.record(RATE, pcm.get(start..end).unwrap_or_default())?;
    }
    Ok(())
}

/// What we need of the identification header (section 5.1).
struct Head {
    pre_skip: u16,
    /// In 1/256 dB.
    gain: i16,
}

impl Head {
    fn read(packet: &[u8]) -> Result<Self, DecodeError> {
        match packet {
            // Magic, version, channels, pre-skip, input rate, gain, mapping family 0: mono or stereo.
            &[_, _, _, _, _, _, _, _, version, 1..=2, s0, s1, _, _, _, _, g0, g1, 0, ..] if version >> 4 == 0 => {
                Ok(Self { pre_skip: u16::from_le_bytes([s0, s1]), gain: i16::from_le_bytes([g0, g1]) })
            }
            _ => Err(DecodeError::UnknownFormat),
        }
    }
}
