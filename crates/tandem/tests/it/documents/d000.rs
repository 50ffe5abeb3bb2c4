//! Document 000, meetings: its curl line as it stands is an order, and what is wrong with one is answered as the contract
//! says. An application sees its own meetings and no other's.

use kernel::app::NewApp;
use kernel::{Role, Scope};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::client::{Client, Reply, form};
use crate::harness::phone::need;
use crate::harness::server::{Server, Tenant};

/// The document's request, a line for a shell.
const REQUEST: &str = include_str!("000/request.txt");
/// Its answer.
const RESPONSE: &str = include_str!("000/response.txt");
const PATH: &str = "/api/v1/meetings";
/// 2031-05-01T12:00:00Z
pub(super) const NOW: i64 = 1_935_403_200_000;

/// The fields that the document posts, in its own words.
fn line() -> &'static str {
    REQUEST.split("-d '").nth(1).unwrap().split('\'').next().unwrap()
}

/// The same order as JSON.
pub(super) fn order() -> Value {
    json!({
        "user": {"uid_caller": 1222, "uid_receiver": 56712},
        "meeting": {"order_id": 551, "duration": 9, "start_at": "31-12-2031 5:00 PM"},
        "caller": {"name": "cane", "number": "+447700900123", "call_type": "Phone"},
        "receiver": {"name": "tommy", "number": "+447700900456", "call_type": "Browser"},
    })
}

/// `order` with one field changed.
pub(super) fn with(pointer: &str, value: Value) -> Value {
    let mut body = order();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[name] = value;
    body
}

/// An application of an organisation, with its key.
pub(super) async fn application(server: &Server, tenant: &Tenant<'_>, settings: &[(&str, &str)]) -> (String, Client) {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let new = NewApp { name: "Shop".to_owned(), scopes: vec![Scope::Meetings], settings };
    let (app, key) = server.app.kernel.create_app(&tenant.org.id, new).await.unwrap();
    (app.id, server.client().bearing(key.expose()))
}

fn pointers(reply: Reply) -> Vec<String> {
    let body = reply.expect(422);
    assert_eq!(body["code"], "invalid_field", "{body}");
    body["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
}

fn codes(body: &Value) -> Vec<&str> {
    body["warnings"].as_array().unwrap().iter().map(|warning| warning["code"].as_str().unwrap()).collect()
}

/// Runs the document's line with this key at this server.
async fn curl(server: &Server, key: &str) -> Value {
    need("curl", "curl");
    let line = REQUEST
        .replace("4dee88b4ca2b65b98f52e27e3a3ce250", key)
        .replace("77.245.75.194:4000", &server.app.http().to_string())
        .replace("curl -v", "curl --silent --show-error --fail-with-body");
    let output = Command::new("sh").arg("-c").arg(line).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_line_gives_its_three_fields() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let key = acme.app_key(&[Scope::Meetings]).await;
    let answer = curl(&server, &key).await;
    let documented: Value = serde_json::from_str(RESPONSE).unwrap();
    for (name, value) in documented.as_object().unwrap() {
        assert_eq!(answer[name].is_string(), value.is_string(), "{name}: {answer}");
        assert_eq!(answer[name].is_i64(), value.is_i64(), "{name}: {answer}");
    }
    assert_eq!(answer["starts_at"], "2014-12-31T17:00:00.000Z");
    let ends_ms = kernel::time::parse_rfc3339(answer["ends_at"].as_str().unwrap()).unwrap();
    assert!(ends_ms > server.app.kernel.clock.now_ms(), "a past start is open for its length: {answer}");
    let (caller, receiver) = (&answer["encrypted_caller_id"], &answer["encrypted_receiver_id"]);
    assert_ne!(caller, receiver);
    let page = |token: &Value| format!("http://{}/sessions?acc_tok={}", server.app.http(), token.as_str().unwrap());
    assert_eq!((&answer["caller_url"], &answer["receiver_url"]), (&page(caller).into(), &page(receiver).into()));
    assert_ne!(answer["pin"], answer["receiver_pin"]);
    for pin in [&answer["pin"], &answer["receiver_pin"]] {
        let pin = pin.as_str().unwrap();
        assert!(pin.len() == 8 && pin.bytes().all(|byte| byte.is_ascii_digit()), "{pin}");
    }
    assert_eq!(codes(&answer), ["start_in_past", "no_number_pool"]);

    // Once more it is the same meeting, with fresh tokens.
    let again = curl(&server, &key).await;
    assert_eq!(again["meeting_id"], answer["meeting_id"]);
    assert_ne!(&again["encrypted_caller_id"], caller);
    let client = server.client().bearing(&key);
    let list = client.get("/v1/meetings").await.expect(200);
    assert_eq!(list["meetings"].as_array().unwrap().len(), 1, "{list}");
    let stored = server.app.kernel.events.of_key(&acme.org.id, &answer["meeting_id"].to_string(), 0, 10).await.unwrap();
    let text: String = stored.iter().map(|event| event.envelope.as_str()).collect();
    assert!(stored.iter().any(|event| event.kind == "meeting.scheduled"), "{text}");
    assert!(!text.contains("123456789") && !text.contains("588974456"), "{text}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn form_multipart_nested_and_flat_json_are_the_same_order() {
    let server = crate::harness::server::Plan::new().at(NOW).start().await;
    let acme = server.org("acme").await;
    let (_, shop) = application(&server, &acme, &[]).await;
    let id = |answer: Value| answer["meeting_id"].clone();
    let first = id(shop.post(PATH, &order()).await.expect(200));

    let pairs: Vec<(&str, &str)> = line().split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    let encoded = form(shop.request(Method::POST, PATH), &pairs);
    assert_eq!(id(shop.send(encoded).await.expect(200)), first, "encoded as it should be");
    let bare = shop.request(Method::POST, PATH).body(line());
    assert_eq!(id(shop.send(bare).await.expect(200)), first, "without a content type");
    let json = shop.request(Method::POST, PATH).header("content-type", "application/x-www-form-urlencoded");
    let json = json.body(format!(" {}", order()));
    assert_eq!(id(shop.send(json).await.expect(200)), first, "JSON that curl -d calls a form");

    let parts: String = pairs
        .iter()
        .map(|(name, text)| format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n"))
        .collect();
    let multipart = shop.request(Method::POST, PATH).header("content-type", "multipart/form-data; boundary=xyz");
    assert_eq!(id(shop.send(multipart.body(format!("{parts}--xyz--\r\n"))).await.expect(200)), first, "multipart");

    let flat = json!({
        "uniq_caller_id": 1222, "uniq_receiver_id": "56712", "order_id": 551, "duration": "9",
        "start_at": "2031-12-31T17:00:00Z", "name_of_caller": "cane", "nubmber": "+447700900123",
        "name_of_receiver": "tommy", "number": "+447700900456", "call_type_of_receiver": "browser",
    });
    let answer = shop.post(PATH, &flat).await.expect(200);
    assert_eq!(answer["starts_at"], "2031-12-31T17:00:00.000Z");
    assert_eq!(id(answer), first, "the names of the table");

    let other = shop.post(PATH, &with("/meeting/order_id", json!(552))).await.expect(200);
    assert_ne!(id(other), first, "another order is another meeting");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_post_updates_name_and_number_of_the_meeting_and_of_the_person() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (_, shop) = application(&server, &acme, &[]).await;
    let id = shop.post(PATH, &order()).await.expect(200)["meeting_id"].clone();
    let mut changed = with("/caller/name", json!("Cane Corso"));
    changed["caller"]["number"] = json!("+447700900999");
    assert_eq!(shop.post(PATH, &changed).await.expect(200)["meeting_id"], id);
    let meeting = shop.get(&format!("/v1/meetings/{id}")).await.expect(200);
    assert_eq!(
        (&meeting["caller"]["name"], &meeting["caller"]["number"]),
        (&"Cane Corso".into(), &"+447700900999".into())
    );
    // What an order leaves out of the mail address is not forgotten, neither here nor at the next meeting.
    changed["caller"]["email"] = json!("cane@example.org");
    shop.post(PATH, &changed).await.expect(200);
    changed["caller"].as_object_mut().unwrap().shift_remove("email");
    shop.post(PATH, &changed).await.expect(200);
    let email = async |id: &Value| shop.get(&format!("/v1/meetings/{id}")).await.expect(200)["caller"]["email"].clone();
    assert_eq!(email(&id).await, "cane@example.org");
    let mut next = changed.clone();
    next["meeting"]["order_id"] = json!(552);
    let next_id = shop.post(PATH, &next).await.expect(200)["meeting_id"].clone();
    assert_eq!(email(&next_id).await, "cane@example.org");
    shop.patch(&format!("/v1/meetings/{id}"), &json!({"caller": {"email": ""}})).await.expect(200);
    shop.post(PATH, &changed).await.expect(200);
    assert_eq!(email(&id).await, Value::Null, "what was taken away stays away");
    // A meeting that is over is not changed: the next order is another meeting.
    shop.post(&format!("/v1/meetings/{id}/cancel"), &json!({})).await.expect(200);
    assert_ne!(shop.post(PATH, &changed).await.expect(200)["meeting_id"], id);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_good_key_of_the_right_scope_orders() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    server.client().post(PATH, &order()).await.expect(401);
    server.client().bearing("ak_wrong").post(PATH, &order()).await.expect(401);
    let flows = acme.app_key(&[Scope::Flows]).await;
    server.client().bearing(&flows).post(PATH, &order()).await.expect(403);
    let agent = acme.person(Role::Agent).await;
    server.client().bearing(&agent).post(PATH, &order()).await.expect(403);

    // Somebody of the organisation says whose people they are.
    let (app, shop) = application(&server, &acme, &[]).await;
    assert_eq!(pointers(acme.client().post(PATH, &order()).await), ["?application"]);
    let foreign = server.org("other").await;
    let (foreign_app, _) = application(&server, &foreign, &[]).await;
    for wrong in ["app_none", &foreign_app] {
        let reply = acme.client().post(&format!("{PATH}?application={wrong}"), &order()).await;
        assert_eq!(pointers(reply), ["?application"], "{wrong}");
    }
    assert_eq!(pointers(shop.post(&format!("{PATH}?application={foreign_app}"), &order()).await), ["?application"]);
    let id = acme.client().post(&format!("{PATH}?application={app}"), &order()).await.expect(200)["meeting_id"].clone();
    assert_eq!(shop.get(&format!("/v1/meetings/{id}")).await.expect(200)["application"], app.as_str());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_field_that_is_wrong_is_named_and_nothing_stays() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (_, shop) = application(&server, &acme, &[]).await;
    let nothing = ["/meeting/order_id", "/user/uid_caller", "/user/uid_receiver", "/meeting/duration"];
    assert_eq!(pointers(shop.post(PATH, &json!({})).await), nothing);
    assert_eq!(pointers(shop.send(form(shop.request(Method::POST, PATH), &[])).await), nothing);
    let mut bad = with("/caller/number", Value::Null);
    bad["meeting"]["duration"] = json!("long");
    bad["meeting"]["start_at"] = json!("12-31-2031 10:00");
    bad["meeting"]["time_zone"] = json!("Mars/Olympus");
    let named = ["/caller/number", "/meeting/duration", "/meeting/time_zone", "/meeting/start_at"];
    assert_eq!(pointers(shop.post(PATH, &bad).await), named);
    bad["meeting"]["time_zone"] = json!("Europe/London");
    let named = ["/caller/number", "/meeting/duration", "/meeting/start_at"];
    assert_eq!(pointers(shop.post(PATH, &bad).await), named);
    let xml = shop.request(Method::POST, PATH).header("content-type", "application/xml").body("<order/>");
    shop.send(xml).await.expect(415);
    let nul = shop.send(form(shop.request(Method::POST, PATH), &[("order_id", "a\0b")])).await.expect(400);
    assert_eq!(nul["code"], "nul_character");
    assert_eq!(shop.get("/v1/meetings").await.expect(200)["meetings"], json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_orders_once_and_gives_the_same_tokens() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (_, shop) = application(&server, &acme, &[]).await;
    let post = |body: Value| {
        let request = shop.request(Method::POST, PATH).header("idempotency-key", "order-551");
        let shop = shop.clone();
        async move { shop.send(request.json(&body)).await }
    };
    let first = post(order()).await.expect(200);
    assert_eq!(post(order()).await.expect(200), first, "the very same answer");
    assert_eq!(post(with("/meeting/duration", json!(10))).await.expect(409)["code"], "idempotency_mismatch");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_and_length_are_in_the_zone_and_unit_of_the_application() {
    let server = crate::harness::server::Plan::new().at(NOW).start().await;
    let acme = server.org("acme").await;
    let settings = [("time_zone", "Asia/Kolkata"), ("duration_unit", "seconds")];
    let (_, shop) = application(&server, &acme, &settings).await;
    let answer = shop.post(PATH, &with("/meeting/duration", json!(90))).await.expect(200);
    assert_eq!(answer["starts_at"], "2031-12-31T11:30:00.000Z");
    assert_eq!(answer["ends_at"], "2031-12-31T11:31:30.000Z");
    let mut body = with("/meeting/duration", json!(90));
    body["meeting"]["time_zone"] = json!("America/New_York");
    assert_eq!(shop.post(PATH, &body).await.expect(200)["starts_at"], "2031-12-31T22:00:00.000Z");
    body["meeting"].as_object_mut().unwrap().shift_remove("start_at");
    assert_eq!(shop.post(PATH, &body).await.expect(200)["starts_at"], "2031-12-31T22:00:00.000Z", "as it was");
    body["meeting"]["order_id"] = json!("new");
    assert_eq!(shop.post(PATH, &body).await.expect(200)["starts_at"], "2031-05-01T12:00:00.000Z", "now");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_applications_with_the_same_people_never_see_each_other() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (one, shop) = application(&server, &acme, &[]).await;
    let (two, school) = application(&server, &acme, &[]).await;
    let mut others = with("/caller/name", json!("another cane"));
    others["caller"]["number"] = json!("+447700900777");
    let mine = shop.post(PATH, &order()).await.expect(200)["meeting_id"].clone();
    let theirs = school.post(PATH, &others).await.expect(200)["meeting_id"].clone();
    assert_ne!(mine, theirs, "the same order and people of another application are another meeting");
    for (client, app, own, foreign) in [(&shop, &one, &mine, &theirs), (&school, &two, &theirs, &mine)] {
        let list = client.get("/v1/meetings?uid=1222").await.expect(200);
        let listed = list["meetings"].as_array().unwrap();
        assert!(listed.len() == 1 && &listed[0]["meeting_id"] == own, "{app}: {list}");
        for base in ["/v1", "/api/v1"] {
            let path = format!("{base}/meetings/{foreign}");
            client.get(&path).await.expect(404);
            client.patch(&path, &json!({"duration": 20})).await.expect(404);
            for verb in ["call", "extend", "finish", "cancel", "links"] {
                client.post(&format!("{path}/{verb}"), &json!({})).await.expect(404);
            }
        }
    }
    // The person of one is not the person of the other.
    let name = |meeting: Value| meeting["caller"]["name"].clone();
    assert_eq!(name(shop.get(&format!("/v1/meetings/{mine}")).await.expect(200)), "cane");
    assert_eq!(name(school.get(&format!("/v1/meetings/{theirs}")).await.expect(200)), "another cane");
    // Who sees the whole organisation sees both.
    assert_eq!(acme.client().get("/v1/meetings").await.expect(200)["meetings"].as_array().unwrap().len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_for_one_or_both_and_not_for_what_was_cancelled() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (_, shop) = application(&server, &acme, &[]).await;
    let id = shop.post(PATH, &order()).await.expect(200)["meeting_id"].clone();
    let path = format!("{PATH}/{id}/links");
    let both = shop.send(shop.request(Method::POST, &path)).await.expect(200);
    let begin = format!("http://{}/m/", server.app.http());
    for role in ["caller", "receiver"] {
        let link = both[role].as_str().unwrap();
        assert!(link.strip_prefix(&begin).is_some_and(|token| token.len() == 43), "{link}");
    }
    assert_ne!(both["caller"], both["receiver"]);
    let one = shop.post(&path, &json!({"as": "receiver"})).await.expect(200);
    assert!(one.get("caller").is_none() && one["receiver"].is_string(), "{one}");
    shop.post(&path, &json!({"as": "anybody"})).await.expect(422);
    shop.post(&format!("{PATH}/{id}/cancel"), &json!({})).await.expect(200);
    shop.post(&path, &json!({})).await.expect(409);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_outside_the_meetings_time_is_refused_and_told() {
    let server = crate::harness::server::Plan::new().at(NOW).start().await;
    let acme = server.org("acme").await;
    let (_, shop) = application(&server, &acme, &[]).await;
    let id = shop.post(PATH, &order()).await.expect(200)["meeting_id"].clone();
    let call = format!("{PATH}/{id}/call");
    assert_eq!(shop.post(&call, &json!({})).await.expect(409)["code"], "meeting_not_open");
    // Nor does anybody name a number to dial.
    assert_eq!(
        shop.post(&call, &json!({"number": "+447700900999"})).await.expect(422)["errors"][0]["pointer"],
        "/number"
    );
    shop.post(&format!("{PATH}/{id}/cancel"), &json!({})).await.expect(200);
    assert_eq!(shop.post(&call, &json!({"as": "receiver"})).await.expect(409)["code"], "meeting_ended");
    let events = server.app.kernel.events.of_key(&acme.org.id, &id.to_string(), 0, 20).await.unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    let early = "meeting.out_of_session";
    assert_eq!(kinds, ["meeting.scheduled", early, "meeting.cancelled", "meeting.ended", early]);
    server.stop().await;
}
