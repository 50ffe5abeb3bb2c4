//! Document 002, support chat: every sample of it as printed, with ids replaced, in both shapes and by every credential
//! that the contract lets do it; bodies in every spelling; and what is wrong answered in its envelope.

use base64::Engine as _;
use kernel::app::NewApp;
use kernel::{Org, Scope};
use reqwest::Method;
use serde_json::{Value, json};
use tandem::applications::settings::checked;

use crate::harness::client::{Client, Reply, form};
use crate::harness::server::{Plan, Server};

/// The document's requests and answers, in its order.
const SAMPLES: &str = include_str!("002/samples.json");
/// The organisation of keyless requests.
pub(super) const HOME: &str = "acme";
pub(super) const SERVICE: &str = "/api/v2/room-service/";

/// A server with one organisation that answers keyless requests.
pub(super) async fn server(plan: Plan) -> Server {
    plan.with(|config| config.default_org = Some(HOME.to_owned())).start().await
}

/// An application with a chat, and a client with its key.
pub(super) struct Shop {
    pub(super) publishable: String,
    pub(super) key: Client,
}

/// Makes one, with these settings.
pub(super) async fn shop(server: &Server, org: &Org, settings: &[(&str, &str)]) -> Shop {
    let kernel = &server.app.kernel;
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let settings = checked(kernel, settings).unwrap();
    let new = NewApp { name: "Shop".to_owned(), scopes: vec![Scope::Chat], settings };
    let (app, key) = kernel.create_app(&org.id, new).await.unwrap();
    Shop { publishable: app.publishable_key, key: server.client().bearing(key.expose()) }
}

/// The four keys of row 1.
pub(super) fn keys(user: &str) -> Value {
    json!({"user_id": user, "org_id": "DOWELL12345", "portfolio_name": "umair", "product_name": "WIFIQRCODE"})
}

/// The id of the room of an answer.
pub(super) fn room_of(answer: &Value) -> String {
    assert_eq!(answer["success"], true, "{answer}");
    answer["inserted_id"].as_str().unwrap().to_owned()
}

/// A message as row 5 has it.
pub(super) fn message(room: &str, data: &str) -> Value {
    json!({"type": "create_message", "room_id": room, "message_data": data, "side": false, "author": "client",
        "message_type": "text"})
}

/// Where the messages of a room are read.
pub(super) fn messages(room: &str) -> String {
    format!("{SERVICE}?type=get_messages&room_id={room}")
}

/// What the messages of a room say, in their order.
pub(super) async fn words(client: &Client, room: &str) -> Vec<Value> {
    let answer = client.get(&messages(room)).await.expect(200);
    let list = answer["response"].as_array().unwrap_or_else(|| panic!("{answer}"));
    list.iter().map(|message| message["message_data"].clone()).collect()
}

/// Asserts that an answer has every field of the document's, of its type, and its fixed words.
fn assert_like(section: &str, documented: &Value, answered: &Value) {
    match (documented, answered) {
        (Value::Object(fields), Value::Object(_)) => {
            for (name, value) in fields {
                let there = answered.get(name).unwrap_or_else(|| panic!("{section}: no {name} in {answered}"));
                assert_like(&format!("{section}/{name}"), value, there);
            }
        }
        (Value::Array(items), Value::Array(answers)) if section.ends_with("/response") => {
            assert!(!answers.is_empty(), "{section} is empty");
            answers.iter().for_each(|answer| assert_like(section, &items[0], answer));
        }
        (Value::Array(_), Value::Array(_)) => {}
        (Value::Bool(_), Value::Bool(_)) => {}
        (Value::String(words), Value::String(_)) if words.starts_with("Room ") || words.starts_with("Message ") => {
            let said = answered.as_str().unwrap();
            let created = words.replace("filter", "created");
            assert!(*words == said || created == said, "{section}: {said}");
        }
        (Value::String(_), Value::String(_)) => {}
        // A message may be any JSON.
        (Value::String(_), _) if section.ends_with("message_data") => {}
        _ => panic!("{section}: {documented} became {answered}"),
    }
}

/// Sends the document's requests one after the other as `client`.
async fn run_the_document(client: &Client) {
    let samples: Vec<Value> = serde_json::from_str(SAMPLES).unwrap();
    assert_eq!(samples.len(), 19);
    let mut room = String::new();
    for sample in samples {
        let (section, path) = (sample["section"].as_str().unwrap(), sample["path"].as_str().unwrap());
        if path.starts_with(SERVICE) {
            // The samples before may have closed it.
            room = room_of(&client.post("/api/v2/room-control/", &keys("ABCD12345")).await.expect(200));
            client.post(SERVICE, &message(&room, "hello")).await.expect(200);
        }
        let method: Method = sample["method"].as_str().unwrap().parse().unwrap();
        let request = client.request(method, &path.replace("ROOM", &room));
        let request = match sample["request"].as_str() {
            Some(text) => {
                let text = text.replace("64ed7d75a57293efb539eb19", &room).replace("64edd973bb5e27de179c721c", &room);
                request.header("content-type", "application/json").body(text)
            }
            None => request,
        };
        let answer = client.send(request).await.expect(200);
        assert_like(section, &sample["answer"], &answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_runs_as_printed_under_open() {
    let server = server(Plan::new()).await;
    let acme = server.org(HOME).await;
    shop(&server, &acme.org, &[("identity", "open"), ("limit_sessions_per_minute", "0")]).await;
    run_the_document(&server.client()).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_token_the_same_with_the_key_of_the_application_and_as_an_agent() {
    let server = server(Plan::new()).await;
    let acme = server.org(HOME).await;
    let shop = shop(&server, &acme.org, &[]).await;
    run_the_document(&shop.key).await;
    let agent = server.client().bearing(&acme.person(kernel::Role::Agent).await);
    run_the_document(&agent).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_told_field_by_field() {
    let server = server(Plan::new()).await;
    let acme = server.org(HOME).await;
    let shop = shop(&server, &acme.org, &[]).await;
    let made = shop.key.post("/api/v2/room-control/", &keys("ABCD12345")).await.expect(200);
    let room = room_of(&made);
    assert_eq!(made["message"], "Room created successfully");
    assert!(made["token"].as_str().unwrap().len() > 40, "{made}");
    let shown = &made["response"];
    let event = shown["eventId"].as_str().unwrap();
    let (head, tail) = event.split_once('#').unwrap();
    assert!(event.starts_with("FB1010000000") && head.len() == 22 && tail.len() == 7, "{event}");
    assert!(room.len() == 24 && room.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let expected = json!({
        "_id": room, "room_id": room, "room_room_id": "13-ABCD12345", "eventId": event, "user_id": "ABCD12345",
        "org_id": "DOWELL12345", "portfolio_name": "umair", "product_name": "WIFIQRCODE",
        "message": {"receiver": "How may I help you"}, "message_data": "message", "isLogin": true, "is_active": true,
    });
    assert_eq!(*shown, expected);

    let again = shop.key.post("/api/v2/room-control/", &keys("ABCD12345")).await.expect(200);
    assert_eq!((room_of(&again), &again["message"]), (room.clone(), &json!("Room filter successfully")));
    assert_eq!(again.get("token"), None, "a token is shown once");
    shop.key.post(SERVICE, &message(&room, "the last words")).await.expect(200);
    let again = shop.key.post("/api/v2/extension/", &keys("ABCD12345")).await.expect(200);
    assert_eq!((room_of(&again), &again["response"]["message_data"]), (room.clone(), &json!("the last words")));

    let open = json!({"user_id": "ABCD12345", "product_name": "SALESAGENT"});
    let open = shop.key.post("/api/v2/openChatRoom/", &open).await.expect(200)["response"].clone();
    let told = |name: &str| open[name].as_str().unwrap().to_owned();
    assert_eq!(
        [told("org_id"), told("portfolio_name"), told("room_room_id")],
        ["27-ABCD12345", "ABCD12345", "27-ABCD12345"]
    );
    assert_eq!(open["isLogin"], false);

    let login = json!({"user_id": "u1"});
    let first = shop.key.post("/api/v2/login/", &login).await.expect(200);
    let second = shop.key.post("/api/v2/login/", &login).await.expect(200);
    assert_ne!(room_of(&first), room_of(&second), "always a new room");
    let told = &first["response"];
    assert_eq!((&told["product_name"], &told["portfolio_name"]), (&json!("LOGIN"), &json!("LOGINu1")));
    assert_eq!((told["org_id"].as_str().unwrap().len(), &told["isLogin"]), (32, &json!(true)));
    assert_ne!(told["org_id"], second["response"]["org_id"]);

    // Closed, it is still listed; a new one is made beside it.
    shop.key.post(SERVICE, &json!({"type": "delete_room", "room_id": room, "is_active": false})).await.expect(200);
    let next = shop.key.post("/api/v2/room-control/", &keys("ABCD12345")).await.expect(200);
    assert_ne!(room_of(&next), room);
    let list = "/api/v2/room-list/?org_id=nobody&org_id=DOWELL12345&product_name=WIFIQRCODE";
    let list = shop.key.get(list).await.expect(200);
    let ids: Vec<&str> = list["rooms"].as_array().unwrap().iter().map(|room| room["_id"].as_str().unwrap()).collect();
    assert_eq!(ids, [room.as_str(), &room_of(&next)], "oldest first, of a query the last counts");
    assert_eq!((&list["response"], &list["rooms"][0]["is_active"]), (&list["rooms"], &json!(false)));
    assert_eq!(list["last_room_details"]["_id"], room_of(&next));
    let after = format!("/api/v2/room-list?org_id=DOWELL12345&product_name=WIFIQRCODE&limit=1&after={room}");
    assert_eq!(shop.key.get(&after).await.expect(200)["rooms"][0]["_id"], room_of(&next));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_told_in_order_and_as_they_were_sent() {
    let server = server(Plan::new()).await;
    let acme = server.org(HOME).await;
    let shop = shop(&server, &acme.org, &[]).await;
    let made = shop.key.post("/api/v2/room-control/", &keys("u1")).await.expect(200);
    let (room, visitor) = (room_of(&made), server.client().bearing(made["token"].as_str().unwrap()));
    let mut first = message(&room, "hello");
    first["side"] = json!("False");
    let sent = visitor.post(SERVICE, &first).await.expect(200);
    assert_eq!(
        (&sent["message"], &sent["response"]["isSuccess"]),
        (&json!("Message updated successfully"), &json!(true))
    );
    let mut second = message(&room, "");
    second["message_data"] = json!({"a": [1, null, 2.5], "b": "ü"});
    second["side"] = json!(true);
    second["author"] = json!("Zoë");
    second["message_type"] = json!("TEXT");
    shop.key.post(SERVICE, &second).await.expect(200);

    let told = visitor.get(&messages(&room)).await.expect(200)["response"].clone();
    let one = &told[0];
    let expected = json!({
        "_id": sent["response"]["inserted_id"], "room_id": room, "message_data": "hello", "side": "False",
        "author": "client", "message_type": "text", "read": false, "eventId": made["response"]["eventId"],
        "user_id": "u1", "org_id": "DOWELL12345", "portfolio_name": "umair", "room_room_id": "13-u1",
        "product_name": "WIFIQRCODE", "is_active": true, "created_at": one["created_at"], "seq": 1,
    });
    assert_eq!(*one, expected);
    assert!(kernel::time::parse_rfc3339(one["created_at"].as_str().unwrap()).is_some());
    assert_eq!((&told[1]["message_data"], &told[1]["side"]), (&second["message_data"], &json!(true)));
    assert_eq!(
        (&told[1]["author"], &told[1]["message_type"], &told[1]["seq"]),
        (&json!("Zoë"), &json!("text"), &json!(2))
    );
    let rest = visitor.get(&format!("{}&after=1&limit=1", messages(&room))).await.expect(200);
    assert_eq!(rest["response"].as_array().unwrap().len(), 1);
    assert_eq!(rest["response"][0]["seq"], 2);

    // A retry under the same name is the same message.
    let mut named = message(&room, "once");
    named["cid"] = json!("c-1");
    let once = visitor.post(SERVICE, &named).await.expect(200);
    assert_eq!(visitor.post(SERVICE, &named).await.expect(200)["response"], once["response"]);
    assert_eq!(words(&visitor, &room).await.len(), 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_observed_shape_nests_as_the_service_did() {
    let server = server(Plan::new()).await;
    let acme = server.org(HOME).await;
    let shop = shop(&server, &acme.org, &[("compat_shape", "observed")]).await;
    let room = room_of(&shop.key.post("/api/v2/room-control/", &keys("u1")).await.expect(200));
    shop.key.post(SERVICE, &message(&room, "hello")).await.expect(200);
    let told = shop.key.get(&messages(&room)).await.expect(200)["response"].clone();
    assert_eq!((&told["isSuccess"], &told["data"][0]["message_data"]), (&json!(true), &json!("hello")));
    let one = shop.key.get(&format!("{SERVICE}?type=get_room_by_id&room_id={room}")).await.expect(200);
    assert_eq!(one["response"]["_id"], room.as_str());
    assert_eq!(one["message"], "Room deatils based on workspace id");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_slashes_may_be_as_clients_write_them() {
    let server = server(Plan::new()).await;
    let acme = server.org(HOME).await;
    let shop = shop(&server, &acme.org, &[]).await;
    let fields = [
        ("user_id", "Zoë & co"),
        ("org_id", "DOWELL12345"),
        ("portfolio_name", "umair"),
        ("product_name", "WIFIQRCODE"),
    ];
    let path = "/api/v2/room-control";
    let room = room_of(&shop.key.post(&format!("{path}/"), &keys("Zoë & co")).await.expect(200));
    let encoded = form(shop.key.request(Method::POST, path), &fields);
    assert_eq!(room_of(&shop.key.send(encoded).await.expect(200)), room, "a form");
    let parts: String = fields
        .iter()
        .map(|(name, text)| format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n"))
        .collect();
    let multipart = shop.key.request(Method::POST, path).header("content-type", "multipart/form-data; boundary=xyz");
    assert_eq!(room_of(&shop.key.send(multipart.body(format!("{parts}--xyz--\r\n"))).await.expect(200)), room);
    let printed = keys("Zoë & co").to_string().replace('}', ",\n\n}");
    assert_eq!(room_of(&shop.key.post_text(path, &printed).await.expect(200)), room, "a comma too many");

    let body = message(&room, "in a form");
    let pairs: Vec<(&str, String)> = body
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let sent = form(shop.key.request(Method::POST, SERVICE.trim_end_matches('/')), &pairs);
    shop.key.send(sent).await.expect(200);
    let told = shop.key.get(&messages(&room)).await.expect(200)["response"][0].clone();
    assert_eq!((&told["message_data"], &told["side"]), (&json!("in a form"), &json!("false")));

    for bare in ["openChatRoom", "login", "extension", "create_master_link", "publicroom"] {
        let reply = shop.key.post(&format!("/api/v2/{bare}"), &json!({})).await;
        assert_eq!((reply.status, &reply.json()["success"]), (400, &json!(false)), "{bare}: {}", reply.text);
    }
    for bare in ["room-list", "room-service", "get_QR_Id/x", "init/x/WORKFLOWAI/y"] {
        let status = shop.key.get(&format!("/api/v2/{bare}")).await.status;
        assert!(matches!(status, 200 | 400), "{bare}: {status}");
    }
    server.stop().await;
}

/// The message of a refusal, when its status is this one and the envelope is whole.
fn refused(reply: Reply, status: u16) -> Value {
    let body = reply.expect(status);
    assert_eq!(body["success"], false, "{body}");
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    body["errors"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_in_the_envelope() {
    let server = server(Plan::new()).await;
    let acme = server.org(HOME).await;
    let shop = shop(&server, &acme.org, &[]).await;
    let key = &shop.key;
    let names = |errors: Value| errors.as_object().unwrap().keys().cloned().collect::<Vec<_>>();

    let errors = refused(key.post("/api/v2/room-control/", &json!({"user_id": ""})).await, 400);
    assert_eq!(names(errors), ["user_id", "org_id", "portfolio_name", "product_name"]);
    let mut unknown = keys("u1");
    unknown["product_name"] = json!("NOSUCH");
    assert_eq!(names(refused(key.post("/api/v2/room-control/", &unknown).await, 400)), ["product_name"]);

    let room = room_of(&key.post("/api/v2/room-control/", &keys("u1")).await.expect(200));
    let with = |name: &str, value: Value| {
        let mut body = message(&room, "x");
        body[name] = value;
        body
    };
    for (name, value) in [
        ("message_data", Value::Null),
        ("message_data", json!("x".repeat(8_001))),
        ("message_type", json!("VIDEO")),
        ("side", json!("left")),
        ("author", json!("x".repeat(300))),
        ("room_id", json!("")),
        ("type", json!("no_such")),
    ] {
        let reply = key.post(SERVICE, &with(name, value.clone())).await;
        assert_eq!(names(refused(reply, 400)), [name], "{}", value.to_string().chars().take(20).collect::<String>());
    }
    key.post(SERVICE, &with("message_data", json!("ü".repeat(8_000)))).await.expect(200);
    refused(key.post(SERVICE, &with("message_data", json!(vec!["x"; 20_000]))).await, 413);
    let said = key.post(SERVICE, &with("type", json!("no_such"))).await.expect(400);
    assert_eq!(said["message"], "Invalid request type");
    refused(key.post(SERVICE, &with("room_id", json!("64ed7d75a57293efb539eb19"))).await, 404);
    refused(key.get(&messages("64ed7d75a57293efb539eb19")).await, 404);
    assert_eq!(names(refused(key.get(&format!("{}&limit=0&after=x", messages(&room))).await, 400)), ["after", "limit"]);

    // A link that is merely followed closes nothing.
    refused(key.get(&format!("{SERVICE}?type=delete_room&room_id={room}")).await, 400);
    key.post(SERVICE, &json!({"type": "delete_room", "room_id": room})).await.expect(200);
    refused(key.post(SERVICE, &message(&room, "too late")).await, 409);
    key.post(SERVICE, &json!({"type": "delete_room", "room_id": room, "is_active": "true"})).await.expect(200);
    key.post(SERVICE, &message(&room, "open again")).await.expect(200);

    let sent = |method: Method, kind: &'static str, body: String| {
        key.send(key.request(method, SERVICE).header("content-type", kind).body(body))
    };
    refused(sent(Method::POST, "application/xml", "<a/>".into()).await, 415);
    refused(sent(Method::POST, "application/json", "{".into()).await, 400);
    refused(sent(Method::PUT, "application/json", "{}".into()).await, 405);
    refused(sent(Method::POST, "application/json", format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20))).await, 413);
    refused(key.get("/api/v2/room-list/?org_id=x").await, 400);
    refused(server.client().bearing("vt_wrong").get(&messages(&room)).await, 401);
    refused(server.client().get("/api/v2/room-list/?org_id=x&product_name=y").await, 401);
    server.stop().await;
}

/// A picture of one pixel, padded to so many bytes.
fn picture(bytes: usize) -> String {
    let mut gif = b"GIF89a\x01\x00\x01\x00\x00\x00\x00;".to_vec();
    gif.resize(bytes, 0);
    base64::engine::general_purpose::STANDARD.encode(gif)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_moves_into_the_file_store_and_comes_back_as_it_was_sent() {
    let server = server(Plan::new()).await;
    let acme = server.org(HOME).await;
    let shop = shop(&server, &acme.org, &[]).await;
    let room = room_of(&shop.key.post("/api/v2/room-control/", &keys("u1")).await.expect(200));
    let send = async |data: Value, kind: &str| {
        let mut body = message(&room, "");
        (body["message_data"], body["message_type"]) = (data, json!(kind));
        shop.key.post(SERVICE, &body).await
    };
    let (small, large) = (picture(100), picture(1 << 20));
    send(json!(small), "IMAGE").await.expect(200);
    send(json!(large), "image").await.expect(200);
    let told = shop.key.get(&messages(&room)).await.expect(200)["response"].clone();
    assert_eq!((&told[0]["message_type"], &told[0]["message_data"]), (&json!("IMAGE"), &json!(small)));
    assert_eq!((&told[1]["message_type"], &told[1]["message_data"]), (&json!("IMAGE"), &json!(large)));
    let folder = server.app.kernel.files.root().join("chat").join(&acme.org.id);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "in the file store");
    let rows = server.app.kernel.events.of_key(&acme.org.id, &room, 0, 10).await.unwrap();
    assert!(rows.iter().all(|event| event.envelope.len() < 2_000), "and no longer in the message");

    refused(send(json!(picture((1 << 20) + 1)), "IMAGE").await, 413);
    for bad in [json!(format!("data:image/gif;base64,{small}")), json!("!"), json!("PHN2Zz4="), json!({"a": 1})] {
        assert!(refused(send(bad, "IMAGE").await, 400)["message_data"].is_array());
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "nothing half-written stays");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_waits_for_what_is_new_and_a_known_answer_is_not_sent_again() {
    let server = server(Plan::new()).await;
    let acme = server.org(HOME).await;
    let shop = shop(&server, &acme.org, &[]).await;
    let room = room_of(&shop.key.post("/api/v2/room-control/", &keys("u1")).await.expect(200));
    shop.key.post(SERVICE, &message(&room, "first")).await.expect(200);

    let (poller, path) = (shop.key.clone(), format!("{}&after=1&wait=20", messages(&room)));
    let waiting = tokio::spawn(async move { poller.get(&path).await.expect(200) });
    while server.app.chats.hub().count() == 0 {
        tokio::task::yield_now().await;
    }
    shop.key.post(SERVICE, &message(&room, "second")).await.expect(200);
    let told = waiting.await.unwrap();
    assert_eq!(told["response"][0]["message_data"], "second");
    assert_eq!(server.app.chats.hub().count(), 0, "nobody listens any more");

    let reply = shop.key.get(&messages(&room)).await;
    let etag = reply.headers["etag"].clone();
    let ask = |wait: &str| {
        let request = shop.key.request(Method::GET, &format!("{}{wait}", messages(&room)));
        shop.key.send(request.header("if-none-match", etag.clone()))
    };
    let known = ask("").await;
    assert_eq!((known.status, known.text.as_str()), (304, ""));
    assert_eq!(known.headers["etag"], etag);
    assert_eq!(ask("&wait=1").await.status, 304, "nothing happened while it waited");
    shop.key.post(SERVICE, &message(&room, "third")).await.expect(200);
    let news = ask("&wait=20").await;
    assert_eq!(news.status, 200);
    assert_ne!(news.headers["etag"], etag);
    assert_eq!(words(&shop.key, &room).await, ["first", "second", "third"]);
    let empty = shop.key.get(&format!("{}&after=3&wait=1", messages(&room))).await.expect(200);
    assert_eq!(empty["response"], json!([]), "a wait that ends with nothing is no mistake");
    server.stop().await;
}
