//! One test for each trap that SIP stacks have been seen to fall into (docs/decisions, "own SIP
//! stack"), and the regression list: mutated messages, peers that never read, overload.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tracing_subscriber::fmt::MakeWriter;
use voice::cause::Cause;
use voice::leg::LegEvent;
use voice::ports::{Secret, Transport, TrunkConfig, TrunkState, TrunkTarget};
use voice::{Target, TlsConfig};

use crate::harness::{MapPorts, Phone, Server, ack_failure, cancel, config, sdp};

fn options(from: std::net::SocketAddr, n: usize, transport: &str) -> String {
    format!(
        "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} {from};rport;branch=z9hG4bKo{n}\r\nMax-Forwards: 70\r\n\
         From: <sip:x@h>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: o{n}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A trunk whose targets are phones of the test.
fn trunk(targets: &[std::net::SocketAddr]) -> TrunkConfig {
    TrunkConfig {
        id: "trunk_1".into(),
        org: "org_1".into(),
        name: "carrier".to_owned(),
        targets: targets
            .iter()
            .map(|addr| TrunkTarget {
                host: addr.ip().to_string(),
                port: Some(addr.port()),
                transport: Transport::Udp,
                any_transport: false,
            })
            .collect(),
        username: None,
        password: None,
        domain: None,
        register: false,
        ping: false,
        srtp: false,
    }
}

async fn server_with_trunk(trunk: TrunkConfig) -> Server {
    let ports = MapPorts::default();
    ports.trunks.lock().unwrap().push(trunk);
    let server = Server::with(config(), ports).await;
    for _ in 0..100 {
        if !server.ports.trunk_states.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server
}

#[tokio::test]
async fn sip_trap_01_a_stream_peer_that_never_reads_stops_nobody() {
    let server = Server::start().await;
    let phone = server.phone("1001").await;
    let mut deaf = TcpStream::connect(server.sip).await.unwrap();
    let addr = deaf.local_addr().unwrap();
    let flood = tokio_util::task::TaskTracker::new().spawn(async move {
        for n in 0..200_000 {
            if deaf.write_all(options(addr, n, "TCP").as_bytes()).await.is_err() {
                return true; // cut off
            }
        }
        false
    });
    for n in 0..20 {
        phone.send(&options(phone.addr, n, "UDP")).await;
        timeout(Duration::from_secs(1), phone.expect(200)).await.expect("others are answered in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(timeout(Duration::from_secs(20), flood).await.unwrap().unwrap(), "the deaf peer is cut off");
}

#[tokio::test]
async fn sip_trap_02_one_nonce_serves_hundreds_of_registrations_and_goes_stale() {
    let server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let uri = "sip:127.0.0.1";
    let first = phone.request("REGISTER", uri, "", "");
    phone.send(&first).await;
    let challenge = phone.expect(401).await;
    for count in 1..0x120 {
        let signed = phone.answer(&challenge, "REGISTER", uri, count);
        let request = phone.request("REGISTER", uri, &signed, "");
        phone.send(&request).await;
        phone.expect(200).await;
    }
    // A count that was seen: a replay.
    let signed = phone.answer(&challenge, "REGISTER", uri, 5);
    let replay = phone.request("REGISTER", uri, &signed, "");
    phone.send(&replay).await;
    assert!(phone.expect(401).await.get("WWW-Authenticate").contains("stale=true"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sip_trap_03_overload_is_refused_at_once_and_calls_go_on() {
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let carrier_addr = carrier.local_addr().unwrap();
    let ports = MapPorts::default();
    ports.trunks.lock().unwrap().push(trunk(&[carrier_addr]));
    let mut config = config();
    config.limits.calls_per_second = 40;
    // The clock stands still, so that the burst is all there is.
    let (clock, _hand) = kernel::Clock::fake(0);
    let mut server = Server::with_clock(config, ports, clock).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut phone = Phone::new("carrier", server.sip).await;
    (phone.socket, phone.addr) = (carrier, carrier_addr);

    let (mut accepted, mut refused) = (0, 0);
    for n in 0..400 {
        phone.call_id = format!("flood-{n}");
        let invite = phone.request("INVITE", "sip:2000@127.0.0.1", "", &sdp(40_000, ""));
        phone.send(&invite).await;
        // The kernel's buffers hold a few hundred datagrams: read what has come.
        while let Some(message) = phone.try_recv(Duration::from_millis(if n == 399 { 300 } else { 1 })).await {
            if message.code() == 503 {
                refused += 1;
                assert_eq!(message.get("Retry-After"), "2");
            }
        }
        while let Ok(incoming) = server.incoming.try_recv() {
            accepted += 1;
            incoming.leg.reject(486);
        }
    }
    assert_eq!((accepted, refused), (20, 380), "half a second's worth is let in");
    phone.send(&options(phone.addr, 1, "UDP")).await;
    let answered = timeout(Duration::from_millis(500), async { while phone.response().await.code() != 200 {} });
    answered.await.expect("an answer in time");
}

#[tokio::test]
async fn sip_trap_04_a_large_datagram_without_content_length_is_a_call() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let padding = "a=x-padding:".to_owned() + &"p".repeat(12_000) + "\r\n";
    let body = sdp(40_000, &padding);
    let invite = phone.request("INVITE", "sip:2000@127.0.0.1", "", &body);
    phone.send(&invite).await;
    let challenge = phone.expect(401).await;
    phone.send(&ack_failure(&invite, &challenge)).await;
    let signed = phone.answer(&challenge, "INVITE", "sip:2000@127.0.0.1", 1);
    let invite = phone.request("INVITE", "sip:2000@127.0.0.1", &signed, &body);
    let length = format!("Content-Length: {}\r\n", body.len());
    assert!(invite.contains(&length));
    phone.send(&invite.replace(&length, "")).await;
    let (incoming, _) = server.next_call().await;
    incoming.leg.answer();
    assert!(phone.expect(200).await.body().contains("m=audio"));
}

#[tokio::test]
async fn sip_trap_05_reliable_progress_unknown_extensions_timers_and_early_requests() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let unknown = phone.request("INVITE", "sip:2000@127.0.0.1", "Require: 100rel, teleport\r\n", &sdp(40_000, ""));
    phone.send(&unknown).await;
    assert_eq!(phone.expect(420).await.get("Unsupported"), "teleport");
    let brief =
        phone.request("INVITE", "sip:2000@127.0.0.1", "Supported: timer\r\nSession-Expires: 60\r\n", &sdp(40_000, ""));
    phone.send(&brief).await;
    assert_eq!(phone.expect(422).await.get("Min-SE"), "90");

    let fields = "Require: 100rel\r\nSupported: timer\r\nSession-Expires: 90;refresher=uac\r\n";
    phone.call_id.push('b');
    phone.authorised("INVITE", "sip:2000@127.0.0.1", fields, &sdp(40_000, "")).await;
    let seq = phone.seq;
    let (incoming, mut events) = server.next_call().await;
    incoming.leg.ring();
    incoming.leg.early_media();
    incoming.leg.answer();
    let ringing = phone.expect(180).await;
    assert_eq!((ringing.get("Require"), ringing.get("RSeq")), ("100rel", "1"));
    assert_eq!(phone.expect(180).await.text, ringing.text, "repeated until its PRACK");
    let wrong = phone.inside("PRACK", &ringing, 20, &format!("RAck: 9 {seq} INVITE\r\n"), "");
    phone.send(&wrong).await;
    phone.expect(481).await;
    let prack = phone.inside("PRACK", &ringing, 21, &format!("RAck: 1 {seq} INVITE\r\n"), "");
    phone.send(&prack).await;
    let (mut acknowledged, mut early) = (None, None);
    while acknowledged.is_none() || early.is_none() {
        let message = phone.response().await;
        match message.code() {
            200 if message.get("CSeq").ends_with("PRACK") => acknowledged = Some(message),
            183 => early = Some(message),
            _ => panic!("{}", message.text),
        }
    }
    let early = early.unwrap();
    assert_eq!(early.get("RSeq"), "2");
    assert!(early.body().contains("m=audio"));
    let prack = phone.inside("PRACK", &early, 22, &format!("RAck: 2 {seq} INVITE\r\n"), "");
    phone.send(&prack).await;
    phone.expect(200).await;
    let ok = phone.expect(200).await;
    assert_eq!((ok.get("Session-Expires"), ok.get("Require")), ("90;refresher=uac", "timer"));
    assert!(ok.get("CSeq").ends_with("INVITE") && ok.body().is_empty(), "the answer went out reliably in the 183");

    // INFO and UPDATE before the ACK are answered.
    let info = phone.inside("INFO", &ok, 23, "", "");
    phone.send(&info).await;
    phone.expect(200).await;
    let update = phone.inside("UPDATE", &ok, 24, "", &sdp(40_004, ""));
    phone.send(&update).await;
    assert!(phone.expect(200).await.body().contains("m=audio"));
    let ack = phone.inside("ACK", &ok, seq, "", "");
    phone.send(&ack).await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
}

#[tokio::test]
async fn sip_trap_06_nothing_of_a_call_is_kept() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    for round in 0..30 {
        // Out: answered, refused, or cancelled.
        let (leg, mut events) = server.dial(Target::Uri(format!("sip:1001@{}", phone.addr)), 30_000);
        let invite = phone.expect_method("INVITE").await;
        match round % 3 {
            0 => {
                phone.send(&phone.respond(&invite, "200 OK", "", &sdp(40_010, ""))).await;
                phone.expect_method("ACK").await;
                let bye = phone.inside_called("BYE", &invite, 1, "", "");
                phone.send(&bye).await;
                phone.expect(200).await;
            }
            1 => {
                phone.send(&phone.respond(&invite, "486 Busy", "", "")).await;
                phone.expect_method("ACK").await;
            }
            _ => {
                phone.send(&phone.respond(&invite, "180 Ringing", "", "")).await;
                assert!(matches!(events.next().await, LegEvent::Ringing));
                leg.hangup(Cause::Canceled);
                let cancel = phone.expect_method("CANCEL").await;
                phone.send(&phone.respond(&cancel, "200 OK", "", "")).await;
                phone.send(&phone.respond(&invite, "487 Gone", "", "")).await;
                phone.expect_method("ACK").await;
            }
        }
        events.end().await;
        // In: answered and hung up by us.
        phone.call_id = format!("round-{round}");
        phone.authorised("INVITE", "sip:2000@127.0.0.1", "", &sdp(40_000, "")).await;
        let seq = phone.seq;
        let (incoming, mut events) = server.next_call().await;
        incoming.leg.answer();
        let ok = phone.expect(200).await;
        let ack = phone.inside("ACK", &ok, seq, "", "");
        phone.send(&ack).await;
        assert!(matches!(events.next().await, LegEvent::Answered { .. }));
        incoming.leg.hangup(Cause::Normal);
        let bye = phone.expect_method("BYE").await;
        phone.send(&phone.respond(&bye, "200 OK", "", "")).await;
        events.end().await;
    }
    server.settle().await;
}

#[tokio::test]
async fn sip_trap_07_an_early_cancel_ends_the_leg_whatever_is_asked_of_it() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    for seen in [false, true] {
        phone.call_id.push('x');
        let invite = phone.authorised("INVITE", "sip:2000@127.0.0.1", "", &sdp(40_000, "")).await;
        let call = if seen { Some(server.next_call().await) } else { None };
        phone.send(&cancel(&invite)).await;
        let mut answers = [phone.response().await, phone.response().await];
        answers.sort_by_key(|message| message.code());
        assert_eq!([answers[0].code(), answers[1].code()], [200, 487]);
        phone.send(&ack_failure(&invite, &answers[1])).await;
        if let Some((incoming, mut events)) = call {
            incoming.leg.ring();
            incoming.leg.answer();
            assert_eq!(events.end().await.cause, Cause::Canceled);
        }
        assert!(phone.try_recv(Duration::from_millis(100)).await.is_none(), "nothing is answered any more");
        while server.incoming.try_recv().is_ok() {}
        server.settle().await;
    }
}

#[tokio::test]
async fn sip_trap_08_a_contact_comes_back_as_it_was_sent() {
    let server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let uri = format!("sip:10%2001%3Fx@{};transport=UDP;ob;x-Odd=%41", phone.addr);
    assert_eq!(phone.register(&format!("\"Me\" <{uri}>;q=0.5"), "").await.code(), 200);
    let binding = server.ports.bindings.lock().unwrap()["1001"][0].clone();
    let (_leg, _events) = server.dial(Target::Binding(binding), 30_000);
    assert_eq!(phone.expect_method("INVITE").await.uri(), uri);
}

#[tokio::test]
async fn sip_trap_09_a_phone_behind_nat_is_called_on_its_flow() {
    let server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let contact = "sip:1001@q3x9.invalid;transport=udp";
    assert_eq!(phone.register(&format!("<{contact}>"), "").await.code(), 200);
    let binding = server.ports.bindings.lock().unwrap()["1001"][0].clone();
    let (leg, mut events) = server.dial(Target::Binding(binding), 30_000);
    let invite = phone.expect_method("INVITE").await;
    assert_eq!((invite.uri(), invite.from), (contact, server.sip));
    // Its Contact leads nowhere from here either; ACK and BYE still reach it.
    let ok =
        phone.respond(&invite, "200 OK", "", &sdp(40_010, "")).replace(&format!("sip:1001@{}", phone.addr), contact);
    phone.send(&ok).await;
    assert_eq!(phone.expect_method("ACK").await.uri(), contact);
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
    leg.hangup(Cause::Normal);
    assert_eq!(phone.expect_method("BYE").await.uri(), contact);
}

/// A writer into memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn sip_trap_10_no_credential_is_logged_and_no_name_is_in_a_call_id() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let contact = format!("<sip:1001@{}>", phone.addr);
    phone.register(&contact, "").await;
    let mut stranger = server.phone("6666").await;
    stranger.register("<sip:6666@x>", "").await;
    let (_leg, _events) = server.dial(Target::Uri(format!("sip:1001@{}", phone.addr)), 1_000);
    let invite = phone.expect_method("INVITE").await;
    let call_id = invite.get("Call-ID");
    assert!(call_id.len() >= 20 && !call_id.contains('@'), "{call_id}");
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("a SIP password was wrong"), "the log is listened to: {text}");
    for secret in ["nonce", "response=", "Digest", &crate::harness::ha1_md5("1001", "tandem", "pw-1001")] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn sip_trap_11_a_trunk_fails_over_and_remembers() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (full, good) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let addrs = [&silent, &full, &good].map(|socket| socket.local_addr().unwrap());
    let server = server_with_trunk(trunk(&addrs)).await;
    let phone = |socket: UdpSocket, addr| {
        let mut phone =
            futures_util::FutureExt::now_or_never(Phone::new("c", server.sip)).unwrap_or_else(|| panic!("at once"));
        (phone.socket, phone.addr) = (socket, addr);
        phone
    };
    let (silent, full, good) = (phone(silent, addrs[0]), phone(full, addrs[1]), phone(good, addrs[2]));
    let call = || server.dial(Target::Trunk { trunk: "trunk_1".into(), number: "+442071838750".to_owned() }, 20_000);

    let (leg, mut events) = call();
    assert_eq!(silent.expect_method("INVITE").await.uri(), format!("sip:+442071838750@{}", addrs[0]));
    let refused = full.expect_method("INVITE").await;
    full.send(&full.respond(&refused, "503 Full", "", "")).await;
    full.expect_method("ACK").await;
    let invite = good.expect_method("INVITE").await;
    assert!(invite.get("P-Asserted-Identity").contains("sip:2000@"), "{}", invite.text);
    good.send(&good.respond(&invite, "200 OK", "", &sdp(40_010, ""))).await;
    good.expect_method("ACK").await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
    leg.hangup(Cause::Normal);
    assert_eq!(good.expect_method("BYE").await.uri(), format!("sip:c@{}", addrs[2]));

    // The next call does not ask those that failed first.
    let (_leg, _events) = call();
    good.expect_method("INVITE").await;
}

#[tokio::test]
async fn sip_trap_12_tls_works_and_its_certificate_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let make = || {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&cert)
            .stderr(Stdio::null())
            .status()
            .expect("openssl is installed");
        assert!(made.success());
        CertificateDer::from_pem_file(&cert).unwrap()
    };
    let first = make();
    let mut config = config();
    config.tls = Some(TlsConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        cert_file: cert.clone(),
        key_file: key.clone(),
    });
    let server = Server::with(config, MapPorts::default()).await;
    let addr = server.voice.local_tls()[0];
    ask_over_tls(addr, &first).await.expect("the first certificate");
    let second = make();
    server.voice.reload_tls().await.unwrap();
    ask_over_tls(addr, &second).await.expect("the second certificate");
    assert!(ask_over_tls(addr, &first).await.is_err(), "the first one is gone");
    std::fs::write(&key, "nonsense").unwrap();
    assert!(server.voice.reload_tls().await.is_err());
    ask_over_tls(addr, &second).await.expect("the old one stays");
}

/// OPTIONS over TLS, trusting one certificate.
async fn ask_over_tls(addr: std::net::SocketAddr, trusted: &CertificateDer<'static>) -> std::io::Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(addr).await?;
    let local = stream.local_addr()?;
    let mut stream =
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await?;
    stream.write_all(options(local, 1, "TLS").as_bytes()).await?;
    let mut answer = vec![0; 2_048];
    let length = timeout(Duration::from_secs(5), stream.read(&mut answer)).await??;
    assert!(answer[..length].starts_with(b"SIP/2.0 200"));
    Ok(())
}

/// A small generator for mutations: the same ones each time.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

fn mutate(message: &str, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = message.as_bytes().to_vec();
    for _ in 0..1 + rng.below(6) {
        let (at, length) = (rng.below(bytes.len()), rng.below(40));
        match rng.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, u8::try_from(rng.below(256)).unwrap()),
            2 => drop(bytes.drain(at..(at + length).min(bytes.len()))),
            3 => {
                let copy = bytes[at..(at + length).min(bytes.len())].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let odd: [&[u8]; 8] =
                    [b"\r\n", b"\0", b"\xff\xfe", b";;;", b"<<>>", b"\"", b"%00%", b"99999999999999999999"];
                bytes.splice(at..at, odd[rng.below(odd.len())].iter().copied());
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = byte.wrapping_add(u8::try_from(rng.below(255)).unwrap());
                }
            }
        }
        if bytes.is_empty() {
            bytes.push(b'X');
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_datagrams_and_streams_break_nothing() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let mut corpus = vec![
        options(phone.addr, 1, "UDP"),
        phone.request(
            "INVITE",
            "sip:2000@127.0.0.1",
            "Supported: 100rel, timer\r\nSession-Expires: 1800;refresher=uac\r\n",
            &sdp(4, ""),
        ),
        phone.request("REGISTER", "sip:127.0.0.1", "Expires: 60\r\nPath: <sip:p;lr>\r\n", ""),
        phone.request("REFER", "sip:127.0.0.1", "Refer-To: <sip:x@y?Replaces=a%3Bb>\r\n", ""),
        phone.request("PRACK", "sip:127.0.0.1", "RAck: 1 1 INVITE\r\n", ""),
    ];
    // A call that is up: what belongs to it is mutated too.
    phone.authorised("INVITE", "sip:2000@127.0.0.1", "", &sdp(40_000, "")).await;
    let seq = phone.seq;
    let (incoming, mut events) = server.next_call().await;
    incoming.leg.answer();
    let ok = phone.expect(200).await;
    let ack = phone.inside("ACK", &ok, seq, "", "");
    phone.send(&ack).await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
    for (n, method) in (0_u32..).zip(["INVITE", "UPDATE", "INFO", "ACK"]) {
        corpus.push(phone.inside(
            method,
            &ok,
            100 + n,
            "Session-Expires: 90\r\n",
            &sdp(40_000, "a=sendonly\r\na=crypto:1 X inline:y\r\n"),
        ));
    }
    corpus.push(ok.text.clone());
    let mut rng = Rng(0x5eed_1234_5678_9abc);
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for round in 0..6_000 {
        let bytes = mutate(&corpus[rng.below(corpus.len())], &mut rng);
        stranger.send_to(&bytes, server.sip).await.unwrap();
        if round % 200 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    for _ in 0..150 {
        let mut stream = TcpStream::connect(server.sip).await.unwrap();
        let bytes = mutate(&corpus[rng.below(corpus.len())], &mut rng);
        let _ = stream.write_all(&bytes).await;
    }
    let fresh = server.phone("1002").await;
    fresh.send(&options(fresh.addr, 77, "UDP")).await;
    fresh.expect(200).await;
    drop(incoming);
}

#[tokio::test]
async fn a_stream_that_speaks_no_sip_is_closed() {
    let server = Server::start().await;
    for garbage in [&b"\x16\x03\x01\x02\x00"[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[b'A'; 70_000]] {
        let mut stream = TcpStream::connect(server.sip).await.unwrap();
        let _ = stream.write_all(garbage).await;
        let mut rest = Vec::new();
        let closed = timeout(Duration::from_secs(3), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "{} bytes of garbage", garbage.len());
    }
}

#[tokio::test]
async fn a_trunk_registers_with_digest_and_refreshes() {
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = carrier.local_addr().unwrap();
    let mut config = trunk(&[addr]);
    (config.username, config.password, config.register) = (Some("acct".to_owned()), Some(Secret::new("pw")), true);
    let ports = MapPorts::default();
    ports.trunks.lock().unwrap().push(config);
    let server = Server::with(crate::harness::config(), ports).await;
    let mut phone = server.phone("acct").await;
    (phone.socket, phone.addr) = (carrier, addr);
    let first = phone.expect_method("REGISTER").await;
    assert!(first.get("Contact").starts_with("<sip:acct@127.0.0.1:"), "{}", first.text);
    let challenge = "WWW-Authenticate: Digest realm=\"c\", nonce=\"n\", algorithm=SHA-256, qop=\"auth,auth-int\"\r\n\
                     WWW-Authenticate: Digest realm=\"c\", nonce=\"n\", algorithm=MD5, qop=\"auth\"\r\n";
    phone.send(&phone.respond(&first, "401 Unauthorized", challenge, "")).await;
    let second = phone.expect_method("REGISTER").await;
    let signed = second.get("Authorization");
    assert!(signed.contains("SHA-256") && signed.contains("qop=auth,") && signed.contains("nc=00000001"), "{signed}");
    assert_eq!(second.get("Call-ID"), first.get("Call-ID"));
    phone.send(&phone.respond(&second, "200 OK", "Expires: 300\r\n", "")).await;
    for _ in 0..100 {
        if server.ports.trunk_states.lock().unwrap().last() == Some(&TrunkState::Registered) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(*server.ports.trunk_states.lock().unwrap(), [TrunkState::Registered]);

    // A call over it is challenged too, and its BYE.
    let (leg, mut events) = server.dial(Target::Trunk { trunk: "trunk_1".into(), number: "+4420".to_owned() }, 20_000);
    let invite = phone.expect_method("INVITE").await;
    phone.send(&phone.respond(&invite, "407 Pay", &challenge.replace("WWW", "Proxy"), "")).await;
    phone.expect_method("ACK").await;
    let invite = phone.expect_method("INVITE").await;
    assert!(invite.get("Proxy-Authorization").contains("username=\"acct\""));
    phone.send(&phone.respond(&invite, "200 OK", "", &sdp(40_010, ""))).await;
    phone.expect_method("ACK").await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
    leg.hangup(Cause::Normal);
    let bye = phone.expect_method("BYE").await;
    let stale =
        challenge.replace("WWW", "Proxy").replace("qop", "stale=true, qop").replace("nonce=\"n\"", "nonce=\"m\"");
    phone.send(&phone.respond(&bye, "407 Again", &stale, "")).await;
    let bye = phone.expect_method("BYE").await;
    assert!(bye.get("Proxy-Authorization").contains("nonce=\"m\""));
    phone.send(&phone.respond(&bye, "200 OK", "", "")).await;
    events.end().await;
    server.settle().await;
}

#[tokio::test]
async fn a_carrier_s_call_that_waits_when_the_server_starts_is_a_carrier_s() {
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = carrier.local_addr().unwrap();
    let ports = MapPorts::default();
    ports.trunks.lock().unwrap().push(trunk(&[addr]));
    ports.trunks_held.send_replace(true);
    let mut server = Server::with(config(), ports).await;
    let mut phone = server.phone("+4915112345").await;
    (phone.socket, phone.addr) = (carrier, addr);
    let invite = phone.request("INVITE", "sip:+442071838750@127.0.0.1", "", &sdp(40_000, ""));
    phone.send(&invite).await;
    let early = phone.try_recv(Duration::from_millis(200)).await;
    assert!(early.is_none(), "{early:?}");
    server.ports.trunks_held.send_replace(false);
    let (incoming, _events) = server.next_call().await;
    assert!(matches!(&incoming.source, voice::Source::Trunk { trunk, .. } if &**trunk == "trunk_1"));
}

#[tokio::test]
async fn a_carrier_calls_in_and_the_account_s_number_is_in_to() {
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = carrier.local_addr().unwrap();
    let mut config = trunk(&[addr]);
    config.username = Some("acct".to_owned());
    let mut server = server_with_trunk(config).await;
    let mut phone = server.phone("+4915112345").await;
    (phone.socket, phone.addr) = (carrier, addr);
    let invite = phone
        .request("INVITE", "sip:acct@127.0.0.1", "", &sdp(40_000, ""))
        .replace("To: <sip:acct@", "To: <sip:+442071838750@");
    phone.send(&invite).await;
    let (incoming, _events) = server.next_call().await;
    assert_eq!((incoming.to_user.as_str(), incoming.from.number.as_str()), ("+442071838750", "+4915112345"));
    assert!(matches!(&incoming.source, voice::Source::Trunk { trunk, .. } if &**trunk == "trunk_1"));
    // A redirect inside the trunk is followed, one to a stranger is not.
    let (_leg, mut events) = server.dial(Target::Trunk { trunk: "trunk_1".into(), number: "+4420".to_owned() }, 20_000);
    let first = phone.expect_method("INVITE").await;
    let moved = format!("Contact: <sip:+4430@{addr}>\r\n");
    phone
        .send(&phone.respond(&first, "302 Moved", &moved, "").replacen(
            &format!("Contact: <sip:+4915112345@{addr}>\r\n"),
            "",
            1,
        ))
        .await;
    phone.expect_method("ACK").await;
    let second = phone.expect_method("INVITE").await;
    assert_eq!(second.uri(), format!("sip:+4430@{addr}"));
    let away = "Contact: <sip:+4430@192.0.2.66>\r\n";
    phone
        .send(&phone.respond(&second, "302 Moved", away, "").replacen(
            &format!("Contact: <sip:+4915112345@{addr}>\r\n"),
            "",
            1,
        ))
        .await;
    phone.expect_method("ACK").await;
    assert_eq!(events.end().await.cause, Cause::NoRoute);
}

#[tokio::test]
async fn a_trunk_that_was_made_a_moment_ago_carries_a_call() {
    let server = Server::start().await;
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = carrier.local_addr().unwrap();
    let mut phone = server.phone("carrier").await;
    (phone.socket, phone.addr) = (carrier, addr);
    // Nobody told the stack to look: the leg itself is the reason to.
    server.ports.trunks.lock().unwrap().push(trunk(&[addr]));
    let to = |trunk: &str| Target::Trunk { trunk: trunk.into(), number: "+4420".to_owned() };
    let (_leg, _events) = server.dial(to("trunk_1"), 20_000);
    assert_eq!(phone.expect_method("INVITE").await.uri(), format!("sip:+4420@{addr}"));
    let (_leg, mut events) = server.dial(to("trunk_none"), 20_000);
    assert_eq!(events.end().await.cause, Cause::NoRoute);
}
