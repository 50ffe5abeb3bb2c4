//! The floors of ARCHITECTURE.md: a floor imports only floors below it. Cargo keeps the crates
//! apart; these tests keep Cargo's table and the modules inside the binary crate honest.

use crate::sources::{root, rust_files};

/// Crates of ours that each crate may depend on.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("media", &[]),
    ("kernel", &[]),
    ("voice", &["media", "kernel"]),
    ("calls", &["media", "kernel", "voice"]),
    ("tandem", &["media", "kernel", "voice", "calls"]),
];

/// Crates from outside that a floor must do without, and why.
const MUST_NOT_DEPEND_ON: &[(&str, &[&str], &str)] = &[
    ("media", &["tokio", "socket2", "mio", "sqlx", "axum"], "media is sans-IO: bytes and time in, bytes out"),
    ("voice", &["sqlx", "axum", "utoipa"], "voice knows no SQL and no routes"),
    ("calls", &["axum", "utoipa-axum"], "calls has no HTTP routes and knows legs, not SIP"),
    ("tandem", &["sqlx"], "SQL goes through kernel::db, SIP through voice"),
];

/// The desks (floor 4), modules of the binary crate. No desk imports another, nor the floor above.
const DESKS: &[&str] = &["flows", "meetings", "provisioning", "chat", "gigs", "helpdesk"];
/// Floor 5 inside the binary crate.
const TOP: &[&str] = &["app", "applications", "cli", "openapi", "web", "console", "party", "phone", "widget"];

/// Names in the `[dependencies]` table of a crate's manifest.
fn dependencies(name: &str) -> Vec<String> {
    let path = root().join("crates").join(name).join("Cargo.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_crate_depends_only_on_floors_below() {
    let ours: Vec<&str> = MAY_DEPEND_ON.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in MAY_DEPEND_ON {
        let found = dependencies(name);
        assert!(*name == "media" || !found.is_empty(), "no dependencies read for {name}");
        for dependency in found.iter().filter(|dependency| ours.contains(&dependency.as_str())) {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn a_floor_does_without_what_it_must_not_know() {
    for (name, banned, why) in MUST_NOT_DEPEND_ON {
        for dependency in dependencies(name) {
            assert!(!banned.contains(&dependency.as_str()), "{name} depends on {dependency}, but {why}");
        }
    }
}

#[test]
fn no_desk_imports_another_nor_the_floor_above() {
    for desk in DESKS {
        let folder = format!("crates/tandem/src/{desk}");
        if !root().join(&folder).is_dir() {
            continue; // a desk that is not built yet has no folder
        }
        let foreign: Vec<String> = DESKS
            .iter()
            .chain(TOP)
            .filter(|other| *other != desk)
            .flat_map(|other| [format!("crate::{other}::"), format!("crate::{other};"), format!("tandem::{other}::")])
            .collect();
        for source in rust_files(&folder) {
            for (number, line) in source.code_lines() {
                for path in &foreign {
                    assert!(!line.contains(path.as_str()), "{}:{number} reaches {path} from {desk}", source.path);
                }
            }
        }
    }
}

#[test]
fn sql_stands_in_stores_only() {
    // In the binary crate SQL is written in a desk's store.rs and nowhere else.
    for source in rust_files("crates/tandem/src") {
        if source.path.ends_with("/store.rs") || source.path.contains("/store/") {
            continue;
        }
        for (number, line) in source.code_lines() {
            let lower = line.to_lowercase();
            let is_sql = ["\"select ", "\"insert into ", "\"update ", "\"delete from "]
                .iter()
                .any(|start| lower.contains(start));
            assert!(!is_sql, "{}:{number} has SQL outside a store", source.path);
        }
    }
}
