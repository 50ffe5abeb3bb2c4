//! What those who have proven nothing can do to the server, and to others.

use std::time::Duration;

use voice::leg::LegEvent;

use crate::harness::{MapPorts, Server, ack_failure, config, sdp};

const FORGED: &str = "Authorization: Digest username=\"1001\", realm=\"tandem\", nonce=\"0123456789ab\", \
                      uri=\"sip:2000@127.0.0.1\", response=\"0\", algorithm=MD5\r\n";

#[tokio::test]
async fn a_forged_answer_gets_one_challenge_and_no_transaction() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let invite = phone.request("INVITE", "sip:2000@127.0.0.1", FORGED, &sdp(40_000, ""));
    phone.send(&invite).await;
    let challenge = phone.expect(401).await;
    assert!(challenge.get("WWW-Authenticate").contains("stale=true"), "an honest phone tries again unasked");
    assert_eq!(server.voice.stats().transactions, 0);
    // The source may be forged: nothing is repeated to it.
    assert!(phone.try_recv(Duration::from_millis(700)).await.is_none());

    // A true answer that another address overheard is worth no more there.
    phone.send(&ack_failure(&invite, &challenge)).await;
    let signed = phone.answer(&challenge, "INVITE", "sip:2000@127.0.0.1", 1);
    let mut redirected = phone.request("INVITE", "sip:+4490012345@127.0.0.1", &signed, &sdp(40_000, ""));
    phone.send(&redirected).await;
    phone.expect(400).await;
    redirected = phone.request("INVITE", "sip:2000@127.0.0.1", &signed, &sdp(40_000, ""));
    phone.send(&redirected).await;
    server.next_call().await;
}

#[tokio::test]
async fn strangers_take_no_turn_of_those_who_may_call() {
    let mut config = config();
    config.limits.calls_per_second = 4;
    let mut server = Server::with(config, MapPorts::default()).await;
    let mut stranger = server.phone("6666").await;
    for nth in 0..40 {
        stranger.call_id = format!("flood-{nth}");
        let signed = if nth % 2 == 0 { FORGED } else { "" };
        let invite = stranger.request("INVITE", "sip:2000@127.0.0.1", signed, &sdp(40_000, ""));
        stranger.send(&invite).await;
        stranger.expect(401).await;
    }
    let mut phone = server.phone("1001").await;
    phone.authorised("INVITE", "sip:2000@127.0.0.1", "", &sdp(40_000, "")).await;
    let (incoming, mut events) = server.next_call().await;
    incoming.leg.answer();
    let ok = phone.expect(200).await;
    let seq = phone.seq;
    let ack = phone.inside("ACK", &ok, seq, "", "");
    phone.send(&ack).await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
}

#[tokio::test]
async fn a_stranger_s_host_is_asked_for_once() {
    let server = Server::start().await;
    let mut phone = server.phone("1001").await;
    for _ in 0..5 {
        let request = phone
            .request("REGISTER", "sip:other.example", "", "")
            .replace("sip:1001@127.0.0.1", "sip:1001@other.example");
        phone.send(&request).await;
        phone.expect(403).await;
    }
    assert_eq!(*server.ports.hosts_asked.lock().unwrap(), ["other.example"]);
}
