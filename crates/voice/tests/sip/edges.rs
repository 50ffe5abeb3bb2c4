//! What surrounds a call: time, other families and transports, limits, restarts.

use std::time::Duration;

use kernel::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use voice::Target;
use voice::cause::Cause;
use voice::leg::{EndedBy, LegEvent};
use voice::ports::{Transport, TrunkState, TrunkTarget};

use crate::harness::{MapPorts, Phone, Server, certificate, config, sdp, target, trunk};

#[tokio::test]
async fn an_hour_of_session_timers_passes_at_once() {
    let (clock, hand) = Clock::fake(1_800_000_000_000);
    let server = Server::with_clock(config(), MapPorts::default(), clock).await;
    let mut phone = server.phone("1001").await;
    let (_leg, mut events) = server.dial(Target::Uri(format!("sip:1001@{}", phone.addr)), 30_000);
    let invite = phone.expect_method("INVITE").await;
    assert_eq!((invite.get("Session-Expires"), invite.get("Min-SE")), ("1800", "90"));
    let fields = "Allow: INVITE, UPDATE\r\nRequire: timer\r\nSession-Expires: 1800;refresher=uac\r\n";
    phone.send(&phone.respond(&invite, "200 OK", fields, &sdp(40_010, ""))).await;
    phone.expect_method("ACK").await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
    for _ in 0..4 {
        hand.advance(900_000);
        let update = phone.expect_method("UPDATE").await;
        assert_eq!(update.get("Session-Expires"), "1800;refresher=uac");
        let refreshed = phone.respond(&update, "200 OK", "Session-Expires: 1800;refresher=uac\r\n", "");
        phone.send_and_settle(&refreshed).await;
        events.silent(20).await;
    }
    // Now the phone is to refresh, and does not.
    hand.advance(900_000);
    let update = phone.expect_method("UPDATE").await;
    let refreshed = phone.respond(&update, "200 OK", "Session-Expires: 90;refresher=uas\r\n", "");
    phone.send_and_settle(&refreshed).await;
    events.silent(20).await;
    hand.advance(60_000);
    phone.expect_method("BYE").await;
    let end = events.end().await;
    assert_eq!((end.cause, end.by), (Cause::Unreachable, EndedBy::Remote));
}

#[tokio::test]
async fn transactions_are_forgotten_by_the_clock() {
    let (clock, hand) = Clock::fake(1_800_000_000_000);
    let server = Server::with_clock(config(), MapPorts::default(), clock).await;
    let mut phone = server.phone("1001").await;
    let contact = format!("<sip:1001@{}>", phone.addr);
    assert_eq!(phone.register(&contact, "").await.code(), 200);
    let (_leg, mut events) = server.dial(Target::Uri(format!("sip:1001@{}", phone.addr)), 60_000);
    let first = phone.expect_method("INVITE").await;
    for pause in [500, 1_000, 2_000, 4_000, 8_000, 16_000] {
        hand.advance(pause);
        assert_eq!(phone.expect_method("INVITE").await.text, first.text, "repeated after {pause} ms");
    }
    hand.advance(500);
    assert_eq!(events.end().await.cause, Cause::Unreachable);
    hand.advance(40_000);
    for _ in 0..100 {
        if server.voice.stats().transactions == 0 {
            return server.settle().await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", server.voice.stats());
}

#[tokio::test]
async fn ipv6_is_spoken_beside_ipv4_on_one_port_number() {
    let mut config = config();
    config.sip = vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    let mut server = Server::with(config, MapPorts::default()).await;
    let six = server.voice.local_sip()[1];
    assert!(six.is_ipv6());
    let mut phone = Phone::new("1001", six).await;
    phone.socket = UdpSocket::bind("[::1]:0").await.unwrap();
    phone.addr = phone.socket.local_addr().unwrap();
    let body = sdp(40_000, "").replace("IP4 127.0.0.1", "IP6 ::1");
    phone.authorised("INVITE", "sip:2000@[::1]", "", &body).await;
    let (incoming, mut events) = server.next_call().await;
    assert_eq!(incoming.to_domain, "::1");
    incoming.leg.answer();
    let ok = phone.expect(200).await;
    assert!(ok.body().contains("c=IN IP6 ::1") && ok.get("Contact").contains("@[::1]:"), "{}", ok.text);
    let seq = phone.seq;
    let ack = phone.inside("ACK", &ok, seq, "", "");
    phone.send(&ack).await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));

    let (_leg, mut events) = server.dial(Target::Uri(format!("sip:1001@{}", phone.addr)), 5_000);
    let invite = phone.expect_method("INVITE").await;
    assert!(invite.get("Via").starts_with("SIP/2.0/UDP [::1]:") && invite.body().contains("IN IP6 ::1"));
    phone.send(&phone.respond(&invite, "486 Busy", "", "")).await;
    assert_eq!(events.end().await.cause, Cause::Busy);
}

#[tokio::test]
async fn a_peer_beside_us_is_told_the_address_of_the_route_to_it() {
    let mut config = config();
    config.public_ip = Some("203.0.113.9".parse().unwrap());
    let server = Server::with(config, MapPorts::default()).await;
    let phone = server.phone("1001").await;
    let (_leg, _events) = server.dial(Target::Uri(format!("sip:1001@{}", phone.addr)), 1_000);
    let invite = phone.expect_method("INVITE").await;
    for part in ["Via", "Contact", "From"] {
        assert!(!invite.get(part).contains("203.0.113.9"), "{part}: {}", invite.text);
    }
    assert!(invite.body().contains("c=IN IP4 127.0.0.1"));
}

#[tokio::test]
async fn a_tcp_phone_is_called_on_its_connection_and_messages_may_come_in_pieces() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.sip).await.unwrap();
    let local = stream.local_addr().unwrap();
    let mut phone = server.phone("1001").await;
    phone.addr = local;
    let read = async |stream: &mut TcpStream| {
        let mut buffer = vec![0; 8_192];
        let length = timeout(Duration::from_secs(5), stream.read(&mut buffer)).await.unwrap().unwrap();
        crate::harness::Msg { text: String::from_utf8_lossy(&buffer[..length]).into_owned(), from: server.sip }
    };
    let tcp = |text: String| text.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    let first = tcp(phone.request("REGISTER", "sip:127.0.0.1", "", ""));
    for piece in first.as_bytes().chunks(37) {
        stream.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let challenge = read(&mut stream).await;
    assert_eq!(challenge.code(), 401);
    let signed = phone.answer(&challenge, "REGISTER", "sip:127.0.0.1", 1);
    // A ping, the request and another ping at once.
    let second = tcp(phone.request("REGISTER", "sip:127.0.0.1", &signed, ""));
    stream.write_all(format!("\r\n\r\n{second}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answers = String::new();
    while !answers.contains("SIP/2.0 200") || answers.matches("\r\n\r\n").count() < 1 || !answers.starts_with("\r\n") {
        answers.push_str(&read(&mut stream).await.text);
    }
    let binding = server.ports.bindings.lock().unwrap()["1001"][0].clone();
    assert_eq!((binding.transport.as_str(), binding.source), ("tcp", local));
    let (_leg, mut events) = server.dial(Target::Binding(binding.clone()), 10_000);
    let invite = loop {
        let message = read(&mut stream).await;
        if message.text.contains("INVITE sip:") {
            break crate::harness::Msg { text: message.text.trim_start().to_owned(), from: message.from };
        }
    };
    assert!(invite.get("Via").starts_with("SIP/2.0/TCP") && invite.get("Contact").contains(";transport=tcp"));
    let busy = phone.respond(&invite, "486 Busy", "", "");
    stream.write_all(busy.as_bytes()).await.unwrap();
    assert_eq!(events.end().await.cause, Cause::Busy);

    // The connection is gone, and its phone listens nowhere: unreachable at once.
    drop(stream);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (_leg, mut events) = server.dial(Target::Binding(binding), 10_000);
    assert_eq!(events.end().await.cause, Cause::Unreachable);
    server.settle().await;
}

#[tokio::test]
async fn a_phone_may_prove_itself_by_sha_256() {
    let mut config = config();
    config.digest_sha256 = true;
    let server = Server::with(config, MapPorts::default()).await;
    let mut phone = server.phone("1001").await;
    let first = phone.request("REGISTER", "sip:127.0.0.1", "", "");
    phone.send(&first).await;
    let challenge = phone.expect(401).await;
    assert!(challenge.get("WWW-Authenticate").contains("algorithm=SHA-256"), "the stronger one first");
    let signed = phone.answer_with(&challenge, "SHA-256", "REGISTER", "sip:127.0.0.1", 1);
    let second = phone.request("REGISTER", "sip:127.0.0.1", &signed, "");
    phone.send(&second).await;
    phone.expect(200).await;
}

#[tokio::test]
async fn loops_and_tired_messages_are_turned_away() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let tired = phone
        .request("INVITE", "sip:2000@127.0.0.1", "", &sdp(4_000, ""))
        .replace("Max-Forwards: 70", "Max-Forwards: 0");
    phone.send(&tired).await;
    phone.expect(483).await;
    // A call that has come a long way has less left.
    phone.call_id.push('w');
    let wanderer = |request: String| request.replace("Max-Forwards: 70", "Max-Forwards: 5");
    let first = wanderer(phone.request("INVITE", "sip:2000@127.0.0.1", "", &sdp(4_000, "")));
    phone.send(&first).await;
    let challenge = phone.expect(401).await;
    phone.send(&crate::harness::ack_failure(&first, &challenge)).await;
    let signed = phone.answer(&challenge, "INVITE", "sip:2000@127.0.0.1", 1);
    let second = wanderer(phone.request("INVITE", "sip:2000@127.0.0.1", &signed, &sdp(4_000, "")));
    phone.send(&second).await;
    let (incoming, _) = server.next_call().await;
    assert_eq!(incoming.hops_left, 4);
    incoming.leg.reject(486);
    phone.send(&crate::harness::ack_failure(&second, &phone.expect(486).await)).await;
    // Our own INVITE comes back to us.
    let (_leg, _events) = server.dial(Target::Uri(format!("sip:1001@{}", phone.addr)), 1_000);
    let invite = phone.expect_method("INVITE").await;
    let via = format!("Via: SIP/2.0/UDP {};rport;branch=z9hG4bKloop\r\nVia: ", phone.addr);
    phone.send(&invite.text.replacen("Via: ", &via, 1)).await;
    phone.expect(482).await;
    for (method, code) in [("SUBSCRIBE", 489), ("PUBLISH", 489), ("MESSAGE", 405), ("FOO", 501), ("NOTIFY", 481)] {
        let request = phone.request(method, "sip:127.0.0.1", "", "");
        phone.send(&request).await;
        phone.expect(code).await;
    }
}

#[tokio::test]
async fn a_stopping_server_hangs_up_and_tells_every_leg() {
    let server = Server::start().await;
    let phone = server.phone("1001").await;
    let (leg, mut events) = server.dial(Target::Uri(format!("sip:1001@{}", phone.addr)), 30_000);
    let invite = phone.expect_method("INVITE").await;
    phone.send(&phone.respond(&invite, "200 OK", "", &sdp(40_010, ""))).await;
    phone.expect_method("ACK").await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
    server.stop();
    phone.expect_method("BYE").await;
    assert_eq!(events.end().await.cause, Cause::ServerRestart);
    leg.hangup(Cause::Normal);
    // A leg that is asked for too late ends at once.
    let (_late, mut events) = server.dial(Target::Uri(format!("sip:1001@{}", phone.addr)), 30_000);
    events.end().await;
}

/// Waits until a trunk has been told to be in a state.
async fn trunk_is(server: &Server, state: TrunkState) {
    for _ in 0..200 {
        if server.ports.trunk_states.lock().unwrap().last() == Some(&state) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", server.ports.trunk_states.lock().unwrap());
}

#[tokio::test]
async fn a_target_that_refuses_the_connection_is_left_at_once() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let good = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let good_addr = good.local_addr().unwrap();
    let ports = MapPorts::default();
    ports.trunks.lock().unwrap().push(trunk(vec![target(closed, Transport::Tcp), target(good_addr, Transport::Udp)]));
    let server = Server::with(config(), ports).await;
    trunk_is(&server, TrunkState::Ready).await;
    let mut phone = server.phone("c").await;
    (phone.socket, phone.addr) = (good, good_addr);
    let (_leg, mut events) = server.dial(Target::Trunk { trunk: "trunk_1".into(), number: "+4420".to_owned() }, 10_000);
    let invite = timeout(Duration::from_secs(1), phone.expect_method("INVITE")).await.expect("no waiting");
    phone.send(&phone.respond(&invite, "404 Not Found", "", "")).await;
    assert_eq!(events.end().await.cause, Cause::InvalidNumber);
}

#[tokio::test]
async fn a_trunk_that_is_asked_for_signs_of_life_is_seen_to_fail_and_come_back() {
    let (clock, hand) = Clock::fake(1_800_000_000_000);
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = carrier.local_addr().unwrap();
    let mut config_of_trunk = trunk(vec![target(addr, Transport::Udp)]);
    config_of_trunk.ping = true;
    let ports = MapPorts::default();
    ports.trunks.lock().unwrap().push(config_of_trunk);
    let server = Server::with_clock(config(), ports, clock).await;
    let mut phone = server.phone("c").await;
    (phone.socket, phone.addr) = (carrier, addr);
    let first = phone.expect_method("OPTIONS").await;
    phone.send(&phone.respond(&first, "405 Not Allowed", "", "")).await;
    trunk_is(&server, TrunkState::Ready).await;
    hand.advance(30_000);
    phone.expect_method("OPTIONS").await;
    hand.advance(32_000);
    trunk_is(&server, TrunkState::Unreachable).await;
    // Repetitions of old questions may still be about.
    hand.advance(30_000);
    loop {
        let question = phone.expect_method("OPTIONS").await;
        phone.send(&phone.respond(&question, "200 OK", "", "")).await;
        if server.ports.trunk_states.lock().unwrap().len() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if server.ports.trunk_states.lock().unwrap().last() == Some(&TrunkState::Ready) {
            break;
        }
    }
    trunk_is(&server, TrunkState::Ready).await;
}

#[tokio::test]
async fn a_registration_s_way_is_kept_open() {
    let (clock, hand) = Clock::fake(1_800_000_000_000);
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = carrier.local_addr().unwrap();
    let mut config_of_trunk = trunk(vec![target(addr, Transport::Udp)]);
    (config_of_trunk.username, config_of_trunk.register) = (Some("acct".to_owned()), true);
    let ports = MapPorts::default();
    ports.trunks.lock().unwrap().push(config_of_trunk);
    let server = Server::with_clock(config(), ports, clock).await;
    let mut phone = server.phone("acct").await;
    (phone.socket, phone.addr) = (carrier, addr);
    let register = phone.expect_method("REGISTER").await;
    phone.send(&phone.respond(&register, "200 OK", "Expires: 600\r\n", "")).await;
    trunk_is(&server, TrunkState::Registered).await;
    for _ in 0..3 {
        hand.advance(25_000);
        assert_eq!(phone.recv().await.text, "\r\n\r\n");
    }
}

#[tokio::test]
async fn two_servers_talk_over_tls_and_a_stranger_s_certificate_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tls = certificate(dir.path());
    let mut callee_config = config();
    callee_config.tls = Some(tls.clone());
    callee_config.rtp_ports.0 += 100;
    for trusted in [true, false] {
        // The callee takes the call as a phone's, so it challenges: that is proof enough of the connection.
        let callee = Server::with(callee_config.clone(), MapPorts::default()).await;
        let mut caller_config = config();
        caller_config.rtp_ports.1 -= 100;
        caller_config.trust_file = trusted.then(|| tls.cert_file.clone());
        let ports = MapPorts::default();
        ports.trunks.lock().unwrap().push(trunk(vec![target(callee.voice.local_tls()[0], Transport::Tls)]));
        let caller = Server::with(caller_config, ports).await;
        trunk_is(&caller, TrunkState::Ready).await;
        let (_leg, mut events) =
            caller.dial(Target::Trunk { trunk: "trunk_1".into(), number: "2000".to_owned() }, 10_000);
        let end = events.end().await;
        let expected = if trusted { (Cause::TrunkAuth, Some(401)) } else { (Cause::Unreachable, None) };
        assert_eq!((end.cause, end.sip_code), expected);
    }
}

#[tokio::test]
async fn a_stopping_server_s_last_words_go_out_by_streams_too() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.sip).await.unwrap();
    let mut phone = server.phone("1001").await;
    phone.addr = stream.local_addr().unwrap();
    let ping = phone.request("OPTIONS", "sip:127.0.0.1", "", "").replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    stream.write_all(ping.as_bytes()).await.unwrap();
    assert_eq!(read(&mut stream, &server).await.code(), 200);
    let target = format!("sip:1001@{};transport=tcp", phone.addr);
    let to_host = TrunkTarget {
        host: "127.0.0.1".to_owned(),
        port: Some(phone.addr.port()),
        transport: Transport::Tcp,
        any_transport: false,
    };
    server.ports.trunks.lock().unwrap().push(trunk(vec![to_host]));
    server.voice.reload_trunks().await;
    trunk_is(&server, TrunkState::Ready).await;
    let (_leg, mut events) = server.dial(Target::Trunk { trunk: "trunk_1".into(), number: "+4420".to_owned() }, 30_000);
    let invite = read(&mut stream, &server).await;
    assert_eq!(invite.method(), "INVITE", "on the connection that is open: {target}");
    stream.write_all(phone.respond(&invite, "200 OK", "", &sdp(40_010, "")).as_bytes()).await.unwrap();
    assert_eq!(read(&mut stream, &server).await.method(), "ACK");
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
    server.stop();
    assert_eq!(read(&mut stream, &server).await.method(), "BYE");
}

#[tokio::test]
async fn a_connection_of_nobody_we_know_is_closed_and_a_phone_s_stays() {
    let (clock, hand) = Clock::fake(1_800_000_000_000);
    let server = Server::with_clock(config(), MapPorts::default(), clock).await;
    let mut stranger = TcpStream::connect(server.sip).await.unwrap();
    let mut stream = TcpStream::connect(server.sip).await.unwrap();
    let mut phone = server.phone("1001").await;
    let tcp = |text: String| text.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    phone.addr = stranger.local_addr().unwrap();
    let options = tcp(phone.request("OPTIONS", "sip:127.0.0.1", "", ""));
    stranger.write_all(options.as_bytes()).await.unwrap();
    assert_eq!(read(&mut stranger, &server).await.code(), 200);
    phone.addr = stream.local_addr().unwrap();
    let first = tcp(phone.request("REGISTER", "sip:127.0.0.1", "", ""));
    stream.write_all(first.as_bytes()).await.unwrap();
    let challenge = read(&mut stream, &server).await;
    let signed = phone.answer(&challenge, "REGISTER", "sip:127.0.0.1", 1);
    let second = tcp(phone.request("REGISTER", "sip:127.0.0.1", &signed, ""));
    stream.write_all(second.as_bytes()).await.unwrap();
    assert_eq!(read(&mut stream, &server).await.code(), 200);
    hand.advance(60_000);
    let mut rest = Vec::new();
    let closed = timeout(Duration::from_secs(5), stranger.read_to_end(&mut rest)).await;
    assert!(matches!(closed, Ok(Ok(0))), "{closed:?}");
    let options = tcp(phone.request("OPTIONS", "sip:127.0.0.1", "", ""));
    stream.write_all(options.as_bytes()).await.unwrap();
    assert_eq!(read(&mut stream, &server).await.code(), 200);
}

/// The next message on a stream, which comes in one piece.
async fn read(stream: &mut TcpStream, server: &Server) -> crate::harness::Msg {
    let mut buffer = vec![0; 8_192];
    let length = timeout(Duration::from_secs(5), stream.read(&mut buffer)).await.unwrap().unwrap();
    crate::harness::Msg { text: String::from_utf8_lossy(&buffer[..length]).into_owned(), from: server.sip }
}

#[tokio::test]
async fn a_trunk_by_name_keeps_to_one_connection() {
    let (clock, hand) = Clock::fake(1_800_000_000_000);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let by_name =
        TrunkTarget { host: "localhost".to_owned(), port: Some(port), transport: Transport::Tcp, any_transport: false };
    let mut config_of_trunk = trunk(vec![by_name]);
    config_of_trunk.ping = true;
    let ports = MapPorts::default();
    ports.trunks.lock().unwrap().push(config_of_trunk);
    let server = Server::with_clock(config(), ports, clock).await;
    let phone = server.phone("c").await;
    let (mut stream, _) = timeout(Duration::from_secs(5), listener.accept()).await.unwrap().unwrap();
    for _ in 0..3 {
        let question = read(&mut stream, &server).await;
        assert_eq!(question.method(), "OPTIONS");
        stream.write_all(phone.respond(&question, "200 OK", "", "").as_bytes()).await.unwrap();
        trunk_is(&server, TrunkState::Ready).await;
        // The trunk's own look-up of the name ends some time.
        tokio::time::sleep(Duration::from_millis(100)).await;
        hand.advance(30_000);
    }
    assert!(timeout(Duration::from_millis(100), listener.accept()).await.is_err(), "no other connection");
}

#[tokio::test]
async fn two_organisations_share_a_carrier_and_a_phone_sits_beside_it() {
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = carrier.local_addr().unwrap();
    let ports = MapPorts::default();
    for nth in 1..=2 {
        let mut theirs = trunk(vec![target(addr, Transport::Udp)]);
        (theirs.id, theirs.org) = (format!("trunk_{nth}").into(), format!("org_{nth}").into());
        theirs.username = Some(format!("account{nth}"));
        ports.trunks.lock().unwrap().push(theirs);
    }
    ports.numbers.lock().unwrap().insert("+442000000002".to_owned(), "org_2".into());
    let mut server = Server::with(config(), ports).await;
    trunk_is(&server, TrunkState::Ready).await;
    let mut phone = server.phone("+4915112345").await;
    (phone.socket, phone.addr) = (carrier, addr);
    for (to, org) in [("+442000000002", "org_2"), ("account2", "org_2"), ("account1", "org_1"), ("+4930", "org_1")] {
        phone.call_id = format!("call-to-{to}");
        let invite = phone.request("INVITE", &format!("sip:{to}@127.0.0.1"), "", &sdp(40_000, ""));
        phone.send(&invite).await;
        let (incoming, _events) = server.next_call().await;
        assert!(matches!(&incoming.source, voice::Source::Trunk { org: found, .. } if **found == *org), "{to}");
        incoming.leg.reject(486);
        phone.send(&crate::harness::ack_failure(&invite, &phone.expect(486).await)).await;
    }
    // A phone with the carrier's address proves itself like any other.
    phone.user = "1001".to_owned();
    phone.call_id = "call-of-a-phone".to_owned();
    phone.authorised("INVITE", "sip:2000@127.0.0.1", "", &sdp(40_000, "")).await;
    let (incoming, _events) = server.next_call().await;
    assert!(matches!(&incoming.source, voice::Source::Line(line) if &*line.extension == "1001"));
}

#[tokio::test]
async fn calls_that_were_taken_and_stay_silent_are_no_reason_to_refuse_others() {
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = carrier.local_addr().unwrap();
    let ports = MapPorts::default();
    ports.trunks.lock().unwrap().push(trunk(vec![target(addr, Transport::Udp)]));
    let mut config = config();
    config.rtp_ports = (30_000, 31_999);
    let mut server = Server::with(config, ports).await;
    trunk_is(&server, TrunkState::Ready).await;
    let mut phone = server.phone("+4915112345").await;
    (phone.socket, phone.addr) = (carrier, addr);
    let mut taken = Vec::new();
    for nth in 0..300 {
        phone.call_id = format!("silent-{nth}");
        let invite = phone.request("INVITE", "sip:+4420@127.0.0.1", "", &sdp(40_000, ""));
        phone.send(&invite).await;
        taken.push(server.next_call().await);
    }
    assert_eq!(taken.len(), 300);
}

#[tokio::test]
async fn a_call_by_uri_goes_where_it_may_and_nothing_breaks_its_first_line() {
    let server = Server::start().await;
    let phone = server.phone("1001").await;
    server.ports.closed.lock().unwrap().push(phone.addr);
    for host in ["127.0.0.1", "localhost"] {
        let uri = format!("sip:1001@{host}:{}", phone.addr.port());
        let (_leg, mut events) = server.dial(Target::Uri(uri), 5_000);
        assert_eq!(events.end().await.cause, Cause::Unreachable);
    }
    let broken = format!("sip:a\r\nX: y@{}", phone.addr);
    let (_leg, mut events) = server.dial(Target::Uri(broken), 5_000);
    assert_eq!(events.end().await.cause, Cause::InvalidNumber);
    assert!(phone.try_recv(Duration::from_millis(50)).await.is_none());
}
