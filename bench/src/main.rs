//! Measures Tandem and the peers that are installed beside it, in one run on one machine, and
//! prints what each unit of work costs and the ratios. Only ratios travel between machines.
//!
//! `bench [--quick] [--only NAME] [--tandem PATH]`; `bench meetings` and `bench chat` are the same as `--only` with their names; `bench smoke` is
//! the short run of `./test`: it fails when a packet is lost.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod audio;
mod browser;
mod chat;
mod load;
mod meeting;
mod meetings;
mod process;
mod report;
mod scenario;
mod sip;
mod sockets;
mod subject;
mod web;
mod websocket;

use std::path::PathBuf;
use std::process::ExitCode;

/// What the command line asked for.
pub(crate) struct Options {
    /// The binary under test.
    pub(crate) tandem: PathBuf,
    /// Shorter runs: a look, not a measurement.
    pub(crate) quick: bool,
    /// Only scenarios whose name contains this.
    pub(crate) only: Option<String>,
    /// Only the loss check that `./test` runs.
    pub(crate) smoke: bool,
}

fn options() -> Result<Options, String> {
    let mut options =
        Options { tandem: PathBuf::from("target/release/tandem"), quick: false, only: None, smoke: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => options.quick = true,
            "smoke" => options.smoke = true,
            "meetings" | "chat" => options.only = Some(word),
            "--only" => options.only = words.next(),
            "--tandem" => options.tandem = words.next().map(PathBuf::from).ok_or("--tandem needs a path")?,
            other => {
                return Err(format!(
                    "unknown word {other}; bench [smoke | meetings | chat] [--quick] [--only NAME] [--tandem PATH]"
                ));
            }
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let done =
        options().and_then(|options| if options.smoke { scenario::smoke(&options) } else { scenario::all(&options) });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
