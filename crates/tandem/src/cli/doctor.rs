//! What the doctor looks at: data, store, trunks, ports, address, certificate, voices, mail, SMS, clock, limits.
//!
//! Invariant: it changes nothing, and says of each thing whether it works and what to do about it.

use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use calls::TrunkEverywhere;
use kernel::notice::{Channel, try_provider};
use kernel::time::rfc3339;
use kernel::{Bus, Clock, Config, Db, DbError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;
use tokio::time::timeout;

use super::validity::Validity;
use crate::app::sip_tls_listeners;
use crate::running::Running;
use crate::web::Certificate;

/// The time before which no clock is right: this release did not exist.
const BUILT_AFTER_MS: i64 = 1_767_225_600_000; // 2026-01-01
/// Open files below which a busy server runs out: two sockets a leg, one a connection.
const FEW_OPEN_FILES: u64 = 20_000;
/// A certificate that ends so soon should have been renewed.
const RENEW_DAYS: i64 = 14;
const DAY_MS: i64 = 86_400_000;
/// How long the carriers' names are looked up, all together.
const LOOK_UP: Duration = Duration::from_secs(20);
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

    /// What was looked at.
    pub(crate) fn what(&self) -> &'static str {
        self.what
    }

    /// What it is like, and what to do.
    pub(crate) fn says(&self) -> &str {
        &self.says
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_good(&self) -> bool {
        self.state == State::Good
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
    let now_ms = Clock::system().now_ms();
    let (mut findings, runs) = store(config).await;
    findings.extend(ports(config, runs, Running::of_data(&config.data).as_ref()));
    findings.push(public_address(config));
    findings.push(certificate(config, now_ms));
    findings.extend(voices(&std::env::var_os("PATH").unwrap_or_default()));
    findings.extend(providers(config).await);
    findings.push(clock(now_ms));
    findings.extend(limits(&read("/proc/self/limits"), &read("/proc/sys/net/core/rmem_max")));
    findings
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The store and what it says of carriers, and whether a server is running on it.
async fn store(config: &Config) -> (Vec<Finding>, bool) {
    let one = |state, says: String| (vec![Finding::new("store", state, says)], false);
    if let Some(path) = kernel::kernel::missing_store(config) {
        let says = "name the server's directory with --data; a first `tandem serve` or `tandem org create` makes one";
        return one(State::Broken, format!("there is no store at {}: {says}", path.display()));
    }
    let db = match Db::open_present(&kernel::kernel::database_url(config), Bus::local()).await {
        Ok(db) => db,
        Err(error @ DbError::OlderSchema { .. }) => return one(State::Advice, error.to_string()),
        Err(error) => return one(State::Broken, error.to_string()),
    };
    let runs = db.lock().await.is_err();
    let says = if runs { "a server is running on it" } else { "no server is running on it" };
    let mut findings = vec![Finding::new("store", State::Good, format!("{}, opens; {says}", db.engine_name()))];
    match calls::trunks_everywhere(&db).await {
        Ok(trunks) => findings.extend(look_up(config, trunks, runs).await),
        Err(error) => findings.push(Finding::new("trunk", State::Broken, error.to_string())),
    }
    db.close().await;
    (findings, runs)
}

/// Looks up where each carrier is, all at once.
async fn look_up(config: &Config, trunks: Vec<TrunkEverywhere>, runs: bool) -> Vec<Finding> {
    let each = trunks.into_iter().map(|trunk| async move {
        let places = trunk.targets.iter().map(|target| voice::addresses_of(target, config.dns));
        let found = timeout(LOOK_UP, futures_util::future::join_all(places)).await.unwrap_or_default();
        finding_of(&trunk, &found, runs)
    });
    futures_util::future::join_all(each).await
}

/// A carrier, and what was found at each of its targets.
fn finding_of(trunk: &TrunkEverywhere, found: &[Vec<SocketAddr>], runs: bool) -> Finding {
    let at = |index: usize| found.get(index).filter(|addresses| !addresses.is_empty());
    let places = trunk.targets.iter().enumerate().map(|(index, target)| match at(index) {
        Some(addresses) => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            format!("{} is at {}", target.host, addresses.join(", "))
        }
        None => format!("{} is not found by DNS", target.host),
    });
    let mut says = format!("{} of {}: {}", trunk.name, trunk.org, places.collect::<Vec<_>>().join("; "));
    let there = (0..trunk.targets.len()).filter(|index| at(*index).is_some()).count();
    // What an earlier server thought of it is history.
    let fails = runs && matches!(trunk.state.as_str(), "auth_failed" | "unreachable");
    if fails {
        says += &format!("; the server says {}", trunk.state);
    }
    let state = match there {
        0 => State::Broken,
        _ if fails => State::Broken,
        some if some < trunk.targets.len() => State::Advice,
        _ => State::Good,
    };
    Finding::new("trunk", state, says)
}

/// Whether the listeners could be opened now. A running server of this data explains a taken port, if it has it.
fn ports(config: &Config, runs: bool, running: Option<&Running>) -> Vec<Finding> {
    let own = |address: SocketAddr| running.map_or(runs, |running| running.listens(address));
    let tcp = |what: &'static str, at: SocketAddr| port(what, at, own(at), TcpListener::bind(at).map(drop));
    let udp = |what: &'static str, at: SocketAddr| port(what, at, own(at), UdpSocket::bind(at).map(drop));
    let mut findings = vec![tcp("http", config.http)];
    findings.extend(config.https.map(|address| tcp("https", address)));
    for address in &config.sip {
        findings.push(udp("sip udp", *address));
        findings.push(tcp("sip tcp", *address));
    }
    if config.tls_cert.is_some() {
        findings.extend(sip_tls_listeners(config).into_iter().map(|address| tcp("sip tls", address)));
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

fn port(what: &'static str, address: SocketAddr, own: bool, bound: std::io::Result<()>) -> Finding {
    match bound {
        Ok(()) => Finding::new(what, State::Good, format!("{address} is free")),
        Err(error) if own && error.kind() == std::io::ErrorKind::AddrInUse => {
            Finding::new(what, State::Good, format!("{address} is the running server's"))
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

fn certificate(config: &Config, now_ms: i64) -> Finding {
    match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => match Certificate::read(cert, key) {
            Ok(_) => dates(cert, CertificateDer::from_pem_file(cert).ok().and_then(|der| Validity::of(&der)), now_ms),
            Err(error) => Finding::new("tls", State::Broken, error.to_string()),
        },
        _ => Finding::new("tls", State::Advice, "no certificate: HTTP and SIP go in the clear (--tls-cert, --tls-key)"),
    }
}

/// Whether a certificate that is readable is good now, and how long yet.
fn dates(cert: &Path, validity: Option<Validity>, now_ms: i64) -> Finding {
    let cert = cert.display();
    let Some(Validity { from_ms, until_ms }) = validity else {
        return Finding::new("tls", State::Advice, format!("{cert} is readable, its dates are not"));
    };
    let (from, until, days) = (rfc3339(from_ms), rfc3339(until_ms), (until_ms - now_ms) / DAY_MS);
    let (state, says) = if now_ms < from_ms {
        (State::Broken, format!("is good from {from} only"))
    } else if now_ms > until_ms {
        (State::Broken, format!("ended {until}: renew it, then `systemctl reload tandem`"))
    } else if days < RENEW_DAYS {
        (State::Advice, format!("ends in {days} days ({until}): renew it, then `systemctl reload tandem`"))
    } else {
        (State::Good, format!("and its key are readable; it is good for {days} more days"))
    };
    Finding::new("tls", state, format!("{cert} {says}"))
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

/// Whether those answer who carry mail and SMS.
async fn providers(config: &Config) -> [Finding; 2] {
    let look = async |what: &'static str, channel, without: &str| match try_provider(channel, config).await {
        Some(Ok(says)) => Finding::new(what, State::Good, says),
        Some(Err(says)) => Finding::new(what, State::Broken, says),
        None => Finding::new(what, State::Advice, without),
    };
    let mail = "no mail server: invitations and links to sign in wait in the console's outbox (server in [mail])";
    let sms = "no SMS provider: SMS wait in the console's outbox (url in [sms])";
    let (mail, sms) = tokio::join!(look("mail", Channel::Mail, mail), look("sms", Channel::Sms, sms));
    [mail, sms]
}

fn clock(now_ms: i64) -> Finding {
    let now = rfc3339(now_ms);
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
        assert!(!ports(&config, false, None)[0].works());
        assert!(ports(&config, true, None)[0].works());
    }

    #[tokio::test]
    async fn a_directory_without_a_store_is_not_well() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().join("nowhere"), ..Config::default() };
        let (findings, _) = store(&config).await;
        assert_eq!((findings.len(), findings[0].state), (1, State::Broken));
        assert!(findings[0].says.contains("no store at") && findings[0].says.contains("nowhere"), "{}", findings[0]);
        assert!(!config.data.exists());
    }

    #[test]
    fn a_certificate_is_looked_at_before_it_ends() {
        let validity = Some(Validity { from_ms: 0, until_ms: 100 * DAY_MS });
        let on = |day: i64| dates(Path::new("cert.pem"), validity, day * DAY_MS);
        for (day, state, says) in [
            (-1, State::Broken, "from 1970-01-01"),
            (0, State::Good, "100 more days"),
            (86, State::Good, "14 more days"),
            (87, State::Advice, "in 13 days"),
            (101, State::Broken, "ended 1970-04-11"),
        ] {
            assert!(on(day).state == state && on(day).says.contains(says), "{day}: {}", on(day));
        }
    }

    #[test]
    fn a_carrier_that_is_not_found_is_named() {
        let target = |host: &str| voice::ports::TrunkTarget {
            host: host.to_owned(),
            port: None,
            transport: voice::ports::Transport::Udp,
            any_transport: true,
        };
        let carrier = |state: &str| TrunkEverywhere {
            id: "trunk_1".to_owned(),
            org: "acme".to_owned(),
            name: "carrier".to_owned(),
            state: state.to_owned(),
            targets: vec![target("a.example"), target("b.example")],
        };
        let there = vec!["192.0.2.1:5060".parse::<SocketAddr>().unwrap()];
        let both = [there.clone(), there.clone()];
        for (found, carrier, runs, state, says) in [
            (&both[..], carrier("ready"), true, State::Good, "carrier of acme: a.example is at 192.0.2.1:5060"),
            (&[there, Vec::new()], carrier("ready"), true, State::Advice, "b.example is not found"),
            (&[], carrier("ready"), false, State::Broken, "a.example is not found"),
            (&both, carrier("auth_failed"), true, State::Broken, "the server says auth_failed"),
            (&both, carrier("auth_failed"), false, State::Good, "a.example is at"),
        ] {
            let finding = finding_of(&carrier, found, runs);
            assert!(finding.state == state && finding.says.contains(says), "{finding}");
        }
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
