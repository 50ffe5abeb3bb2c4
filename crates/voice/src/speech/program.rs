//! Speech programs of this machine: `flite` and `espeak-ng`, run as processes.
//!
//! Invariant: the text goes in on standard input, never into an argument, and there is no shell; a process that takes too
//! long is killed with the call's wait for it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::OnceCell,
};

use super::SpeechError;

/// The largest file that a program may answer with, in bytes: ten minutes of 16 bits at 22 kHz.
const MAX_FILE_BYTES: u64 = 27_000_000;

/// The programs that were found.
#[derive(Debug, Default)]
pub struct Programs {
    flite: Option<PathBuf>,
    espeak: Option<PathBuf>,
    flite_voices: OnceCell<Vec<String>>,
}

impl Programs {
    /// Looks through PATH.
    #[must_use]
    pub fn find() -> Self {
        Self { flite: find("flite"), espeak: find("espeak-ng"), ..Self::default() }
    }

    /// None at all: only the voice inside the binary speaks.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether English has better voices than the embedded one.
    #[must_use]
    pub fn has_flite(&self) -> bool {
        self.flite.is_some()
    }

    /// Whether languages other than English are spoken.
    #[must_use]
    pub fn has_espeak(&self) -> bool {
        self.espeak.is_some()
    }

    /// The voices that `flite` was built with; asked once.
    pub(super) async fn flite_voices(&self) -> &[String] {
        let list = async || {
            let Some(flite) = &self.flite else {
                return Vec::new();
            };
            let output = Command::new(flite).arg("-lv").stdin(Stdio::null()).kill_on_drop(true).output().await;
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            // "Voices available: kal awb_time kal16 awb rms slt"
            let names = text.split_once(':').map_or("", |(_, names)| names);
            names.split_whitespace().map(str::to_owned).collect()
        };
        self.flite_voices.get_or_init(list).await
    }

    /// Speaks with one of [`Programs::flite_voices`]; a WAV file.
    pub(super) async fn run_flite(&self, voice: &str, text: &str, scratch: &Path) -> Result<Bytes, SpeechError> {
        // flite goes back in its output file, so a pipe will not do.
        let file = Scratch::in_folder(scratch)?;
        let mut command = command(self.flite.as_deref())?;
        command.args(["-voice", voice, "-f", "/dev/stdin", "-o"]).arg(&file.0).stdout(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        give(&mut child, text).await?;
        let status = child.wait().await.map_err(failed)?;
        if !status.success() {
            return Err(SpeechError::Engine(format!("flite: {status}")));
        }
        let file = tokio::fs::File::open(&file.0).await.map_err(failed)?;
        read_limited(file).await
    }

    /// Speaks a language or with a voice of espeak-ng; a WAV file.
    pub(super) async fn run_espeak(&self, voice: &str, text: &str) -> Result<Bytes, SpeechError> {
        let mut command = command(self.espeak.as_deref())?;
        command.args(["-v", voice, "-b", "1", "--stdin", "--stdout"]).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let sound = child.stdout.take().ok_or_else(|| SpeechError::Engine("no output".into()))?;
        give(&mut child, text).await?;
        let file = read_limited(sound).await?;
        let status = child.wait().await.map_err(failed)?;
        if !status.success() || file.is_empty() {
            return Err(SpeechError::NoVoice { language: voice.to_owned() });
        }
        Ok(file)
    }
}

/// A process without our environment, whose input we write.
fn command(program: Option<&Path>) -> Result<Command, SpeechError> {
    let program = program.ok_or_else(|| SpeechError::Engine("the program is not installed".into()))?;
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// Writes the text and closes the input. Both programs read all of it before they speak.
async fn give(child: &mut Child, text: &str) -> Result<(), SpeechError> {
    let Some(mut input) = child.stdin.take() else {
        return Ok(());
    };
    // A program that refuses its arguments is gone by now; its exit status tells more than the broken pipe.
    let _ = input.write_all(text.as_bytes()).await;
    let _ = input.write_all(b"\n").await;
    Ok(())
}

async fn read_limited(source: impl tokio::io::AsyncRead + Unpin) -> Result<Bytes, SpeechError> {
    let mut file = Vec::new();
    source.take(MAX_FILE_BYTES).read_to_end(&mut file).await.map_err(failed)?;
    Ok(file.into())
}

fn failed(error: std::io::Error) -> SpeechError {
    SpeechError::Engine(error.to_string())
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// A file's name that is ours alone; the file goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn in_folder(folder: &Path) -> Result<Self, SpeechError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Ok(Self(folder.join(format!("speech-{}-{number}.wav", std::process::id()))))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may not have been made yet.
        let _ = std::fs::remove_file(&self.0);
    }
}
