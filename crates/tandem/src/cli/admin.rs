//! The way in for who runs the installation: links that sign in once.

use clap::Subcommand;
use kernel::Kernel;
use kernel::sign_in::Identity;
use serde_json::json;

use super::{Answer, CliError};
use crate::app::App;
use crate::console::Site;

#[derive(Debug, Subcommand)]
pub enum AdminVerb {
    /// Print a link that signs an administrator of the installation in, once, within 15 minutes
    Link {
        /// Mail address of the administrator; made when there is none [default: the first one]
        #[arg(long)]
        email: Option<String>,
    },
}

impl AdminVerb {
    pub(crate) async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        let Self::Link { email } = self;
        let site = Site::of(&kernel.config, kernel.config.http, kernel.config.https);
        let (id, url) = link(kernel, &site, email.as_deref()).await?;
        Ok(Answer { text: url.clone(), json: json!({"id": id, "url": url}) })
    }
}

async fn link(kernel: &Kernel, site: &Site, email: Option<&str>) -> Result<(String, String), CliError> {
    let id = kernel.find_administrator(email).await?.id;
    let link = kernel.create_link(&Identity::Administrator(id.clone())).await?;
    Ok((id, site.sign_in(&link)))
}

/// What a server says at its start until an administrator has signed in once.
///
/// # Errors
/// What the store says.
pub async fn first_link(app: &App) -> Result<Option<String>, CliError> {
    if app.kernel.has_administrator().await? {
        return Ok(None);
    }
    let (_, url) = link(&app.kernel, app.site(), None).await?;
    Ok(Some(format!(
        "The console, as administrator of this installation (once, within 15 minutes; then `tandem admin link`):\n\n  {url}\n"
    )))
}
