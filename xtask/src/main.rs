//! Chores of the project itself: `cargo xtask generate` writes the files that are made from code, and
//! the tests of this crate keep the house: floors, habits, and generated files that are fresh.
#![forbid(unsafe_code)]

#[cfg(test)]
mod floors;
mod generated;
#[cfg(test)]
mod habits;
#[cfg(test)]
mod sources;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() != Some("generate") {
        eprintln!("usage: cargo xtask generate    writes tandem.example.toml and openapi.json");
        return ExitCode::from(2);
    }
    match generated::write_all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
