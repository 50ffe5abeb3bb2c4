//! The HTTP and HTTPS listeners: sockets in, requests to the router, an orderly end.
//!
//! Invariant: no connection waits without a limit: there are so many places, a handshake and a
//! request's head have so much time, and at the end every connection is closed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use kernel::Kernel;
use kernel::http::Peer;
use kernel::limit::network;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

/// Connections of both listeners together; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 10_000;
/// Connections of one network (an IPv4 address or an IPv6 /64) that is not a trusted proxy's nor this machine's.
const MAX_OF_NETWORK: usize = 500;
/// Time for a TLS handshake, and for the head of each request.
const PATIENCE: Duration = Duration::from_secs(10);
/// After the server's stop, time for requests in flight.
const LAST_ANSWERS: Duration = Duration::from_secs(3);
/// A pause when the system has no file descriptor left.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// Why the web faces cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// An address is taken or not ours.
    #[error("cannot listen for {what} on {address}: {source}")]
    Listen {
        /// HTTP or HTTPS.
        what: &'static str,
        /// Which.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The certificate or its key.
    #[error("{file}: {reason}")]
    Certificate {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The certificate of HTTPS; read again on SIGHUP, used by the next connection.
#[derive(Clone)]
pub struct Certificate {
    cert_file: PathBuf,
    key_file: PathBuf,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub fn read(cert_file: &Path, key_file: &Path) -> Result<Self, WebError> {
        let current = Arc::new(RwLock::new(server_config(cert_file, key_file)?));
        Ok(Self { cert_file: cert_file.to_owned(), key_file: key_file.to_owned(), current })
    }

    /// Reads the files again; on failure the old certificate stays.
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub fn reload(&self) -> Result<(), WebError> {
        let fresh = server_config(&self.cert_file, &self.key_file)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn server_config(cert_file: &Path, key_file: &Path) -> Result<Arc<ServerConfig>, WebError> {
    let wrong = |file: &Path, reason: String| WebError::Certificate { file: file.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(cert_file, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(cert_file, "no certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| match error {
        pem::Error::NoItemsFound => wrong(key_file, "no private key in it".to_owned()),
        error => wrong(key_file, error.to_string()),
    })?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong(cert_file, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The open listeners. Nothing is answered before [`Listeners::serve`].
pub struct Listeners {
    http: TcpListener,
    https: Option<(TcpListener, Certificate)>,
}

impl Listeners {
    /// Opens what the configuration names.
    ///
    /// # Errors
    /// An address or a certificate that does not work.
    pub async fn open(config: &kernel::Config) -> Result<Self, WebError> {
        let http = listen("HTTP", config.http).await?;
        let https = match (config.https, &config.tls_cert, &config.tls_key) {
            (Some(address), Some(cert), Some(key)) => {
                Some((listen("HTTPS", address).await?, Certificate::read(cert, key)?))
            }
            _ => None,
        };
        Ok(Self { http, https })
    }

    /// Where HTTP listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn http_address(&self) -> io::Result<SocketAddr> {
        self.http.local_addr()
    }

    /// Where HTTPS listens.
    pub fn https_address(&self) -> Option<SocketAddr> {
        self.https.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// The certificate, to be read again on SIGHUP.
    pub fn certificate(&self) -> Option<Certificate> {
        self.https.as_ref().map(|(_, certificate)| certificate.clone())
    }

    /// Answers requests until the kernel stops.
    pub fn serve(self, kernel: &Kernel, router: &Router) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let networks = Networks::default();
        let door = |certificate| Door {
            router: router.clone(),
            kernel: kernel.clone(),
            places: Arc::clone(&places),
            networks: networks.clone(),
            certificate,
        };
        kernel.tasks.spawn(door(None).run(self.http));
        if let Some((listener, certificate)) = self.https {
            kernel.tasks.spawn(door(Some(certificate)).run(listener));
        }
    }
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, WebError> {
    TcpListener::bind(address).await.map_err(|source| WebError::Listen { what, address, source })
}

/// One listener at work.
#[derive(Clone)]
struct Door {
    router: Router,
    kernel: Kernel,
    places: Arc<Semaphore>,
    networks: Networks,
    certificate: Option<Certificate>,
}

/// How many connections each network has.
#[derive(Clone, Default)]
struct Networks(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A network's connection; dropped, its place is free again.
struct NetworkPlace {
    networks: Networks,
    network: IpAddr,
}

impl Networks {
    /// A place for one more connection of this address's network, if it has fewer than it may have.
    fn enter(&self, address: IpAddr) -> Option<NetworkPlace> {
        let network = network(address);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(network).or_default();
        if *count >= MAX_OF_NETWORK {
            return None;
        }
        *count += 1;
        Some(NetworkPlace { networks: self.clone(), network })
    }
}

impl Drop for NetworkPlace {
    fn drop(&mut self) {
        let mut open = self.networks.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = open.entry(self.network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Door {
    async fn run(self, listener: TcpListener) {
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.kernel.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Behind a proxy, and on this machine, many people share an address.
                    let shared = peer.ip().is_loopback()
                        || self.kernel.config.trusted_proxy.iter().any(|proxy| proxy.contains(&peer.ip()));
                    let network = self.networks.enter(peer.ip());
                    if network.is_none() && !shared {
                        tracing::debug!(%peer, "one network has too many connections");
                        continue;
                    }
                    let door = self.clone();
                    self.kernel.tasks.spawn(async move {
                        door.welcome(stream, peer).await;
                        drop((place, network));
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(OUT_OF_FILES).await;
                }
            }
        }
    }

    async fn welcome(self, stream: TcpStream, peer: SocketAddr) {
        // A failure means that the peer is gone already; the next read says so.
        let _gone = stream.set_nodelay(true);
        let port = stream.local_addr().map_or(0, |local| local.port());
        match &self.certificate {
            None => self.converse(stream, peer, port).await,
            Some(certificate) => match timeout(PATIENCE, certificate.acceptor().accept(stream)).await {
                Ok(Ok(stream)) => self.converse(stream, peer, port).await,
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS handshake"),
                Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
            },
        }
    }

    /// One connection, from its first request to its end.
    async fn converse(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
        port: u16,
    ) {
        let router = self.router.clone();
        let peer = Peer { address: peer, port, tls: self.certificate.is_some() };
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            let mut router = router.clone();
            async move { Ok::<_, Infallible>(router.call(request).await.unwrap_or_else(|never| match never {})) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.kernel.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                timeout(LAST_ANSWERS, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %peer.address, %error, "a connection ended early");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_so_many_places_and_gets_them_back() {
        let networks = Networks::default();
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let same_network: IpAddr = "2001:db8::2".parse().unwrap();
        let other: IpAddr = "192.0.2.1".parse().unwrap();
        let places: Vec<_> = (0..MAX_OF_NETWORK).map(|_| networks.enter(one).unwrap()).collect();
        assert!(networks.enter(same_network).is_none());
        assert!(networks.enter(other).is_some());
        drop(places);
        assert!(networks.enter(same_network).is_some());
        assert!(networks.0.lock().unwrap().is_empty(), "nothing is remembered of who has gone");
    }
}
