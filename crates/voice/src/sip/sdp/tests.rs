//! Offers and answers: what phones really send, and what must not be agreed.

use media::codec::CodecKind::{G722, Opus, Pcma, Pcmu};

use super::*;

fn session(protection: Protection) -> Session {
    let codecs = vec![Pcmu, Pcma, G722, Opus];
    Session::new("10.0.0.1:10000".parse().unwrap(), 7, codecs, protection, Ids::seeded(7))
}

fn offer(proto: &str, formats: &str, attributes: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 {proto} {formats}\r\n{attributes}"
    )
}

const LINPHONE: &str = "v=0\r\no=a 1 2 IN IP4 192.0.2.1\r\ns=Talk\r\nc=IN IP4 192.0.2.1\r\nb=AS:380\r\nt=0 0\r\n\
    a=rtcp-xr:rcvr-rtt=all:10000\r\na=record:off\r\nm=audio 7078 RTP/AVPF 96 97 0 8 9 101 99\r\na=rtpmap:96 opus/48000/2\r\n\
    a=fmtp:96 useinbandfec=1\r\na=rtpmap:97 speex/16000\r\na=rtpmap:101 telephone-event/48000\r\na=rtpmap:99 telephone-event/8000\r\n\
    a=rtcp:7099\r\na=rtcp-fb:* trr-int 1000\r\nm=video 9078 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n";

#[test]
fn the_first_codec_that_both_speak_is_answered_alone_with_the_offers_numbers() {
    let mut session = session(Protection::AsOffered);
    let answer = session.answer(LINPHONE.as_bytes()).unwrap();
    assert!(answer.contains("m=audio 10000 RTP/AVPF 96 101\r\na=rtpmap:96 opus/48000/2\r\n"), "{answer}");
    assert!(answer.contains("a=rtpmap:101 telephone-event/48000\r\n") && !answer.contains("telephone-event/8000"));
    assert!(answer.ends_with("m=video 0 RTP/AVP 96\r\n"), "an unknown stream is refused in its place: {answer}");
    let remote = session.remote().unwrap();
    assert_eq!((remote.codec, remote.payload_in, remote.payload_out), (Opus, 96, 96));
    assert_eq!((remote.rtp.port(), remote.rtcp.unwrap().port(), remote.rtcp_mux), (7078, 7099, false));
    assert_eq!(remote.events.unwrap().clock_rate, 48_000);
}

#[test]
fn events_go_with_the_codec_and_at_8000_when_there_are_no_others() {
    let mut session = session(Protection::AsOffered);
    session
        .answer(
            offer("RTP/AVP", "96 101", "a=rtpmap:96 OPUS/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n").as_bytes(),
        )
        .unwrap();
    let events = session.remote().unwrap().events.unwrap();
    assert_eq!((events.payload_in, events.clock_rate), (101, 8_000));
    session.answer(offer("RTP/AVP", "0", "").as_bytes()).unwrap();
    assert!(session.remote().unwrap().events.is_none());
}

#[test]
fn our_offer_names_everything_and_the_answer_picks_by_its_own_numbers() {
    let mut session = session(Protection::AsOffered);
    let ours = session.offer();
    assert!(ours.contains("m=audio 10000 RTP/AVP 0 8 9 96 101 102\r\n"), "{ours}");
    assert!(ours.contains("o=- 7 1 IN IP4 10.0.0.1\r\n"));
    assert_eq!(session.offer(), ours, "the same again has the same version");
    let answer = offer("RTP/AVP", "111 8 110", "a=rtpmap:111 opus/48000/2\r\na=rtpmap:110 telephone-event/48000\r\n");
    session.accept_answer(answer.as_bytes()).unwrap();
    let remote = session.remote().unwrap();
    assert_eq!((remote.codec, remote.payload_in, remote.payload_out), (Opus, 96, 111));
    let events = remote.events.unwrap();
    assert_eq!((events.payload_in, events.payload_out), (102, 110));
    // Later offers keep to what is in use.
    session.hold(true);
    let hold = session.offer();
    assert!(hold.contains("m=audio 10000 RTP/AVP 96 102\r\n") && hold.contains("a=sendonly"), "{hold}");
    assert!(hold.contains("o=- 7 2 IN IP4"));
}

#[test]
fn nothing_in_common_leaves_what_was_agreed() {
    let mut session = session(Protection::AsOffered);
    session.answer(offer("RTP/AVP", "8", "").as_bytes()).unwrap();
    for bad in [
        offer("RTP/AVP", "18", ""),
        offer("RTP/AVP", "0", "").replace("m=audio 4000", "m=audio 0"),
        offer("UDP/TLS/RTP/SAVP", "0", ""),
        offer("RTP/SAVP", "0", ""),
        offer("RTP/SAVP", "0", "a=crypto:1 F8_128_HMAC_SHA1_80 inline:AAAA\r\n"),
        offer("RTP/AVP", "96", "a=rtpmap:96 opus/8000\r\n"),
        offer("RTP/AVP", "0", "").replace("192.0.2.1", "not-an-address.example"),
    ] {
        assert_eq!(session.answer(bad.as_bytes()), Err(SdpError::NothingInCommon), "{bad}");
    }
    assert_eq!(session.answer(b"nonsense"), Err(SdpError::Malformed));
    assert_eq!(session.remote().unwrap().codec, Pcma);
}

#[test]
fn hold_comes_in_every_spelling() {
    for (attributes, address, answered, held) in [
        ("a=sendrecv\r\n", "192.0.2.1", "sendrecv", false),
        ("a=sendonly\r\n", "192.0.2.1", "recvonly", true),
        ("a=recvonly\r\n", "192.0.2.1", "sendonly", false),
        ("a=inactive\r\n", "192.0.2.1", "inactive", true),
        ("", "0.0.0.0", "recvonly", true),
        ("a=inactive\r\n", "0.0.0.0", "inactive", true),
    ] {
        let mut session = session(Protection::AsOffered);
        let answer =
            session.answer(offer("RTP/AVP", "0", attributes).replace("192.0.2.1", address).as_bytes()).unwrap();
        assert!(answer.contains(&format!("a={answered}\r\n")), "{attributes} {address}: {answer}");
        assert_eq!(session.is_held(), held, "{attributes} {address}");
        let mut holding = self::session(Protection::AsOffered);
        holding.hold(true);
        let answer =
            holding.answer(offer("RTP/AVP", "0", attributes).replace("192.0.2.1", address).as_bytes()).unwrap();
        let both = if held { "inactive" } else { "sendonly" };
        assert!(answer.contains(&format!("a={both}\r\n")), "holding, {attributes} {address}: {answer}");
    }
    // A direction of the whole session holds for its streams.
    let mut session = session(Protection::AsOffered);
    session.answer(offer("RTP/AVP", "0", "").replace("t=0 0\r\n", "t=0 0\r\na=sendonly\r\n").as_bytes()).unwrap();
    assert!(session.is_held());
}

fn crypto(tag: u32, suite: Suite, byte: u8) -> String {
    format!("a=crypto:{}\r\n", SdesLine { tag, suite, keys: Keys([byte; 30]) }.format())
}

fn sdes(session: &Session) -> SrtpKeys {
    match &session.remote().unwrap().protection {
        runner::Protection::Sdes(keys) => keys.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn srtp_is_answered_on_the_line_that_we_know() {
    let lines = format!(
        "a=crypto:1 AES_256_CM_HMAC_SHA1_80 inline:AAAA\r\n{}{}",
        crypto(2, Suite::AesCm128HmacSha1_32, 5),
        crypto(3, Suite::AesCm128HmacSha1_80, 6)
    );
    let mut session = session(Protection::AsOffered);
    let answer = session.answer(offer("RTP/SAVP", "0", &lines).as_bytes()).unwrap();
    assert!(answer.contains("m=audio 10000 RTP/SAVP 0\r\n"));
    let [ours] = &own_lines(&answer)[..] else { panic!("{answer}") };
    assert_eq!((ours.tag, ours.suite), (2, Suite::AesCm128HmacSha1_32));
    let keys = sdes(&session);
    assert_eq!((&keys.local, &keys.remote.keys), (ours, &Keys([5; 30])));
    // A refresh of the peer's keeps our key.
    let again = session.answer(offer("RTP/SAVP", "0", &crypto(2, Suite::AesCm128HmacSha1_32, 9)).as_bytes()).unwrap();
    assert_eq!(own_lines(&again)[0], *ours);
    assert_eq!(own_lines(&session.offer()), std::slice::from_ref(ours), "and so does ours");
    // Another suite gets another key, and so does the first one when it comes back: each has protected packets.
    let mut seen = vec![ours.keys.clone()];
    for suite in [Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32] {
        let other = session.answer(offer("RTP/SAVP", "0", &crypto(1, suite, 9)).as_bytes()).unwrap();
        let fresh = own_lines(&other)[0].keys.clone();
        assert!(!seen.contains(&fresh));
        seen.push(fresh);
    }
}

/// The crypto lines of a description.
fn own_lines(description: &str) -> Vec<SdesLine> {
    let values = description.lines().filter_map(|line| line.strip_prefix("a=crypto:"));
    values.map(|value| SdesLine::parse(value).unwrap()).collect()
}

#[test]
fn srtp_that_is_required_is_offered_and_nothing_else_is_taken() {
    let mut session = session(Protection::Required);
    assert_eq!(session.answer(offer("RTP/AVP", "0", "").as_bytes()), Err(SdpError::NothingInCommon));
    let ours = session.offer();
    let lines = own_lines(&ours);
    assert!(ours.contains("RTP/SAVP") && lines[0].keys != lines[1].keys);
    assert_eq!(session.offer(), ours, "the same again");
    let plain = offer("RTP/AVP", "0", "");
    assert_eq!(session.accept_answer(plain.as_bytes()), Err(SdpError::NothingInCommon));
    let wrong = offer("RTP/SAVP", "0", &crypto(1, Suite::AesCm128HmacSha1_32, 9));
    assert_eq!(session.accept_answer(wrong.as_bytes()), Err(SdpError::NothingInCommon));
    let right = offer("RTP/SAVP", "0", &crypto(2, Suite::AesCm128HmacSha1_32, 9));
    session.accept_answer(right.as_bytes()).unwrap();
    let keys = sdes(&session);
    assert_eq!((keys.local.keys, keys.remote.keys), (lines[1].keys.clone(), Keys([9; 30])));
    // The next phone is not told the key of the last.
    session.restart();
    assert!(own_lines(&session.offer()).iter().all(|line| !lines.contains(line)));
    // Keys on plain RTP are taken too: some phones offer them so.
    let mut open = self::session(Protection::AsOffered);
    let answer = open.answer(offer("RTP/AVP", "0", &crypto(1, Suite::AesCm128HmacSha1_80, 3)).as_bytes()).unwrap();
    assert!(answer.contains("RTP/AVP 0") && answer.contains("a=crypto:1 "));
    assert_eq!(sdes(&open).remote.keys, Keys([3; 30]));
}

#[test]
fn srtp_is_offered_once_to_who_refuses_plain_rtp() {
    let mut session = session(Protection::AsNeeded);
    assert!(session.offer().contains("RTP/AVP"));
    assert!(session.refused());
    assert!(session.offer().contains("RTP/SAVP"));
    assert!(!session.refused(), "there is no third offer");
    assert!(!self::session(Protection::AsOffered).refused() && !self::session(Protection::Required).refused());
}

#[test]
fn rtcp_mux_and_mid_are_answered_when_offered_and_ipv6_is_spoken() {
    let mut session = session(Protection::AsOffered);
    session.relocate("[2001:db8::5]:10000".parse().unwrap());
    let six = offer("RTP/AVP", "0", "a=rtcp-mux\r\na=mid:audio1\r\n").replace("IP4 192.0.2.1", "IP6 2001:db8::9");
    let answer = session.answer(six.as_bytes()).unwrap();
    assert!(
        answer.contains("c=IN IP6 2001:db8::5\r\n")
            && answer.contains("a=rtcp-mux\r\n")
            && answer.contains("a=mid:audio1\r\n")
    );
    let remote = session.remote().unwrap();
    assert!(remote.rtcp_mux && remote.rtp == "[2001:db8::9]:4000".parse().unwrap());
}

#[test]
fn the_codec_in_use_stays_when_it_is_offered_again() {
    let mut session = session(Protection::AsOffered);
    session.answer(offer("RTP/AVP", "8 0", "").as_bytes()).unwrap();
    session.answer(offer("RTP/AVP", "0 8", "").as_bytes()).unwrap();
    assert_eq!(session.remote().unwrap().codec, Pcma);
    session.answer(offer("RTP/AVP", "9", "").as_bytes()).unwrap();
    assert_eq!(session.remote().unwrap().codec, G722);
    assert!(session.is_repeated(offer("RTP/AVP", "9", "").as_bytes()));
}

#[test]
fn each_answer_to_an_offer_is_judged_by_the_offer() {
    let mut session = session(Protection::Required);
    let ours = own_lines(&session.offer());
    for (codec, format, line) in [(Pcmu, "0", 0), (Pcma, "8", 1), (G722, "9", 0)] {
        let answer = offer("RTP/SAVP", format, &crypto(line + 1, ours[line as usize].suite, 9));
        session.accept_answer(answer.as_bytes()).unwrap();
        assert_eq!(session.remote().unwrap().codec, codec);
        let mut fork = session.fork();
        assert!(fork.remote().is_none());
        fork.accept_answer(answer.as_bytes()).unwrap();
        assert_eq!(fork.remote().unwrap().codec, codec);
    }
    session.restart();
    assert_eq!(session.accept_answer(b"v=0\r\n"), Err(SdpError::NothingInCommon));
}

#[test]
fn later_descriptions_name_the_refused_streams_in_their_places() {
    let mut session = session(Protection::AsOffered);
    let video = "m=video 9078 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n";
    let both = offer("RTP/AVP", "0", "").replace("m=audio", &format!("{video}m=audio")) + "m=text 7 RTP/AVP 99\r\n";
    let streams =
        |text: &str| text.lines().filter(|line| line.starts_with("m=")).map(str::to_owned).collect::<Vec<_>>();
    let expected = ["m=video 0 RTP/AVP 96", "m=audio 10000 RTP/AVP 0", "m=text 0 RTP/AVP 99"];
    assert_eq!(streams(&session.answer(both.as_bytes()).unwrap()), expected);
    session.hold(true);
    assert_eq!(streams(&session.offer()), expected);
    let answer = offer("RTP/AVP", "0", "a=recvonly\r\n").replace("m=audio", "m=video 0 RTP/AVP 96\r\nm=audio");
    session.accept_answer(answer.as_bytes()).unwrap();
    assert_eq!(session.remote().unwrap().direction, Direction::SendOnly);
    let misplaced = offer("RTP/AVP", "0", "");
    assert_eq!(session.accept_answer(misplaced.as_bytes()), Err(SdpError::NothingInCommon));
}

#[test]
fn a_peer_that_asks_for_an_offer_gets_everything_under_the_numbers_it_knows() {
    let mut session = session(Protection::AsOffered);
    let theirs = "a=rtpmap:111 opus/48000/2\r\na=rtpmap:96 telephone-event/8000\r\n";
    session.answer(offer("RTP/AVP", "8 111 96", theirs).as_bytes()).unwrap();
    assert!(session.offer().contains("m=audio 10000 RTP/AVP 8 96\r\n"), "ours keeps to what is in use");
    let full = session.offer_anew();
    assert!(full.contains("m=audio 10000 RTP/AVP 8 0 9 111 96 102\r\n"), "{full}");
    // The peer takes another one.
    session.accept_answer(offer("RTP/AVP", "111", "a=rtpmap:111 opus/48000/2\r\n").as_bytes()).unwrap();
    let remote = session.remote().unwrap();
    assert_eq!((remote.codec, remote.payload_in), (Opus, 111));
    // A number that meant something is not given away, even when ours is the same.
    let mut speex = self::session(Protection::AsOffered);
    speex.answer(offer("RTP/AVP", "0 96", "a=rtpmap:96 speex/16000\r\n").as_bytes()).unwrap();
    assert!(speex.offer_anew().contains("m=audio 10000 RTP/AVP 0 8 9 97 101 102\r\n"), "{}", speex.offer_anew());
    speex.answer(offer("RTP/AVP", "0", "").as_bytes()).unwrap();
    assert!(speex.offer_anew().contains("RTP/AVP 0 8 9 97 101 102\r\n"), "nor later");
}

#[test]
fn an_address_of_the_other_family_is_out_of_reach() {
    let mut session = session(Protection::AsOffered);
    let six = offer("RTP/AVP", "0", "").replace("IP4 192.0.2.1", "IP6 2001:db8::9");
    assert_eq!(session.answer(six.as_bytes()), Err(SdpError::NothingInCommon));
    session.offer();
    assert_eq!(session.accept_answer(six.as_bytes()), Err(SdpError::NothingInCommon));
    // Of two streams the one that can be reached is taken.
    let second = six + "m=audio 6000 RTP/AVP 8\r\nc=IN IP4 192.0.2.1\r\n";
    let answer = session.answer(second.as_bytes()).unwrap();
    assert!(answer.contains("m=audio 0 RTP/AVP 0\r\nm=audio 10000 RTP/AVP 8\r\n"), "{answer}");
    assert_eq!(session.remote().unwrap().rtp, "192.0.2.1:6000".parse().unwrap());
}

#[test]
fn who_is_held_and_sends_nothing_does_not_hold_us() {
    let mut session = session(Protection::AsOffered);
    session.answer(offer("RTP/AVP", "0", "").as_bytes()).unwrap();
    let inactive = offer("RTP/AVP", "0", "a=inactive\r\n");
    session.hold(true);
    session.offer();
    session.accept_answer(inactive.as_bytes()).unwrap();
    assert!(!session.is_held(), "it was told to listen");
    session.hold(false);
    session.offer();
    session.accept_answer(inactive.as_bytes()).unwrap();
    assert!(session.is_held(), "it was asked to talk");
    session.hold(true);
    session.offer();
    session.accept_answer(inactive.as_bytes()).unwrap();
    assert!(session.is_held(), "and still does not");
}
