//! RTCP (RFC 3550, section 6): sender and receiver reports with their SDES and BYE, written into the caller's buffer, and read from any peer.
//!
//! Invariant: every packet we write is a compound one that begins with a report and carries the CNAME.

use rtcp_types::{Compound, Packet as Part};

/// Seconds between 1900 (NTP) and 1970 (UNIX).
const NTP_UNIX_OFFSET_S: u64 = 2_208_988_800;
/// The recommended minimum of the report interval, in microseconds (RFC 3550, section 6.2).
const INTERVAL_US: u64 = 5_000_000;
/// Room that always suffices for one report with its SDES and BYE, in bytes.
pub const MAX_REPORT_BYTES: usize = 28 + 24 + MAX_SDES_BYTES + 8;
const MAX_SDES_BYTES: usize = 8 + 2 + MAX_CNAME_BYTES + 4;
/// Longest CNAME we write, in bytes.
pub const MAX_CNAME_BYTES: usize = 64;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const SDES_CNAME: u8 = 1;

/// Why an RTCP packet was not written or not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// The datagram is not RTCP.
    #[error("not an RTCP packet")]
    Malformed,
    /// The output slice cannot hold the packet.
    #[error("the output buffer is too small")]
    BufferTooSmall,
    /// The CNAME is longer than [`MAX_CNAME_BYTES`].
    #[error("the CNAME is too long")]
    CnameTooLong,
}

/// The sender's part of a sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Who sends.
    pub ssrc: u32,
    /// Wall-clock time of the report, 32.32 fixed point since 1900; see [`ntp_time`].
    pub ntp: u64,
    /// The same moment on the media clock.
    pub rtp_timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub octets: u32,
}

/// What a receiver says of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: u32,
    /// Lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the beginning; 24 bits, negative with duplicates.
    pub cumulative_lost: i32,
    /// Highest sequence number with its cycles.
    pub highest_sequence: u32,
    /// Interarrival jitter in ticks.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the stream's last sender report; 0 without one.
    pub last_report: u32,
    /// Time since that report, in 1/65536 s.
    pub delay_since_last_report: u32,
}

impl ReportBlock {
    /// The round-trip time at `ntp` when this block speaks of our stream (RFC 3550, section 6.4.1), in microseconds.
    #[must_use]
    pub fn round_trip_us(&self, ntp: u64) -> Option<u64> {
        if self.last_report == 0 {
            return None;
        }
        let now = (ntp >> 16) as u32;
        let ticks = now.wrapping_sub(self.last_report).wrapping_sub(self.delay_since_last_report);
        // A clock that was set back, or a peer that reports nonsense, gives a huge number.
        (ticks < 1 << 22).then(|| u64::from(ticks) * 1_000_000 / 65_536)
    }
}

/// What a compound packet told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A sender's view of its own stream.
    Sender(SenderInfo),
    /// A receiver's view of one of our streams.
    Received(ReportBlock),
    /// A source has left.
    Bye(u32),
}

/// 32.32 fixed-point NTP time of a UNIX time in microseconds.
#[must_use]
pub fn ntp_time(unix_us: u64) -> u64 {
    let seconds = unix_us / 1_000_000 + NTP_UNIX_OFFSET_S;
    let fraction = ((unix_us % 1_000_000) << 32) / 1_000_000;
    (seconds << 32) | fraction
}

/// Until the next report, in microseconds: 5 s times 0.5 to 1.5 so that peers do not fall into step (RFC 3550, section 6.3.1).
#[must_use]
pub fn next_interval_us(random: u32) -> u64 {
    INTERVAL_US / 2 + INTERVAL_US * u64::from(random) / u64::from(u32::MAX)
}

/// Writes a sender report (a receiver report when nothing was sent), the CNAME, and BYE when
/// `leaving`; the number of bytes.
///
/// `cname` should be random and the same for the whole call (RFC 7022).
pub fn write_report(
    ssrc: u32,
    sender: Option<&SenderInfo>,
    block: Option<&ReportBlock>,
    cname: &str,
    leaving: bool,
    out: &mut [u8],
) -> Result<usize, RtcpError> {
    let cname_len = u8::try_from(cname.len()).map_err(|_| RtcpError::CnameTooLong)?;
    if cname.len() > MAX_CNAME_BYTES {
        return Err(RtcpError::CnameTooLong);
    }
    let mut writer = Writer { out, len: 0 };
    let blocks = u8::from(block.is_some());
    let report_words = 1 + if sender.is_some() { 5 } else { 0 } + if block.is_some() { 6 } else { 0 };
    writer.header(blocks, if sender.is_some() { SENDER_REPORT } else { RECEIVER_REPORT }, report_words)?;
    writer.put(&ssrc.to_be_bytes())?;
    if let Some(info) = sender {
        writer.put(&info.ntp.to_be_bytes())?;
        writer.put(&info.rtp_timestamp.to_be_bytes())?;
        writer.put(&info.packets.to_be_bytes())?;
        writer.put(&info.octets.to_be_bytes())?;
    }
    if let Some(block) = block {
        writer.block(block)?;
    }
    // The chunk ends with at least one zero byte, on a word boundary (section 6.5).
    let padding = 4 - (2 + cname.len()) % 4;
    writer.header(1, SDES, 1 + (2 + cname.len() + padding) / 4)?;
    writer.put(&ssrc.to_be_bytes())?;
    writer.put(&[SDES_CNAME, cname_len])?;
    writer.put(cname.as_bytes())?;
    writer.put([0; 4].get(..padding).unwrap_or_default())?;
    if leaving {
        writer.header(1, BYE, 1)?;
        writer.put(&ssrc.to_be_bytes())?;
    }
    Ok(writer.len)
}

/// Reads a compound packet and hands each thing it tells to `tell`.
///
/// Parts of other kinds (SDES, APP, feedback) are skipped; a damaged part ends the reading.
pub fn parse(datagram: &[u8], mut tell: impl FnMut(Told)) -> Result<(), RtcpError> {
    let compound = Compound::parse(datagram).map_err(|_| RtcpError::Malformed)?;
    for part in compound {
        match part.map_err(|_| RtcpError::Malformed)? {
            Part::Sr(report) => {
                tell(Told::Sender(SenderInfo {
                    ssrc: report.ssrc(),
                    ntp: report.ntp_timestamp(),
                    rtp_timestamp: report.rtp_timestamp(),
                    packets: report.packet_count(),
                    octets: report.octet_count(),
                }));
                report.report_blocks().for_each(|block| tell(Told::Received(read_block(&block))));
            }
            Part::Rr(report) => report.report_blocks().for_each(|block| tell(Told::Received(read_block(&block)))),
            Part::Bye(bye) => bye.ssrcs().for_each(|ssrc| tell(Told::Bye(ssrc))),
            _ => {}
        }
    }
    Ok(())
}

fn read_block(block: &rtcp_types::ReportBlock<'_>) -> ReportBlock {
    ReportBlock {
        ssrc: block.ssrc(),
        fraction_lost: block.fraction_lost(),
        // Sign-extends 24 bits.
        cumulative_lost: (block.cumulative_lost() << 8).cast_signed() >> 8,
        highest_sequence: block.extended_sequence_number(),
        jitter: block.interarrival_jitter(),
        last_report: block.last_sender_report_timestamp(),
        delay_since_last_report: block.delay_since_last_sender_report_timestamp(),
    }
}

/// Appends to the caller's buffer.
struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    /// The header of a part whose body has `words` 32-bit words.
    fn header(&mut self, count: u8, kind: u8, words: usize) -> Result<(), RtcpError> {
        let [high, low] = (words as u16).to_be_bytes();
        self.put(&[2 << 6 | count, kind, high, low])
    }

    fn block(&mut self, block: &ReportBlock) -> Result<(), RtcpError> {
        let [_, lost @ ..] = block.cumulative_lost.to_be_bytes();
        self.put(&block.ssrc.to_be_bytes())?;
        self.put(&[block.fraction_lost])?;
        self.put(&lost)?;
        self.put(&block.highest_sequence.to_be_bytes())?;
        self.put(&block.jitter.to_be_bytes())?;
        self.put(&block.last_report.to_be_bytes())?;
        self.put(&block.delay_since_last_report.to_be_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), RtcpError> {
        let end = self.len + bytes.len();
        self.out.get_mut(self.len..end).ok_or(RtcpError::BufferTooSmall)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INFO: SenderInfo =
        SenderInfo { ssrc: 7, ntp: 0x0123_4567_89ab_cdef, rtp_timestamp: 160_000, packets: 1_000, octets: 160_000 };
    const BLOCK: ReportBlock = ReportBlock {
        ssrc: 9,
        fraction_lost: 12,
        cumulative_lost: -3,
        highest_sequence: 0x0001_0002,
        jitter: 40,
        last_report: 0x4567_89ab,
        delay_since_last_report: 65_536,
    };

    fn told(datagram: &[u8]) -> Result<Vec<Told>, RtcpError> {
        let mut all = Vec::new();
        parse(datagram, |told| all.push(told)).map(|()| all)
    }

    #[test]
    fn a_full_report_is_read_back() {
        let mut out = [0; MAX_REPORT_BYTES];
        for cname in ["", "a", "ab", "abc", "abcd", &"x".repeat(MAX_CNAME_BYTES)] {
            let len = write_report(7, Some(&INFO), Some(&BLOCK), cname, true, &mut out).unwrap();
            assert_eq!(told(&out[..len]), Ok(vec![Told::Sender(INFO), Told::Received(BLOCK), Told::Bye(7)]));
            assert!(crate::rtp::is_rtcp(&out[..len]));
            let names: Vec<_> = Compound::parse(&out[..len])
                .unwrap()
                .filter_map(|part| match part.unwrap() {
                    Part::Sdes(sdes) => Some(sdes.chunks().next()?.items().next()?.get_value_string().unwrap()),
                    _ => None,
                })
                .collect();
            assert_eq!(names, [cname], "the CNAME is in every compound packet");
        }
    }

    #[test]
    fn one_who_only_listens_sends_a_receiver_report() {
        let mut out = [0; MAX_REPORT_BYTES];
        let len = write_report(7, None, Some(&BLOCK), "x@y", false, &mut out).unwrap();
        assert_eq!(told(&out[..len]), Ok(vec![Told::Received(BLOCK)]));
        let len = write_report(7, None, None, "x@y", false, &mut out).unwrap();
        assert_eq!(told(&out[..len]), Ok(vec![]));
    }

    #[test]
    fn a_buffer_too_small_is_an_error_at_every_length() {
        let mut out = [0; MAX_REPORT_BYTES];
        let len = write_report(7, Some(&INFO), Some(&BLOCK), "cname", true, &mut out).unwrap();
        for room in 0..len {
            let result = write_report(7, Some(&INFO), Some(&BLOCK), "cname", true, &mut out[..room]);
            assert_eq!(result, Err(RtcpError::BufferTooSmall));
        }
        assert_eq!(write_report(7, None, None, &"x".repeat(65), false, &mut out), Err(RtcpError::CnameTooLong));
    }

    #[test]
    fn ntp_counts_from_1900() {
        assert_eq!(ntp_time(0) >> 32, 2_208_988_800);
        assert_eq!(ntp_time(500_000) & 0xffff_ffff, 1 << 31);
    }

    #[test]
    fn the_round_trip_is_what_is_left_after_the_peers_delay() {
        // Our report went out at t, the peer kept it for 1 s, its answer came at t + 1.25 s.
        let sent = ntp_time(1_700_000_000_000_000);
        let back = ntp_time(1_700_000_001_250_000);
        let block = ReportBlock { last_report: (sent >> 16) as u32, delay_since_last_report: 65_536, ..BLOCK };
        let round_trip = block.round_trip_us(back).unwrap();
        assert!(round_trip.abs_diff(250_000) < 50, "{round_trip}");
        assert_eq!(ReportBlock { last_report: 0, ..block }.round_trip_us(back), None);
        assert_eq!(block.round_trip_us(sent), None, "nonsense of the peer");
    }

    #[test]
    fn intervals_spread_from_half_to_one_and_a_half() {
        assert_eq!(next_interval_us(0), 2_500_000);
        assert_eq!(next_interval_us(u32::MAX), 7_500_000);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = told(&bytes);
        }

        #[test]
        fn a_damaged_report_never_panics(at in 0_usize..100, value: u8, cut in 0_usize..100) {
            let mut out = [0; MAX_REPORT_BYTES];
            let len = write_report(7, Some(&INFO), Some(&BLOCK), "cname", true, &mut out).unwrap();
            let at = at % len;
            out[at] = value;
            let _ = told(&out[..len - cut % len]);
        }
    }
}
