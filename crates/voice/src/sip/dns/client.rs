//! Asks a name server: by UDP from a port of its own for each question, by TCP when the answer does
//! not fit.

use std::net::SocketAddr;
use std::time::Duration;

use kernel::Ids;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::wire::{self, Kind, Record, Reply};
use crate::sip::ways::any_address;

/// How long one answer is waited for, and how often it is asked for.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// Largest answer by UDP that we have asked for: none of RFC 6891's extensions are used.
const MAX_DATAGRAM: usize = 1_500;
/// Where this machine's name servers are written.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const DNS_PORT: u16 = 53;

/// A name server to ask.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    configured: Option<SocketAddr>,
    ids: Ids,
}

/// The server could not be asked, or could not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unknown;

impl Resolver {
    /// Asks `configured`, else the first name server of this machine.
    pub(crate) fn new(configured: Option<SocketAddr>, ids: Ids) -> Self {
        Self { configured, ids }
    }

    /// Whether a server of our own was named: then it is asked for everything, else this machine knows its hosts best.
    pub(super) fn is_configured(&self) -> bool {
        self.configured.is_some()
    }

    /// The records of a name.
    pub(super) async fn ask(&self, name: &str, kind: Kind) -> Result<Vec<Record>, Unknown> {
        let server = match self.configured {
            Some(server) => server,
            None => machines_server().await.ok_or(Unknown)?,
        };
        let id = u16::from_be_bytes(self.ids.bytes());
        let question = wire::question(id, name, kind).ok_or(Unknown)?;
        for _ in 0..ATTEMPTS {
            let Some(reply) = by_udp(server, &question, |bytes| wire::answer(bytes, id, name, kind)).await else {
                continue;
            };
            return match reply {
                Reply::Records(records) => Ok(records),
                Reply::Failed => Err(Unknown),
                Reply::Truncated => {
                    let answer = timeout(PATIENCE, by_tcp(server, &question)).await.ok().flatten().ok_or(Unknown)?;
                    match wire::answer(&answer, id, name, kind) {
                        Some(Reply::Records(records)) => Ok(records),
                        _ => Err(Unknown),
                    }
                }
            };
        }
        Err(Unknown)
    }
}

/// Waits for the answer that fits; others that come meanwhile are passed over.
async fn by_udp(server: SocketAddr, question: &[u8], read: impl Fn(&[u8]) -> Option<Reply>) -> Option<Reply> {
    let socket = UdpSocket::bind((any_address(server.ip()), 0)).await.ok()?;
    socket.connect(server).await.ok()?;
    socket.send(question).await.ok()?;
    let mut buffer = [0; MAX_DATAGRAM];
    let answer = async {
        loop {
            let length = socket.recv(&mut buffer).await.ok()?;
            if let Some(reply) = buffer.get(..length).and_then(&read) {
                return Some(reply);
            }
        }
    };
    timeout(PATIENCE, answer).await.ok()?
}

/// RFC 1035 §4.2.2: two bytes of length before each message.
async fn by_tcp(server: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await.ok()?;
    let length = u16::try_from(question.len()).ok()?;
    stream.write_all(&[&length.to_be_bytes()[..], question].concat()).await.ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await.ok()?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).await.ok()?;
    Some(answer)
}

async fn machines_server() -> Option<SocketAddr> {
    let text = tokio::fs::read_to_string(RESOLV_CONF).await.ok()?;
    let address = text.lines().find_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok())?;
    Some(SocketAddr::new(address, DNS_PORT))
}
