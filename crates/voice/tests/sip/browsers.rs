//! Browser phones: calls both ways, audio against SIP phones, keys, hold, lost networks and lost sockets.

use std::time::Duration;

use kernel::Clock;
use media::codec::CodecKind;
use voice::cause::Cause;
use voice::leg::{EndedBy, LegEvent};
use voice::rtc::frame::{CallState, Down, Fault, Side, Up};
use voice::{Target, VoiceConfig};

use crate::harness::browser::{Browser, Says, Window, decode, share};
use crate::harness::desk::{Desk, both_hear, call_in, call_out, is_left_empty, order, two_threads};
use crate::harness::{Events, MapPorts, Server, config};

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_calls_a_sip_phone_of_another_codec() {
    let mut server = Server::with(two_threads(), MapPorts::default()).await;
    let (mut window, browser, leg, mut events) = call_in(&mut server, "1001").await;
    // Dialled anywhere, so that it may have to move to the browser's thread.
    let mut desk = Desk::answering(&server, CodecKind::Pcma, None).await;
    desk.leg.bridge(&leg);
    both_hear(&browser, &desk).await;
    desk.leg.unbridge();
    leg.bridge(&desk.leg);
    both_hear(&browser, &desk).await;

    browser.press(5);
    let LegEvent::Dtmf { symbol, duration_ms } = events.next().await else { panic!("no key") };
    assert_eq!((symbol, duration_ms), ('5', 100));
    let keys = desk.sound.hear(101, 3).await;
    assert!(keys.iter().all(|key| key.payload[0] == 5), "made again for the desk: {keys:?}");

    *desk.sound.pressed.lock().unwrap() = Some(7);
    let ends = browser.keys(1).await;
    assert!(ends.iter().all(|end| end.payload[0] == 7));
    assert_eq!(u16::from_be_bytes([ends[0].payload[2], ends[0].payload[3]]) % 960, 0, "on a clock of 48000: {ends:?}");

    window.say(Up::Hangup { id: "c1".into() }).await;
    let ended = window.next().await;
    assert_eq!(ended, Down::Ended { id: "c1".into(), cause: "normal".into(), sip_code: None, by: Side::Phone });
    let end = events.end().await;
    assert_eq!((end.cause, end.by), (Cause::Normal, EndedBy::Remote));
    desk.hang_up().await;
    drop(window);
    is_left_empty(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opus_is_relayed_as_it_is() {
    let mut server = Server::start().await;
    let (_window, browser, leg, _events) = call_in(&mut server, "1001").await;
    let mut desk = Desk::answering(&server, CodecKind::Opus, Some(leg.clone())).await;
    leg.bridge(&desk.leg);
    let words = b"these bytes are no audio, and come through".to_vec();
    browser.say(Some(Says::Bytes(words.clone())));
    let heard = desk.sound.hear(97, 20).await;
    assert_eq!(heard.iter().filter(|packet| packet.payload == words).count(), heard.len());
    let numbers: Vec<u64> = heard.iter().map(|packet| packet.sequence).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    let to_browser = decode(CodecKind::Opus, &browser.hear(50).await);
    assert!(share(&to_browser, 1_000.0, 48_000) > 0.6);
    desk.hang_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_called_holds_and_is_held() {
    let server = Server::start().await;
    let (mut window, browser, leg, mut events) = call_out(&server, "1001").await;
    assert_eq!(server.ports.browsers.lock().unwrap().as_slice(), [window.phone.id().clone()]);
    let id = leg.id().to_string();
    let mut desk = Desk::answering(&server, CodecKind::Pcma, Some(leg.clone())).await;
    leg.bridge(&desk.leg);
    both_hear(&browser, &desk).await;

    window.say(Up::Hold { id: id.clone(), on: true }).await;
    assert!(matches!(events.next().await, LegEvent::Held));
    assert_eq!(window.next().await, Down::Held { id: id.clone(), by: Side::Phone });
    desk.sound.hear(8, 25).await;
    let music = decode(CodecKind::Pcma, &desk.sound.hear(8, 50).await);
    assert!(share(&music, 440.0, 8_000) < 0.2 && music.iter().any(|sample| sample.abs() > 500), "music plays");
    browser.heard();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(browser.heard().len(), 0, "who holds hears nothing");
    window.say(Up::Hold { id: id.clone(), on: false }).await;
    assert!(matches!(events.next().await, LegEvent::Resumed));
    assert_eq!(window.next().await, Down::Resumed { id: id.clone(), by: Side::Phone });
    both_hear(&browser, &desk).await;

    leg.hold(true);
    assert_eq!(window.next().await, Down::Held { id: id.clone(), by: Side::Server });
    leg.hold(false);
    assert_eq!(window.next().await, Down::Resumed { id: id.clone(), by: Side::Server });
    both_hear(&browser, &desk).await;

    window.say(Up::Transfer { id: id.clone(), to: "1003".into() }).await;
    let LegEvent::TransferRequested { to, replaces } = events.next().await else { panic!("no transfer") };
    assert_eq!((to.as_str(), replaces), ("1003", None));
    leg.accept_transfer(false);
    assert!(matches!(window.next().await, Down::Error { code: Fault::TransferRefused, .. }));

    leg.hangup(Cause::TimeLimit);
    let ended = window.next().await;
    assert_eq!(ended, Down::Ended { id, cause: "time_limit".into(), sip_code: None, by: Side::Server });
    assert_eq!(events.end().await.by, EndedBy::Local);
    desk.hang_up().await;
    drop(window);
    is_left_empty(&server).await;
    assert!(server.ports.browsers.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_changes_its_network_and_restarts_ice() {
    let mut server = Server::start().await;
    let (mut window, browser, leg, _events) = call_in(&mut server, "1001").await;
    let desk = Desk::answering(&server, CodecKind::Pcma, Some(leg.clone())).await;
    leg.bridge(&desk.leg);
    both_hear(&browser, &desk).await;
    browser.wander().await;
    both_hear(&browser, &desk).await;
    window.say(Up::Offer { id: "c1".into(), sdp: browser.restart() }).await;
    let Down::Answer { sdp, .. } = window.next().await else { panic!("no answer") };
    browser.accept(&sdp);
    both_hear(&browser, &desk).await;
    // A reloaded page has a new connection.
    let other = Browser::new().await;
    window.say(Up::Offer { id: "c1".into(), sdp: other.offer() }).await;
    let Down::Answer { sdp, .. } = window.next().await else { panic!("no answer") };
    other.accept(&sdp);
    drop(browser);
    both_hear(&other, &desk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_socket_comes_back_to_its_calls_or_they_end() {
    let (clock, hand) = Clock::fake(1_000_000);
    let mut server = Server::with_clock(config(), MapPorts::default(), clock).await;
    let (window, browser, leg, mut events) = call_in(&mut server, "1001").await;
    let phone = window.phone.id().clone();
    drop(window);
    hand.advance(29_000);
    // A stranger does not get in by the name alone.
    let (stranger, calls) = Window::open(&server, "1003", Some(&phone)).await;
    assert!(calls.is_empty() && *stranger.phone.id() != phone);
    let (mut window, calls) = Window::open(&server, "1001", Some(&phone)).await;
    assert_eq!(calls.iter().map(|call| (call.id.as_str(), call.state)).collect::<Vec<_>>(), [("c1", CallState::Up)]);
    hand.advance(29_000);
    events.silent(50).await;
    let desk = Desk::answering(&server, CodecKind::Pcma, Some(leg.clone())).await;
    leg.bridge(&desk.leg);
    both_hear(&browser, &desk).await;
    // A newer window takes over; the older one closes.
    let (newer, _) = Window::open(&server, "1001", Some(&phone)).await;
    assert!(window.closes().await);
    drop(newer);
    wait_until_offline(&server, &phone).await;
    hand.advance(31_000);
    let end = events.end().await;
    assert_eq!((end.cause, end.by), (Cause::Unreachable, EndedBy::Remote));
    // One that rings waits only for a page to be loaded anew.
    let (mut window, _) = Window::open(&server, "1001", None).await;
    let ringing = window.phone.id().clone();
    let (sink, mut events) = Events::new();
    let _leg = server.voice.originate(order(&server, Target::Browser { phone: ringing.clone() }), sink);
    let Down::Incoming { id, .. } = window.next().await else { panic!("it does not ring") };
    drop(window);
    wait_until_offline(&server, &ringing).await;
    hand.advance(4_000);
    let (mut window, calls) = Window::open(&server, "1001", Some(&ringing)).await;
    assert_eq!(calls.iter().map(|call| call.state).collect::<Vec<_>>(), [CallState::Ringing]);
    assert!(matches!(window.next().await, Down::Incoming { id: again, .. } if again == id));
    drop(window);
    wait_until_offline(&server, &ringing).await;
    hand.advance(5_000);
    assert_eq!(events.end().await.cause, Cause::Unreachable);
    // Nobody is there any more.
    let (sink, mut events) = Events::new();
    let _leg = server.voice.originate(order(&server, Target::Browser { phone }), sink);
    assert_eq!(events.end().await.cause, Cause::Unreachable);
}

async fn wait_until_offline(server: &Server, phone: &str) {
    for _ in 0..200 {
        if !server.ports.browsers.lock().unwrap().iter().any(|known| **known == *phone) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the phone stays online");
}

#[tokio::test(flavor = "multi_thread")]
async fn media_that_stays_away_ends_the_call() {
    let mut server = Server::with(VoiceConfig { media_timeout_ms: 1_000, ..config() }, MapPorts::default()).await;
    let (mut window, browser, _leg, mut events) = call_in(&mut server, "1001").await;
    browser.say(Some(Says::Tone(440.0)));
    browser.hear(3).await;
    events.silent(1_500).await;
    drop(browser);
    let end = events.end().await;
    assert_eq!((end.cause, end.by), (Cause::MediaTimeout, EndedBy::Local));
    let ended = window.next().await;
    assert_eq!(ended, Down::Ended { id: "c1".into(), cause: "media_timeout".into(), sip_code: None, by: Side::Server });
    drop(window);
    is_left_empty(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_browsers_talk_in_pairs_on_one_port() {
    let server = Server::with(two_threads(), MapPorts::default()).await;
    let mut parties = Vec::new();
    for index in 0..50 {
        parties.push(call_out(&server, &format!("{}", 2_000 + index)).await);
    }
    for (index, (_, browser, ..)) in parties.iter().enumerate() {
        browser.say(Some(Says::Bytes(vec![index as u8; 40])));
    }
    for pair in parties.chunks(2) {
        pair[0].2.bridge(&pair[1].2);
    }
    for (index, (_, browser, ..)) in parties.iter().enumerate() {
        let heard = browser.hear(10).await;
        let of_peer = heard.iter().filter(|packet| packet.payload == vec![(index ^ 1) as u8; 40]).count();
        assert!(of_peer + 2 >= heard.len(), "{index}: {of_peer} of {}", heard.len());
    }
    assert_eq!(server.voice.stats().legs, 50);
    assert_eq!(server.voice.stats().ports_in_use, 0, "they share the threads' own");
    for (_, _, leg, events) in &mut parties {
        leg.hangup(Cause::Normal);
        assert_eq!(events.end().await.cause, Cause::Normal);
    }
    drop(parties);
    is_left_empty(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_do_not_come_about_end_once_and_for_the_right_cause() {
    let mut server = Server::start().await;
    let (mut window, _) = Window::open(&server, "1001", None).await;
    let phone = window.phone.id().clone();
    let ring = |ms: u32| {
        let (sink, events) = Events::new();
        let mut order = order(&server, Target::Browser { phone: phone.clone() });
        order.ring_timeout_ms = ms;
        (server.voice.originate(order, sink), events)
    };
    // Refused by the phone.
    let (_leg, mut events) = ring(30_000);
    let Down::Incoming { id, .. } = window.next().await else { panic!() };
    window.say(Up::Reject { id: id.clone(), sip_code: Some(486) }).await;
    let end = events.end().await;
    assert_eq!((end.cause, end.by, end.sip_code), (Cause::Busy, EndedBy::Remote, Some(486)));
    assert!(matches!(window.next().await, Down::Ended { sip_code: Some(486), by: Side::Phone, .. }));
    window.say(Up::Ringing { id }).await;
    assert!(matches!(window.next().await, Down::Error { code: Fault::UnknownCall, .. }));
    // Nobody answers.
    let (_leg, mut events) = ring(50);
    assert!(matches!(window.next().await, Down::Incoming { .. }));
    assert_eq!(events.end().await.cause, Cause::NoAnswer);
    assert!(matches!(window.next().await, Down::Ended { cause, .. } if cause == "no_answer"));
    // Given up by the caller.
    let (leg, mut events) = ring(30_000);
    assert!(matches!(window.next().await, Down::Incoming { .. }));
    leg.hangup(Cause::Canceled);
    assert_eq!(events.end().await.cause, Cause::Canceled);
    assert!(matches!(window.next().await, Down::Ended { cause, .. } if cause == "canceled"));
    // Answered with nonsense.
    let (_leg, mut events) = ring(30_000);
    let Down::Incoming { id, .. } = window.next().await else { panic!() };
    window.say(Up::Answer { id, sdp: "nonsense".into() }).await;
    assert!(matches!(window.next().await, Down::Error { code: Fault::BadSdp, .. }));
    assert!(matches!(window.next().await, Down::Ended { cause, .. } if cause == "media_incompatible"));
    assert_eq!(events.end().await.cause, Cause::MediaIncompatible);
    // An offer of nonsense is no call.
    window.say(Up::Call { id: "c1".into(), to: "1002".into(), sdp: "v=0".into() }).await;
    assert!(matches!(window.next().await, Down::Error { code: Fault::BadSdp, .. }));
    // Nobody is there to be called.
    let browser = Browser::new().await;
    window.say(Up::Call { id: "c1".into(), to: "9999".into(), sdp: browser.offer() }).await;
    let (incoming, mut events) = server.next_call().await;
    assert!(matches!(window.next().await, Down::Answer { .. }));
    window.say(Up::Call { id: "c1".into(), to: "9999".into(), sdp: "v=0".into() }).await;
    assert!(matches!(window.next().await, Down::Error { code: Fault::CallExists, .. }));
    incoming.leg.reject(404);
    assert_eq!(events.end().await.cause, Cause::InvalidNumber);
    assert!(matches!(window.next().await, Down::Ended { sip_code: Some(404), by: Side::Server, .. }));
    assert!(!browser.is_connected() || browser.heard().is_empty());
    drop(window);
    is_left_empty(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_speaks_sip_has_a_browsers_media() {
    let mut server = Server::with(two_threads(), MapPorts::default()).await;
    let mut page = server.phone("1002").await;
    let contact = format!("<sip:1002@{};transport=ws>", page.addr);
    assert_eq!(page.register(&contact, "").await.code(), 200);
    let binding = server.ports.bindings.lock().unwrap()["1002"][0].clone();
    let desk = Desk::answering(&server, CodecKind::Pcma, None).await;

    // It is called.
    let (sink, mut events) = Events::new();
    let leg = server.voice.originate(order(&server, Target::Binding(binding)), sink);
    let invite = page.expect_method("INVITE").await;
    assert!(invite.body().contains("UDP/TLS/RTP/SAVPF 96 102"), "{}", invite.text);
    let browser = Browser::new().await;
    page.send(&page.respond(&invite, "200 OK", "", &browser.answer(invite.body()))).await;
    page.expect_method("ACK").await;
    assert!(matches!(events.next().await, LegEvent::Answered { codec: CodecKind::Opus }));
    leg.bridge(&desk.leg);
    both_hear(&browser, &desk).await;
    let bye = page.inside_called("BYE", &invite, 9, "", "");
    page.send(&bye).await;
    page.expect(200).await;
    assert_eq!(events.end().await.by, EndedBy::Remote);

    // It calls.
    let browser = Browser::new().await;
    page.authorised("INVITE", "sip:1001@127.0.0.1", "", &browser.offer()).await;
    let (incoming, mut events) = server.next_call().await;
    incoming.leg.answer();
    let answer = page.expect(200).await;
    browser.accept(answer.body());
    let seq = page.seq;
    let ack = page.inside("ACK", &answer, seq, "", "");
    page.send(&ack).await;
    assert!(matches!(events.next().await, LegEvent::Answered { codec: CodecKind::Opus }));
    incoming.leg.bridge(&desk.leg);
    both_hear(&browser, &desk).await;
    let restart = page.inside("INVITE", &answer, seq + 1, "", &browser.restart());
    page.send(&restart).await;
    let again = page.expect(200).await;
    browser.accept(again.body());
    let ack = page.inside("ACK", &again, seq + 1, "", "");
    page.send(&ack).await;
    both_hear(&browser, &desk).await;
    assert_eq!(server.voice.stats().ports_in_use, 1, "the desk's");
}
