//! What a leg is sent: frames of our own, the peer's packets, key presses, and in the coarse look silence and reports.

use media::bridge::Mouth;
use media::frame::MAX_FRAME_SAMPLES;
use media::rtp::HEADER_BYTES;

use super::{LegMedia, PACKET_BYTES};
use crate::leg::LegEvent;
use crate::runner::bench::{Bench, Post};
use crate::runner::keys::KeyTick;
use crate::runner::line::Wire;

/// A party is sent a frame of silence when it was sent nothing for so long: no gap reaches a second.
const COMFORT_AFTER_US: u64 = 400_000;

impl LegMedia {
    /// Sends on a packet of the peer, which speaks the same codec, in `buffer[..len]`.
    pub(in crate::runner) fn relay(
        &mut self,
        now_us: u64,
        slot: usize,
        buffer: &mut [u8],
        len: usize,
        wire: &mut impl Wire,
    ) {
        let Some(line) = &mut self.line else { return };
        let Some(packet) = buffer.get_mut(..len) else {
            return;
        };
        if self.keys.as_ref().is_some_and(|keys| keys.is_sounding()) {
            line.leave_out(&mut self.rewriter, packet);
            return;
        }
        if self.playing.is_some() || self.hold_music.is_some() || !line.sends() {
            return;
        }
        let Some(len) = line.relay(now_us, &mut self.rewriter, packet) else { return };
        let packet = packet.get(..len).unwrap_or_default();
        if let Some(recording) = &mut self.recording {
            recording.sent(now_us, line.remote().codec, packet);
        }
        if let Some(tap) = &mut self.tap {
            tap.sent(now_us, line.remote().codec, packet);
        }
        line.send(now_us, slot, buffer, len, wire);
    }

    /// Closes the gap of a packet of the peer that is not relayed.
    pub(in crate::runner) fn leave_out(&mut self, packet: &[u8]) {
        if let Some(line) = &mut self.line {
            line.leave_out(&mut self.rewriter, packet);
        }
    }

    /// The second half of a tick: sends 20 ms of whatever is to be heard. `peer` is the frame that a peer of another codec said, or the mix of its room.
    pub(in crate::runner) fn speak<W: Wire>(&mut self, peer: Option<(u32, &[i16])>, bench: &mut Bench<'_, W>) {
        // Who cannot hear yet misses nothing: what there is to play or press begins, or goes on, once it can.
        if self.line.as_ref().is_none_or(|line| !line.is_through()) {
            return;
        }
        let mut frame = [0; MAX_FRAME_SAMPLES];
        match self.keys.as_mut().map(|keys| keys.tick()) {
            None | Some(KeyTick::Audio) => {}
            Some(KeyTick::Hush) => return self.settle_keys(bench.post),
            Some(KeyTick::Event(event)) => {
                self.send_event(&event, bench);
                return self.settle_keys(bench.post);
            }
            Some(KeyTick::Tone(tone)) => {
                let samples = tone.len();
                for (to, from) in frame.iter_mut().zip(tone) {
                    *to = *from;
                }
                let rate = self.rate();
                self.send_pcm(rate, frame.get(..samples).unwrap_or_default(), bench);
                return self.settle_keys(bench.post);
            }
        }
        self.settle_keys(bench.post);
        if let Some(playing) = &mut self.playing {
            let (play, tune) = &mut **playing;
            let (play, rate) = (*play, tune.rate());
            let (pcm, goes_on) = tune.next_frame(&mut frame);
            self.send_pcm(rate, pcm, bench);
            if !goes_on {
                self.playing = None;
                bench.post.tell(&self.events, LegEvent::PlayEnded { play });
            }
        } else if let Some(music) = &mut self.hold_music {
            let rate = music.rate();
            let (pcm, _) = music.next_frame(&mut frame);
            self.send_pcm(rate, pcm, bench);
        } else if let Some((rate, pcm)) = self.tap.as_mut().and_then(|tap| tap.speech(&mut frame)) {
            self.send_pcm(rate, pcm, bench);
        } else if let Some((rate, pcm)) = peer {
            self.send_pcm(rate, pcm, bench);
        }
    }

    /// The last part of a tick: adds it to the recording, and hands it to the tap.
    pub(in crate::runner) fn record_tick<W: Wire>(&mut self, bench: &mut Bench<'_, W>) {
        if let Some(recording) = &mut self.recording {
            let incoming = self.ear.as_ref().map(|ear| (ear.kind().sample_rate(), ear.frame()));
            recording.tick(bench.now_us, incoming, bench.recorder);
        }
        if let Some(tap) = &mut self.tap {
            let said = self.ear.as_ref().map(|ear| (ear.kind().sample_rate(), ear.frame()));
            tap.tick(bench.now_us, said);
        }
    }

    fn send_pcm<W: Wire>(&mut self, rate: u32, pcm: &[i16], bench: &mut Bench<'_, W>) {
        let Some(line) = self.line.as_mut().filter(|line| line.sends()) else {
            return;
        };
        let codec = line.remote().codec;
        if self.mouth.as_ref().is_none_or(|mouth| mouth.kind() != codec) {
            self.mouth = Mouth::new(codec).ok().map(Box::new);
        }
        let Some(mouth) = &mut self.mouth else { return };
        let mut buffer = [0; PACKET_BYTES];
        let payload = buffer.get_mut(HEADER_BYTES..).unwrap_or_default();
        if let Ok(payload_len) = mouth.speak(rate, pcm, payload) {
            self.send_frame(&mut buffer, payload_len, bench);
        }
    }

    fn send_frame<W: Wire>(&mut self, buffer: &mut [u8], payload_len: usize, bench: &mut Bench<'_, W>) {
        let Some(line) = &mut self.line else { return };
        let Some(len) = line.frame(bench.now_us, buffer, payload_len) else {
            return;
        };
        let packet = buffer.get(..len).unwrap_or_default();
        if let Some(recording) = &mut self.recording {
            recording.sent(bench.now_us, line.remote().codec, packet);
        }
        if let Some(tap) = &mut self.tap {
            tap.sent(bench.now_us, line.remote().codec, packet);
        }
        line.send(bench.now_us, bench.slot, buffer, len, bench.wire);
    }

    fn send_event<W: Wire>(&mut self, event: &media::dtmf::EventPacket, bench: &mut Bench<'_, W>) {
        let Some(line) = self.line.as_mut().filter(|line| line.sends()) else {
            return;
        };
        let mut buffer = [0; PACKET_BYTES];
        if let Some(len) = line.event(bench.now_us, event, &mut buffer) {
            line.send(bench.now_us, bench.slot, &mut buffer, len, bench.wire);
        }
    }

    fn settle_keys(&mut self, post: &mut Post) {
        if let Some(keys) = self.keys.take_if(|keys| keys.is_idle()) {
            for play in keys.into_plays() {
                post.tell(&self.events, LegEvent::PlayEnded { play });
            }
        }
    }

    /// The coarse look, a few times a second: silence for who hears nothing, reports, and whether the other side is still there.
    pub(in crate::runner) fn sweep<W: Wire>(&mut self, ntp: u64, timeout_us: u64, bench: &mut Bench<'_, W>) {
        let now_us = bench.now_us;
        let Some(line) = &mut self.line else { return };
        line.attend(now_us, bench.wire);
        if line.sends() && now_us.saturating_sub(line.last_sent_us()) >= COMFORT_AFTER_US {
            let payload = bench.comfort.payload(line.remote().codec);
            let mut buffer = [0; PACKET_BYTES];
            for (to, from) in buffer.iter_mut().skip(HEADER_BYTES).zip(payload) {
                *to = *from;
            }
            let payload_len = payload.len();
            self.send_frame(&mut buffer, payload_len, bench);
        }
        let Some(line) = &mut self.line else { return };
        if now_us >= self.next_report_us {
            self.next_report_us = now_us + media::rtcp::next_interval_us(self.identity.phase());
            line.report(now_us, ntp, self.identity, false, bench.slot, bench.wire);
        }
        if let Some(established) = &mut self.established
            && !established.timed_out
            && line.is_lost(now_us, established.at_us, timeout_us)
        {
            established.timed_out = true;
            self.events.media_timeout();
        }
    }
}
