//! Verbs of webhooks.

use clap::Subcommand;
use kernel::Kernel;
use serde_json::json;

use super::{Answer, CliError};
use crate::platform::check_webhook;

#[derive(Debug, Subcommand)]
pub enum WebhookVerb {
    /// Send an organisation's events to a URL; the signing secret is shown once
    Add {
        url: String,
        /// Id or slug of the organisation
        #[arg(long)]
        org: String,
        /// An event type such as call.completed; may be repeated [default: every type]
        #[arg(long = "event", value_name = "TYPE")]
        events: Vec<String>,
    },
}

impl WebhookVerb {
    pub(crate) async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        let Self::Add { url, org, events } = self;
        let org = kernel.find_org(&org).await?;
        let new = check_webhook(kernel, &url, events).map_err(|problem| {
            let fields = problem
                .errors
                .iter()
                .map(|field| format!("{}: {}", field.pointer.trim_start_matches('/'), field.message));
            CliError::because(fields.collect::<Vec<_>>().join("; "))
        })?;
        let (webhook, secret) = kernel.outbox.add_webhook(&org.id, new).await.map_err(CliError::because)?;
        let secret = secret.expose();
        Ok(Answer {
            text: format!("webhook {}\nsigning secret (shown once): {secret}", webhook.id),
            json: json!({"id": webhook.id, "secret": secret}),
        })
    }
}
