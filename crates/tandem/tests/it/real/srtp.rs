//! SDES-SRTP where nobody configured the phone: whoever refuses plain RTP is offered SRTP. A trunk
//! offers it when its setting says so.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use calls::NewTrunk;
use serde_json::json;
use tokio::time::sleep;

use super::recording::recording;
use crate::harness::baresip::Baresip;
use crate::harness::ear::{Heard, tone_file};
use crate::harness::linphone::Linphone;
use crate::harness::phone::Account;
use crate::harness::process::Tandem;
use crate::harness::server::{Plan, Server, self_signed};

/// Two phones talk for so long; each other's tone must fill most of it.
const TALK: Duration = Duration::from_secs(3);
const MOST: f64 = 2.0;
/// After a call, until a phone has written what it heard.
const WRITTEN: Duration = Duration::from_millis(300);
/// What the phone in the clear says, and the other one.
const PLAIN_HERTZ: f64 = 440.0;
const SECURE_HERTZ: f64 = 900.0;
/// The outside number that the carrier of these tests answers.
const NUMBER: &str = "+16468107000";
/// Where a carrier that never calls sends its calls.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// A phone in the clear, and the account of one that speaks nothing but SRTP, by TLS; each says a tone.
async fn plain_and_secure(server: &Server, folder: &Path) -> (Baresip, Account) {
    let dev = server.org("dev").await;
    let plain = dev.phone("1001").await.speaking(tone_file(folder, PLAIN_HERTZ));
    let secure = dev.phone("1002").await.by("tls", server.sips()).srtp().answering();
    (Baresip::start(plain).await, secure.speaking(tone_file(folder, SECURE_HERTZ)))
}

fn assert_both_heard(plain: &Heard, secure: &Heard) {
    assert!(plain.seconds_of(SECURE_HERTZ) > MOST, "{} s", plain.seconds_of(SECURE_HERTZ));
    assert!(secure.seconds_of(PLAIN_HERTZ) > MOST, "{} s", secure.seconds_of(PLAIN_HERTZ));
}

#[tokio::test(flavor = "multi_thread")]
async fn baresip_that_speaks_nothing_but_srtp_is_called_without_a_setting() {
    let server = Plan::new().with_tls().await.start().await;
    let folder = tempfile::tempdir().unwrap();
    let (mut plain, secure) = plain_and_secure(&server, folder.path()).await;
    let mut secure = Baresip::start(secure).await;
    plain.dial("1002").await;
    plain.expect("CALL_ESTABLISHED").await;
    sleep(TALK).await;
    plain.hang_up().await;
    secure.expect("CALL_CLOSED").await;
    sleep(WRITTEN).await;
    assert_both_heard(&plain.heard(), &secure.heard());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn linphone_that_speaks_nothing_but_srtp_is_called_without_a_setting() {
    let server = Plan::new().with_tls().await.start().await;
    let folder = tempfile::tempdir().unwrap();
    let (mut plain, secure) = plain_and_secure(&server, folder.path()).await;
    let mut secure = Linphone::start(secure).await;
    plain.dial("1002").await;
    plain.expect("CALL_ESTABLISHED").await;
    sleep(TALK).await;
    plain.hang_up().await;
    secure.expect("ended").await;
    sleep(WRITTEN).await;
    assert_both_heard(&plain.heard(), &secure.heard());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_offers_srtp_when_it_is_set_and_only_then() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let carrier = Account::new(server.sip(), NUMBER, "unused").unregistered().srtp().answering();
    let mut carrier = Baresip::start(carrier.speaking(tone_file(folder.path(), 700.0))).await;
    let flow = json!({"flow": [
        {"id": "call", "type": "call", "number": NUMBER, "next_step": 1},
        {"id": 1, "type": "pause", "seconds": 3},
    ]});
    for (srtp, cause) in [(false, "media_incompatible"), (true, "normal")] {
        // Of several trunks the first is taken, so each organisation has one.
        let slug = if srtp { "secure" } else { "plain" };
        let org = server.org(slug).await;
        org.add_trunk(NewTrunk {
            name: slug.to_owned(),
            targets: vec![carrier.address.to_string()],
            caller_ids: vec!["+442071838750".to_owned()],
            srtp,
            ..NewTrunk::default()
        })
        .await;
        let posted = org.client().post("/api/v2/call/flow", &flow).await.expect(201);
        let path = format!("/v1/calls/{}", posted["call_id"].as_str().unwrap());
        let call = org.client().until(&path, "the call is over", |call| call["state"] == "completed").await;
        assert_eq!(call["cause"], cause, "srtp = {srtp}");
    }
    carrier.expect("CALL_ESTABLISHED").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_by_tls_that_is_added_with_srtp_carries_audio_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = self_signed(folder.path()).await;
    let both = [std::fs::read(&cert).unwrap(), std::fs::read(&key).unwrap()].concat();
    let (pem, data) = (folder.path().join("carrier.pem"), folder.path().join("data"));
    std::fs::write(&pem, both).unwrap();
    let carrier = Account::new(NOWHERE, NUMBER, "unused").by("tls", NOWHERE).unregistered().certified(pem);
    let carrier = carrier.srtp().answering().speaking(tone_file(folder.path(), 700.0));
    let mut carrier = Baresip::start(carrier).await;

    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("tandem.toml"), format!("[egress]\nca_file = \"{}\"\n", cert.display())).unwrap();
    let tandem = Tandem::on(&data);
    tandem.json(&["org", "create", "Acme", "--slug", "acme"]).await;
    let app = tandem.json(&["app", "create", "crm", "--org", "acme"]).await;
    let target = format!("{};transport=tls", carrier.tls_address());
    let caller_id = "+442071838750";
    let trunk = ["trunk", "add", "carrier", "--org", "acme", "--target", &target, "--caller-id", caller_id, "--srtp"];
    tandem.json(&trunk).await;
    let running = tandem.start("serve", &[]).await;
    let client = running.client().bearing(app["api_key"].as_str().unwrap());
    let flow = json!({"flow": [
        {"id": "call", "type": "call", "number": NUMBER, "next_step": "record"},
        {"id": "record", "type": "record", "action": "start", "next_step": "say"},
        {"id": "say", "type": "play", "text": "One, two, three, four, five, six, seven.", "next_step": "hangup"},
        {"id": "hangup", "type": "hangup"},
    ]});
    let posted = client.post("/api/v2/call/flow", &flow).await.expect(201);
    carrier.expect("CALL_ESTABLISHED").await;
    carrier.expect("CALL_CLOSED").await;
    let id = posted["call_id"].as_str().unwrap();
    let (_, audio) = recording(&client, id).await;
    assert!(audio[0].seconds_of(700.0) > 1.0, "we heard {} s of the carrier", audio[0].seconds_of(700.0));
    let heard = carrier.heard();
    assert!(heard.rms() > 200.0, "the carrier heard a level of {}", heard.rms());
    let call = client.get(&format!("/v1/calls/{id}")).await.expect(200);
    assert_eq!((&call["state"], &call["cause"]), (&json!("completed"), &json!("normal")), "{}", running.warnings());
    running.kill().await;
}
