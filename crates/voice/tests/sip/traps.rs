//! One test for each trap that SIP stacks have been seen to fall into (docs/decisions, "own SIP
//! stack").

use std::io::Write;
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
use voice::Target;
use voice::cause::Cause;
use voice::leg::LegEvent;

use crate::harness::{MapPorts, Phone, Server, ack_failure, cancel, certificate, config, options, sdp, udp_trunk};

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
    ports.trunks.lock().unwrap().push(udp_trunk(&[carrier_addr]));
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
    assert!(text.contains("a SIP user or password was wrong"), "the log is listened to: {text}");
    for secret in ["nonce", "response=", "Digest", &crate::harness::ha1_md5("1001", "tandem", "pw-1001")] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn sip_trap_11_a_trunk_fails_over_and_remembers() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (full, good) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let addrs = [&silent, &full, &good].map(|socket| socket.local_addr().unwrap());
    let server = Server::with_trunk(udp_trunk(&addrs)).await;
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
    let make = || {
        let tls = certificate(dir.path());
        (CertificateDer::from_pem_file(&tls.cert_file).unwrap(), tls)
    };
    let (first, tls) = make();
    let key = tls.key_file.clone();
    let mut config = config();
    config.tls = Some(tls);
    let server = Server::with(config, MapPorts::default()).await;
    let addr = server.voice.local_tls()[0];
    ask_over_tls(addr, &first).await.expect("the first certificate");
    let (second, _) = make();
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
