//! Carriers: a registration with digest, calls in and out, trunks that are young or whose server is.

use std::time::Duration;

use tokio::net::UdpSocket;
use voice::Target;
use voice::cause::Cause;
use voice::leg::LegEvent;
use voice::ports::{Secret, TrunkState};

use crate::harness::{MapPorts, Server, config, sdp, udp_trunk};

#[tokio::test]
async fn a_trunk_registers_with_digest_and_refreshes() {
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = carrier.local_addr().unwrap();
    let mut config = udp_trunk(&[addr]);
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
    ports.trunks.lock().unwrap().push(udp_trunk(&[addr]));
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
    let mut config = udp_trunk(&[addr]);
    config.username = Some("acct".to_owned());
    let mut server = Server::with_trunk(config).await;
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
    server.ports.trunks.lock().unwrap().push(udp_trunk(&[addr]));
    let to = |trunk: &str| Target::Trunk { trunk: trunk.into(), number: "+4420".to_owned() };
    let (_leg, _events) = server.dial(to("trunk_1"), 20_000);
    assert_eq!(phone.expect_method("INVITE").await.uri(), format!("sip:+4420@{addr}"));
    let (_leg, mut events) = server.dial(to("trunk_none"), 20_000);
    assert_eq!(events.end().await.cause, Cause::NoRoute);
}
