//! Calls that go out.

use voice::Target;
use voice::cause::Cause;
use voice::leg::{EndedBy, LegEvent};

use crate::harness::{Msg, Phone, Server, ack_failure, sdp};

fn to(phone: &Phone) -> Target {
    Target::Uri(format!("sip:1001@{}", phone.addr))
}

async fn pick_up(phone: &Phone, invite: &Msg) {
    phone.send(&phone.respond(invite, "200 OK", "Allow: INVITE, UPDATE\r\n", &sdp(40_010, ""))).await;
    let ack = phone.expect_method("ACK").await;
    assert_eq!(ack.get("CSeq").split(' ').next(), invite.get("CSeq").split(' ').next());
    assert_eq!(ack.uri(), format!("sip:1001@{}", phone.addr));
}

#[tokio::test]
async fn we_call_ring_talk_and_hang_up() {
    let server = Server::start().await;
    let phone = server.phone("1001").await;
    let (leg, mut events) = server.dial(to(&phone), 30_000);
    let invite = phone.expect_method("INVITE").await;
    assert_eq!(invite.get("From").split(";tag=").next().unwrap(), "\"Tan \\\"D\\\" em\" <sip:2000@127.0.0.1>");
    for format in ["opus/48000/2", "G722/8000", "PCMU/8000", "PCMA/8000", "telephone-event/8000", "a=ptime:20"] {
        assert!(invite.body().contains(format), "{}", invite.text);
    }
    phone.send(&phone.respond(&invite, "180 Ringing", "", "")).await;
    assert!(matches!(events.next().await, LegEvent::Ringing));
    pick_up(&phone, &invite).await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
    leg.hangup(Cause::Normal);
    let bye = phone.expect_method("BYE").await;
    phone.send(&phone.respond(&bye, "200 OK", "", "")).await;
    assert_eq!(events.end().await.by, EndedBy::Local);
    server.settle().await;
}

#[tokio::test]
async fn every_failure_has_its_cause() {
    let server = Server::start().await;
    let phone = server.phone("1001").await;
    for (status, cause) in [
        ("486 Busy Here", Cause::Busy),
        ("603 Decline", Cause::Rejected),
        ("480 Gone", Cause::NoAnswer),
        ("404 Not Found", Cause::InvalidNumber),
        ("488 No", Cause::MediaIncompatible),
        ("503 Full", Cause::Congestion),
        ("407 Pay", Cause::TrunkAuth),
    ] {
        let (_leg, mut events) = server.dial(to(&phone), 30_000);
        // Plain RTP that is refused is followed by an offer of SRTP.
        for _ in 0..if cause == Cause::MediaIncompatible { 2 } else { 1 } {
            let invite = phone.expect_method("INVITE").await;
            phone.send(&phone.respond(&invite, status, "Reason: Q.850;cause=17;text=\"x\"\r\n", "")).await;
            phone.expect_method("ACK").await;
        }
        let end = events.end().await;
        assert_eq!((end.cause, end.by, end.q850), (cause, EndedBy::Remote, Some(17)), "{status}");
        assert_eq!(end.sip_code, status[..3].parse().ok());
        events.silent(20).await;
    }
    server.settle().await;
}

#[tokio::test]
async fn nobody_answers_in_time_and_the_call_is_cancelled() {
    let server = Server::start().await;
    let phone = server.phone("1001").await;
    let (_leg, mut events) = server.dial(to(&phone), 300);
    let invite = phone.expect_method("INVITE").await;
    phone.send(&phone.respond(&invite, "180 Ringing", "", "")).await;
    let cancel = phone.expect_method("CANCEL").await;
    assert_eq!(cancel.get("Via"), invite.get("Via"));
    phone.send(&phone.respond(&cancel, "200 OK", "", "")).await;
    phone.send(&phone.respond(&invite, "487 Request Terminated", "", "")).await;
    phone.expect_method("ACK").await;
    let end = events.end().await;
    assert_eq!((end.cause, end.by), (Cause::NoAnswer, EndedBy::Local));
    server.settle().await;
}

#[tokio::test]
async fn a_cancel_waits_for_a_sign_of_life_and_may_lose_the_race() {
    let server = Server::start().await;
    let phone = server.phone("1001").await;
    let (leg, mut events) = server.dial(to(&phone), 30_000);
    let invite = phone.expect_method("INVITE").await;
    leg.hangup(Cause::Canceled);
    assert_eq!(events.end().await.cause, Cause::Canceled);
    phone.send(&phone.respond(&invite, "100 Trying", "", "")).await;
    phone.expect_method("CANCEL").await;
    phone.send(&phone.respond(&invite, "200 OK", "", &sdp(40_010, ""))).await;
    phone.expect_method("ACK").await;
    let bye = phone.expect_method("BYE").await;
    phone.send(&phone.respond(&bye, "200 OK", "", "")).await;
    events.silent(50).await;
    server.settle().await;
}

#[tokio::test]
async fn the_first_fork_wins_and_the_others_are_hung_up() {
    let server = Server::start().await;
    let phone = server.phone("1001").await;
    let (leg, mut events) = server.dial(to(&phone), 30_000);
    let invite = phone.expect_method("INVITE").await;
    pick_up(&phone, &invite).await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
    let other = phone.respond(&invite, "200 OK", "", &sdp(40_020, "")).replace("tag=callee", "tag=fork");
    phone.send(&other).await;
    let ack = phone.expect_method("ACK").await;
    let bye = phone.expect_method("BYE").await;
    assert_eq!((ack.tag("To"), bye.tag("To")), ("fork", "fork"));
    // The winner's 2xx again: the same ACK again, and the call lives.
    phone.send(&phone.respond(&invite, "200 OK", "", &sdp(40_010, ""))).await;
    assert_eq!(phone.expect_method("ACK").await.tag("To"), "callee");
    events.silent(50).await;
    leg.hangup(Cause::Normal);
    assert_eq!(phone.expect_method("BYE").await.tag("To"), "callee");
}

#[tokio::test]
async fn reliable_progress_is_acknowledged_in_order() {
    let server = Server::start().await;
    let phone = server.phone("1001").await;
    let (_leg, mut events) = server.dial(to(&phone), 30_000);
    let invite = phone.expect_method("INVITE").await;
    assert!(invite.get("Supported").contains("100rel"));
    let early = phone.respond(&invite, "183 Progress", "Require: 100rel\r\nRSeq: 77\r\n", &sdp(40_010, ""));
    phone.send(&early).await;
    let prack = phone.expect_method("PRACK").await;
    assert_eq!(prack.get("RAck"), format!("77 {} INVITE", invite.get("CSeq").split(' ').next().unwrap()));
    assert!(matches!(events.next().await, LegEvent::EarlyMedia));
    phone.send(&early).await; // a repetition is not acknowledged anew
    phone.send(&phone.respond(&prack, "200 OK", "", "")).await;
    phone.send(&phone.respond(&invite, "180 Ringing", "Require: 100rel\r\nRSeq: 78\r\n", "")).await;
    assert!(phone.expect_method("PRACK").await.get("RAck").starts_with("78 "));
    assert!(matches!(events.next().await, LegEvent::Ringing));
    // The answer was in the 183; the 200 needs none.
    phone.send(&phone.respond(&invite, "200 OK", "", "")).await;
    phone.expect_method("ACK").await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
}

#[tokio::test]
async fn we_hold_and_glare_is_tried_again() {
    let server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let (leg, mut events) = server.dial(to(&phone), 30_000);
    let invite = phone.expect_method("INVITE").await;
    pick_up(&phone, &invite).await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
    leg.hold(true);
    let reinvite = phone.expect_method("INVITE").await;
    assert!(reinvite.body().contains("a=sendonly") && reinvite.body().contains("RTP/AVP 8 101"), "{}", reinvite.text);
    // Their own INVITE crosses ours.
    let theirs = phone.inside_called("INVITE", &invite, 1, "", &sdp(40_012, ""));
    phone.send(&theirs).await;
    let pending = phone.expect(491).await;
    phone.send(&ack_failure(&theirs, &pending)).await;
    phone.send(&phone.respond(&reinvite, "491 Request Pending", "", "")).await;
    phone.expect_method("ACK").await;
    let again = phone.expect_method("INVITE").await;
    assert!(again.body().contains("a=sendonly"));
    phone.send(&phone.respond(&again, "200 OK", "", &sdp(40_010, "a=recvonly\r\n"))).await;
    phone.expect_method("ACK").await;
    leg.hold(false);
    let resume = phone.expect_method("INVITE").await;
    assert!(resume.body().contains("a=sendrecv"));
    phone.send(&phone.respond(&resume, "200 OK", "", &sdp(40_010, ""))).await;
    phone.expect_method("ACK").await;
    events.silent(50).await;
}

#[tokio::test]
async fn we_refer_and_learn_how_it_went() {
    let server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let (leg, mut events) = server.dial(to(&phone), 30_000);
    let invite = phone.expect_method("INVITE").await;
    pick_up(&phone, &invite).await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
    leg.refer("sip:+4420@carrier.example");
    let refer = phone.expect_method("REFER").await;
    assert_eq!(refer.get("Refer-To"), "<sip:+4420@carrier.example>");
    phone.send(&phone.respond(&refer, "202 Accepted", "", "")).await;
    let fields =
        "Event: refer\r\nSubscription-State: terminated;reason=noresource\r\nContent-Type: message/sipfrag\r\n";
    let news = phone.inside_called("NOTIFY", &invite, 1, fields, "SIP/2.0 200 OK\r\n");
    phone.send(&news).await;
    phone.expect(200).await;
    assert!(matches!(events.next().await, LegEvent::TransferEnded { sip_code: 200 }));
    phone.expect_method("BYE").await;
    assert_eq!(events.end().await.cause, Cause::Normal);
}

#[tokio::test]
async fn a_peer_that_lost_the_dialog_ends_the_leg() {
    let server = Server::start().await;
    let phone = server.phone("1001").await;
    let (leg, mut events) = server.dial(to(&phone), 30_000);
    let invite = phone.expect_method("INVITE").await;
    pick_up(&phone, &invite).await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
    leg.hold(true);
    let reinvite = phone.expect_method("INVITE").await;
    phone.send(&phone.respond(&reinvite, "481 Unknown", "", "")).await;
    phone.expect_method("ACK").await;
    phone.expect_method("BYE").await;
    assert_eq!(events.end().await.cause, Cause::Unreachable);
    server.settle().await;
}
