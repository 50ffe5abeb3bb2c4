//! Verbs of webhooks.

use clap::Subcommand;
use kernel::{Kernel, Org};
use serde_json::json;

use super::listing::{Item, List, Remove};
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
    /// Show where events go
    List(List),
    /// Remove a webhook; what was on its way to it is dropped
    Remove(Remove),
}

impl WebhookVerb {
    pub(crate) async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        let (url, org, events) = match self {
            Self::Add { url, org, events } => (url, org, events),
            Self::List(list) => return list.run(kernel, async |org: &Org| items(kernel, org).await).await,
            Self::Remove(remove) => {
                let webhook = async |org: &Org, id: &str| {
                    kernel.outbox.remove_webhook(&org.id, id).await.map_err(CliError::because)
                };
                return remove.run(kernel, "webhook", webhook).await;
            }
        };
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

async fn items(kernel: &Kernel, org: &Org) -> Result<Vec<Item>, CliError> {
    let all = kernel.outbox.webhooks(&org.id).await.map_err(CliError::because)?;
    let item = |webhook: kernel::outbox::Webhook| {
        vec![
            ("id", json!(webhook.id)),
            ("url", json!(webhook.url)),
            ("events", json!(webhook.events)),
            ("enabled", json!(webhook.disabled_ms.is_none())),
        ]
    };
    Ok(all.into_iter().map(item).collect())
}
