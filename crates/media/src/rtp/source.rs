//! What we know of the stream that we hear: losses, jitter, and when it last spoke (RFC 3550, appendices A.1, A.3, A.8).

use super::Packet;
use crate::rtcp::{ReportBlock, SenderInfo};

/// A jump of sequence numbers beyond this is a restart, once two packets agree on it.
const MAX_DROPOUT: u16 = 3_000;
/// A packet up to this late is only late.
const MAX_MISORDER: u16 = 100;

/// Receiver statistics of one stream; a new SSRC starts them anew.
#[derive(Debug)]
pub struct Source {
    clock_rate: u32,
    stream: Option<Stream>,
    last_heard_us: Option<u64>,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    base: u32,
    /// Highest sequence number with its cycles (RFC 3550, section 6.4.1).
    highest: u32,
    /// Where a restarted source would go on.
    bad_sequence: Option<u16>,
    received: u32,
    expected_before: u32,
    received_before: u32,
    transit: Option<u32>,
    /// Sixteenths of ticks, as appendix A.8 keeps it.
    jitter_x16: u32,
    /// Middle 32 bits of the last sender report's NTP time, and when it came.
    last_report: Option<(u32, u64)>,
}

impl Source {
    /// For packets whose timestamps count `clock_rate` ticks per second.
    #[must_use]
    pub fn new(clock_rate: u32) -> Self {
        Self { clock_rate, stream: None, last_heard_us: None }
    }

    /// Counts a packet that was accepted.
    pub fn heard(&mut self, now_us: u64, packet: &Packet<'_>) {
        let arrival = (now_us * u64::from(self.clock_rate) / 1_000_000) as u32;
        self.count(now_us, packet, Some(arrival));
    }

    /// Counts a packet that came at some time before `now_us`: it says nothing about jitter.
    pub fn counted(&mut self, now_us: u64, packet: &Packet<'_>) {
        self.count(now_us, packet, None);
    }

    fn count(&mut self, now_us: u64, packet: &Packet<'_>, arrival: Option<u32>) {
        self.last_heard_us = Some(now_us);
        match &mut self.stream {
            Some(stream) if stream.ssrc == packet.ssrc => stream.heard(packet, arrival),
            _ => self.stream = Some(Stream::starting_with(packet, arrival)),
        }
    }

    /// Notes a sender report of this stream, for the round-trip time that the other side computes.
    pub fn reported(&mut self, now_us: u64, info: &SenderInfo) {
        self.last_heard_us = Some(now_us);
        if let Some(stream) = self.stream.as_mut().filter(|stream| stream.ssrc == info.ssrc) {
            stream.last_report = Some((middle(info.ntp), now_us));
        }
    }

    /// Notes any other sign of life (a receiver report): the leg is not dead.
    pub fn alive(&mut self, now_us: u64) {
        self.last_heard_us = Some(now_us);
    }

    /// When RTP or RTCP came last.
    #[must_use]
    pub fn last_heard_us(&self) -> Option<u64> {
        self.last_heard_us
    }

    /// The stream's SSRC.
    #[must_use]
    pub fn ssrc(&self) -> Option<u32> {
        self.stream.as_ref().map(|stream| stream.ssrc)
    }

    /// Packets received and packets lost (never below zero) over the life of the stream.
    #[must_use]
    pub fn totals(&self) -> (u32, u32) {
        self.stream.as_ref().map_or((0, 0), |stream| (stream.received, stream.lost().max(0).cast_unsigned()))
    }

    /// Interarrival jitter in microseconds.
    #[must_use]
    pub fn jitter_us(&self) -> u64 {
        self.stream
            .as_ref()
            .map_or(0, |stream| u64::from(stream.jitter_x16 >> 4) * 1_000_000 / u64::from(self.clock_rate.max(1)))
    }

    /// The report block for the next RTCP packet; begins the next interval of `fraction_lost`. None before the first packet.
    pub fn report(&mut self, now_us: u64) -> Option<ReportBlock> {
        self.stream.as_mut().map(|stream| stream.report(now_us))
    }
}

impl Stream {
    fn starting_with(packet: &Packet<'_>, arrival: Option<u32>) -> Self {
        Self {
            ssrc: packet.ssrc,
            base: packet.sequence.into(),
            highest: packet.sequence.into(),
            bad_sequence: None,
            received: 1,
            expected_before: 0,
            received_before: 0,
            transit: arrival.map(|arrival| arrival.wrapping_sub(packet.timestamp)),
            jitter_x16: 0,
            last_report: None,
        }
    }

    fn heard(&mut self, packet: &Packet<'_>, arrival: Option<u32>) {
        let ahead = packet.sequence.wrapping_sub(self.highest as u16);
        if ahead < MAX_DROPOUT {
            self.highest = self.highest.wrapping_add(ahead.into());
        } else if ahead <= u16::MAX - MAX_MISORDER {
            if self.bad_sequence != Some(packet.sequence) {
                self.bad_sequence = Some(packet.sequence.wrapping_add(1));
                return;
            }
            let last_report = self.last_report;
            *self = Self { last_report, ..Self::starting_with(packet, arrival) };
            return;
        }
        self.bad_sequence = None;
        self.received = self.received.wrapping_add(1);
        match arrival {
            Some(arrival) => self.measure_jitter(packet.timestamp, arrival),
            None => self.transit = None,
        }
    }

    /// Appendix A.8.
    fn measure_jitter(&mut self, timestamp: u32, arrival: u32) {
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            // A new time line is not jitter.
            if difference < 1 << 20 {
                self.jitter_x16 = (self.jitter_x16 + difference).saturating_sub((self.jitter_x16 + 8) >> 4);
            }
        }
    }

    fn expected(&self) -> u32 {
        self.highest.wrapping_sub(self.base).wrapping_add(1)
    }

    fn lost(&self) -> i32 {
        self.expected().wrapping_sub(self.received).cast_signed()
    }

    /// Appendix A.3.
    fn report(&mut self, now_us: u64) -> ReportBlock {
        let expected = self.expected();
        let expected_now = expected.wrapping_sub(self.expected_before);
        let received_now = self.received.wrapping_sub(self.received_before);
        self.expected_before = expected;
        self.received_before = self.received;
        let lost_now = expected_now.wrapping_sub(received_now).cast_signed();
        let fraction_lost = if expected_now == 0 || lost_now <= 0 {
            0
        } else {
            (u64::from(lost_now.cast_unsigned()) * 256 / u64::from(expected_now)).min(255) as u8
        };
        let (last_report, delay) = self.last_report.map_or((0, 0), |(middle, heard_us)| {
            let delay = now_us.saturating_sub(heard_us) * 65_536 / 1_000_000;
            (middle, delay.min(u32::MAX.into()) as u32)
        });
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost,
            cumulative_lost: self.lost().clamp(-0x80_0000, 0x7f_ffff),
            highest_sequence: self.highest,
            jitter: self.jitter_x16 >> 4,
            last_report,
            delay_since_last_report: delay,
        }
    }
}

/// The middle 32 bits of a 64-bit NTP time: seconds and their fraction, 16 bits each.
fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}
