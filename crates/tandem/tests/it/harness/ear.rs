//! An ear for tests: how loud, which tone, which words. Works on what a phone recorded.

use std::f64::consts::TAU;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A recording: one channel of samples at a rate.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) rate: u32,
    pub(crate) samples: Vec<i16>,
}

impl Heard {
    /// Reads a WAV file; of several channels, the first.
    pub(crate) fn read(path: &Path) -> Self {
        Self::read_channel(path, 0)
    }

    /// Reads one channel of a WAV file.
    pub(crate) fn read_channel(path: &Path, channel: usize) -> Self {
        let mut reader = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let spec = reader.spec();
        let all: Vec<i16> = reader.samples::<i16>().map_while(Result::ok).collect();
        let samples = all.into_iter().skip(channel).step_by(usize::from(spec.channels)).collect();
        Self { rate: spec.sample_rate, samples }
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate)
    }

    /// A part of it, in seconds from its beginning.
    pub(crate) fn part(&self, seconds: Range<f64>) -> Self {
        let at = |second: f64| ((second * f64::from(self.rate)) as usize).min(self.samples.len());
        Self { rate: self.rate, samples: self.samples[at(seconds.start)..at(seconds.end)].to_vec() }
    }

    /// Root mean square, of 32768.
    pub(crate) fn rms(&self) -> f64 {
        let sum: f64 = self.samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        (sum / self.samples.len().max(1) as f64).sqrt()
    }

    /// How much of the whole sound is a tone of this frequency: 1.0 is nothing else (Goertzel).
    pub(crate) fn share_of(&self, hertz: f64) -> f64 {
        let (mut sine, mut cosine, mut energy) = (0.0, 0.0, 0.0);
        for (index, sample) in self.samples.iter().enumerate() {
            let sample = f64::from(*sample);
            let angle = TAU * hertz * index as f64 / f64::from(self.rate);
            sine += sample * angle.sin();
            cosine += sample * angle.cos();
            energy += sample * sample;
        }
        if energy == 0.0 {
            return 0.0;
        }
        2.0 * (sine * sine + cosine * cosine) / (energy * self.samples.len() as f64)
    }

    /// The seconds, in windows of 100 ms, in which this tone is most of what is heard.
    pub(crate) fn seconds_of(&self, hertz: f64) -> f64 {
        let window = (self.rate / 10) as usize;
        let loud = self
            .samples
            .chunks_exact(window)
            .map(|chunk| Self { rate: self.rate, samples: chunk.to_vec() })
            .filter(|part| part.rms() > 100.0 && part.share_of(hertz) > 0.5)
            .count();
        loud as f64 * 0.1
    }

    /// What is loud of it, from word to word: parts that so many seconds of quiet lie between, each with the second at
    /// which it begins.
    pub(crate) fn utterances(&self, quiet_s: f64) -> Vec<(f64, Self)> {
        let second = |tenth: usize| tenth as f64 / 10.0;
        let loud = |tenth: &usize| self.part(second(*tenth)..second(tenth + 1)).rms() > 100.0;
        let mut spans: Vec<Range<usize>> = Vec::new();
        for tenth in (0..(self.seconds() * 10.0) as usize).filter(loud) {
            match spans.last_mut() {
                Some(span) if second(tenth - span.end) < quiet_s => span.end = tenth + 1,
                _ => spans.push(tenth..tenth + 1),
            }
        }
        let heard =
            |span: Range<usize>| (second(span.start), self.part(second(span.start) - 0.2..second(span.end) + 0.2));
        spans.into_iter().map(heard).collect()
    }

    /// The words in it, in lower case, as pocketsphinx understands them.
    pub(crate) async fn words(&self) -> Vec<String> {
        let python = python();
        assert!(python.is_file(), "{} is missing: ./test installs pocketsphinx there", python.display());
        let folder = tempfile::tempdir().unwrap();
        let wav = folder.path().join("heard.wav");
        write_wav(&wav, self.rate, &self.samples);
        let output = tokio::process::Command::new(python).args(["-c", TRANSCRIBE]).arg(&wav).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_lowercase).collect()
    }
}

/// Writes one channel of samples.
pub(crate) fn write_wav(path: &Path, rate: u32, samples: &[i16]) {
    let spec =
        hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for sample in samples {
        writer.write_sample(*sample).unwrap();
    }
    writer.finalize().unwrap();
}

/// A minute of a tone at 8 kHz in a file of its own; keep the folder as long as a phone speaks it.
pub(crate) fn tone_file(folder: &Path, hertz: f64) -> PathBuf {
    let path = folder.join(format!("tone-{hertz}.wav"));
    let samples: Vec<i16> =
        (0..60 * 8000).map(|index| (8000.0 * (TAU * hertz * f64::from(index) / 8000.0).sin()) as i16).collect();
    write_wav(&path, 8000, &samples);
    path
}

/// A minute of a tone that comes and goes, as speech does: what a browser takes for noise it takes away. At 48 kHz, as
/// browsers want it.
pub(crate) fn pulses_file(folder: &Path, hertz: f64) -> PathBuf {
    let path = folder.join(format!("pulses-{hertz}.wav"));
    let sample = |index: i32| {
        let loud = index / 14_400 % 2 == 0;
        if loud { (8000.0 * (TAU * hertz * f64::from(index) / 48_000.0).sin()) as i16 } else { 0 }
    };
    write_wav(&path, 48_000, &(0..60 * 48_000).map(sample).collect::<Vec<i16>>());
    path
}

/// Five minutes of silence at 8 kHz in a file of its own.
pub(crate) fn silence_file(folder: &Path) -> PathBuf {
    let path = folder.join("silence.wav");
    write_wav(&path, 8000, &vec![0; 300 * 8000]);
    path
}

/// The share of `spoken`'s words that are in `heard`, in their order (longest common subsequence).
pub(crate) fn words_understood(spoken: &str, heard: &[String]) -> f64 {
    let spoken: Vec<String> = spoken
        .split(|character: char| !character.is_alphanumeric() && character != '\'')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let mut row = vec![0_usize; heard.len() + 1];
    for word in &spoken {
        let mut diagonal = 0;
        for (index, other) in heard.iter().enumerate() {
            let above = row[index + 1];
            row[index + 1] = if word == other { diagonal + 1 } else { above.max(row[index]) };
            diagonal = above;
        }
    }
    *row.last().unwrap() as f64 / spoken.len().max(1) as f64
}

/// The Python that has what the tests need.
pub(crate) fn python() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    std::env::var("TANDEM_TEST_PYTHON").map_or_else(|_| own(), PathBuf::from)
}

/// Brings the sound to the model's 16 kHz and prints the words.
const TRANSCRIBE: &str = r"
import subprocess, sys
from pocketsphinx import Decoder
raw = subprocess.run(['sox', sys.argv[1], '-t', 'raw', '-r', '16000', '-c', '1', '-e', 'signed', '-b', '16', '-',
                      'norm', '-3'], check=True, stdout=subprocess.PIPE).stdout
decoder = Decoder(samprate=16000, loglevel='FATAL')
decoder.start_utt()
decoder.process_raw(raw, full_utt=True)
decoder.end_utt()
print(decoder.hyp().hypstr if decoder.hyp() else '')
";

#[test]
fn the_ear_tells_tones_apart() {
    let folder = tempfile::tempdir().unwrap();
    let heard = Heard::read(&tone_file(folder.path(), 440.0)).part(0.0..2.0);
    assert!(heard.share_of(440.0) > 0.95 && heard.share_of(1000.0) < 0.01);
    assert!((heard.seconds_of(440.0) - 2.0).abs() < 0.11);
}

#[test]
fn utterances_are_parted_by_quiet() {
    let tone = |seconds: i32| (0..seconds * 8_000).map(|index| if index % 16 < 8 { 3_000 } else { -3_000 });
    let quiet = |seconds: usize| std::iter::repeat_n(0, seconds * 8_000);
    let samples = quiet(1).chain(tone(1)).chain(quiet(1)).chain(tone(1)).chain(quiet(3)).chain(tone(2)).collect();
    let said = Heard { rate: 8_000, samples }.utterances(2.0);
    let spans: Vec<(f64, f64)> = said.iter().map(|(at, part)| (*at, part.seconds().round())).collect();
    assert_eq!(spans, [(1.0, 3.0), (7.0, 2.0)]);
}

#[test]
fn words_are_counted_in_their_order() {
    let heard: Vec<String> = ["press", "one", "for", "oranges"].map(str::to_owned).to_vec();
    assert!((words_understood("Press 1, for apples or oranges.", &heard) - 0.5).abs() < 1e-9);
}
