//! The sign-in tokens of document 000: whom they sign in, and when they no longer do.

use kernel::Kernel;
use serde_json::{Value, json};
use tandem::meetings::model::LEGACY_SECRET_PURPOSE;
use tandem::meetings::sessions::Whose;
use tandem::meetings::tokens::recognise;
use tokio::process::Command;

use super::d000::{NOW, application, order, with};
use crate::harness::client::Client;
use crate::harness::server::{Plan, Server};

const PATH: &str = "/api/v1/meetings";
const DAY_MS: i64 = 24 * 3_600_000;

async fn whose(server: &Server, token: &Value) -> Option<Whose> {
    recognise(&server.app.kernel, token.as_str().unwrap(), None).await.unwrap()
}

async fn posted(shop: &Client, order: &Value) -> (i64, Value, Value) {
    let answer = shop.post(PATH, order).await.expect(200);
    let id = answer["meeting_id"].as_i64().unwrap();
    (id, answer["encrypted_caller_id"].clone(), answer["encrypted_receiver_id"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_token_signs_in_its_person_of_its_application() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (one, shop) = application(&server, &acme, &[]).await;
    let (two, school) = application(&server, &acme, &[]).await;
    for (app, client) in [(&one, &shop), (&two, &school)] {
        let (id, caller, receiver) = posted(client, &order()).await;
        for (token, uid) in [(&caller, "1222"), (&receiver, "56712")] {
            let found = whose(&server, token).await.unwrap();
            assert_eq!((&found.org, &found.app, found.uid.as_str(), found.meeting), (&acme.org.id, app, uid, id));
            assert!(!token.as_str().unwrap().contains(uid));
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_token_and_one_of_another_server_sign_nobody_in() {
    let (server, other) = (Server::start().await, Server::start().await);
    let (_, shop) = application(&server, &server.org("acme").await, &[]).await;
    let (_, caller, _) = posted(&shop, &order()).await;
    assert_eq!(whose(&other, &caller).await, None);
    let token = caller.as_str().unwrap();
    let (head, last) = token.split_at(token.len() - 1);
    let changed = format!("{head}{}", if last == "A" { "B" } else { "A" });
    for wrong in [&changed, head, "", "t1.", "1222"] {
        assert_eq!(whose(&server, &json!(wrong)).await, None, "{wrong}");
    }
    assert!(whose(&server, &caller).await.is_some());
    server.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_meeting_and_a_removed_application_sign_nobody_in() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (app, shop) = application(&server, &acme, &[]).await;
    let (id, caller, receiver) = posted(&shop, &order()).await;
    let (_, others, _) = posted(&shop, &with("/meeting/order_id", json!(552))).await;
    shop.post(&format!("{PATH}/{id}/cancel"), &json!({})).await.expect(200);
    for token in [&caller, &receiver] {
        assert_eq!(whose(&server, token).await, None);
    }
    assert!(whose(&server, &others).await.is_some(), "the person's other meeting");
    server.app.kernel.disable_app(&acme.org.id, &app).await.unwrap();
    assert_eq!(whose(&server, &others).await, None);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_replaced_signs_in_no_more() {
    let server = Server::start().await;
    let (_, shop) = application(&server, &server.org("acme").await, &[]).await;
    let (id, caller, receiver) = posted(&shop, &order()).await;
    let change = json!({"receiver": {"uid": "77", "number": "+447700900777"}});
    shop.patch(&format!("{PATH}/{id}"), &json!({"receiver": {"uid": 1222}})).await.expect(422);
    shop.patch(&format!("{PATH}/{id}"), &change).await.expect(200);
    assert_eq!(whose(&server, &receiver).await, None);
    assert!(whose(&server, &caller).await.is_some());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_a_place_gets_nothing_that_was_of_another_person() {
    let server = Server::start().await;
    let (_, shop) = application(&server, &server.org("acme").await, &[]).await;
    let mut first = order();
    first["receiver"] = json!({"name": "Tom", "number": "+447700900456", "email": "tom@example.org"});
    let (id, ..) = posted(&shop, &first).await;
    let path = format!("{PATH}/{id}");
    let unknown = shop.patch(&path, &json!({"receiver": {"uid": "u3"}})).await.expect(200)["receiver"].clone();
    assert_eq!(unknown, json!({"uid": "u3", "name": "", "call_type": "browser"}));
    let given = json!({"receiver": {"uid": "u4", "number": "+447700900004"}});
    let given = shop.patch(&path, &given).await.expect(200)["receiver"].clone();
    assert_eq!(given, json!({"uid": "u4", "name": "", "number": "+447700900004", "call_type": "phone"}));
    let known = json!({"receiver": {"uid": "56712", "name": "Thomas"}});
    let known = shop.patch(&path, &known).await.expect(200)["receiver"].clone();
    let tom = json!({
        "uid": "56712", "name": "Thomas", "number": "+447700900456", "email": "tom@example.org", "call_type": "phone",
    });
    assert_eq!(known, tom, "as the application told of him before");
    let wrong = json!({"caller": {"number": "07700900123"}, "receiver": {"number": "999", "email": "a@b..c"}});
    let wrong = shop.patch(&path, &wrong).await.expect(422)["errors"].clone();
    let codes: Vec<&str> = wrong.as_array().unwrap().iter().map(|error| error["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["invalid_number", "number_not_allowed", "invalid"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_until_a_day_after_the_end_that_the_meeting_has() {
    let server = Plan::new().at(NOW).start().await;
    let (_, shop) = application(&server, &server.org("acme").await, &[]).await;
    let soon = with("/meeting/start_at", json!(kernel::time::rfc3339(NOW + DAY_MS)));
    let (id, caller, _) = posted(&shop, &soon).await;
    let later = json!({"start_at": kernel::time::rfc3339(NOW + 30 * DAY_MS)});
    shop.patch(&format!("{PATH}/{id}"), &later).await.expect(200);
    let end = NOW + 30 * DAY_MS + 9 * 60_000;
    server.clock().set(end + DAY_MS - 1);
    assert!(whose(&server, &caller).await.is_some(), "moved, so it lives on");
    server.clock().set(end + DAY_MS);
    assert_eq!(whose(&server, &caller).await, None);
    server.stop().await;
}

const OLD_SECRET: &str = "the old secret_key_base of the shop";

/// A token that Rails signs, as document 000's own server did.
async fn by_rails(secret: &str, uid: &str) -> String {
    let script = "require 'active_support'; require 'active_support/message_verifier'
        print ActiveSupport::MessageVerifier.new(ARGV[0], digest: 'SHA1', serializer: Marshal).generate(ARGV[1])";
    let output = Command::new("ruby").args(["-Ku", "-e", script, secret, uid]).output().await;
    let output = output.expect("ruby with ruby-activesupport (Debian) is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn set_legacy_secret(kernel: &Kernel, org: &str, app: &str, secret: &str) {
    let sealed = kernel.secrets.seal(LEGACY_SECRET_PURPOSE, secret).unwrap();
    kernel.set_app(org, app, vec![("legacy_verifier_secret".to_owned(), sealed)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_before_signs_in_only_where_its_secret_was_given() {
    let server = Server::start().await;
    let (acme, other) = (server.org("acme").await, server.org("other").await);
    let kernel = &server.app.kernel;
    let (app, shop) = application(&server, &acme, &[]).await;
    let (id, ..) = posted(&shop, &order()).await;
    let token = by_rails(OLD_SECRET, "1222").await;
    let found = async |token: &str, org: Option<&str>| recognise(kernel, token, org).await.unwrap();
    assert_eq!(found(&token, Some(&acme.org.id)).await, None, "off unless set");
    set_legacy_secret(kernel, &acme.org.id, &app, "another secret_key_base of the shop").await;
    assert_eq!(found(&token, Some(&acme.org.id)).await, None);
    set_legacy_secret(kernel, &acme.org.id, &app, OLD_SECRET).await;
    let whose = found(&token, Some(&acme.org.id)).await.unwrap();
    assert_eq!((&whose.app, whose.uid.as_str(), whose.meeting), (&app, "1222", id));
    assert_eq!(found(&token, Some(&other.org.id)).await, None, "another organisation's host");
    assert_eq!(found(&token, None).await, None, "no organisation's host");
    // A word that an older release took for a secret: anybody can sign with it.
    set_legacy_secret(kernel, &acme.org.id, &app, "true").await;
    assert_eq!(found(&by_rails("true", "1222").await, Some(&acme.org.id)).await, None);
    set_legacy_secret(kernel, &acme.org.id, &app, OLD_SECRET).await;
    let stranger = by_rails(OLD_SECRET, "9999").await;
    assert_eq!(found(&stranger, Some(&acme.org.id)).await, None, "nobody's meeting");
    server.stop().await;
}
