//! Offers and answers with browsers, as Chromium and Firefox write them and JsSIP sends them on.

use media::codec::CodecKind::{Opus, Pcma, Pcmu};

use super::*;
use crate::runner::{Fingerprint, Handshake};

/// What Chromium offers for one microphone.
pub(crate) const CHROMIUM: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    a=extmap-allow-mixed\r\na=msid-semantic: WMS 2a6c9a0e\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\n\
    c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:Xk2T\r\na=ice-pwd:9uB1p6D3yWfxVtC0dRgqLm7z\r\n\
    a=ice-options:trickle\r\na=fingerprint:sha-256 1A:2B:3C:4D:5E:6F:70:81:92:A3:B4:C5:D6:E7:F8:09:1A:2B:3C:4D:5E:6F:70:81:92:A3:B4:C5:D6:E7:F8:09\r\n\
    a=setup:actpass\r\na=mid:0\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=sendrecv\r\na=msid:2a6c9a0e 7f\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
    a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
    a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n\
    a=ssrc:1750271466 cname:q1F9\r\na=ssrc:1750271466 msid:2a6c9a0e 7f\r\n";

const FIREFOX: &str = "v=0\r\no=mozilla...THIS_IS_SDPARTA-99.0 8046211094861713187 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=sendrecv\r\n\
    a=fingerprint:sha-256 AA:2B:3C:4D:5E:6F:70:81:92:A3:B4:C5:D6:E7:F8:09:1A:2B:3C:4D:5E:6F:70:81:92:A3:B4:C5:D6:E7:F8:09\r\n\
    a=group:BUNDLE 0\r\na=ice-options:trickle\r\na=msid-semantic:WMS *\r\nm=audio 9 UDP/TLS/RTP/SAVPF 109 9 0 8 101\r\n\
    c=IN IP4 0.0.0.0\r\na=sendrecv\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
    a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1\r\n\
    a=fmtp:101 0-15\r\na=ice-pwd:d7dd6cc82ad6eb3bc6a1e1d1d3d2a1f0\r\na=ice-ufrag:c6f2d0aa\r\na=mid:0\r\n\
    a=msid:{5f} {60}\r\na=rtcp-mux\r\na=rtpmap:109 opus/48000/2\r\na=rtpmap:9 G722/8000/1\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000/1\r\na=setup:actpass\r\na=ssrc:2655508255 cname:{61}\r\n";

/// JsSIP waits for candidates, and offers what the browser says then; here with video, which nobody asked us for.
fn jssip() -> String {
    let gathered = CHROMIUM
        .replace("m=audio 9 ", "m=audio 51472 ")
        .replace("c=IN IP4 0.0.0.0", "c=IN IP4 192.168.1.20")
        .replace("a=group:BUNDLE 0", "a=group:BUNDLE 0 1")
        .replace("a=ice-ufrag", "a=candidate:1 1 udp 2113937151 5d1f.local 51472 typ host generation 0\r\na=ice-ufrag");
    gathered + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n"
}

fn session_of(codecs: &[CodecKind]) -> Session {
    let ids = Ids::seeded(7);
    let fingerprint = Fingerprint { hash: "sha-256".to_owned(), digest: (0..32).collect() };
    let candidates = vec!["192.0.2.10:3479".parse().unwrap(), "[2001:db8::5]:3479".parse().unwrap()];
    Session::with_browser(IceSide::new(candidates, fingerprint, &ids), 7, codecs.to_vec(), ids)
}

fn session() -> Session {
    session_of(&[Opus, Pcmu, Pcma])
}

fn handshake(session: &Session) -> Handshake {
    match &session.remote().unwrap().protection {
        runner::Protection::Dtls(handshake) => (**handshake).clone(),
        other => panic!("{other:?}"),
    }
}

fn value<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn chromium_is_answered_with_opus_and_keys_of_one_clock() {
    let mut session = session();
    let answer = session.answer(CHROMIUM.as_bytes()).unwrap();
    assert!(answer.contains("m=audio 3479 UDP/TLS/RTP/SAVPF 111 110\r\n"), "{answer}");
    assert!(answer.contains("a=rtpmap:110 telephone-event/48000\r\n") && !answer.contains("telephone-event/8000"));
    for line in [
        "a=group:BUNDLE 0",
        "a=ice-lite",
        "a=rtcp-mux",
        "a=mid:0",
        "a=setup:passive",
        "a=sendrecv",
        "a=end-of-candidates",
    ] {
        assert!(answer.lines().any(|other| other == line), "{line}: {answer}");
    }
    assert!(answer.contains("a=fingerprint:sha-256 00:01:02:03:"));
    assert!(answer.contains("a=candidate:1 1 udp 2130706431 192.0.2.10 3479 typ host\r\n"));
    assert!(answer.contains("a=candidate:2 1 udp 2130706175 2001:db8::5 3479 typ host\r\n"));
    let remote = session.remote().unwrap();
    assert_eq!((remote.codec, remote.payload_in, remote.payload_out), (Opus, 111, 111));
    assert_eq!((remote.direction, remote.events.unwrap().clock_rate), (Direction::SendRecv, 48_000));
    assert!(!session.is_held(), "an address that is not known yet is no hold");
    let handshake = handshake(&session);
    assert_eq!((&*handshake.remote.ufrag, &*handshake.remote.password), ("Xk2T", "9uB1p6D3yWfxVtC0dRgqLm7z"));
    assert_eq!(handshake.fingerprint.digest[..3], [0x1a, 0x2b, 0x3c]);
    assert!(!handshake.is_client);
    assert_eq!(value(&answer, "a=ice-ufrag:"), &*handshake.local.ufrag);
    assert_eq!(value(&answer, "a=ice-pwd:"), &*handshake.local.password);
    assert!(value(&answer, "a=ssrc:").starts_with(&format!("{} cname:", handshake.ssrc)));
}

#[test]
fn firefox_says_it_for_the_whole_session_and_has_keys_at_8000_only() {
    let mut session = session();
    let answer = session.answer(FIREFOX.as_bytes()).unwrap();
    assert!(answer.contains("m=audio 3479 UDP/TLS/RTP/SAVPF 109 101\r\n"), "{answer}");
    assert_eq!(session.remote().unwrap().events.unwrap().clock_rate, 8_000);
    assert_eq!(handshake(&session).fingerprint.digest[0], 0xaa);
    assert_eq!(&*handshake(&session).remote.ufrag, "c6f2d0aa");
}

#[test]
fn jssip_is_answered_and_its_video_refused_by_name() {
    let mut session = session();
    let answer = session.answer(jssip().as_bytes()).unwrap();
    assert!(answer.ends_with("m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n"), "{answer}");
    assert!(answer.contains("a=group:BUNDLE 0\r\n"), "only what is accepted is bundled: {answer}");
    // Its hold is a new offer with the same credentials: nothing restarts.
    let before = handshake(&session);
    let held = jssip().replace("a=sendrecv", "a=sendonly").replace(" 2 IN IP4", " 3 IN IP4");
    let answer = session.answer(held.as_bytes()).unwrap();
    assert!(answer.contains("a=recvonly\r\n") && session.is_held());
    assert_eq!(handshake(&session), before);
    // Ours to it goes on with what is in use, and says who is who again.
    let offer = session.offer();
    assert!(
        offer.contains("m=audio 3479 UDP/TLS/RTP/SAVPF 111 110\r\n") && offer.contains("a=setup:actpass\r\n"),
        "{offer}"
    );
    assert!(offer.contains("m=video 0 UDP/TLS/RTP/SAVPF 96\r\n"));
    session.accept_answer(jssip().replace("a=setup:actpass", "a=setup:active").as_bytes()).unwrap();
    assert!(!session.is_held());
    assert_eq!(handshake(&session), before);
}

#[test]
fn our_offer_has_one_clock_and_its_answer_is_judged_by_it() {
    let mut session = session();
    let offer = session.offer();
    assert!(offer.contains("m=audio 3479 UDP/TLS/RTP/SAVPF 96 102\r\n"), "{offer}");
    assert!(offer.contains("a=setup:actpass\r\n") && offer.contains("a=group:BUNDLE 0\r\na=ice-lite\r\n"));
    let answer = CHROMIUM
        .replace(" 111 63 9 0 8 13 110 126\r\n", " 96 102\r\n")
        .replace("rtpmap:111", "rtpmap:96")
        .replace("rtpmap:110", "rtpmap:102")
        .replace("a=setup:actpass", "a=setup:active");
    session.accept_answer(answer.as_bytes()).unwrap();
    let remote = session.remote().unwrap();
    assert_eq!((remote.codec, remote.payload_in, remote.payload_out, remote.rtcp_mux), (Opus, 96, 96, true));
    assert!(!handshake(&session).is_client);
    // A peer that waits for us makes us begin.
    let mut other = self::session();
    other.offer();
    other.accept_answer(answer.replace("a=setup:active", "a=setup:passive").as_bytes()).unwrap();
    assert!(handshake(&other).is_client);
    // A bridge with a phone of G.711 is offered that alone.
    let offer = session_of(&[Pcma, Opus, Pcmu]).offer();
    assert!(offer.contains("m=audio 3479 UDP/TLS/RTP/SAVPF 8 0 101\r\n"), "{offer}");
    // Firefox answers without keys on that clock.
    let mut firefox = self::session();
    firefox.offer();
    let answer = FIREFOX.replace(" 109 9 0 8 101\r\n", " 96\r\n").replace("rtpmap:109", "rtpmap:96");
    firefox.accept_answer(answer.as_bytes()).unwrap();
    assert!(firefox.remote().unwrap().events.is_none());
}

#[test]
fn a_restart_changes_credentials_and_another_certificate_is_another_connection() {
    let mut session = session();
    let first = session.answer(CHROMIUM.as_bytes()).unwrap();
    let before = handshake(&session);
    let restarted = CHROMIUM.replace("Xk2T", "Yl3U").replace("9uB1p6D3yWfxVtC0dRgqLm7z", "9uB1p6D3yWfxVtC0dRgqLm7y");
    let second = session.answer(restarted.as_bytes()).unwrap();
    let after = handshake(&session);
    assert_ne!(value(&first, "a=ice-ufrag:"), value(&second, "a=ice-ufrag:"));
    assert_ne!(value(&first, "a=ice-pwd:"), value(&second, "a=ice-pwd:"));
    assert_eq!((&after.fingerprint, after.is_client, after.ssrc), (&before.fingerprint, before.is_client, before.ssrc));
    assert_eq!(value(&second, "a=ice-ufrag:"), &*after.local.ufrag);
    let reloaded = restarted.replace("Yl3U", "Zm4V").replace("1A:2B", "FF:2B");
    session.answer(reloaded.as_bytes()).unwrap();
    assert_ne!(handshake(&session).fingerprint, before.fingerprint);
    assert!(session.is_repeated(reloaded.as_bytes()));
}

#[test]
fn what_proves_nothing_or_is_no_browsers_is_refused() {
    let mut session = session();
    for bad in [
        CHROMIUM.replace("a=fingerprint:sha-256", "a=fingerprint:md5"),
        CHROMIUM.replace("a=fingerprint:sha-256 1A", "a=fingerprint:sha-256 XX"),
        CHROMIUM.replace("1A:2B:3C:4D:", ""),
        CHROMIUM.replace("a=ice-ufrag:Xk2T", "a=ice-ufrag:Xk"),
        CHROMIUM.replace("a=ice-pwd:9uB1p6D3yWfxVtC0dRgqLm7z", "a=ice-pwd:short"),
        CHROMIUM.replace("a=setup:actpass", "a=setup:holdconn"),
        CHROMIUM.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
        CHROMIUM.replace("m=audio 9", "m=audio 0"),
        CHROMIUM.replace(" 111 63 9 0 8 13 110 126\r\n", " 63 13\r\n"),
    ] {
        assert_eq!(session.answer(bad.as_bytes()), Err(SdpError::NothingInCommon), "{bad}");
    }
    assert!(session.remote().is_none());
    // And a phone that is none is not given what only browsers can use.
    let codecs = vec![Pcmu];
    let mut plain = Session::new("10.0.0.1:10000".parse().unwrap(), 7, codecs, Protection::AsOffered, Ids::seeded(7));
    assert_eq!(plain.answer(CHROMIUM.as_bytes()), Err(SdpError::NothingInCommon));
}
