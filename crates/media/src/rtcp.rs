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
        let ticks = now
            .wrapping_sub(self.last_report)
            .wrapping_sub(self.delay_since_last_report);
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

/// Writes a sender report (a receiver report when nothing was sent), the CNAME, and BYE when `leaving`; the number of bytes.
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
    todo!(
        "{ssrc} {sender:?} {block:?} {cname} {leaving} {}",
        out.len()
    )
}

/// Reads a compound packet and hands each thing it tells to `tell`. Parts of other kinds (SDES, APP, feedback) are skipped.
pub fn parse(datagram: &[u8], mut tell: impl FnMut(Told)) -> Result<(), RtcpError> {
    let compound = Compound::parse(datagram).map_err(|_| RtcpError::Malformed)?;
    for part in compound {
        match part {
            Ok(Part::Bye(bye)) => bye.ssrcs().for_each(|ssrc| tell(Told::Bye(ssrc))),
            _ => {}
        }
    }
    Ok(())
}
