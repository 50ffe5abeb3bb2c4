//! The 48-bit index of a packet whose header carries 16 bits of it, and what was already seen
//! (RFC 3711, section 3.3 and appendix A).
//!
//! Invariant: only accepted packets are remembered, so a forger cannot push a stream out.

/// Streams remembered per direction: a leg has one, a few more while it is forked or re-invited.
const STREAMS: usize = 4;
/// Packets that the replay window looks back on.
const WINDOW: u64 = 128;

/// The streams of one direction; the oldest makes room for a new one.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: [Option<Stream>; STREAMS],
    /// Where the next new stream goes.
    turn: usize,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    /// The highest index accepted.
    highest: u64,
    /// Bit `n` is set when the packet `n` before the highest was accepted.
    seen: u128,
}

impl Streams {
    /// The index that a sequence number most likely stands for.
    pub(super) fn guess(&self, ssrc: u32, sequence: u16) -> u64 {
        let Some(stream) = self.find(ssrc) else {
            return sequence.into();
        };
        let ahead = sequence.wrapping_sub(stream.highest as u16).cast_signed();
        // Before the very first packet there is nothing: a stream begins with rollover zero.
        stream.highest.checked_add_signed(ahead.into()).unwrap_or(sequence.into())
    }

    /// Whether the packet was accepted before, or is too old to know.
    pub(super) fn is_replay(&self, ssrc: u32, index: u64) -> bool {
        self.find(ssrc).is_some_and(|stream| {
            let behind = stream.highest.checked_sub(index);
            behind.is_some_and(|behind| behind >= WINDOW || stream.seen >> behind & 1 == 1)
        })
    }

    /// Remembers an authentic packet.
    pub(super) fn accept(&mut self, ssrc: u32, index: u64) {
        let known = self.streams.iter_mut().flatten().find(|stream| stream.ssrc == ssrc);
        let Some(stream) = known else {
            if let Some(place) = self.streams.get_mut(self.turn) {
                *place = Some(Stream { ssrc, highest: index, seen: 1 });
            }
            self.turn = (self.turn + 1) % STREAMS;
            return;
        };
        if let Some(ahead) = index.checked_sub(stream.highest).filter(|&ahead| ahead > 0) {
            stream.seen = if ahead < WINDOW { stream.seen << ahead } else { 0 } | 1;
            stream.highest = index;
        } else if stream.highest - index < WINDOW {
            stream.seen |= 1 << (stream.highest - index);
        }
    }

    fn find(&self, ssrc: u32) -> Option<&Stream> {
        self.streams.iter().flatten().find(|stream| stream.ssrc == ssrc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_follows_the_sequence_number_over_its_wrap_both_ways() {
        let mut streams = Streams::default();
        for index in (65_500..65_600_u64).chain(98_000..98_100).chain(130_800..131_200) {
            assert_eq!(streams.guess(1, index as u16), index);
            streams.accept(1, index);
            // A packet from before the wrap that comes late.
            assert_eq!(streams.guess(1, (index - 50) as u16), index - 50);
        }
    }

    #[test]
    fn a_late_packet_at_the_very_beginning_stays_in_range() {
        let mut streams = Streams::default();
        streams.accept(1, 3);
        assert_eq!(streams.guess(1, 65_534), 65_534, "there is no index below zero");
    }

    #[test]
    fn each_index_passes_once_in_any_order() {
        let mut streams = Streams::default();
        let order = [10, 12, 11, 200, 150, 199];
        for index in order {
            assert!(!streams.is_replay(1, index), "{index}");
            streams.accept(1, index);
        }
        for index in order {
            assert!(streams.is_replay(1, index), "{index} again");
        }
        assert!(streams.is_replay(1, 72), "too old to tell");
        assert!(!streams.is_replay(1, 73), "the oldest that can be told");
        assert!(!streams.is_replay(2, 10), "another stream");
    }

    #[test]
    fn a_fifth_stream_takes_the_place_of_the_first() {
        let mut streams = Streams::default();
        for ssrc in 1..=5 {
            streams.accept(ssrc, 100_000);
        }
        assert_eq!(streams.guess(5, 34_465), 100_001);
        assert_eq!(streams.guess(1, 34_465), 34_465);
    }
}
