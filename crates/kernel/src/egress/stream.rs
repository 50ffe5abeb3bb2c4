//! A connection for a protocol of its own (WebSocket) to a URL that a user named: checked as every request is.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use super::pool::CONNECT_TIMEOUT;
use super::{Egress, EgressError, MAX_ADDRESSES, WEB_SOCKET, check_form};

/// Bytes both ways.
pub trait Channel: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Channel for T {}

impl Egress {
    /// Connects to the host of a `ws` or `wss` URL, with TLS for the latter, and nowhere else: no proxy, no redirect.
    ///
    /// # Errors
    /// Any [`EgressError`] of a connection.
    pub async fn open(&self, url: &Url) -> Result<Box<dyn Channel>, EgressError> {
        let (host, port) = check_form(url, &WEB_SOCKET)?;
        let addresses = self.addresses(url, &host, port).await?;
        let mut last = EgressError::Resolve { host: host.to_string() };
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            let connecting = TcpStream::connect(SocketAddr::new(address, port));
            match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(Ok(stream)) => {
                    // Frames of 20 ms are to leave at once.
                    stream.set_nodelay(true).map_err(|error| EgressError::Connect(error.to_string()))?;
                    return if url.scheme() == "wss" {
                        self.encrypt(&host.to_string(), stream).await
                    } else {
                        Ok(Box::new(stream))
                    };
                }
                Ok(Err(error)) => last = EgressError::Connect(error.to_string()),
                Err(_) => last = EgressError::Connect("no connection within 3 s".into()),
            }
        }
        Err(last)
    }

    async fn encrypt(&self, host: &str, stream: TcpStream) -> Result<Box<dyn Channel>, EgressError> {
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|error| EgressError::Tls(error.to_string()))?;
        let connector = TlsConnector::from(Arc::new(self.0.pool.tls_config(true)));
        match tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(EgressError::Tls(error.to_string())),
            Err(_) => Err(EgressError::Timeout),
        }
    }
}
