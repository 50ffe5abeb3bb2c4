//! HTTP connections of the guarded client, pooled per host, port and checked address.
//!
//! Invariant: a client of the pool can connect to exactly the address it was made for; its own name look-up never runs.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::Client;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::EgressError;

/// Destinations whose connections are kept; the rest start anew.
const MAX_CLIENTS: usize = 256;
/// An idle connection is closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections kept to one destination.
const MAX_IDLE: usize = 8;
/// Time to connect, TLS included (contracts/flows.md, SSRF).
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What a connection was checked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    /// The host as the URL writes it.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) address: IpAddr,
    /// https, with the certificate checked against the host.
    pub(super) tls: bool,
}

/// One HTTP client per destination.
pub(super) struct Pool {
    clients: Mutex<HashMap<Destination, Client>>,
    extra_authorities: Vec<CertificateDer<'static>>,
    trust: OnceLock<ClientConfig>,
}

impl Pool {
    /// A pool that trusts the system's authorities and those of `ca_file`.
    ///
    /// # Errors
    /// [`EgressError::Authority`] when the file holds no readable certificate.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, EgressError> {
        let extra_authorities = match ca_file {
            None => Vec::new(),
            Some(path) => read_authorities(path)
                .map_err(|reason| EgressError::Authority(format!("{}: {reason}", path.display())))?,
        };
        Ok(Self { clients: Mutex::new(HashMap::new()), extra_authorities, trust: OnceLock::new() })
    }

    /// The client that connects to `destination` and nowhere else.
    pub(super) fn client(&self, destination: &Destination) -> Result<Client, EgressError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(destination) {
            return Ok(client.clone());
        }
        let client = self.build(destination)?;
        if clients.len() >= MAX_CLIENTS {
            // Dropping a client closes its idle connections; requests under way keep theirs.
            clients.clear();
        }
        clients.insert(destination.clone(), client.clone());
        Ok(client)
    }

    fn build(&self, destination: &Destination) -> Result<Client, EgressError> {
        Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .user_agent(concat!("Tandem/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .resolve(&destination.host, SocketAddr::new(destination.address, destination.port))
            .dns_resolver(Arc::new(NoLookUp))
            .tls_backend_preconfigured(self.tls_config(destination.tls))
            .build()
            .map_err(|e| EgressError::Connect(e.to_string()))
    }

    /// The authorities are read at the first https: a server that calls nobody need not hold a hundred certificates.
    pub(super) fn tls_config(&self, tls: bool) -> ClientConfig {
        if !tls {
            return trusting(RootCertStore::empty());
        }
        let trust = self.trust.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            let system = rustls_native_certs::load_native_certs();
            for error in &system.errors {
                tracing::warn!(%error, "a certificate authority of the system cannot be read");
            }
            roots.add_parsable_certificates(system.certs);
            roots.add_parsable_certificates(self.extra_authorities.iter().cloned());
            trusting(roots)
        });
        trust.clone()
    }
}

fn trusting(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[expect(clippy::expect_used, reason = "the provider supports the default versions")]
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs speaks TLS 1.2 and 1.3");
    builder.with_root_certificates(roots).with_no_client_auth()
}

fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|e| e.to_string())?;
    if certificates.is_empty() {
        return Err("no certificate in PEM".into());
    }
    Ok(certificates)
}

/// Names were looked up and checked before; a client that asks again would go where nobody looked.
struct NoLookUp;

impl reqwest::dns::Resolve for NoLookUp {
    fn resolve(&self, _name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(std::future::ready(Err("names are resolved before a connection is made".into())))
    }
}
