//! Verbs of the data itself: backup, restore, moving it; and the doctor, who changes nothing.

use std::path::PathBuf;

use clap::Args;
use kernel::{Config, Kernel, backup};
use serde_json::json;

use super::{Answer, CliError, doctor};

#[derive(Args, Debug)]
pub struct Backup {
    /// Where to write it; holds every secret of the installation
    file: PathBuf,
}

#[derive(Args, Debug)]
pub struct Restore {
    /// A file that `tandem backup` wrote
    file: PathBuf,
}

#[derive(Args, Debug)]
pub struct MigrateStore {
    /// The database to move to
    #[arg(long, value_name = "URL")]
    to: String,
}

impl Backup {
    pub(crate) async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        let contents = backup::backup(&kernel.db, &kernel.config.data, &self.file, &kernel.clock)
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
        let contents = backup::restore(&url, &config.data, &self.file).await.map_err(CliError::because)?;
        let file = self.file.display().to_string();
        Ok(Answer {
            text: format!("restored {} rows and {} files from {file}", contents.rows, contents.files),
            json: json!({"id": file, "rows": contents.rows, "files": contents.files}),
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
