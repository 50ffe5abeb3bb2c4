//! The two files that are made from code: tandem.example.toml from the doc comments of
//! `kernel::config::Config`, openapi.json from the handlers. A test fails when one is stale.

use std::path::{Path, PathBuf};

/// One generated file: where it lies, from the root, and what it must hold.
struct Generated {
    path: &'static str,
    text: String,
}

fn all() -> Vec<Generated> {
    vec![
        Generated { path: "tandem.example.toml", text: kernel::Config::example() },
        Generated { path: "openapi.json", text: tandem::openapi::document_json() },
    ]
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Writes each generated file into the checkout.
pub(crate) fn write_all() -> std::io::Result<()> {
    for file in all() {
        std::fs::write(root().join(file.path), file.text)?;
        eprintln!("wrote {}", file.path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_files_are_fresh() {
        for file in all() {
            let have = std::fs::read_to_string(root().join(file.path)).unwrap_or_default();
            assert!(have == file.text, "{} is stale: run `cargo xtask generate`", file.path);
        }
    }
}
