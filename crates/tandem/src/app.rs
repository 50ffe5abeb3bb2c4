//! The server as one value: every part of it, started from the ground up and ended from the top down.
//!
//! Invariant: what is started is counted, and nothing outlives [`App::stop`].

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use calls::{Calls, Directory};
use kernel::db::ServerLock;
use kernel::http::Hooks;
use kernel::kernel::OpenError;
use kernel::retention::Retention;
use kernel::{Config, DbError, Kernel, telemetry};
use tokio::time::{sleep, timeout};
use utoipa_axum::router::OpenApiRouter;
use voice::runner::MediaError;
use voice::speech::Speech;
use voice::{TlsConfig, Voice, VoiceConfig, VoiceError};

use crate::applications;
use crate::chat::calling::ChatCalls;
use crate::chat::{self, Chats};
use crate::console::{self, Site};
use crate::flows::{self, Flows};
use crate::meetings::{self, Meetings};
use crate::openapi;
use crate::party;
use crate::phone;
use crate::platform::{self, Health, Sign, Vitals};
use crate::running;
use crate::web::{Certificate, Listeners, WebError};
use crate::widget;

/// How often histograms are folded.
const FOLD_METRICS: Duration = Duration::from_secs(10);
/// How often it is looked whether the last call has ended.
const LOOK_FOR_CALLS: Duration = Duration::from_millis(50);
/// After the grace time every call is hung up, and may take so long for its last messages.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// SIP over TLS listens so many ports above SIP, when nothing else is said.
const TLS_PORT_ABOVE: u16 = 1;

/// What desks with documented routes tell the layers in front of them.
const HOOKS: Hooks = Hooks {
    envelope: |path, problem| {
        console::envelope(path, problem)
            .or_else(|| party::envelope(path, problem))
            .or_else(|| widget::envelope(path, problem))
            .or_else(|| flows::api::envelope(path, problem))
            .or_else(|| chat::documented::envelope(path, problem))
    },
    body_token: flows::api::body_token,
};

/// Where a certificate and its key are named.
const CERTIFICATE_FLAGS: &str = "--tls-cert names the certificate chain in PEM, --tls-key its private key";

/// Folder in the data directory for files that live a moment.
const SCRATCH: &str = "scratch";

/// What the routes of every desk are given; each takes the parts that it knows. Cheap to clone: each request does so
/// several times.
#[derive(Clone)]
pub struct State(Arc<Parts>);

/// The routes take these out of a [`State`] by their types.
macro_rules! parts {
    ($($name:ident: $part:ty,)*) => {
        struct Parts { $($name: $part,)* }
        $(impl FromRef<State> for $part {
            fn from_ref(state: &State) -> Self {
                state.0.$name.clone()
            }
        })*
    };
}

parts! {
    kernel: Kernel,
    health: Health,
    vitals: Vitals,
    calls: Calls,
    voice: Voice,
    flows: Flows,
    meetings: Meetings,
    chats: Chats,
    chat_calls: ChatCalls,
    chat_door: chat::socket::Door,
    site: Site,
}

/// A running server.
pub struct App {
    /// The ground it stands on.
    pub kernel: Kernel,
    /// Signalling and media.
    pub voice: Voice,
    /// The calls that are up.
    pub calls: Calls,
    /// The desk of meetings.
    pub meetings: Meetings,
    /// The desk of support chat.
    pub chats: Chats,
    health: Health,
    http: SocketAddr,
    https: Option<SocketAddr>,
    site: Site,
    certificate: Option<Certificate>,
    /// Of the data directory, and of the store.
    locks: (ServerLock, ServerLock),
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A web listener.
    #[error("{0} ({flag})", flag = web_flag(.0))]
    Web(#[from] WebError),
    /// SIP or media.
    #[error("{0} ({flag})", flag = voice_flag(.0))]
    Voice(#[from] VoiceError),
    /// Another server, or a restore, has the data.
    #[error("a server uses {}: stop it, or name another directory with --data", .0.display())]
    InUse(PathBuf),
    /// The store, or another server on it.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The server's key is not the store's.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The files in the data directory may not be those of the store.
    #[error("a restore into {0} was cut off a moment ago: start again, which completes or undoes it")]
    CutOff(PathBuf),
    /// The system.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// The flags that change what a web listener stumbled over.
fn web_flag(error: &WebError) -> &'static str {
    match error {
        WebError::Listen { what: "HTTPS", .. } => "--https names another address",
        WebError::Listen { .. } => "--http names another address",
        WebError::Certificate { .. } => CERTIFICATE_FLAGS,
    }
}

/// The flags that change what SIP and media stumbled over.
fn voice_flag(error: &VoiceError) -> &'static str {
    match error {
        VoiceError::Listen { transport: "TLS", .. } => "--sip-tls names another address",
        VoiceError::Listen { .. } | VoiceError::NoAddress => "--sip names another address",
        VoiceError::Certificate { .. } => CERTIFICATE_FLAGS,
        VoiceError::Media(MediaError::Shared(..)) => "--rtc names another address",
        VoiceError::Media(_) => "--rtp-ports names other ports",
    }
}

/// Every documented route of the server.
pub fn routes() -> OpenApiRouter<State> {
    platform::routes()
        .merge(flows::api::routes())
        .merge(applications::routes())
        .merge(meetings::api::routes())
        .merge(chat::documented::routes())
        .merge(chat::documented::links())
        .merge(chat::api::routes())
        .merge(chat::calling::api::routes())
        .merge(chat::socket::routes())
        .merge(crate::calls::routes())
}

impl App {
    /// Takes the store for itself, opens every listener, and sets every part to work.
    ///
    /// # Errors
    /// What does not start, in a sentence.
    pub async fn start(kernel: Kernel) -> Result<Self, StartError> {
        let locks = kernel.lock().await.map_err(|error| match error {
            DbError::InUse => StartError::InUse(kernel.config.data.clone()),
            error => StartError::Db(error),
        })?;
        if kernel::backup::was_cut_off(&kernel.config.data) {
            return Err(StartError::CutOff(kernel.config.data.clone()));
        }
        kernel.check_key().await?;
        let listeners = Listeners::open(&kernel.config).await?;

        let directory = Directory::open(kernel.clone()).await?;
        let (voice, incoming) = Voice::start(
            voice_config(&kernel.config),
            directory.clone(),
            kernel.clock.clone(),
            kernel.ids.clone(),
            kernel.tasks.clone(),
            kernel.stop.clone(),
        )
        .await?;
        let scratch = kernel.config.data.join(SCRATCH);
        std::fs::create_dir_all(&scratch)?;
        let speech = Speech::new(&kernel.config.speech, scratch);
        let calls = Calls::start(&kernel, directory, Arc::new(voice.clone()), speech.clone(), incoming);
        let flows = Flows::start(&kernel, &calls, &speech);
        let (http, https, certificate) =
            (listeners.http_address()?, listeners.https_address(), listeners.certificate());
        let site = Site::of(&kernel.config, http, https);
        let meetings = Meetings::start(&kernel, &calls, &speech, site.url(""));
        let chats = Chats::start(&kernel);
        chats.answered_by(Arc::new(flows.clone()));
        let chat_calls = ChatCalls::start(&chats, &calls);
        calls.recover(|_, _| Vec::new()).await?;
        flows.recover().await?;
        meetings.recover().await?;
        chat_calls.recover().await?;
        let mut sweeps = calls::sweeps(&kernel);
        sweeps.extend(flows::sweeps(&kernel));
        sweeps.extend(meetings::concerning::sweeps(&kernel));
        sweeps.extend(chat::concerning::sweeps(&kernel));
        Retention::start(&kernel, sweeps, Arc::new(flows.clone())).await?;
        chats.open_inbox();
        kernel.start();
        chats.recover().await?;
        chats.tell_browsers();
        platform::metrics::announce();
        kernel.tasks.spawn(fold_metrics(kernel.clone()));

        let health = Health::default();
        let vitals = Vitals::of(&kernel, &calls, &voice);
        let state = State(Arc::new(Parts {
            kernel: kernel.clone(),
            health: health.clone(),
            vitals,
            calls: calls.clone(),
            voice: voice.clone(),
            flows,
            meetings: meetings.clone(),
            chat_door: chat::socket::Door::start(&kernel, &chats),
            chats: chats.clone(),
            chat_calls,
            site: site.clone(),
        }));
        let pages = console::router(&state)
            .merge(party::router(&state))
            .merge(widget::router(&state))
            .merge(phone::router(&state))
            .merge(chat::socket::router().with_state(state.clone()));
        let router = openapi::serve(routes().with_state(state)).merge(pages);
        let router = kernel::http::layers(router, &kernel, HOOKS);
        listeners.serve(&kernel, &router);
        health.set(Sign::Sip, !voice.local_sip().is_empty());
        health.set(Sign::Http, true);
        let app = Self { kernel, voice, calls, meetings, chats, health, http, https, site, certificate, locks };
        running::announce(&app);
        Ok(app)
    }

    /// Where HTTP listens.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where HTTPS listens, with a certificate.
    pub fn https(&self) -> Option<SocketAddr> {
        self.https
    }

    /// The server's address for browsers.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Where SIP listens, by UDP and TCP.
    pub fn sip(&self) -> Vec<SocketAddr> {
        self.voice.local_sip()
    }

    /// Where SIP listens by TLS.
    pub fn sip_tls(&self) -> Vec<SocketAddr> {
        self.voice.local_tls()
    }

    /// Where the media of browsers goes.
    pub fn rtc(&self) -> &[SocketAddr] {
        &self.kernel.config.rtc
    }

    /// Reads the certificates again; on failure the old ones stay and the log says why.
    pub async fn reload_certificates(&self) {
        if let Some(certificate) = &self.certificate {
            match certificate.reload() {
                Ok(()) => tracing::info!("HTTPS: the certificate was read again"),
                Err(error) => tracing::error!(%error, "HTTPS: the certificate stays as it was"),
            }
        }
        if !self.voice.local_tls().is_empty() {
            match self.voice.reload_tls().await {
                Ok(()) => tracing::info!("SIP: the certificate was read again"),
                Err(error) => tracing::error!(%error, "SIP: the certificate stays as it was"),
            }
        }
    }

    /// Returns when the store is no longer this server's alone: it must end then.
    pub async fn lost_store(&mut self) {
        self.locks.1.lost().await;
    }

    /// Takes no new calls and waits until the live ones have ended, at most the grace time; then
    /// ends what is left.
    pub async fn drain(&self) {
        self.health.set(Sign::Draining, true);
        self.calls.drain();
        let grace = Duration::from_secs(self.kernel.config.drain_seconds.into());
        if timeout(grace, self.last_call()).await.is_err() {
            tracing::warn!(calls = self.calls.live(), "the grace time is over: ending the calls");
            self.end_calls().await;
        }
    }

    /// Ends the calls that are up, and waits until their phones have been told, at most a few seconds.
    pub async fn end_calls(&self) {
        self.calls.end_all();
        if timeout(LAST_WORDS, self.last_call()).await.is_err() {
            tracing::warn!(calls = self.calls.live(), "calls did not end");
        }
    }

    async fn last_call(&self) {
        while self.calls.live() > 0 {
            sleep(LOOK_FOR_CALLS).await;
        }
    }

    /// Ends every part and writes what is queued.
    pub async fn stop(self) {
        running::withdraw(&self.kernel.config.data);
        self.kernel.close().await;
    }
}

/// Where SIP over TLS listens, once there is a certificate.
pub(crate) fn sip_tls_listeners(config: &Config) -> Vec<SocketAddr> {
    let one_above = |address: &SocketAddr| SocketAddr::new(address.ip(), address.port().saturating_add(TLS_PORT_ABOVE));
    if config.sip_tls.is_empty() { config.sip.iter().map(one_above).collect() } else { config.sip_tls.clone() }
}

/// What signalling and media need to know of the settings.
fn voice_config(config: &Config) -> VoiceConfig {
    let tls = config.tls_cert.clone().zip(config.tls_key.clone()).map(|(cert_file, key_file)| TlsConfig {
        listen: sip_tls_listeners(config),
        cert_file,
        key_file,
    });
    VoiceConfig {
        sip: config.sip.clone(),
        tls,
        trust_file: config.egress.ca_file.clone(),
        rtp_ports: (config.rtp_ports.first, config.rtp_ports.last),
        rtc: config.rtc.clone(),
        dns: config.dns,
        public_ip: config.public_ip,
        media_threads: usize::try_from(config.media.threads).unwrap_or_default(),
        media_timeout_ms: config.media.timeout_seconds.saturating_mul(1_000),
        digest_sha256: false,
        user_agent: concat!("Tandem/", env!("CARGO_PKG_VERSION")).to_owned(),
        limits: voice::SipLimits {
            registrations_per_minute_per_ip: match config.limits.registrations_per_minute_per_ip {
                0 => u32::MAX,
                limit => limit,
            },
            ..voice::SipLimits::default()
        },
    }
}

/// A server that nobody scrapes must not keep every sample.
async fn fold_metrics(kernel: Kernel) {
    let mut every = tokio::time::interval(FOLD_METRICS);
    loop {
        tokio::select! {
            _ = every.tick() => telemetry::fold_metrics(),
            () = kernel.stop.cancelled() => return,
        }
    }
}
