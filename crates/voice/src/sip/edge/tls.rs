//! TLS: our certificate, which can be read anew, and whom we trust as a carrier.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::voice::{TlsConfig, VoiceError};

/// Where Debian and others keep the authorities that the system trusts.
const SYSTEM_AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Names the one cryptography provider of the process; a second call changes nothing.
pub(crate) fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// The listening side: certificate and key as they were read last.
#[derive(Clone)]
pub(crate) struct ServerTls {
    config: TlsConfig,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl ServerTls {
    /// Reads certificate and key. Blocks on the file system, briefly.
    pub(crate) fn load(config: TlsConfig) -> Result<Self, VoiceError> {
        let current = Arc::new(RwLock::new(Arc::new(server_config(&config)?)));
        Ok(Self { config, current })
    }

    /// Reads them again; the old ones stay when that fails.
    pub(crate) fn reload(&self) -> Result<(), VoiceError> {
        let fresh = Arc::new(server_config(&self.config)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

fn bad(file: &Path, reason: impl ToString) -> VoiceError {
    VoiceError::Certificate { file: file.to_owned(), reason: reason.to_string() }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, VoiceError> {
    let pem = fs::read(file).map_err(|error| bad(file, error))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| bad(file, error))?;
    if chain.is_empty() { Err(bad(file, "no certificate in it")) } else { Ok(chain) }
}

fn server_config(config: &TlsConfig) -> Result<ServerConfig, VoiceError> {
    let chain = certificates(&config.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&config.key_file).map_err(|error| match error {
        pem::Error::NoItemsFound => bad(&config.key_file, "no private key in it"),
        error => bad(&config.key_file, error),
    })?;
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| bad(&config.cert_file, error))
}

/// The calling side: carriers are verified against the system's authorities and the operator's own.
#[derive(Clone)]
pub(crate) struct ClientTls {
    config: Arc<ClientConfig>,
}

impl ClientTls {
    /// Reads the authorities. Blocks on the file system, briefly.
    pub(crate) fn load(trust_file: Option<&Path>) -> Result<Self, VoiceError> {
        let mut roots = RootCertStore::empty();
        // A system without authorities trusts only the operator's.
        if let Some(chain) = SYSTEM_AUTHORITIES.iter().find_map(|file| certificates(Path::new(file)).ok()) {
            roots.add_parsable_certificates(chain);
        }
        if let Some(file) = trust_file {
            roots.add_parsable_certificates(certificates(file)?);
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self { config: Arc::new(config) })
    }

    /// Shakes hands as a client.
    pub(crate) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }
}
