//! Published phones in a browser by SIP over WebSocket: JsSIP and SIP.js, unchanged.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::harness::baresip::Baresip;
use crate::harness::browser::Browser;
use crate::harness::ear::{pulses_file, tone_file};
use crate::harness::server::Server;
use crate::harness::web_phone::heard;

/// What the browser says, and what the other phone does.
const BROWSER_HERTZ: f64 = 1_300.0;
const OTHER_HERTZ: f64 = 1_000.0;

async fn told(phone: &mut Browser, what: &str) {
    phone.expect(what, |event| event["event"] == what).await;
}

/// Registers, calls and is called, and in both calls each side hears the other.
async fn registers_calls_and_is_called(script: &'static str) {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let account = acme.phone("1001").await;
    let mut phone = Browser::start(
        script,
        &json!({
            "url": format!("http://{}", server.app.http()),
            "user": account.user,
            "password": account.password,
            "domain": account.domain,
            "microphone": pulses_file(folder.path(), BROWSER_HERTZ),
        }),
    );
    told(&mut phone, "registered").await;
    let other = acme.phone("1002").await.answering().speaking(tone_file(folder.path(), OTHER_HERTZ));
    let mut other = Baresip::start(other).await;

    phone.ask("call", json!({"number": "1002"})).await;
    told(&mut phone, "confirmed").await;
    hear_each_other(&mut phone).await;
    other.hang_up().await;
    told(&mut phone, "ended").await;
    other.expect("CALL_CLOSED").await;
    sleep(Duration::from_millis(300)).await;
    assert!(other.heard().seconds_of(BROWSER_HERTZ) > 1.0, "{} s", other.heard().seconds_of(BROWSER_HERTZ));

    other.dial("1001").await;
    told(&mut phone, "incoming").await;
    phone.ask("answer", json!({})).await;
    told(&mut phone, "confirmed").await;
    hear_each_other(&mut phone).await;
    phone.ask("hangup", json!({})).await;
    other.expect("CALL_CLOSED").await;
    sleep(Duration::from_millis(300)).await;
    assert!(other.heard().seconds_of(BROWSER_HERTZ) > 1.0, "{} s", other.heard().seconds_of(BROWSER_HERTZ));
    phone.expect_no_complaints(&[]);
    phone.finish().await;
    server.stop().await;
}

/// The browser hears the other phone for some seconds, and says something itself.
async fn hear_each_other(phone: &mut Browser) {
    phone.ask("listen", json!({})).await;
    sleep(Duration::from_secs(4)).await;
    let heard = heard(&phone.ask("heard", json!({})).await);
    assert!(heard.seconds_of(OTHER_HERTZ) > 2.0, "{} s", heard.seconds_of(OTHER_HERTZ));
}

#[tokio::test(flavor = "multi_thread")]
async fn jssip_registers_calls_and_is_called() {
    registers_calls_and_is_called("jssip").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sip_js_registers_calls_and_is_called() {
    registers_calls_and_is_called("sipjs").await;
}
