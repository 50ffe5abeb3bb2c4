//! What the doctor looks at: data, store, ports, address, certificate, voices, clock, limits.
//!
//! Invariant: it changes nothing, and says of each thing whether it works and what to do about it.

use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use kernel::{Bus, Clock, Config, Db, DbError};
use serde::Serialize;

use crate::web::Certificate;

/// The time before which no clock is right: this release did not exist.
const BUILT_AFTER_MS: i64 = 1_767_225_600_000; // 2026-01-01
/// Open files below which a busy server runs out: two sockets a leg, one a connection.
const FEW_OPEN_FILES: u64 = 20_000;
/// A socket buffer below which bursts of SIP messages are lost.
const SMALL_SOCKET_BUFFER: u64 = 4 * 1024 * 1024;

/// How something fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// As it should be.
    Good,
    /// Works, and could be better.
    Advice,
    /// Does not work.
    Broken,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    what: &'static str,
    state: State,
    says: String,
}

impl Finding {
    fn new(what: &'static str, state: State, says: impl Into<String>) -> Self {
        Self { what, state, says: says.into() }
    }

    /// Whether the server can run with it.
    pub(crate) fn works(&self) -> bool {
        self.state != State::Broken
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.state {
            State::Good => "ok     ",
            State::Advice => "advice ",
            State::Broken => "BROKEN ",
        };
        write!(f, "{mark} {:<12} {}", self.what, self.says)
    }
}

/// Looks at everything.
pub(crate) async fn examine(config: &Config) -> Vec<Finding> {
    let (store, runs) = store(config).await;
    let mut findings = vec![store];
    findings.extend(ports(config, runs));
    findings.push(public_address(config));
    findings.push(certificate(config));
    findings.extend(voices(&std::env::var_os("PATH").unwrap_or_default()));
    findings.push(clock(Clock::system().now_ms()));
    findings.extend(limits(&read("/proc/self/limits"), &read("/proc/sys/net/core/rmem_max")));
    findings
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The store, and whether a server is running on it.
async fn store(config: &Config) -> (Finding, bool) {
    if config.database.is_none() && !config.data.join("tandem.db").exists() {
        let says = format!("nothing in {} yet: the first start makes it", config.data.display());
        return (Finding::new("store", State::Good, says), false);
    }
    let db = match Db::open_present(&kernel::kernel::database_url(config), Bus::local()).await {
        Ok(db) => db,
        Err(error @ DbError::OlderSchema { .. }) => {
            return (Finding::new("store", State::Advice, error.to_string()), false);
        }
        Err(error) => return (Finding::new("store", State::Broken, error.to_string()), false),
    };
    let runs = db.lock().await.is_err();
    let engine = db.engine_name();
    db.close().await;
    let says = if runs { "a server is running on it" } else { "no server is running on it" };
    (Finding::new("store", State::Good, format!("{engine}, opens; {says}")), runs)
}

/// Whether the listeners could be opened now. A running server of this data explains a taken port.
fn ports(config: &Config, runs: bool) -> Vec<Finding> {
    let tcp = |what: &'static str, address: SocketAddr| port(what, address, runs, TcpListener::bind(address).map(drop));
    let udp = |what: &'static str, address: SocketAddr| port(what, address, runs, UdpSocket::bind(address).map(drop));
    let mut findings = vec![tcp("http", config.http)];
    findings.extend(config.https.map(|address| tcp("https", address)));
    for address in &config.sip {
        findings.push(udp("sip udp", *address));
        findings.push(tcp("sip tcp", *address));
    }
    for address in &config.sip_tls {
        findings.push(tcp("sip tls", *address));
    }
    for address in &config.rtc {
        findings.push(udp("browsers", *address));
    }
    if config.http.ip().is_unspecified() && config.public_url.is_none() {
        let says = "HTTP listens everywhere and --public-url is not set: links to recordings name no host";
        findings.push(Finding::new("links", State::Advice, says));
    }
    let calls = config.rtp_ports.count() / 2;
    findings.push(Finding::new("rtp", State::Good, format!("ports {}: {calls} legs at once", config.rtp_ports)));
    findings
}

fn port(what: &'static str, address: SocketAddr, runs: bool, bound: std::io::Result<()>) -> Finding {
    match bound {
        Ok(()) => Finding::new(what, State::Good, format!("{address} is free")),
        Err(error) if runs && error.kind() == std::io::ErrorKind::AddrInUse => {
            Finding::new(what, State::Good, format!("{address} is in use while the server runs"))
        }
        Err(error) => Finding::new(what, State::Broken, format!("{address}: {error}")),
    }
}

fn public_address(config: &Config) -> Finding {
    match config.public_ip {
        Some(address) if is_private(address) => {
            Finding::new("address", State::Advice, format!("--public-ip {address} is a private address"))
        }
        Some(address) => Finding::new("address", State::Good, format!("phones are told {address}")),
        None => Finding::new(
            "address",
            State::Advice,
            "without --public-ip phones are told the local address of the route to them: right in one network, wrong behind NAT",
        ),
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

fn certificate(config: &Config) -> Finding {
    match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => match Certificate::read(cert, key) {
            Ok(_) => Finding::new("tls", State::Good, format!("{} and its key are readable", cert.display())),
            Err(error) => Finding::new("tls", State::Broken, error.to_string()),
        },
        _ => Finding::new("tls", State::Advice, "no certificate: HTTP and SIP go in the clear (--tls-cert, --tls-key)"),
    }
}

fn voices(path: &std::ffi::OsStr) -> Vec<Finding> {
    let installed = |program: &str| {
        std::env::split_paths(path).any(|folder: std::path::PathBuf| Path::new(&folder).join(program).is_file())
    };
    let one = |what, program: &str, with: &str, without: &str| {
        if installed(program) {
            Finding::new(what, State::Good, with)
        } else {
            Finding::new(what, State::Advice, without)
        }
    };
    vec![
        one(
            "voice",
            "flite",
            "flite is installed: the voice rms",
            "flite is not installed: the voice inside the binary is used, which is harder to understand",
        ),
        one(
            "languages",
            "espeak-ng",
            "espeak-ng is installed: other languages are spoken",
            "espeak-ng is not installed: only English is spoken",
        ),
    ]
}

fn clock(now_ms: i64) -> Finding {
    let now = kernel::time::rfc3339(now_ms);
    if now_ms < BUILT_AFTER_MS {
        Finding::new("clock", State::Broken, format!("it says {now}, which is in the past"))
    } else {
        Finding::new("clock", State::Good, format!("{now}; callbacks and signatures need it to be right"))
    }
}

fn limits(limits: &str, receive_buffer: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    if let Some(files) = files {
        let state = if files < FEW_OPEN_FILES { State::Advice } else { State::Good };
        findings.push(Finding::new(
            "open files",
            state,
            format!("at most {files}; a call needs four, a connection one"),
        ));
    }
    if let Ok(bytes) = receive_buffer.trim().parse::<u64>() {
        let (state, more) = if bytes < SMALL_SOCKET_BUFFER {
            (State::Advice, format!("; for many calls a second: sysctl net.core.rmem_max={SMALL_SOCKET_BUFFER}"))
        } else {
            (State::Good, String::new())
        };
        findings.push(Finding::new("socket buffer", state, format!("at most {bytes} bytes{more}")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_broken_unless_the_server_itself_has_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config { http: taken.local_addr().unwrap(), sip: Vec::new(), ..Config::default() };
        assert!(!ports(&config, false)[0].works());
        assert!(ports(&config, true)[0].works());
    }

    #[test]
    fn a_clock_of_the_past_is_broken() {
        assert!(!clock(0).works());
        assert!(clock(BUILT_AFTER_MS + 1).works());
    }

    #[test]
    fn few_files_and_small_buffers_get_advice() {
        let found = limits("Max open files            1024                 1048576              files", "212992\n");
        assert_eq!(found.iter().map(|finding| finding.state).collect::<Vec<_>>(), [State::Advice, State::Advice]);
        let found = limits("Max open files            1048576  1048576  files", "8388608");
        assert!(found.iter().all(|finding| finding.state == State::Good));
    }

    #[test]
    fn voices_are_found_on_the_path() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("flite"), "").unwrap();
        let found = voices(folder.path().as_os_str());
        assert_eq!(found[0].state, State::Good);
        assert_eq!(found[1].state, State::Advice);
    }
}
