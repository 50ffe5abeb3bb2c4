//! What a browser's media withstands: strangers' datagrams, a slow handshake, another network after a restart.

use std::time::Duration;

use media::codec::CodecKind;
use media::play::Sound;
use voice::VoiceConfig;
use voice::cause::Cause;
use voice::leg::{LegEvent, PlayMode, Playable};
use voice::rtc::frame::{Down, Up};

use crate::harness::browser::{Browser, Says, Window, decode, share, sine};
use crate::harness::desk::{Desk, both_hear, call_in};
use crate::harness::{MapPorts, Server, config};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_played_waits_for_the_handshake() {
    let mut server = Server::start().await;
    let (mut window, _) = Window::open(&server, "1001", None).await;
    let browser = Browser::new().await;
    window.say(Up::Call { id: "c1".into(), to: "1002".into(), sdp: browser.offer() }).await;
    let (incoming, mut events) = server.next_call().await;
    let Down::Answer { sdp, .. } = window.next().await else { panic!("no answer") };
    incoming.leg.answer();
    assert!(matches!(events.next().await, LegEvent::Answered { codec: CodecKind::Opus }));
    let words: Vec<i16> = (0..25).flat_map(|frame| sine(CodecKind::Opus, 700.0, frame * 960)).collect();
    let words = Sound { rate: 48_000, pcm: words.into() };
    incoming.leg.play(7, Playable::Sound(words), PlayMode::ONCE);
    // The answer is long on its way: all would have been said.
    events.silent(1_000).await;
    browser.accept(&sdp);
    let heard = decode(CodecKind::Opus, &browser.hear(25).await);
    assert!(share(&heard, 700.0, 48_000) > 0.6, "{}", share(&heard, 700.0, 48_000));
    assert!(matches!(events.next().await, LegEvent::PlayEnded { play: 7 }));
}

/// What looks like a packet of audio of a source, and is nonsense.
fn forged(ssrc: u32) -> Vec<u8> {
    let mut datagram = vec![0x80, 96, 0, 7, 0, 0, 0, 9];
    datagram.extend_from_slice(&ssrc.to_be_bytes());
    datagram.extend_from_slice(&[0x5a; 60]);
    datagram
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_sources_drive_none_out() {
    let mut server = Server::start().await;
    let (_window, browser, leg, _events) = call_in(&mut server, "1001").await;
    let desk = Desk::answering(&server, CodecKind::Pcma, Some(leg.clone())).await;
    leg.bridge(&desk.leg);
    // The numbers roll over, and what follows opens only for who has counted them.
    browser.number_from(65_500);
    both_hear(&browser, &desk).await;
    for ssrc in 1..=20 {
        browser.inject(&forged(ssrc)).await;
    }
    both_hear(&browser, &desk).await;
}

/// A check with another integrity (RFC 8489, section 14.5).
fn with_wrong_integrity(mut check: Vec<u8>) -> Vec<u8> {
    let mut at = 20;
    while check[at..at + 2] != [0, 8] {
        let length = usize::from(u16::from_be_bytes([check[at + 2], check[at + 3]]));
        at += 4 + length.next_multiple_of(4);
    }
    check[at + 4] ^= 0x80;
    check
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_check_is_no_sign_of_life() {
    let mut server = Server::with(VoiceConfig { media_timeout_ms: 1_000, ..config() }, MapPorts::default()).await;
    let (_window, browser, _leg, mut events) = call_in(&mut server, "1001").await;
    browser.say(Some(Says::Tone(440.0)));
    browser.hear(3).await;
    let forged = with_wrong_integrity(browser.freeze());
    let forging = async {
        for _ in 0..50 {
            browser.inject(&forged).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        end = events.end() => assert_eq!(end.cause, Cause::MediaTimeout),
        () = forging => panic!("a browser that is gone is kept alive"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_ice_restart_audio_goes_where_the_checks_come_from() {
    let mut server = Server::start().await;
    let (mut window, browser, leg, _events) = call_in(&mut server, "1001").await;
    let desk = Desk::answering(&server, CodecKind::Pcma, Some(leg.clone())).await;
    leg.bridge(&desk.leg);
    both_hear(&browser, &desk).await;
    // On the new network it says nothing, as whoever is muted does.
    browser.say(None);
    browser.wander().await;
    window.say(Up::Offer { id: "c1".into(), sdp: browser.restart() }).await;
    let Down::Answer { sdp, .. } = window.next().await else { panic!("no answer") };
    browser.accept(&sdp);
    browser.hear(25).await;
    let heard = decode(CodecKind::Opus, &browser.hear(50).await);
    assert!(share(&heard, 1_000.0, 48_000) > 0.6, "{}", share(&heard, 1_000.0, 48_000));
}
