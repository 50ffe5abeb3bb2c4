//! Chats in the console's forms: how the widget looks and whom it trusts, identity secrets that change without a gap,
//! products, codes and the links that hand them out.

use hmac::{Hmac, KeyInit as _, Mac as _};
use kernel::Role;
use kernel::secret::hex;
use serde_json::json;

use crate::harness::client::{Client, hidden_fields};
use crate::harness::server::Plan;
use crate::harness::widget::Shop;

/// 2031-05-01T12:00:00Z, within the hours of every office.
const NOON: i64 = 1_935_403_200_000;

fn hash(secret: &str, user: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(user.as_bytes());
    hex(&mac.finalize().into_bytes())
}

/// Sends the form of a page as it was shown, but for these fields.
async fn save(owner: &Client, path: &str, fields: &[(&str, &str)]) -> (u16, String) {
    let page = owner.get(path).await.text;
    let hidden = hidden_fields(&page, path);
    let mut all: Vec<(&str, &str)> = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    all.extend(fields);
    let reply = owner.send(owner.post_page(path, &all)).await;
    (reply.status, reply.text)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_dresses_the_widget_and_says_what_is_wrong() {
    let server = Plan::new().at(NOON).start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let owner = server.browser().bearing(&acme.token);
    let path = format!("/console/applications/{}/chat", shop.id);
    let page = owner.get(&path).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let line = format!("&lt;script src=\"http://{}/w/{}.js\" async&gt;&lt;/script&gt;", server.app.http(), shop.id);
    assert!(page.text.contains(&line), "{}", page.text);
    assert!(page.text.contains("name your site below") && !page.text.contains("This chat is open."));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("frame-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let list = owner.get("/console/applications").await;
    assert!(
        !list.headers["content-security-policy"].to_str().unwrap().contains("frame-src"),
        "no other page holds any"
    );

    let typed = [
        ("widget_title", "Acme desk"),
        ("widget_accent", "#ffcc00"),
        ("widget_theme", "dark"),
        ("widget_position", "left"),
        ("widget_locale", "de"),
        ("widget_hours", "mon-fri 09:00-17:00"),
        ("widget_zone", "Europe/Berlin"),
        ("widget_offline_email", "desk@acme.example"),
        ("allowed_origins", "https://shop.example\r\nhttps://m.shop.example"),
        ("identity", "token"),
        ("compat_shape", "observed"),
        ("limit_sockets", "7"),
    ];
    assert_eq!(save(&owner, &path, &typed).await.0, 303);
    let look = shop.stranger.get(&shop.path("")).await.expect(200);
    assert_eq!((&look["title"], &look["theme"], &look["locale"]), (&json!("Acme desk"), &json!("dark"), &json!("de")));
    let stored = server.app.kernel.app(&acme.org.id, &shop.id).await.unwrap();
    let value = |name: &str| stored.settings.get(name).map(String::as_str);
    assert_eq!(value("allowed_origins"), Some("https://shop.example,https://m.shop.example"));
    assert_eq!((value("limit_sockets"), value("limit_characters")), (Some("7"), None));
    assert_eq!((value("compat_shape"), value("widget_zone")), (Some("observed"), Some("Europe/Berlin")));

    let wrong = [("widget_hours", "always"), ("widget_accent", "#ffcc00"), ("widget_title", "Kept as typed")];
    let (status, page) = save(&owner, &path, &wrong).await;
    assert_eq!(status, 422);
    assert!(page.contains("hours such as") && page.contains("Kept as typed"), "{page}");
    let after = server.app.kernel.app(&acme.org.id, &shop.id).await.unwrap();
    assert_eq!(after.settings, stored.settings, "all or none");

    // Somebody else saves meanwhile.
    let shown = owner.get(&path).await.text;
    shop.set(&acme, &server, &[("widget_title", "Another's")]).await;
    let hidden = hidden_fields(&shown, &path);
    let mut late: Vec<(&str, &str)> = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    late.push(("widget_title", "Mine"));
    let reply = owner.send(owner.post_page(&path, &late)).await;
    assert_eq!(reply.status, 409);
    assert!(reply.text.contains("Another&#39;s") && reply.text.contains("Mine"), "{}", reply.text);

    assert_eq!(save(&owner, &path, &[("identity", "open"), ("widget_accent", "#0b6b6b")]).await.0, 303);
    assert!(owner.get(&path).await.text.contains("This chat is open."), "a loud warning");
    let audit = server.app.kernel.audit(&acme.org.id, None, 10).await.unwrap();
    assert_eq!(audit.iter().filter(|row| row.action == "application.change" && row.object == shop.id).count(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_secret_is_shown_once_and_changed_without_a_gap() {
    let server = Plan::new().at(NOON).start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[("identity", "verified")]).await;
    let owner = server.browser().bearing(&acme.token);
    let path = format!("/console/applications/{}/chat", shop.id);
    let make = async || {
        let page = owner.send(owner.post_page(&format!("{path}/secret"), &[])).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let secret = page.text.split("<code data-copy>").nth(1).unwrap().split("</code>").next().unwrap().to_owned();
        assert_eq!(secret.len(), 43, "{}", page.text);
        // Settings are remembered for a second.
        server.clock().advance(1_000);
        secret
    };
    let end = async || owner.submit(&path, &format!("{path}/secret/end"), &[]).await.status;
    let enters = async |secret: &str| {
        let ann = json!({"identity": {"user_id": "ann", "user_hash": hash(secret, "ann")}});
        shop.open(None, ann).await.status
    };
    assert_eq!(enters("a secret that nobody has").await, 401);
    let first = make().await;
    assert_eq!(enters(&first).await, 201);
    let second = make().await;
    assert_eq!((enters(&first).await, enters(&second).await), (200, 200), "both are good");
    let page = owner.get(&path).await.text;
    assert!(!page.contains(&first) && !page.contains(&second) && page.contains("Two are set"), "{page}");
    let application = owner.get(&format!("/console/applications/{}", shop.id)).await.text;
    assert!(!application.contains("identity_secret"), "not even sealed: {application}");
    let third = owner.send(owner.post_page(&format!("{path}/secret"), &[])).await;
    assert_eq!((third.status, enters(&second).await), (409, 200), "none takes the place of the second");
    let stale = [("version", "1")];
    assert_eq!(owner.send(owner.post_page(&format!("{path}/secret/end"), &stale)).await.status, 409);
    assert_eq!(enters(&first).await, 200, "a page that is older than the secrets ends none");
    assert_eq!(end().await, 303);
    server.clock().advance(1_000);
    assert_eq!((enters(&first).await, enters(&second).await), (401, 200));
    assert_eq!(end().await, 303);
    server.clock().advance(1_000);
    assert_eq!(enters(&second).await, 401);
    assert!(owner.get(&path).await.text.contains("There is none yet"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn products_codes_and_links_are_made_and_lead_to_their_own_chat() {
    let server = Plan::new().at(NOON).with(|config| config.default_org = Some("acme".to_owned())).start().await;
    let acme = server.org("acme").await;
    // Two applications: a code leads to the one that it names.
    let first = Shop::of(&acme, &server, &[("widget_title", "First")]).await;
    server.clock().advance(1_000);
    let second = Shop::of(&acme, &server, &[("widget_title", "Second")]).await;
    let owner = server.browser().bearing(&acme.token);
    let (status, page) = save(&owner, "/console/chat/products", &[("name", "A B"), ("code", "40")]).await;
    assert!(status == 422 && page.contains("without blanks"), "{page}");
    assert_eq!(save(&owner, "/console/chat/products", &[("name", "SHOES"), ("code", "0")]).await.0, 422);
    assert_eq!(save(&owner, "/console/chat/products", &[("name", "SHOES"), ("code", "40")]).await.0, 303);
    assert!(owner.get("/console/chat/products").await.text.contains("SHOES"));

    assert_eq!(save(&owner, "/console/chat/codes", &[("count", "0"), ("product", "SHOES")]).await.0, 422);
    assert_eq!(save(&owner, "/console/chat/codes", &[("count", "3"), ("product", "NONE")]).await.0, 422);
    assert_eq!(save(&owner, "/console/chat/codes", &[("count", "3"), ("product", "SHOES")]).await.0, 303);
    let org = acme.org.id.as_str().into();
    let made = server.app.chats.qr_ids(&org).await.unwrap();
    assert_eq!((made.len(), made[0].product.as_str()), (3, "SHOES"));
    let sheet = owner.get(&format!("/console/chat/codes/sheet?app={}", second.id)).await;
    assert_eq!((sheet.status, sheet.text.matches("role=\"img\"").count()), (200, 3), "{}", sheet.text);
    assert_eq!(owner.get("/console/chat/codes/sheet?app=app_none").await.status, 404);

    let link = [("label", "Entrance"), ("app", second.id.as_str()), ("product", "SHOES"), ("count", "2")];
    assert_eq!(save(&owner, "/console/chat/links", &[&link[1..], &[("label", "")]].concat()).await.0, 422);
    assert_eq!(save(&owner, "/console/chat/links", &link).await.0, 303);
    let listed = owner.get("/console/chat/links").await.text;
    assert!(listed.contains("2 of 2"), "{listed}");
    let id = listed.split("/c/m/").nth(1).unwrap().split('"').next().unwrap();
    let led = server.browser().get(&format!("/c/m/{id}")).await;
    let to = led.headers["location"].to_str().unwrap().to_owned();
    assert!(to.ends_with(&format!("?app={}&product=SHOES", second.id)), "{to}");
    let chat = server.client().get(&to).await.text;
    assert!(chat.contains(&second.id) && !chat.contains(&first.id) && chat.contains("product=\"SHOES\""), "{chat}");
    assert!(owner.get("/console/chat/links").await.text.contains("1 of 2"));

    // A link of document 002 leads a browser to the same page, which opens no room yet.
    let init = format!("/api/v2/init/DOWELL/SHOES/{}/?api_key={}", made[0].id, second.publishable_key(&acme).await);
    let page =
        server.browser().request(reqwest::Method::GET, &init).header("accept", "text/html,application/xhtml+xml");
    let led = server.browser().send(page).await;
    let to = led.headers.get("location").map(|to| to.to_str().unwrap().to_owned());
    assert_eq!(
        (led.status, to),
        (303, Some(format!("/c/{}?app={}&product=SHOES", made[0].id, second.id))),
        "{}",
        led.text
    );
    assert_eq!(second.client.get("/v1/chat/rooms").await.expect(200)["rooms"], json!([]));

    // Without an application it is the first one's; another organisation's application opens none of these codes.
    let bare = server.client().get(&format!("/c/{}", made[0].id)).await.text;
    assert!(bare.contains(&first.id), "{bare}");
    let other = server.org("other").await;
    let theirs = Shop::of(&other, &server, &[]).await;
    assert_eq!(server.client().get(&format!("/c/{}?app={}", made[0].id, theirs.id)).await.status, 404);

    // An agent prints and makes codes, and names no product.
    let agent = server.browser().bearing(&acme.person(Role::Agent).await);
    assert_eq!(save(&agent, "/console/chat/codes", &[("count", "1"), ("product", "LOGIN")]).await.0, 303);
    let named = agent.send(agent.post_page("/console/chat/products", &[("name", "X"), ("code", "41")])).await;
    assert_eq!(named.status, 403);
    server.stop().await;
}
