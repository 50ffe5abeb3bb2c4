//! Packet loss concealment for the codecs that have none: repeats the last pitch period and fades, as G.711 Appendix I does.
//!
//! Invariant: a concealed frame continues the waveform it follows, and after 60 ms of loss there is silence.

/// The lowest voice we follow, in hertz: the longest pitch period kept.
const LOWEST_PITCH_HZ: u32 = 66;
/// The highest voice we follow, in hertz.
const HIGHEST_PITCH_HZ: u32 = 200;
/// Frames of loss after which nothing is left to repeat.
const FADED_FRAMES: u32 = 3;

/// What was heard last, and how long nothing has been heard.
#[derive(Debug)]
pub(super) struct Concealer {
    history: Box<[i16]>,
    shortest: usize,
    longest: usize,
    lost_frames: u32,
    period: usize,
    phase: usize,
}

impl Concealer {
    /// For audio of `rate` samples per second.
    pub(super) fn new(rate: u32) -> Self {
        let longest = (rate / LOWEST_PITCH_HZ) as usize;
        let shortest = (rate / HIGHEST_PITCH_HZ) as usize;
        Self {
            history: vec![0; longest * 2].into_boxed_slice(),
            shortest,
            longest,
            lost_frames: 0,
            period: longest,
            phase: 0,
        }
    }

    /// Takes note of a good packet, and after a loss blends its beginning into what was made up.
    pub(super) fn heard(&mut self, pcm: &mut [i16]) {
        if self.lost_frames > 0 {
            let blend = self.shortest.min(pcm.len());
            for (step, sample) in pcm.iter_mut().take(blend).enumerate() {
                let made_up = i32::from(self.next_repeated());
                let weight = step as i32 + 1;
                let total = blend as i32 + 1;
                *sample = ((made_up * (total - weight) + i32::from(*sample) * weight) / total) as i16;
            }
            self.lost_frames = 0;
        }
        self.remember(pcm);
    }

    /// Fills `frame` (20 ms) in place of a lost one.
    pub(super) fn conceal(&mut self, frame: &mut [i16]) {
        if self.lost_frames == 0 {
            self.period = self.pitch_period();
            self.phase = 0;
        }
        let len = frame.len().max(1) as i32;
        for (index, sample) in frame.iter_mut().enumerate() {
            let gain = gain(self.lost_frames, index as i32, len);
            *sample = (i32::from(self.next_repeated()) * gain / 32_768) as i16;
        }
        self.lost_frames = self.lost_frames.saturating_add(1);
    }

    /// The next sample of the repeated period, at the level it was heard.
    fn next_repeated(&mut self) -> i16 {
        let start = self.history.len() - self.period;
        let sample = self.history.get(start + self.phase).copied().unwrap_or(0);
        self.phase = (self.phase + 1) % self.period.max(1);
        if self.lost_frames >= FADED_FRAMES { 0 } else { sample }
    }

    /// The lag at which the last stretch of history resembles itself most (normalised cross-correlation).
    fn pitch_period(&self) -> usize {
        let len = self.history.len();
        let window = self.longest;
        let recent = self.history.get(len - window..).unwrap_or_default();
        let likeness = |lag: usize| {
            let earlier = self.history.get(len - window - lag..len - lag).unwrap_or_default();
            let (mut product, mut energy) = (0f32, 1f32);
            for (&now, &before) in recent.iter().zip(earlier) {
                product += f32::from(now) * f32::from(before);
                energy += f32::from(before) * f32::from(before);
            }
            product.max(0.0) * product / energy
        };
        let mut best = (self.longest, 0f32);
        for lag in self.shortest..=self.longest {
            let value = likeness(lag);
            if value > best.1 {
                best = (lag, value);
            }
        }
        best.0
    }

    fn remember(&mut self, pcm: &[i16]) {
        let len = self.history.len();
        let fresh = pcm.get(pcm.len().saturating_sub(len)..).unwrap_or_default();
        self.history.copy_within(fresh.len().., 0);
        if let Some(tail) = self.history.get_mut(len - fresh.len()..) {
            tail.copy_from_slice(fresh);
        }
    }
}

/// Full for the first half frame, then a straight line down to nothing at the end of the last frame (in 1/32768).
fn gain(lost_frames: u32, index: i32, frame_len: i32) -> i32 {
    let position = lost_frames.min(FADED_FRAMES) as i32 * frame_len + index;
    let fade_start = frame_len / 2;
    let fade_end = FADED_FRAMES as i32 * frame_len;
    if position <= fade_start {
        32_768
    } else {
        (i64::from(fade_end - position).max(0) * 32_768 / i64::from(fade_end - fade_start)) as i32
    }
}
