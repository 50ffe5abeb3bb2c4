//! Calls that come in.

use voice::Source;
use voice::cause::Cause;
use voice::leg::{EndedBy, LegEvent, Replaced};

use crate::harness::{Msg, Phone, Server, ack_failure, cancel, sdp};

/// A call that is up: the server's leg and events, the phone's INVITE text and the 200.
async fn established(
    server: &mut Server,
    phone: &mut Phone,
    fields: &str,
) -> (voice::Incoming, crate::harness::Events, Msg) {
    phone.authorised("INVITE", "sip:2000@127.0.0.1", fields, &sdp(40_000, "")).await;
    let (incoming, mut events) = server.next_call().await;
    incoming.leg.ring();
    incoming.leg.answer();
    phone.expect(180).await;
    let ok = phone.expect(200).await;
    let seq = phone.seq;
    let ack = phone.inside("ACK", &ok, seq, "", "");
    phone.send(&ack).await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
    (incoming, events, ok)
}

#[tokio::test]
async fn a_phone_calls_talks_and_hangs_up() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let (incoming, mut events, ok) = established(&mut server, &mut phone, "").await;
    assert_eq!(incoming.to_user, "2000");
    assert!(matches!(&incoming.source, Source::Line(identity) if &*identity.extension == "1001"));
    assert!(ok.body().contains("m=audio") && ok.body().contains("RTP/AVP 8 101"), "{}", ok.text);
    assert!(!ok.body().contains("PCMU"), "one codec in an answer");
    assert!(ok.body().contains("c=IN IP4 127.0.0.1"));
    let bye = phone.inside("BYE", &ok, 10, "Reason: Q.850;cause=16\r\n", "");
    phone.send(&bye).await;
    phone.expect(200).await;
    let end = events.end().await;
    assert_eq!((end.cause, end.by, end.q850), (Cause::Normal, EndedBy::Remote, Some(16)));
    events.silent(100).await;
    drop(incoming);
    server.settle().await;
}

#[tokio::test]
async fn we_hang_up_and_the_reason_says_why() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let (incoming, mut events, _) = established(&mut server, &mut phone, "").await;
    incoming.leg.hangup(Cause::TimeLimit);
    let bye = phone.expect_method("BYE").await;
    assert!(bye.get("Reason").contains("Q.850;cause=16"), "{}", bye.text);
    assert_eq!(bye.from, server.sip);
    phone.send(&phone.respond(&bye, "200 OK", "", "")).await;
    let end = events.end().await;
    assert_eq!((end.cause, end.by), (Cause::TimeLimit, EndedBy::Local));
    server.settle().await;
}

#[tokio::test]
async fn a_caller_cancels_while_it_rings() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let invite = phone.authorised("INVITE", "sip:2000@127.0.0.1", "", &sdp(40_000, "")).await;
    let (incoming, mut events) = server.next_call().await;
    incoming.leg.ring();
    phone.expect(180).await;
    phone.send(&cancel(&invite)).await;
    let (mut ok, mut terminated) = (false, false);
    while !(ok && terminated) {
        let message = phone.response().await;
        match (message.code(), message.get("CSeq").ends_with("CANCEL")) {
            (200, true) => ok = true,
            (487, false) => {
                terminated = true;
                phone.send(&ack_failure(&invite, &message)).await;
            }
            _ => panic!("{}", message.text),
        }
    }
    let end = events.end().await;
    assert_eq!((end.cause, end.by, end.sip_code), (Cause::Canceled, EndedBy::Remote, Some(487)));
    incoming.leg.answer();
    events.silent(100).await;
    drop(incoming);
    server.settle().await;
}

#[tokio::test]
async fn a_call_is_rejected_and_a_dropped_one_refused() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let invite = phone.authorised("INVITE", "sip:2000@127.0.0.1", "", &sdp(40_000, "")).await;
    let (incoming, mut events) = server.next_call().await;
    incoming.leg.reject(486);
    let busy = phone.expect(486).await;
    phone.send(&ack_failure(&invite, &busy)).await;
    assert_eq!(events.end().await.cause, Cause::Busy);
    drop(incoming);

    let invite = phone.authorised("INVITE", "sip:2000@127.0.0.1", "", &sdp(40_000, "")).await;
    let (incoming, _) = server.next_call().await;
    drop(incoming);
    let refused = phone.response().await;
    assert!(refused.code() >= 400, "{}", refused.text);
    phone.send(&ack_failure(&invite, &refused)).await;
    server.settle().await;
}

#[tokio::test]
async fn early_media_comes_before_the_answer() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    phone.authorised("INVITE", "sip:2000@127.0.0.1", "", &sdp(40_000, "")).await;
    let (incoming, _events) = server.next_call().await;
    incoming.leg.early_media();
    let early = phone.expect(183).await;
    assert!(early.body().contains("m=audio") && early.get("Require").is_empty());
    incoming.leg.answer();
    let ok = phone.expect(200).await;
    assert_eq!(early.body(), ok.body(), "the same answer twice, unreliable and reliable");
}

#[tokio::test]
async fn nothing_in_common_is_488_and_unknown_bodies_are_415() {
    let server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let video = sdp(40_000, "").replace("m=audio", "m=video");
    let invite = phone.authorised("INVITE", "sip:2000@127.0.0.1", "", &video).await;
    let refused = phone.expect(488).await;
    phone.send(&ack_failure(&invite, &refused)).await;
    let mut plain = phone.request("INVITE", "sip:2000@127.0.0.1", "", "hello");
    plain = plain.replace("application/sdp", "text/plain");
    phone.send(&plain).await;
    assert_eq!(phone.expect(415).await.get("Accept"), "application/sdp");
    server.settle().await;
}

#[tokio::test]
async fn a_call_without_an_offer_gets_ours() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    phone.authorised("INVITE", "sip:2000@127.0.0.1", "", "").await;
    let (incoming, mut events) = server.next_call().await;
    incoming.leg.answer();
    let ok = phone.expect(200).await;
    for format in ["PCMU/8000", "PCMA/8000", "G722/8000", "opus/48000/2", "telephone-event/48000"] {
        assert!(ok.body().contains(format), "{}", ok.text);
    }
    let seq = phone.seq;
    let ack = phone.inside("ACK", &ok, seq, "", &sdp(40_002, ""));
    phone.send(&ack).await;
    match events.next().await {
        LegEvent::Answered { codec } => assert_eq!(codec, media::codec::CodecKind::Pcma),
        other => panic!("{other:?}"),
    }
    incoming.leg.hangup(Cause::Normal);
    phone.expect_method("BYE").await;
}

#[tokio::test]
async fn hold_and_resume_by_reinvite_and_the_old_way() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let (_incoming, mut events, ok) = established(&mut server, &mut phone, "").await;
    for (seq, body, direction, held) in [
        (10, sdp(40_000, "a=sendonly\r\n"), "a=recvonly", true),
        (11, sdp(40_000, "a=sendrecv\r\n"), "a=sendrecv", false),
        (12, sdp(40_000, "").replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0"), "a=recvonly", true),
        (13, sdp(40_002, ""), "a=sendrecv", false),
        (14, sdp(40_002, "a=inactive\r\n"), "a=inactive", true),
    ] {
        let reinvite = phone.inside("INVITE", &ok, seq, "", &body);
        phone.send(&reinvite).await;
        let answer = phone.expect(200).await;
        assert!(answer.body().contains(direction), "{seq}: {}", answer.text);
        let ack = phone.inside("ACK", &ok, seq, "", "");
        phone.send(&ack).await;
        match events.next().await {
            LegEvent::Held => assert!(held, "{seq}"),
            LegEvent::Resumed => assert!(!held, "{seq}"),
            other => panic!("{seq}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn digits_come_by_info_in_both_spellings() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let (_incoming, mut events, ok) = established(&mut server, &mut phone, "").await;
    for (seq, kind, body, expected) in [
        (10, "application/dtmf-relay", "Signal=5\r\nDuration=250\r\n", Some(('5', 250))),
        (11, "application/dtmf-relay", "Signal= 11\r\n", Some(('#', 160))),
        (12, "application/dtmf", "*", Some(('*', 160))),
        (13, "application/dtmf-relay", "Signal=q\r\n", None),
    ] {
        let info = phone.inside("INFO", &ok, seq, &format!("Content-Type: {kind}\r\n"), body);
        phone.send(&info).await;
        phone.expect(if expected.is_some() { 200 } else { 400 }).await;
        if let Some(expected) = expected {
            match events.next().await {
                LegEvent::Dtmf { symbol, duration_ms } => assert_eq!((symbol, duration_ms), expected),
                other => panic!("{other:?}"),
            }
        }
    }
    let other = phone.inside("INFO", &ok, 14, "Content-Type: text/plain\r\n", "x");
    phone.send(&other).await;
    phone.expect(415).await;
}

#[tokio::test]
async fn a_phone_asks_for_a_transfer_and_hears_how_it_went() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let (incoming, mut events, ok) = established(&mut server, &mut phone, "").await;
    let to = "Refer-To: <sip:1003@127.0.0.1?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\n";
    let refer = phone.inside("REFER", &ok, 10, to, "");
    phone.send(&refer).await;
    phone.expect(202).await;
    let news = phone.expect_method("NOTIFY").await;
    assert!(
        news.body().starts_with("SIP/2.0 100") && news.get("Subscription-State").starts_with("active"),
        "{}",
        news.text
    );
    assert_eq!(news.get("Event"), "refer;id=10");
    phone.send(&phone.respond(&news, "200 OK", "", "")).await;
    match events.next().await {
        LegEvent::TransferRequested { to, replaces } => {
            assert_eq!((to.as_str(), replaces), ("sip:1003@127.0.0.1", Some(Replaced::Stranger)));
        }
        other => panic!("{other:?}"),
    }
    incoming.leg.accept_transfer(true);
    let last = phone.expect_method("NOTIFY").await;
    assert!(last.body().starts_with("SIP/2.0 200") && last.get("Subscription-State").starts_with("terminated"));
}

#[tokio::test]
async fn a_transfer_with_consultation_names_the_leg_that_it_replaces() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let (first, mut events, ok) = established(&mut server, &mut phone, "").await;
    let mut asks = async |replaces: &str, seq: u32| {
        let replaces = replaces.replace(';', "%3B").replace('=', "%3D");
        let to = format!("Refer-To: <sip:1003@127.0.0.1?Replaces={replaces}>\r\n");
        let refer = phone.inside("REFER", &ok, seq, &to, "");
        phone.send(&refer).await;
        phone.expect(202).await;
        let news = phone.expect_method("NOTIFY").await;
        phone.send(&phone.respond(&news, "200 OK", "", "")).await;
        match events.next().await {
            LegEvent::TransferRequested { to, replaces: Some(replaced) } => {
                assert_eq!(to, "sip:1003@127.0.0.1");
                replaced
            }
            other => panic!("{other:?}"),
        }
    };
    let mut consulting = server.phone("1001").await;
    let (second, _events, second_ok) = established(&mut server, &mut consulting, "").await;
    let named = format!("{};to-tag={};from-tag=phonetag", consulting.call_id, second_ok.tag("To"));
    let replaced = asks(&named, 10).await;
    assert_eq!(replaced, Replaced::Leg(second.leg.id().clone()));
    first.leg.accept_transfer(false);
    let declined = phone.expect_method("NOTIFY").await;
    assert!(declined.body().starts_with("SIP/2.0 603"));
}

#[tokio::test]
async fn what_replaces_no_dialog_of_ours_is_a_strangers() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let (incoming, mut events, ok) = established(&mut server, &mut phone, "").await;
    let own = format!("{};to-tag={};from-tag=another", phone.call_id, ok.tag("To"));
    for (seq, value) in [(10, "a@b;to-tag=1;from-tag=2"), (11, "nonsense"), (12, &own)] {
        let value = value.replace(';', "%3B").replace('=', "%3D");
        let to = format!("Refer-To: <sip:1003@127.0.0.1?Replaces={value}>\r\n");
        let refer = phone.inside("REFER", &ok, seq, &to, "");
        phone.send(&refer).await;
        phone.expect(202).await;
        let news = phone.expect_method("NOTIFY").await;
        phone.send(&phone.respond(&news, "200 OK", "", "")).await;
        let event = events.next().await;
        assert!(
            matches!(&event, LegEvent::TransferRequested { replaces: Some(Replaced::Stranger), .. }),
            "{value}: {event:?}"
        );
        incoming.leg.accept_transfer(false);
        let last = phone.expect_method("NOTIFY").await;
        phone.send(&phone.respond(&last, "200 OK", "", "")).await;
    }
}

#[tokio::test]
async fn unknown_dialogs_are_481_and_only_a_phone_takes_an_answered_ones_place() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let bye =
        phone.request("BYE", "sip:127.0.0.1", "", "").replace("To: <sip:127.0.0.1>", "To: <sip:x@127.0.0.1>;tag=1.2");
    phone.send(&bye).await;
    phone.expect(481).await;

    let (first, _events, ok) = established(&mut server, &mut phone, "").await;
    assert!(ok.get("Supported").contains("replaces"));
    let good = format!("Replaces: {};to-tag={};from-tag=phonetag\r\n", phone.call_id, ok.tag("To"));
    let early = good.replace("\r\n", ";early-only\r\n");
    let stranger = "Replaces: a@b;to-tag=1.2;from-tag=3\r\n".to_owned();
    for (fields, status) in [(format!("{good}{good}"), 400), (stranger, 481), (early, 486)] {
        let mut third = server.phone("1003").await;
        third.authorised("INVITE", "sip:2000@127.0.0.1", &fields, &sdp(40_004, "")).await;
        third.expect(status).await;
    }
    let mut third = server.phone("1003").await;
    let fields = format!("Require: replaces\r\n{good}");
    third.authorised("INVITE", "sip:2000@127.0.0.1", &fields, &sdp(40_004, "")).await;
    let (incoming, _) = server.next_call().await;
    assert_eq!(incoming.replaces.as_ref(), Some(first.leg.id()));
}

#[tokio::test]
async fn an_offer_among_other_parts_is_an_offer() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let parts = |kind: &str| {
        let other = "--b1\r\nContent-Type: application/isup;version=itu\r\n\r\nISUP\r\n";
        format!("{other}--b1\r\nContent-Type: {kind}\r\n\r\n{}\r\n--b1--\r\n", sdp(40_000, ""))
    };
    let typed = |invite: String| {
        invite.replacen("Content-Type: application/sdp", "Content-Type: multipart/mixed;boundary=b1", 1)
    };
    let uri = "sip:2000@127.0.0.1";
    let none = typed(phone.request("INVITE", uri, "", &parts("text/plain")));
    phone.send(&none).await;
    assert_eq!(phone.expect(415).await.get("Accept"), "application/sdp");
    let first = typed(phone.request("INVITE", uri, "", &parts("application/sdp")));
    phone.send(&first).await;
    let challenge = phone.expect(401).await;
    phone.send(&ack_failure(&first, &challenge)).await;
    let signed = phone.answer(&challenge, "INVITE", uri, 1);
    let second = typed(phone.request("INVITE", uri, &signed, &parts("application/sdp")));
    phone.send(&second).await;
    let (incoming, _) = server.next_call().await;
    incoming.leg.answer();
    assert!(phone.expect(200).await.body().contains("RTP/AVP 8 101"), "the offer's codec is answered");
}
