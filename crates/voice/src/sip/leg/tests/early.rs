//! What comes before the answer: early dialogs, reliable progress, hops that fail.

use super::*;
use crate::ports::Secret;
use crate::sip::leg::Login;

const RELIABLE: &str = "Require: 100rel\r\n";

/// The codec that media was last told of.
fn media(bench: &Bench) -> Option<CodecKind> {
    bench.out.iter().rev().find_map(|action| match action {
        Action::Media(remote) => Some(remote.codec),
        _ => None,
    })
}

fn hang_ups(bench: &Bench) -> usize {
    bench.out.iter().filter(|action| matches!(action, Action::Request { method: Method::Bye, .. })).count()
}

fn pcma() -> String {
    SDP.replace("RTP/AVP 0 101", "RTP/AVP 8 101")
}

#[test]
fn the_answer_may_name_another_codec_than_the_progress_did() {
    for tag in ["peer", "fork"] {
        let mut bench = calling(&["a"]);
        let invite = bench.sent(Method::Invite).unwrap();
        bench.respond(&invite, 183, "", SDP);
        assert_eq!(media(&bench), Some(CodecKind::Pcmu));
        bench.respond_as(tag, &invite, 200, "", &pcma());
        assert_eq!((media(&bench), hang_ups(&bench)), (Some(CodecKind::Pcma), 0), "{tag}");
        assert!(matches!(bench.events()[..], [LegEvent::Answered { codec: CodecKind::Pcma }]), "{tag}");
    }
}

#[test]
fn the_next_hop_is_offered_everything_again() {
    let mut bench = calling(&["a", "b"]);
    let first = bench.sent(Method::Invite).unwrap();
    bench.respond(&first, 199, "", SDP);
    bench.respond(&first, 503, "", "");
    dialled(&mut bench);
    let second = bench.sent(Method::Invite).unwrap();
    let formats = |sent: &(Message, String, Purpose)| {
        let body = String::from_utf8_lossy(&sent.0.body).into_owned();
        body.lines().find(|line| line.starts_with("m=audio")).unwrap().to_owned()
    };
    assert_eq!(formats(&second), formats(&first));
    assert!(second.0.to_tag().is_none());
    bench.respond(&second, 200, "", &pcma());
    assert!(matches!(bench.events()[..], [LegEvent::Answered { codec: CodecKind::Pcma }]));
}

#[test]
fn every_phone_that_rings_is_acknowledged_and_heard() {
    let mut bench = calling(&["a"]);
    let invite = bench.sent(Method::Invite).unwrap();
    let seq = invite.0.cseq().unwrap().0;
    for (tag, rseq) in [("one", 1), ("two", 7), ("one", 2), ("two", 8)] {
        bench.respond_as(tag, &invite, 180, &format!("{RELIABLE}RSeq: {rseq}\r\n"), "");
        let prack = bench.sent(Method::Prack).unwrap().0;
        assert_eq!(prack.to_tag(), Some(tag));
        assert_eq!(prack.field(Name::RAck), Some(format!("{rseq} {seq} INVITE").as_str()), "{tag}");
        bench.respond_as(tag, &invite, 180, &format!("{RELIABLE}RSeq: {rseq}\r\n"), "");
        assert!(bench.sent(Method::Prack).is_none(), "once");
    }
    // Either may change its media before anybody has answered.
    bench.respond_as("one", &invite, 183, &format!("{RELIABLE}RSeq: 3\r\n"), SDP);
    bench.respond_as("two", &invite, 183, &format!("{RELIABLE}RSeq: 9\r\n"), &pcma());
    assert!(bench.leg.knows("one") && bench.leg.knows("two") && !bench.leg.knows("three"));
    for (seq, tag, body, codec) in [(1, "one", SDP, CodecKind::Pcmu), (1, "two", &pcma(), CodecKind::Pcma)] {
        bench.ask_as(tag, Method::Update, seq, "", body);
        assert_eq!((bench.answered().unwrap().code(), media(&bench)), (200, Some(codec)), "{tag}");
    }
    // The first one wins, though the second spoke last: its media is heard again.
    bench.respond_as("one", &invite, 200, "", "");
    assert_eq!(media(&bench), Some(CodecKind::Pcmu));
    assert!(matches!(bench.events()[..], [LegEvent::Answered { codec: CodecKind::Pcmu }]));
    assert!(!bench.leg.knows("two"));
    bench.respond_as("two", &invite, 200, "", &pcma());
    assert_eq!((bench.acks(), hang_ups(&bench)), (1, 1), "the second is hung up");
}

#[test]
fn an_endless_row_of_phones_is_not_kept() {
    let mut bench = calling(&["a"]);
    let invite = bench.sent(Method::Invite).unwrap();
    let acknowledged = (0..50).filter(|n| {
        bench.respond_as(&format!("t{n}"), &invite, 180, &format!("{RELIABLE}RSeq: 1\r\n"), "");
        bench.sent(Method::Prack).is_some()
    });
    assert_eq!(acknowledged.count(), 9);
    bench.respond_as("t49", &invite, 200, "", SDP);
    assert!(matches!(bench.events()[..], [LegEvent::Answered { .. }]), "but any may answer");
}

#[test]
fn an_answer_that_was_reliable_is_not_given_again() {
    let mut bench = calling(&["a"]);
    let invite = bench.sent(Method::Invite).unwrap();
    bench.respond(&invite, 183, &format!("{RELIABLE}RSeq: 1\r\n"), SDP);
    bench.ask(Method::Update, 5, "", &pcma());
    assert_eq!(media(&bench), Some(CodecKind::Pcma));
    bench.respond(&invite, 180, "", &SDP.replace("4000", "4002"));
    assert_eq!(media(&bench), None);
    bench.respond(&invite, 200, "", &SDP.replace("4000", "4002"));
    assert_eq!(media(&bench), None, "what the UPDATE agreed on stays");
    assert!(matches!(bench.events()[..], [LegEvent::Answered { codec: CodecKind::Pcma }]));
}

#[test]
fn an_invite_that_is_sent_again_knows_nothing_of_early_dialogs() {
    let invite =
        "INVITE sip:x@h SIP/2.0\r\nFrom: <sip:us@h>;tag=ours\r\nTo: <sip:p@h>\r\nCall-ID: c\r\nCSeq: 0 INVITE\r\n\r\n";
    let dialog = Dialog::of_invite(&Message::parse(invite.as_bytes()).unwrap(), path());
    let login = Login::new("us".to_owned(), Secret::new("pw".to_owned()));
    let mut bench =
        start(SipLeg::calling(dialog, session(), Caller::new(vec![hop("a")], Vec::new(), 60_000), Some(login)));
    for (code, fields) in [(407, "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n"), (422, "Min-SE: 2000\r\n")]
    {
        let invite = bench.sent(Method::Invite).unwrap();
        bench.respond(&invite, 183, "Record-Route: <sip:proxy;lr>\r\n", SDP);
        bench.respond(&invite, code, fields, "");
        let again = bench.sent(Method::Invite).unwrap().0;
        assert_eq!((again.to_tag(), again.request_uri()), (None, "sip:1@a"), "{code}");
        assert_eq!(again.field(Name::Route), None, "{code}");
        assert_eq!(again.body, invite.0.body, "{code}: everything is offered again");
    }
    // The ACK carries what the INVITE was signed with.
    let signed = bench.sent(Method::Invite).unwrap();
    let credentials = signed.0.field(Name::ProxyAuthorization).unwrap().to_owned();
    bench.respond(&signed, 200, "", SDP);
    let ack = bench.out.iter().find_map(|action| match action {
        Action::Acknowledge { bytes, .. } => Some(Message::parse(bytes).unwrap()),
        _ => None,
    });
    assert_eq!(ack.unwrap().field(Name::ProxyAuthorization), Some(credentials.as_str()));
}
