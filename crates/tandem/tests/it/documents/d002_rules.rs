//! Document 002, support chat: who may do what in each mode of identity, from which pages, how often; and the links
//! behind QR codes. Another tenant, another application and another visitor get nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kernel::Role;
use reqwest::Method;
use reqwest::header::ORIGIN;
use serde_json::{Value, json};
use sha2::Sha256;

use super::d002::{HOME, SERVICE, keys, message, messages, room_of, server, shop, words};
use crate::harness::client::{Client, Reply};
use crate::harness::server::{Plan, Server};

const CONTROL: &str = "/api/v2/room-control/";
const MASTER: &str = "/api/v2/create_master_link/";
const LIST: &str = "/api/v2/room-list/?org_id=DOWELL12345&product_name=WIFIQRCODE";
const IDS: &str = "/api/v2/get_QR_Id/whatever/";
/// 2031-05-01T12:00:00Z
const NOW: i64 = 1_935_403_200_000;
const SECRET: &str = "a secret of enough bytes";
const NEXT_SECRET: &str = "the next secret, of as many";

/// The room of an answer, and a client with the token that came with it.
fn visitor(server: &Server, answer: &Value) -> (String, Client) {
    (room_of(answer), server.client().bearing(answer["token"].as_str().unwrap()))
}

/// A message that says it comes from support.
fn from_support(room: &str) -> Value {
    let mut body = message(room, "I am support");
    body["side"] = json!(true);
    body
}

fn delete(room: &str) -> Value {
    json!({"type": "delete_room", "room_id": room, "is_active": false})
}

fn master(ids: &[&str]) -> Value {
    let ids: Vec<Value> = ids.iter().map(|id| json!({"qrid": id, "portfolioName": "desk"})).collect();
    json!({"workspace_id": "w1", "qr_ids": ids, "product_name": "WORKFLOWAI", "base_url": "https://shop.example"})
}

#[tokio::test(flavor = "multi_thread")]
async fn under_token_a_room_is_its_visitors_and_its_id_lets_write_there() {
    let server = server(Plan::new()).await;
    let acme = server.org(HOME).await;
    let shop = shop(&server, &acme.org, &[("limit_sessions_per_minute", "0")]).await;
    let nobody = server.client();
    let first = nobody.post(CONTROL, &keys("u1")).await.expect(200);
    assert_eq!(first["message"], "Room created successfully");
    let (room, owner) = visitor(&server, &first);
    let second = nobody.post(CONTROL, &keys("u1")).await.expect(200);
    let (other_room, other) = visitor(&server, &second);
    assert_ne!(other_room, room, "a user's name opens nobody's room");
    let again = owner.post(CONTROL, &keys("u1")).await.expect(200);
    assert_eq!((room_of(&again), &again["message"]), (room.clone(), &json!("Room filter successfully")));
    assert_eq!(room_of(&owner.post("/api/v2/extension/", &keys("u1")).await.expect(200)), room);

    // The id alone lets somebody write and read there, as the visitor.
    nobody.post(SERVICE, &message(&room, "by the id")).await.expect(200);
    owner.post(SERVICE, &message(&room, "by the token")).await.expect(200);
    assert_eq!(words(&nobody, &room).await, ["by the id", "by the token"]);
    let by_id = format!("{SERVICE}?type=get_room_by_id&room_id={room}");
    assert_eq!(nobody.get(&by_id).await.expect(200)["response"][0]["_id"], room.as_str());

    // What reaches further takes a credential that does.
    for client in [&nobody, &owner] {
        client.post(SERVICE, &from_support(&room)).await.expect(403);
    }
    for (client, status) in [(&nobody, 401), (&owner, 403)] {
        client.post(SERVICE, &delete(&room)).await.expect(status);
        client.get(LIST).await.expect(status);
        client.get(IDS).await.expect(status);
        client.post(IDS, &json!({})).await.expect(status);
        client.post(MASTER, &master(&["q1"])).await.expect(status);
    }
    assert_eq!(words(&nobody, &room).await.len(), 2, "nothing of it was sent");

    // Another visitor, application or organisation finds nothing.
    let strange = super::d002::shop(&server, &acme.org, &[]).await.key;
    let foreign = server.org("other").await;
    let foreign = [super::d002::shop(&server, &foreign.org, &[]).await.key, foreign.client()];
    for client in [&other, &strange, &foreign[0], &foreign[1]] {
        client.get(&messages(&room)).await.expect(404);
        client.get(&by_id).await.expect(404);
        client.post(SERVICE, &message(&room, "x")).await.expect(404);
        let status = client.post(SERVICE, &delete(&room)).await.status;
        assert_eq!(status, 404);
    }
    assert_eq!(strange.get(LIST).await.expect(200)["rooms"], json!([]));

    // The application and its agents answer; a member does not.
    shop.key.post(SERVICE, &from_support(&room)).await.expect(200);
    let agent = server.client().bearing(&acme.person(Role::Agent).await);
    agent.post(SERVICE, &from_support(&room)).await.expect(200);
    let member = server.client().bearing(&acme.person(Role::Member).await);
    member.get(&messages(&room)).await.expect(404);
    member.get(LIST).await.expect(403);
    let auditor = server.client().bearing(&acme.person(Role::Auditor).await);
    auditor.get(&messages(&room)).await.expect(200);
    auditor.post(SERVICE, &message(&room, "x")).await.expect(403);
    assert_eq!(words(&owner, &room).await.len(), 4);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_open_anybody_may_and_the_role_stays_a_visitors() {
    let server = server(Plan::new()).await;
    let acme = server.org(HOME).await;
    let shop = shop(&server, &acme.org, &[("identity", "open")]).await;
    let nobody = server.client();
    let room = room_of(&nobody.post(CONTROL, &keys("u1")).await.expect(200));
    assert_eq!(room_of(&nobody.post(CONTROL, &keys("u1")).await.expect(200)), room);
    nobody.post(SERVICE, &from_support(&room)).await.expect(200);
    let told = nobody.get(&messages(&room)).await.expect(200)["response"][0].clone();
    assert_eq!((&told["side"], &told["read"]), (&json!(true), &json!(false)));
    let event = server.app.kernel.events.of_key(&acme.org.id, &room, 0, 10).await.unwrap().pop().unwrap();
    assert!(event.envelope.contains("\"role\":\"visitor\""), "{}", event.envelope);
    assert_eq!(nobody.get(LIST).await.expect(200)["rooms"][0]["_id"], room.as_str());
    nobody.post(SERVICE, &delete(&room)).await.expect(200);
    nobody.get(IDS).await.expect(200);
    // A credential that is wrong is not taken for none.
    for wrong in ["ak_wrong", "vt_wrong", "pt_wrong", "nonsense"] {
        server.client().bearing(wrong).get(LIST).await.expect(401);
    }
    // No Host of ours, no keyless requests.
    drop(shop);
    let lost = Plan::new().start().await;
    let there = lost.org("unbound").await;
    super::d002::shop(&lost, &there.org, &[("identity", "open")]).await;
    lost.client().post(CONTROL, &keys("u1")).await.expect(404);
    lost.client().get(LIST).await.expect(401);
    lost.stop().await;
    server.stop().await;
}

fn signed(text: &str, secret: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hash(user: &str, secret: &str) -> String {
    signed(user, secret).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn jwt(user: &str, org: &str, secret: &str) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"sub": user, "org": org, "exp": NOW / 1_000 + 3_600});
    let text = format!("{}.{}", part(json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signed(&text, secret)))
}

fn with(mut body: Value, name: &str, value: String) -> Value {
    body[name] = value.into();
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn under_verified_the_applications_word_alone_opens_a_users_room() {
    let server = server(Plan::new().at(NOW)).await;
    let acme = server.org(HOME).await;
    let settings = [
        ("identity", "verified"),
        ("identity_secret", SECRET),
        ("identity_secret_next", NEXT_SECRET),
        ("limit_sessions_per_minute", "0"),
    ];
    shop(&server, &acme.org, &settings).await;
    let nobody = server.client();

    // Any live secret, as a token or a hash, in the body or as the credential, leads to the same user's room.
    let proved = with(keys("alice"), "identity_token", jwt("alice", HOME, SECRET));
    let first = nobody.post(CONTROL, &proved).await.expect(200);
    let (room, alice) = visitor(&server, &first);
    for body in [
        with(keys("alice"), "user_hash", hash("alice", SECRET)),
        with(keys("alice"), "user_hash", hash("alice", NEXT_SECRET)),
        with(keys("alice"), "identity_token", jwt("alice", &acme.org.id, NEXT_SECRET)),
        with(keys("alice"), "identity_token", jwt("alice", "DOWELL12345", SECRET)),
    ] {
        let again = nobody.post(CONTROL, &body).await.expect(200);
        assert_eq!((room_of(&again), &again["message"]), (room.clone(), &json!("Room filter successfully")));
        assert_ne!(again["token"], first["token"], "each browser its own");
        let (_, browser) = visitor(&server, &again);
        browser.get(&messages(&room)).await.expect(200);
    }
    let bearing = server.client().bearing(&jwt("alice", HOME, SECRET));
    assert_eq!(room_of(&bearing.post(CONTROL, &keys("alice")).await.expect(200)), room);
    bearing.post(SERVICE, &message(&room, "by the word")).await.expect(200);
    alice.post(SERVICE, &message(&room, "by the token")).await.expect(200);
    alice.post(SERVICE, &from_support(&room)).await.expect(403);

    // A word for somebody else, of somebody else, or made up, proves nothing.
    for body in [
        with(keys("alice"), "user_hash", hash("bob", SECRET)),
        with(keys("alice"), "user_hash", hash("alice", "guessed, guessed, guessed")),
        with(keys("alice"), "identity_token", jwt("bob", HOME, SECRET)),
        with(keys("alice"), "identity_token", jwt("alice", "elsewhere", SECRET)),
        with(keys("alice"), "identity_token", jwt("alice", HOME, "guessed, guessed, guessed")),
    ] {
        nobody.post(CONTROL, &body).await.expect(401);
    }
    let bob = server.client().bearing(&jwt("bob", HOME, SECRET));
    bob.get(&messages(&room)).await.expect(404);
    assert_eq!(bob.post(CONTROL, &keys("alice")).await.status, 400, "another user's name");

    // Without one there is a new room at best, and the id of a room opens nothing.
    let unproved = nobody.post(CONTROL, &keys("alice")).await.expect(200);
    assert_ne!(room_of(&unproved), room);
    nobody.get(&messages(&room)).await.expect(404);
    nobody.post(SERVICE, &message(&room, "x")).await.expect(404);
    nobody.post(SERVICE, &from_support(&room)).await.expect(403);
    assert_eq!(words(&alice, &room).await, ["by the word", "by the token"]);

    // A day later the token of the application is over; the visitor's own goes on.
    server.clock().advance(2 * 3_600_000);
    bearing.get(&messages(&room)).await.expect(401);
    alice.get(&messages(&room)).await.expect(200);
    server.clock().advance(31 * 86_400_000);
    alice.get(&messages(&room)).await.expect(401);
    server.stop().await;
}

async fn asked(client: &Client, method: Method, path: &str, origin: &str, body: Option<&Value>) -> Reply {
    let request = client.request(method, path).header(ORIGIN, origin);
    client
        .send(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
}

fn echoed(reply: &Reply) -> Option<&str> {
    reply.headers.get("access-control-allow-origin").map(|origin| origin.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_pages_that_the_application_lists_may_use_its_chat() {
    const LISTED: &str = "https://shop.example";
    const EVIL: &str = "https://evil.example";
    let server = server(Plan::new()).await;
    let acme = server.org(HOME).await;
    let settings = [("allowed_origins", LISTED), ("limit_sessions_per_minute", "0")];
    let shop = shop(&server, &acme.org, &settings).await;
    let (nobody, own) = (server.client(), format!("http://{}", server.app.http()));

    let good = asked(&nobody, Method::POST, CONTROL, LISTED, Some(&keys("u1"))).await;
    assert_eq!(echoed(&good), Some(LISTED));
    assert_eq!(good.headers["vary"], "origin");
    let room = room_of(&good.expect(200));
    asked(&nobody, Method::POST, CONTROL, &own, Some(&keys("u1"))).await.expect(200);
    // A refusal can be read by the page that may ask.
    let wrong = asked(&nobody, Method::POST, CONTROL, LISTED, Some(&json!({}))).await;
    assert_eq!((wrong.status, echoed(&wrong)), (400, Some(LISTED)));
    for origin in [EVIL, "null", "https://shop.example.evil.example", "http://shop.example"] {
        for client in [&nobody, &shop.key] {
            let bad = asked(client, Method::POST, CONTROL, origin, Some(&keys("u1"))).await;
            assert_eq!((bad.status, echoed(&bad)), (403, None), "{origin}");
            let bad = asked(client, Method::GET, &messages(&room), origin, None).await;
            assert_eq!((bad.status, echoed(&bad)), (403, None), "{origin}");
        }
    }

    let preflight = asked(&nobody, Method::OPTIONS, CONTROL, LISTED, None).await;
    assert_eq!((preflight.status, echoed(&preflight)), (204, Some(LISTED)));
    assert!(preflight.headers["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
    for path in [CONTROL, "/api/v2/room-control", SERVICE, IDS, "/api/v2/init/a/WORKFLOWAI/b"] {
        let preflight = asked(&nobody, Method::OPTIONS, path, EVIL, None).await;
        assert_eq!((preflight.status, echoed(&preflight)), (204, None), "{path}");
    }

    // `open` with an empty list lets every page in, with a list those on it.
    let other = server.org("other").await;
    let open = super::d002::shop(&server, &other.org, &[("identity", "open")]).await;
    let listed = super::d002::shop(&server, &other.org, &[("identity", "open"), ("allowed_origins", LISTED)]).await;
    let path = |publishable: &str| format!("{CONTROL}?api_key={publishable}");
    asked(&nobody, Method::POST, &path(&open.publishable), EVIL, Some(&keys("u1"))).await.expect(200);
    asked(&nobody, Method::POST, &path(&listed.publishable), EVIL, Some(&keys("u1"))).await.expect(403);
    server.stop().await;
}

/// The seconds to wait that a refusal names.
fn wait_of(reply: Reply) -> u64 {
    let seconds = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert_eq!(reply.expect(429)["success"], false);
    seconds
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_is_reached_and_told_with_the_time_to_wait() {
    let server = server(Plan::new().at(NOW)).await;
    let acme = server.org(HOME).await;
    let shop = shop(&server, &acme.org, &[]).await;
    let nobody = server.client();

    // Ten new visitors a minute from one address; rooms that an application's server opens are not counted.
    let mut last = Value::Null;
    for _ in 0..10 {
        last = nobody.post(CONTROL, &keys("u1")).await.expect(200);
    }
    assert_eq!(wait_of(nobody.post(CONTROL, &keys("u1")).await), 7);
    for user in 0..12 {
        shop.key.post(CONTROL, &keys(&format!("u{user}"))).await.expect(200);
    }
    // Six conversations an hour of one visitor.
    let (_, guest) = visitor(&server, &last);
    for _ in 0..6 {
        guest.post("/api/v2/login/", &json!({"user_id": "u1"})).await.expect(200);
    }
    assert_eq!(wait_of(guest.post("/api/v2/login/", &json!({"user_id": "u1"})).await), 601);
    guest.post(CONTROL, &keys("u1")).await.expect(200);

    // Ten messages at once, then thirty a minute, whoever shows the room's id or its visitor's token.
    let room = room_of(&last);
    for _ in 0..5 {
        nobody.post(SERVICE, &message(&room, "x")).await.expect(200);
        guest.post(SERVICE, &message(&room, "x")).await.expect(200);
    }
    assert_eq!(wait_of(guest.post(SERVICE, &message(&room, "x")).await), 3);
    assert_eq!(wait_of(nobody.post(SERVICE, &message(&room, "x")).await), 3);
    shop.key.post(SERVICE, &from_support(&room)).await.expect(200);
    server.clock().advance(2_000);
    guest.post(SERVICE, &message(&room, "x")).await.expect(200);
    guest.post(SERVICE, &message(&room, "x")).await.expect(429);
    assert_eq!(words(&guest, &room).await.len(), 12, "what was refused was not sent");

    // A minute later there is room for new visitors; each application sets its own rates.
    server.clock().advance(60_000);
    nobody.post(CONTROL, &keys("u1")).await.expect(200);
    let settings = [
        ("limit_sessions_per_minute", "2"),
        ("limit_conversations_per_hour", "1"),
        ("limit_messages_per_minute", "60"),
        ("limit_messages_burst", "1"),
        ("limit_characters", "5"),
    ];
    let strict = super::d002::shop(&server, &acme.org, &settings).await;
    let path = format!("{CONTROL}?api_key={}", strict.publishable);
    nobody.post(&path, &keys("u1")).await.expect(200);
    let (room, guest) = visitor(&server, &nobody.post(&path, &keys("u1")).await.expect(200));
    nobody.post(&path, &keys("u1")).await.expect(429);
    guest.post("/api/v2/login/", &json!({"user_id": "u1"})).await.expect(200);
    guest.post("/api/v2/login/", &json!({"user_id": "u1"})).await.expect(429);
    guest.post(SERVICE, &message(&room, "123456")).await.expect(400);
    guest.post(SERVICE, &message(&room, "12345")).await.expect(200);
    guest.post(SERVICE, &message(&room, "12345")).await.expect(429);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publishable_key_opens_rooms_of_its_application_and_nothing_else() {
    let server = Plan::new().start().await;
    let acme = server.org(HOME).await;
    let shop = shop(&server, &acme.org, &[]).await;
    let nobody = server.client();
    let path = format!("/api/v2/publicroom/?api_key={}", shop.publishable);
    let body = json!({"org_id": "o", "product_name": "PUBLICCHAT", "portfolio_name": "p"});
    let made = nobody.post(&path, &body).await.expect(200);
    let (room, guest) = visitor(&server, &made);
    assert_eq!((&made["response"]["isLogin"], &made["response"]["product_name"]), (&json!(true), &json!("PUBLICCHAT")));
    assert!(made["response"]["room_room_id"].as_str().unwrap().starts_with("32-"));
    let again = nobody.post(&path, &body).await.expect(200);
    assert_ne!(room_of(&again), room, "another visitor");
    let read = nobody.get(&format!("{path}&room_id={room}")).await.expect(200);
    assert_eq!((room_of(&read), &read["message"]), (room.clone(), &json!("Room filter successfully")));
    assert_eq!(room_of(&guest.get(&format!("/api/v2/publicroom/?room_id={room}")).await.expect(200)), room);

    nobody.post("/api/v2/publicroom/", &body).await.expect(401);
    nobody.post("/api/v2/publicroom/?api_key=pk_wrong", &body).await.expect(401);
    let secret = format!("/api/v2/publicroom/?api_key={}", shop.key.token());
    nobody.post(&secret, &body).await.expect(401);
    let in_header = server.client().bearing(&shop.publishable);
    in_header.post("/api/v2/publicroom/", &body).await.expect(200);
    in_header.get(LIST).await.expect(401);
    in_header.post(SERVICE, &delete(&room)).await.expect(401);
    in_header.post(SERVICE, &from_support(&room)).await.expect(403);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_of_a_link_does_not_fill_the_list() {
    let server = server(Plan::new().at(NOW)).await;
    let acme = server.org(HOME).await;
    shop(&server, &acme.org, &[("limit_sessions_per_minute", "0")]).await;
    let client = server.client();
    let look = async |agent: &str, id: &str| {
        let path = format!("/api/v2/init/6385c0f18eca0fb652c94558/WORKFLOWAI/{id}/");
        let reply = client.send(client.request(Method::GET, &path).header("user-agent", agent)).await;
        reply.expect(200)["room"].clone()
    };
    let first = look("preview", "g6tWCp5trVRO").await;
    assert_eq!(
        (&first["message"], &first["response"]["isLogin"]),
        (&json!("Room created successfully"), &json!(false))
    );
    let told = &first["response"];
    assert_eq!(
        [&told["user_id"], &told["portfolio_name"], &told["room_room_id"], &told["org_id"]],
        ["g6tWCp5trVRO", "g6tWCp5trVRO", "11-g6tWCp5trVRO", "6385c0f18eca0fb652c94558"]
    );
    let room = room_of(&first);
    let same = look("preview", "g6tWCp5trVRO").await;
    assert_eq!(room_of(&same), room, "the same empty room again");
    let (_, first_holder) = visitor(&server, &same);
    assert_ne!(room_of(&look("phone", "g6tWCp5trVRO").await), room, "a new one to anybody else");
    assert_ne!(room_of(&look("preview", "another").await), room);
    server.clock().advance(10 * 60_000 - 1);
    let last = look("preview", "g6tWCp5trVRO").await;
    let (_, holder) = visitor(&server, &last);
    assert_eq!(room_of(&last), room);
    // Whoever it was before, one holds the room now.
    first_holder.post(SERVICE, &message(&room, "hello")).await.expect(401);
    holder.post(SERVICE, &message(&room, "hello")).await.expect(200);
    let next = room_of(&look("preview", "g6tWCp5trVRO").await);
    assert_ne!(next, room, "it is no longer empty");
    server.clock().advance(10 * 60_000);
    assert_ne!(room_of(&look("preview", "g6tWCp5trVRO").await), next, "ten minutes are over");

    // A visitor who is known opens rooms of its own, which nobody else is given, and is given nobody's.
    let path = "/api/v2/init/6385c0f18eca0fb652c94558/WORKFLOWAI/shared/";
    let by = async |client: &Client| room_of(&client.get(path).await.expect(200)["room"]);
    let of_known = by(&holder).await;
    let of_nobody = by(&client).await;
    assert_ne!(of_nobody, of_known);
    let again = by(&holder).await;
    assert!(again != of_known && again != of_nobody);
    server.stop().await;
}

/// Whoever guesses a user's keys must not be given to that user's page by the application itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_names_a_users_keys_gets_no_room_of_a_stranger() {
    let server = server(Plan::new()).await;
    let acme = server.org(HOME).await;
    let shop = shop(&server, &acme.org, &[]).await;
    let nobody = server.client();
    let laid = room_of(&nobody.post(CONTROL, &keys("ann")).await.expect(200));
    let owned = room_of(&shop.key.post(CONTROL, &keys("ann")).await.expect(200));
    assert_ne!(owned, laid);
    let laid_later = room_of(&nobody.post(CONTROL, &keys("ann")).await.expect(200));
    assert_ne!(laid_later, owned);
    assert_eq!(room_of(&shop.key.post(CONTROL, &keys("ann")).await.expect(200)), owned, "not the newest, its own");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_link_hands_each_visitor_the_next_unused_id() {
    let server = server(Plan::new().at(NOW)).await;
    let acme = server.org(HOME).await;
    let shop = shop(&server, &acme.org, &[]).await;
    let made = shop.key.post("/v1/chat/qr", &json!({"count": 2, "product": "WORKFLOWAI"})).await.expect(201);
    let ids: Vec<&str> = made["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert!(ids.iter().all(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())), "{ids:?}");
    let listed = |list: Value| {
        list["qr_id_list"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(listed(shop.key.post(IDS, &json!({})).await.expect(200)), sorted);

    // The ids of before, and one that is new to the organisation; the product brings its code along.
    let mut order = master(&[ids[0], ids[1], "Gr4t0YhpMfVa"]);
    order["product_name"] = json!({"KIOSK": 40});
    let answer = shop.key.post(MASTER, &order).await.expect(200);
    assert_eq!(answer["product_name"], "KIOSK");
    let code = &answer["qr_response"]["qrcodes"][0];
    assert_eq!(listed(shop.key.get(IDS).await.expect(200)).len(), 3);

    let base = format!("http://{}", server.app.http());
    let link = code["masterlink"].as_str().unwrap().strip_prefix(&base).unwrap().to_owned();
    let picture = code["qrcode_image_url"].as_str().unwrap().strip_prefix(&base).unwrap().to_owned();
    let png = server.client().request(Method::GET, &picture).send().await.unwrap();
    assert_eq!((png.status().as_u16(), &png.headers()["content-type"]), (200, &"image/png".parse().unwrap()));
    assert!(png.bytes().await.unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));
    let svg = server.client().get(&picture.replace(".png", ".svg")).await;
    assert!(svg.status == 200 && svg.text.starts_with("<svg") && svg.headers["x-content-type-options"] == "nosniff");

    let browser = server.client().browsing();
    let handed = async |agent: &str| {
        let reply = browser.send(browser.request(Method::GET, &link).header("user-agent", agent)).await;
        assert_eq!(reply.status, 303, "{}", reply.text);
        let location = reply.headers["location"].to_str().unwrap().to_owned();
        location.strip_prefix("/c/").unwrap().split('?').next().unwrap().to_owned()
    };
    let first = handed("one").await;
    assert_eq!(handed("one").await, first, "a preview uses nothing up");
    let (second, third) = (handed("two").await, handed("three").await);
    let mut all = [first.as_str(), second.as_str(), third.as_str()];
    all.sort_unstable();
    let mut given = [ids[0], ids[1], "Gr4t0YhpMfVa"];
    given.sort_unstable();
    assert_eq!(all, given, "each once");
    assert_eq!(handed("four").await, first, "a printed code never fails: the oldest comes again");

    // Twenty in the same moment get twenty.
    let many: Vec<String> = (0..20).map(|n| format!("many{n}")).collect();
    let order = master(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let answer = shop.key.post(MASTER, &order).await.expect(200);
    let link = answer["qr_response"]["qrcodes"][0]["masterlink"].as_str().unwrap().to_owned();
    let link = server.app.chats.master_link(link.rsplit('/').next().unwrap()).await.unwrap().unwrap();
    let claims = many.iter().map(|_| server.app.chats.hand_out(&link));
    let mut got: Vec<String> = futures_util::future::join_all(claims).await.into_iter().map(Result::unwrap).collect();
    got.sort_unstable();
    let mut wanted = many.clone();
    wanted.sort_unstable();
    assert_eq!(got, wanted);

    for bad in [
        json!({"workspace_id": "w", "qr_ids": [], "product_name": "WORKFLOWAI"}),
        json!({"workspace_id": "w", "qr_ids": [{"qrid": "a/b"}], "product_name": "WORKFLOWAI"}),
        json!({"workspace_id": "w", "qr_ids": [{"qrid": "a"}], "product_name": "NOSUCH"}),
        json!({"workspace_id": "w", "qr_ids": [{"qrid": "a"}], "product_name": {"A": 1, "B": 2}}),
        json!({"workspace_id": "w", "qr_ids": [{"qrid": "a"}], "product_name": "LOGIN", "base_url": "javascript:1"}),
    ] {
        shop.key.post(MASTER, &bad).await.expect(400);
    }
    let nowhere = browser.get("/c/m/nosuch").await;
    assert!(nowhere.status == 404 && nowhere.text.contains("There is no chat here"), "a page, for people");
    shop.key.post("/v1/chat/qr", &json!({"count": 1_001})).await.expect(422);
    let other = server.org("other").await;
    let other = super::d002::shop(&server, &other.org, &[]).await.key;
    assert_eq!(other.get(IDS).await.expect(200), json!({"qr_id_list": []}), "another organisation has none of them");
    server.stop().await;
}
