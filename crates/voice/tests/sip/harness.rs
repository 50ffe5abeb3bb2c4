//! A running voice, ports in maps, and what a test needs to set them up.

pub(crate) mod browser;
pub(crate) mod desk;
mod phone;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use kernel::{Clock, Ids};
use phone::sha256_hex;
pub(crate) use phone::{Msg, Phone, ack_failure, cancel, ha1_md5, options, sdp};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use voice::leg::{Leg, LegEnd, LegEvent, LegId, LegSink, PhoneId};
use voice::ports::{
    Binding, BindingChange, BoxFuture, Credential, LineIdentity, PortResult, Ports, Secret, Transport, TrunkConfig,
    TrunkState, TrunkTarget,
};
use voice::{CallerId, Incoming, Originate, SipLimits, Target, TlsConfig, Voice, VoiceConfig};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// The floors above, in maps. Every user's password is `pw-<user>`.
#[derive(Default)]
pub(crate) struct MapPorts {
    pub(crate) users: Mutex<Vec<String>>,
    pub(crate) srtp: Mutex<bool>,
    pub(crate) bindings: Mutex<HashMap<String, Vec<Binding>>>,
    pub(crate) trunks: Mutex<Vec<TrunkConfig>>,
    /// Whoever asks for the trunks waits as long as this holds.
    pub(crate) trunks_held: watch::Sender<bool>,
    pub(crate) trunk_states: Mutex<Vec<TrunkState>>,
    /// Public numbers, and whose they are.
    pub(crate) numbers: Mutex<HashMap<String, Arc<str>>>,
    /// Browser phones that are online.
    pub(crate) browsers: Mutex<Vec<PhoneId>>,
    /// Addresses that no call by URI may reach.
    pub(crate) closed: Mutex<Vec<SocketAddr>>,
    /// The hosts whose domain was asked for.
    pub(crate) hosts_asked: Mutex<Vec<String>>,
}

impl Ports for MapPorts {
    fn credential<'a>(&'a self, domain: &'a str, user: &'a str) -> BoxFuture<'a, PortResult<Option<Credential>>> {
        async move {
            let known = self.users.lock().unwrap().iter().any(|known| known == user);
            let password = format!("pw-{user}");
            let realm = if domain.is_empty() { "tandem" } else { domain };
            Ok(known.then(|| Credential {
                identity: LineIdentity {
                    org: "org_1".into(),
                    extension: user.into(),
                    person: None,
                    line: format!("line_{user}").into(),
                },
                realm: realm.to_owned(),
                domain: domain.to_owned(),
                ha1_md5: Secret::new(ha1_md5(user, realm, &password)),
                ha1_sha256: Secret::new(sha256_hex(&format!("{user}:{realm}:{password}"))),
                srtp: *self.srtp.lock().unwrap(),
            }))
        }
        .boxed()
    }

    fn domain<'a>(&'a self, host: &'a str) -> BoxFuture<'a, PortResult<Option<String>>> {
        async move {
            self.hosts_asked.lock().unwrap().push(host.to_owned());
            Ok(match host {
                "acme.example" => Some("acme.example".to_owned()),
                "localhost" | "127.0.0.1" | "::1" => Some(String::new()),
                _ => None,
            })
        }
        .boxed()
    }

    fn bindings<'a>(&'a self, _org: &'a str, extension: &'a str) -> BoxFuture<'a, PortResult<Vec<Binding>>> {
        async move { Ok(self.bindings.lock().unwrap().get(extension).cloned().unwrap_or_default()) }.boxed()
    }

    fn change_bindings<'a>(
        &'a self,
        _org: &'a str,
        extension: &'a str,
        change: BindingChange,
    ) -> BoxFuture<'a, PortResult<()>> {
        async move {
            let mut bindings = self.bindings.lock().unwrap();
            let mine = bindings.entry(extension.to_owned()).or_default();
            mine.retain(|binding| {
                !change.remove.contains(&binding.contact)
                    && !change.save.iter().any(|saved| saved.contact == binding.contact)
            });
            mine.extend(change.save);
            Ok(())
        }
        .boxed()
    }

    fn lost_connection<'a>(
        &'a self,
        _org: &'a str,
        extension: &'a str,
        source: SocketAddr,
    ) -> BoxFuture<'a, PortResult<()>> {
        async move {
            let mut bindings = self.bindings.lock().unwrap();
            let mine = bindings.entry(extension.to_owned()).or_default();
            mine.retain(|binding| binding.source != source || !binding.transport.is_web());
            Ok(())
        }
        .boxed()
    }

    fn trunks(&self) -> BoxFuture<'_, PortResult<Vec<TrunkConfig>>> {
        async move {
            let mut held = self.trunks_held.subscribe();
            drop(held.wait_for(|held| !held).await);
            Ok(self.trunks.lock().unwrap().clone())
        }
        .boxed()
    }

    fn number_owner<'a>(
        &'a self,
        orgs: &'a [Arc<str>],
        number: &'a str,
    ) -> BoxFuture<'a, PortResult<Option<Arc<str>>>> {
        async move {
            let numbers = self.numbers.lock().unwrap();
            Ok(numbers.get(number).filter(|owner| orgs.contains(owner)).cloned())
        }
        .boxed()
    }

    fn may_reach(&self, _host: &str, address: SocketAddr) -> bool {
        !self.closed.lock().unwrap().contains(&address)
    }

    fn trunk_state<'a>(&'a self, _org: &'a str, _trunk: &'a str, state: TrunkState) -> BoxFuture<'a, PortResult<()>> {
        async move {
            self.trunk_states.lock().unwrap().push(state);
            Ok(())
        }
        .boxed()
    }

    fn browser_phone(&self, _line: &LineIdentity, phone: &PhoneId, online: bool) {
        let mut phones = self.browsers.lock().unwrap();
        phones.retain(|known| known != phone);
        phones.extend(online.then(|| phone.clone()));
    }

    fn banned(&self, _addr: IpAddr, _until_ms: i64) {}
}

/// A running voice.
pub(crate) struct Server {
    pub(crate) voice: Voice,
    pub(crate) incoming: mpsc::Receiver<Incoming>,
    pub(crate) ports: Arc<MapPorts>,
    pub(crate) sip: SocketAddr,
    pub(crate) ids: Ids,
    stop: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Range of RTP ports of the next server: tests run side by side.
fn next_rtp_ports() -> (u16, u16) {
    // Each process of the test runner takes its own slice by its id.
    let slice = u16::try_from(std::process::id() % 200).unwrap();
    let start = 20_000 + slice * 200;
    (start, start + 199)
}

pub(crate) fn config() -> VoiceConfig {
    VoiceConfig {
        sip: vec!["127.0.0.1:0".parse().unwrap()],
        tls: None,
        trust_file: None,
        rtp_ports: next_rtp_ports(),
        rtc: vec!["127.0.0.1:0".parse().unwrap()],
        dns: None,
        public_ip: None,
        media_threads: 1,
        media_timeout_ms: 30_000,
        digest_sha256: false,
        user_agent: "tandem-test".to_owned(),
        limits: SipLimits::default(),
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(config(), MapPorts::default()).await
    }

    pub(crate) async fn with(config: VoiceConfig, ports: MapPorts) -> Self {
        Self::with_clock(config, ports, Clock::system()).await
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// One with a trunk, which it has taken up.
    pub(crate) async fn with_trunk(trunk: TrunkConfig) -> Self {
        let ports = MapPorts::default();
        ports.trunks.lock().unwrap().push(trunk);
        let server = Self::with(config(), ports).await;
        for _ in 0..100 {
            if !server.ports.trunk_states.lock().unwrap().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server
    }

    pub(crate) async fn with_clock(config: VoiceConfig, ports: MapPorts, clock: Clock) -> Self {
        {
            let mut users = ports.users.lock().unwrap();
            users.extend(["1001", "1002", "1003"].map(str::to_owned));
        }
        let ports = Arc::new(ports);
        let stop = CancellationToken::new();
        let ids = Ids::os();
        let (voice, incoming) =
            Voice::start(config, ports.clone(), clock, ids.clone(), TaskTracker::new(), stop.clone())
                .await
                .expect("voice starts");
        let sip = voice.local_sip()[0];
        Self { voice, incoming, ports, sip, ids, stop }
    }

    /// The next incoming call, with a sink of its own.
    pub(crate) async fn next_call(&mut self) -> (Incoming, Events) {
        let incoming = timeout(PATIENCE, self.incoming.recv()).await.expect("an incoming call").unwrap();
        let (sink, events) = Events::new();
        incoming.attach(sink);
        (incoming, events)
    }

    /// Dials; the leg and its events.
    pub(crate) fn dial(&self, target: Target, ring_timeout_ms: u32) -> (Leg, Events) {
        let (sink, events) = Events::new();
        let leg: LegId = self.ids.new("leg", 0).into();
        let from = CallerId { number: "2000".to_owned(), display: Some("Tan \"D\" em".to_owned()), anonymous: false };
        let order = Originate {
            leg,
            target,
            from,
            to_user: "1001".to_owned(),
            near: None,
            prefer: None,
            max_forwards: voice::MAX_FORWARDS,
            ring_timeout_ms,
        };
        (self.voice.originate(order, sink), events)
    }

    pub(crate) async fn phone(&self, user: &str) -> Phone {
        Phone::new(user, self.sip).await
    }

    /// Waits until no leg and no port is held.
    pub(crate) async fn settle(&self) {
        for _ in 0..200 {
            let stats = self.voice.stats();
            if (stats.dialogs, stats.legs, stats.ports_in_use) == (0, 0, 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("something is held: {:?}", self.voice.stats());
    }
}

/// What a leg tells.
pub(crate) struct Events(mpsc::Receiver<(LegId, LegEvent)>);

impl Events {
    pub(crate) fn new() -> (LegSink, Self) {
        let (sink, receiver) = mpsc::channel(256);
        (sink, Self(receiver))
    }

    pub(crate) async fn next(&mut self) -> LegEvent {
        timeout(PATIENCE, self.0.recv()).await.expect("an event").expect("an event, not the end of them").1
    }

    /// The leg's end; other events before it are passed over.
    pub(crate) async fn end(&mut self) -> LegEnd {
        loop {
            if let LegEvent::Ended(end) = self.next().await {
                return end;
            }
        }
    }

    /// Nothing comes for a while.
    pub(crate) async fn silent(&mut self, ms: u64) {
        if let Ok(Some((_, event))) = timeout(Duration::from_millis(ms), self.0.recv()).await {
            panic!("unexpected {event:?}");
        }
    }
}

/// A trunk to these targets, without a name and without a wish.
pub(crate) fn trunk(targets: Vec<TrunkTarget>) -> TrunkConfig {
    TrunkConfig {
        id: "trunk_1".into(),
        org: "org_1".into(),
        name: "carrier".to_owned(),
        targets,
        username: None,
        password: None,
        domain: None,
        register: false,
        ping: false,
        srtp: false,
    }
}

/// A trunk whose targets are phones of the test.
pub(crate) fn udp_trunk(targets: &[SocketAddr]) -> TrunkConfig {
    trunk(targets.iter().map(|addr| target(*addr, Transport::Udp)).collect())
}

/// A target by its address.
pub(crate) fn target(addr: SocketAddr, transport: Transport) -> TrunkTarget {
    TrunkTarget { host: addr.ip().to_string(), port: Some(addr.port()), transport, any_transport: false }
}

/// A certificate for localhost and 127.0.0.1, in files of a directory.
pub(crate) fn certificate(dir: &Path) -> TlsConfig {
    let (cert_file, key_file) = (dir.join("cert.pem"), dir.join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key_file)
        .arg("-out")
        .arg(&cert_file)
        .stderr(Stdio::null())
        .status()
        .expect("openssl is installed");
    assert!(made.success());
    TlsConfig { listen: vec!["127.0.0.1:0".parse().unwrap()], cert_file, key_file }
}
