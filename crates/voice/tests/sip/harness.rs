//! A running voice, ports in maps, and a phone that speaks raw SIP over a UDP socket.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use kernel::{Clock, Ids};
use md5::{Digest, Md5};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use voice::leg::{Leg, LegEnd, LegEvent, LegId, LegSink};
use voice::ports::{
    Binding, BindingChange, BoxFuture, Credential, LineIdentity, PortResult, Ports, Secret, TrunkConfig, TrunkState,
};
use voice::{CallerId, Incoming, Originate, SipLimits, Target, Voice, VoiceConfig};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(5);

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
    /// Addresses that no call by URI may reach.
    pub(crate) closed: Mutex<Vec<SocketAddr>>,
    /// The hosts whose domain was asked for.
    pub(crate) hosts_asked: Mutex<Vec<String>>,
}

pub(crate) fn ha1_md5(user: &str, realm: &str, password: &str) -> String {
    md5_hex(&format!("{user}:{realm}:{password}"))
}

fn md5_hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256_hex(text: &str) -> String {
    sha2::Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
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

/// A received message, as text.
#[derive(Clone, Debug)]
pub(crate) struct Msg {
    pub(crate) text: String,
    pub(crate) from: SocketAddr,
}

impl Msg {
    pub(crate) fn start(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    pub(crate) fn code(&self) -> u16 {
        self.start().strip_prefix("SIP/2.0 ").and_then(|rest| rest[..3].parse().ok()).unwrap_or(0)
    }

    pub(crate) fn method(&self) -> &str {
        self.start().split(' ').next().unwrap_or_default()
    }

    pub(crate) fn uri(&self) -> &str {
        self.start().split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.all(name).first().copied().unwrap_or_default()
    }

    pub(crate) fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    pub(crate) fn tag(&self, name: &str) -> &str {
        self.get(name).split(";tag=").nth(1).unwrap_or_default()
    }

    /// The URI of our Contact, as the server wrote it.
    pub(crate) fn contact_uri(&self) -> &str {
        self.get("Contact").trim_start_matches('<').split('>').next().unwrap_or_default()
    }
}

/// An SDP of one G.711 stream.
pub(crate) fn sdp(port: u16, extra: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 101\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n{extra}"
    )
}

/// A phone that speaks raw SIP.
pub(crate) struct Phone {
    pub(crate) socket: UdpSocket,
    pub(crate) server: SocketAddr,
    pub(crate) user: String,
    pub(crate) addr: SocketAddr,
    pub(crate) call_id: String,
    pub(crate) tag: String,
    pub(crate) seq: u32,
    branches: u32,
}

impl Phone {
    pub(crate) async fn new(user: &str, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let call_id = format!("call-{}", addr.port());
        Self { socket, server, user: user.to_owned(), addr, call_id, tag: "phonetag".to_owned(), seq: 0, branches: 0 }
    }

    pub(crate) fn branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bK-{}-{}", self.addr.port(), self.branches)
    }

    /// Begins a request outside a dialog.
    pub(crate) fn request(&mut self, method: &str, uri: &str, fields: &str, body: &str) -> String {
        let branch = self.branch();
        self.seq += 1;
        let (user, addr, tag, call_id, seq) = (&self.user, self.addr, &self.tag, &self.call_id, self.seq);
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let to = if method == "REGISTER" { format!("sip:{user}@127.0.0.1") } else { uri.to_owned() };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {addr};rport;branch={branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@127.0.0.1>;tag={tag}\r\nTo: <{to}>\r\nCall-ID: {call_id}\r\nCSeq: {seq} {method}\r\n\
             Contact: <sip:{user}@{addr}>\r\n{fields}{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    pub(crate) async fn send(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.server).await.unwrap();
    }

    pub(crate) async fn recv(&self) -> Msg {
        self.try_recv(PATIENCE).await.expect("a message")
    }

    pub(crate) async fn try_recv(&self, patience: Duration) -> Option<Msg> {
        let mut buffer = vec![0; 65_535];
        let (length, from) = timeout(patience, self.socket.recv_from(&mut buffer)).await.ok()?.unwrap();
        Some(Msg { text: String::from_utf8_lossy(&buffer[..length]).into_owned(), from })
    }

    /// The next response that is not 100.
    pub(crate) async fn response(&self) -> Msg {
        loop {
            let message = self.recv().await;
            if message.code() != 100 {
                return message;
            }
        }
    }

    pub(crate) async fn expect(&self, code: u16) -> Msg {
        let message = self.response().await;
        assert_eq!(message.code(), code, "{}", message.text);
        message
    }

    pub(crate) async fn expect_method(&self, method: &str) -> Msg {
        let message = self.recv().await;
        assert_eq!(message.method(), method, "{}", message.text);
        message
    }

    /// The MD5 answer to a challenge.
    pub(crate) fn answer(&self, challenge: &Msg, method: &str, uri: &str, count: u32) -> String {
        self.answer_with(challenge, "MD5", method, uri, count)
    }

    /// The answer to a challenge by one of its algorithms.
    pub(crate) fn answer_with(&self, challenge: &Msg, algorithm: &str, method: &str, uri: &str, count: u32) -> String {
        let hash = |text: &str| if algorithm == "MD5" { md5_hex(text) } else { sha256_hex(text) };
        let all = challenge.all("WWW-Authenticate");
        let value = all.iter().find(|value| value.contains(&format!("algorithm={algorithm},"))).expect("a challenge");
        let get = |name: &str| value.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned();
        let (realm, nonce) = (get("realm"), get("nonce"));
        let ha1 = hash(&format!("{0}:{realm}:pw-{0}", self.user));
        let ha2 = hash(&format!("{method}:{uri}"));
        let response = hash(&format!("{ha1}:{nonce}:{count:08x}:abc:auth:{ha2}"));
        format!(
            "Authorization: Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm={algorithm}, qop=auth, nc={count:08x}, cnonce=\"abc\"\r\n",
            self.user
        )
    }

    /// Sends a request, answers the challenge, and gives the response to that; an INVITE's
    /// challenge is acknowledged.
    pub(crate) async fn authorised(&mut self, method: &str, uri: &str, fields: &str, body: &str) -> String {
        let first = self.request(method, uri, fields, body);
        self.send(&first).await;
        let challenge = self.expect(401).await;
        if method == "INVITE" {
            self.send(&ack_failure(&first, &challenge)).await;
        }
        let signed = format!("{fields}{}", self.answer(&challenge, method, uri, 1));
        let second = self.request(method, uri, &signed, body);
        self.send(&second).await;
        second
    }

    /// Registers with a Contact URI and gives the 200.
    pub(crate) async fn register(&mut self, contact: &str, fields: &str) -> Msg {
        let uri = "sip:127.0.0.1";
        let call_id = std::mem::replace(&mut self.call_id, format!("reg-{}", self.addr.port()));
        let first = self.request("REGISTER", uri, fields, "");
        self.send(
            &first.replace(&format!("Contact: <sip:{}@{}>", self.user, self.addr), &format!("Contact: {contact}")),
        )
        .await;
        let challenge = self.expect(401).await;
        let signed = format!("{fields}{}", self.answer(&challenge, "REGISTER", uri, 1));
        let second = self.request("REGISTER", uri, &signed, "");
        self.send(
            &second.replace(&format!("Contact: <sip:{}@{}>", self.user, self.addr), &format!("Contact: {contact}")),
        )
        .await;
        self.call_id = call_id;
        self.response().await
    }

    /// A request inside the dialog that `answer` (a 2xx or 1xx to our INVITE) made.
    pub(crate) fn inside(&mut self, method: &str, answer: &Msg, seq: u32, fields: &str, body: &str) -> String {
        let branch = self.branch();
        let (addr, call_id, user) = (self.addr, &self.call_id, &self.user);
        let kind =
            if body.is_empty() || fields.contains("Content-Type") { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {addr};rport;branch={branch}\r\nMax-Forwards: 70\r\nFrom: {}\r\n\
             To: {}\r\nCall-ID: {call_id}\r\nCSeq: {seq} {method}\r\nContact: <sip:{user}@{addr}>\r\n{fields}{kind}\
             Content-Length: {}\r\n\r\n{body}",
            answer.contact_uri(),
            answer.get("From"),
            answer.get("To"),
            body.len()
        )
    }

    /// A response to a request of the server's.
    pub(crate) fn respond(&self, request: &Msg, status: &str, fields: &str, body: &str) -> String {
        let to = request.get("To");
        let to = if to.contains(";tag=") { to.to_owned() } else { format!("{to};tag=callee") };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let vias: String = request.all("Via").iter().map(|via| format!("Via: {via}\r\n")).collect();
        format!(
            "SIP/2.0 {status}\r\n{vias}From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:{}@{}>\r\n{fields}{kind}Content-Length: {}\r\n\r\n{body}",
            request.get("From"),
            request.get("Call-ID"),
            request.get("CSeq"),
            self.user,
            self.addr,
            body.len()
        )
    }

    /// A request of the server's inside a dialog where we were called, from our side.
    pub(crate) fn inside_called(&mut self, method: &str, invite: &Msg, seq: u32, fields: &str, body: &str) -> String {
        let branch = self.branch();
        let to = format!("{};tag=callee", invite.get("To"));
        let kind =
            if body.is_empty() || fields.contains("Content-Type") { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch={branch}\r\nMax-Forwards: 70\r\nFrom: {to}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {seq} {method}\r\nContact: <sip:{}@{}>\r\n{fields}{kind}Content-Length: {}\r\n\r\n{body}",
            invite.contact_uri(),
            self.addr,
            invite.get("From"),
            invite.get("Call-ID"),
            self.user,
            self.addr,
            body.len()
        )
    }
}

/// The ACK of a failure.
pub(crate) fn ack_failure(invite: &str, response: &Msg) -> String {
    let line = |name: &str| invite.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    let uri = invite.split(' ').nth(1).unwrap();
    format!(
        "ACK {uri} SIP/2.0\r\n{}\r\nMax-Forwards: 70\r\n{}\r\nTo: {}\r\n{}\r\nCSeq: {} ACK\r\nContent-Length: 0\r\n\r\n",
        line("Via: "),
        line("From: "),
        response.get("To"),
        line("Call-ID: "),
        line("CSeq: ").split(' ').nth(1).unwrap()
    )
}

/// The CANCEL of an INVITE.
pub(crate) fn cancel(invite: &str) -> String {
    let line = |name: &str| invite.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    let uri = invite.split(' ').nth(1).unwrap();
    format!(
        "CANCEL {uri} SIP/2.0\r\n{}\r\nMax-Forwards: 70\r\n{}\r\n{}\r\n{}\r\nCSeq: {} CANCEL\r\nContent-Length: 0\r\n\r\n",
        line("Via: "),
        line("From: "),
        line("To: "),
        line("Call-ID: "),
        line("CSeq: ").split(' ').nth(1).unwrap()
    )
}
