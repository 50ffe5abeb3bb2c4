//! The habits of the house that a compiler does not check: what a file opens with and how long it
//! may grow.

use crate::sources::rust_files;

/// No file is longer, tests included; from about 400 lines on it should be asked whether it is two.
const MAX_LINES: usize = 900;
/// The folders of our own code.
const FOLDERS: &[&str] = &["crates", "xtask"];
/// File names that say nothing about what is in them.
const JUNK_DRAWERS: &[&str] = &["utils.rs", "util.rs", "common.rs", "helpers.rs", "helper.rs", "misc.rs"];

#[test]
fn a_file_opens_with_what_it_is_for() {
    for source in FOLDERS.iter().flat_map(|folder| rust_files(folder)) {
        assert!(source.text.starts_with("//!"), "{} does not open with `//!`: what is it for?", source.path);
    }
}

#[test]
fn no_file_is_too_long() {
    for source in FOLDERS.iter().flat_map(|folder| rust_files(folder)) {
        let lines = source.text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines: it is two things", source.path);
    }
}

#[test]
fn no_file_is_a_junk_drawer() {
    for source in FOLDERS.iter().flat_map(|folder| rust_files(folder)) {
        let name = source.path.rsplit('/').next().unwrap_or_default();
        assert!(!JUNK_DRAWERS.contains(&name), "{}: name it by a noun of the domain", source.path);
    }
}

#[test]
fn nothing_is_left_for_later() {
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["#[ig", "nore"].concat()];
    for source in FOLDERS.iter().flat_map(|folder| rust_files(folder)) {
        for (index, line) in source.text.lines().enumerate() {
            for word in &words {
                assert!(!line.contains(word.as_str()), "{}:{} says {word}", source.path, index + 1);
            }
        }
    }
}
