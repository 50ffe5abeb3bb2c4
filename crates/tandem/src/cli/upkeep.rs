//! Verbs of the data itself: backup, restore, moving it; and the doctor, who changes nothing.

use std::path::PathBuf;

use clap::Args;
use kernel::{Clock, Config, Kernel, backup};
use serde_json::json;

use super::{Answer, CliError, doctor};

#[derive(Args, Debug)]
pub struct Backup {
    /// Where to write it; holds every secret of the installation
    file: PathBuf,
    /// Write it in the place of a file that is there
    #[arg(long)]
    replace: bool,
}

#[derive(Args, Debug)]
pub struct Restore {
    /// A file that `tandem backup` wrote
    file: PathBuf,
    /// Put it in the place of the data that is there, which is set aside in the data directory (but not the rows of
    /// PostgreSQL: back those up first)
    #[arg(long)]
    replace: bool,
}

#[derive(Args, Debug)]
pub struct MigrateStore {
    /// The database to move to
    #[arg(long, value_name = "URL")]
    to: String,
}

impl Backup {
    pub(crate) async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        let contents = backup::backup(&kernel.db, &kernel.config.data, &self.file, self.replace, &kernel.clock)
            .await
            .map_err(CliError::because)?;
        let file = self.file.display().to_string();
        Ok(Answer {
            text: format!("{file}: {} rows, {} files", contents.rows, contents.files),
            json: json!({"id": file, "rows": contents.rows, "files": contents.files}),
        })
    }
}

impl Restore {
    pub(crate) async fn run(self, config: &Config) -> Result<Answer, CliError> {
        let url = kernel::kernel::database_url(config);
        let clock = Clock::system();
        let restored = backup::restore(&url, &config.data, &self.file, self.replace, &clock).await;
        let backup::Restored { contents, set_aside } = restored.map_err(CliError::because)?;
        let file = self.file.display().to_string();
        let mut text = format!("restored {} rows and {} files from {file}", contents.rows, contents.files);
        if let Some(folder) = &set_aside {
            text += &format!("\nwhat was there before is in {}", folder.display());
        }
        Ok(Answer {
            text,
            json: json!({"id": file, "rows": contents.rows, "files": contents.files, "set_aside": set_aside}),
        })
    }
}

impl MigrateStore {
    pub(crate) fn run(self) -> Result<Answer, CliError> {
        Err(CliError::because(format!(
            "migrate-store comes with several nodes. Until then: `tandem backup FILE`, then \
             `tandem restore FILE --database {}`",
            self.to
        )))
    }
}

/// Says what is missing; the answer is not good when something does not work at all.
pub(crate) async fn doctor(config: &Config) -> Result<Answer, CliError> {
    let findings = doctor::examine(config).await;
    let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
    Ok(Answer {
        text: text.join("\n"),
        json: json!({"id": "doctor", "ok": findings.iter().all(|finding| finding.works()), "findings": findings}),
    })
}
