//! A speech provider over HTTP that speaks OpenAI's `POST /v1/audio/speech`: neural voices, hosted or self-hosted.
//!
//! The operator names it in the configuration, so it may stand inside the network: the guarded client, which is for URLs
//! that users name, is not asked. Invariant: the key goes to that URL only; redirects are not followed.

use std::time::Duration;

use bytes::Bytes;
use kernel::{config::SpeechConfig, secret::Secret};
use media::decode::MAX_FILE_BYTES;
use serde_json::json;

use super::SpeechError;

/// The whole exchange may take this long; then a voice of this machine still has time.
const TIME_LIMIT: Duration = Duration::from_secs(12);
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// What OpenAI calls its plainest voice; other providers know the name too.
const DEFAULT_VOICE: &str = "alloy";

/// The configured provider.
pub(super) struct Provider {
    url: String,
    api_key: Option<Secret>,
    model: String,
    client: reqwest::Client,
}

impl Provider {
    /// None when the configuration names no provider.
    pub(super) fn configured(config: &SpeechConfig) -> Option<Self> {
        let base = config.provider.as_deref()?.trim_end_matches('/');
        let client = reqwest::Client::builder()
            .timeout(TIME_LIMIT)
            .connect_timeout(CONNECT_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let client =
            client.inspect_err(|error| tracing::error!(%error, "no HTTP client for the speech provider")).ok()?;
        Some(Self {
            url: format!("{base}/v1/audio/speech"),
            api_key: config.api_key.clone(),
            model: config.model.clone(),
            client,
        })
    }

    /// Asks for a sound file.
    pub(super) async fn speak(&self, text: &str, voice: Option<&str>) -> Result<Bytes, SpeechError> {
        let order = json!({
            "model": self.model,
            "input": text,
            "voice": voice.unwrap_or(DEFAULT_VOICE),
            "response_format": "wav",
        });
        let mut request = self.client.post(&self.url).json(&order);
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key.expose());
        }
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            return Err(SpeechError::Engine(format!("the provider answered {}", status.as_u16())));
        }
        let mut file = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if file.len() + chunk.len() > MAX_FILE_BYTES {
                return Err(SpeechError::Engine("the provider's answer is too large".into()));
            }
            file.extend_from_slice(&chunk);
        }
        Ok(file.into())
    }
}

/// Without the URL: it may hold a key.
fn failed(error: reqwest::Error) -> SpeechError {
    SpeechError::Engine(error.without_url().to_string())
}
