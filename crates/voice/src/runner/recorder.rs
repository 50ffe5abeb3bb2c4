//! The thread that writes recordings to disk, so that no media thread ever waits for a disk.
//!
//! Media threads hand over blocks of woven samples by a bounded queue and get the emptied blocks back. The WAV header is rewritten with every
//! second of sound, so that the file is whole up to then after a crash.
//! Invariant: every recording that was begun tells its end exactly once, as ready or as failed.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use media::record::{self, CHANNELS, FRAME_BYTES, HEADER_BYTES};
use sha2::{Digest as _, Sha256};

use crate::leg::{LegEvent, LegEvents, RecordingId};

/// Jobs that may wait for the writer: a second's worth of 200 recordings.
const MAX_JOBS: usize = 1_024;
/// Emptied blocks that a media thread keeps.
const MAX_SPARE_BLOCKS: usize = 256;
/// Blocks of a second: what a crash may lose of the newest sound is less.
const BLOCKS_PER_SECOND: u32 = 5;
/// Seconds of sound between two writes through to the disk: against a power cut, not needed against a crash.
const SYNC_SECONDS: u64 = 10;
/// Bytes hashed between two looks at the queue.
const HASH_STEP_BYTES: usize = 1 << 20;
/// How often events that found their call's queue full are offered again.
const RETRY: Duration = Duration::from_millis(100);

/// A number for a recording among the jobs.
type Track = u64;

enum Job {
    Begin { track: Track, path: PathBuf, rate: u32, id: RecordingId, events: LegEvents },
    Write { track: Track, at_frame: u64, block: Vec<u8>, home: SyncSender<Vec<u8>> },
    End { track: Track, frames: u64 },
    Stop,
}

/// The writer thread, as the server holds it.
#[derive(Debug)]
pub(super) struct Recorder {
    jobs: SyncSender<Job>,
    open: Arc<AtomicUsize>,
    next_track: Arc<AtomicU64>,
}

impl Recorder {
    /// Starts the thread; it ends after [`Recorder::stop`], when all recordings are complete.
    pub(super) fn start() -> io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = sync_channel(MAX_JOBS);
        let open = Arc::new(AtomicUsize::new(0));
        let writer = Writer::new(open.clone());
        let join = std::thread::Builder::new().name("recorder".to_owned()).spawn(move || writer.run(&queue))?;
        let next_track = Arc::default();
        Ok((Self { jobs, open, next_track }, join))
    }

    /// Recordings that are being written or completed.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// A media thread's way to the writer.
    pub(super) fn feed(&self) -> RecorderFeed {
        let (home, spare) = sync_channel(MAX_SPARE_BLOCKS);
        RecorderFeed {
            jobs: self.jobs.clone(),
            open: self.open.clone(),
            next_track: self.next_track.clone(),
            home,
            spare,
            unsent: VecDeque::new(),
        }
    }

    /// Tells the thread to complete what it has and end.
    pub(super) fn stop(&self) {
        let _ = self.jobs.send(Job::Stop);
    }
}

/// A media thread's way to the writer: never blocks.
pub(super) struct RecorderFeed {
    jobs: SyncSender<Job>,
    open: Arc<AtomicUsize>,
    next_track: Arc<AtomicU64>,
    home: SyncSender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
    /// Beginnings and ends that found the queue full, in order.
    unsent: VecDeque<Job>,
}

/// A recording that is being fed.
pub(super) struct Tape {
    track: Track,
    block: Vec<u8>,
    block_bytes: usize,
    /// Frames before `block`.
    frames: u64,
}

impl RecorderFeed {
    /// Begins a recording of `rate` frames a second.
    pub(super) fn begin(&mut self, id: RecordingId, path: PathBuf, rate: u32, events: LegEvents) -> Tape {
        let track = self.next_track.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        self.post(Job::Begin { track, path, rate, id, events });
        let block_bytes = (rate / BLOCKS_PER_SECOND) as usize * FRAME_BYTES as usize;
        Tape { track, block: self.spare_block(), block_bytes, frames: 0 }
    }

    /// Adds sound to both channels.
    pub(super) fn add(&mut self, tape: &mut Tape, left: &[i16], right: &[i16]) {
        let start = tape.block.len();
        let bytes = left.len().max(right.len()) * FRAME_BYTES as usize;
        tape.block.resize(start + bytes, 0);
        record::weave(left, right, tape.block.get_mut(start..).unwrap_or_default());
        if tape.block.len() >= tape.block_bytes {
            self.hand_over(tape);
        }
    }

    /// Ends a recording.
    pub(super) fn end(&mut self, mut tape: Tape) {
        self.hand_over(&mut tape);
        self.post(Job::End { track: tape.track, frames: tape.frames });
    }

    /// Sends again what found the queue full.
    pub(super) fn flush(&mut self) {
        while let Some(job) = self.unsent.pop_front() {
            if let Err(TrySendError::Full(job)) = self.jobs.try_send(job) {
                self.unsent.push_front(job);
                return;
            }
        }
    }

    /// Sends everything, waiting for the writer: the media thread ends.
    pub(super) fn finish(mut self) {
        for job in self.unsent.drain(..) {
            let _ = self.jobs.send(job);
        }
    }

    fn hand_over(&mut self, tape: &mut Tape) {
        let next = self.spare_block();
        let block = std::mem::replace(&mut tape.block, next);
        let at_frame = tape.frames;
        tape.frames += block.len() as u64 / FRAME_BYTES;
        self.post(Job::Write { track: tape.track, at_frame, block, home: self.home.clone() });
    }

    /// A block that is dropped because the disk cannot keep up leaves silence in the file, at its place.
    fn post(&mut self, job: Job) {
        self.flush();
        let refused = if self.unsent.is_empty() {
            match self.jobs.try_send(job) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(job)) => job,
            }
        } else {
            job
        };
        match refused {
            Job::Write { .. } => {
                metrics::counter!("voice_recording_blocks_dropped_total").increment(1);
            }
            job => self.unsent.push_back(job),
        }
    }

    fn spare_block(&self) -> Vec<u8> {
        self.spare.try_recv().unwrap_or_default()
    }
}

/// The writer thread's state.
struct Writer {
    open: Arc<AtomicUsize>,
    files: HashMap<Track, Recording>,
    sealing: VecDeque<Sealing>,
    /// Events that found their call's queue full.
    untold: VecDeque<(LegEvents, LegEvent)>,
}

struct Recording {
    id: RecordingId,
    events: LegEvents,
    path: PathBuf,
    rate: u32,
    file: io::Result<File>,
    frames: u64,
    header_frames: u64,
    synced_frames: u64,
}

/// A complete file whose hash is being taken, a piece at a time.
struct Sealing {
    recording: Recording,
    file: File,
    hash: Sha256,
}

impl Writer {
    fn new(open: Arc<AtomicUsize>) -> Self {
        Self { open, files: HashMap::new(), sealing: VecDeque::new(), untold: VecDeque::new() }
    }

    fn run(mut self, queue: &Receiver<Job>) {
        let mut step = vec![0; HASH_STEP_BYTES];
        let mut stopping = false;
        loop {
            let job = if !self.sealing.is_empty() {
                queue.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            } else if stopping {
                return;
            } else if self.untold.is_empty() {
                queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                queue.recv_timeout(RETRY)
            };
            match job {
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    stopping = true;
                    self.end_all();
                }
                Ok(job) => self.handle(job),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.seal(&mut step);
            for (events, event) in std::mem::take(&mut self.untold) {
                self.tell(events, event);
            }
        }
    }

    fn handle(&mut self, job: Job) {
        match job {
            Job::Begin { track, path, rate, id, events } => {
                let recording = Recording::create(path, rate, id, events);
                self.files.insert(track, recording);
            }
            Job::Write { track, at_frame, mut block, home } => {
                if let Some(recording) = self.files.get_mut(&track) {
                    recording.write(at_frame, &block);
                }
                block.clear();
                let _ = home.try_send(block);
            }
            Job::End { track, frames } => {
                if let Some(recording) = self.files.remove(&track) {
                    self.end(recording, frames);
                }
            }
            Job::Stop => {}
        }
    }

    fn end_all(&mut self) {
        for (_, recording) in std::mem::take(&mut self.files) {
            let frames = recording.frames;
            self.end(recording, frames);
        }
    }

    fn end(&mut self, mut recording: Recording, frames: u64) {
        match recording.complete(frames) {
            Ok(file) => self.sealing.push_back(Sealing { recording, file, hash: Sha256::new() }),
            Err(error) => self.failed(recording, &error),
        }
    }

    /// Hashes one piece of the oldest complete file.
    fn seal(&mut self, step: &mut [u8]) {
        let Some(sealing) = self.sealing.front_mut() else {
            return;
        };
        let read = match sealing.file.read(step) {
            Ok(0) => Ok(true),
            Ok(bytes) => {
                sealing.hash.update(step.get(..bytes).unwrap_or_default());
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        };
        if matches!(read, Ok(false)) {
            return;
        }
        let Some(Sealing { recording, hash, .. }) = self.sealing.pop_front() else {
            return;
        };
        match read {
            Err(error) => self.failed(recording, &error),
            Ok(_) => {
                self.open.fetch_sub(1, Ordering::Relaxed);
                self.tell(
                    recording.events,
                    LegEvent::RecordingReady {
                        id: recording.id,
                        seconds: recording.frames as f64 / f64::from(recording.rate),
                        channels: CHANNELS,
                        sha256: hexadecimal(&hash.finalize()),
                        path: recording.path,
                    },
                );
            }
        }
    }

    fn failed(&mut self, recording: Recording, error: &io::Error) {
        tracing::error!(recording = %recording.id, path = %recording.path.display(), %error, "a recording could not be written");
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.tell(recording.events, LegEvent::RecordingFailed { id: recording.id, error: error.to_string() });
    }

    fn tell(&mut self, events: LegEvents, event: LegEvent) {
        if let Err(event) = events.offer(event) {
            self.untold.push_back((events, event));
        }
    }
}

impl Recording {
    fn create(path: PathBuf, rate: u32, id: RecordingId, events: LegEvents) -> Self {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).and_then(|file| {
            file.write_all_at(&record::header(rate, 0), 0)?;
            Ok(file)
        });
        Self { id, events, path, rate, file, frames: 0, header_frames: 0, synced_frames: 0 }
    }

    /// Writes a block at its place in time; what is missing before it reads as silence. The first failure ends all writing.
    fn write(&mut self, at_frame: u64, block: &[u8]) {
        let Ok(file) = &self.file else { return };
        let mut wrote = file.write_all_at(block, HEADER_BYTES as u64 + at_frame * FRAME_BYTES);
        if wrote.is_ok() {
            self.frames = at_frame + block.len() as u64 / FRAME_BYTES;
            if self.frames - self.header_frames >= u64::from(self.rate) {
                self.header_frames = self.frames;
                wrote = file.write_all_at(&record::header(self.rate, self.frames), 0);
            }
        }
        if wrote.is_ok() && self.frames - self.synced_frames >= SYNC_SECONDS * u64::from(self.rate) {
            self.synced_frames = self.frames;
            wrote = file.sync_data();
        }
        if let Err(error) = wrote {
            self.file = Err(error);
        }
    }

    /// Gives the file its final header and length; ready to be read from its start.
    fn complete(&mut self, frames: u64) -> io::Result<File> {
        let none = || io::Error::other("completed already");
        let mut file = std::mem::replace(&mut self.file, Err(none()))?;
        self.frames = frames;
        file.set_len(HEADER_BYTES as u64 + frames * FRAME_BYTES)?;
        file.write_all_at(&record::header(self.rate, frames), 0)?;
        file.sync_all()?;
        file.rewind()?;
        Ok(file)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
