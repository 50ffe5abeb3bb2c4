//! The widget in Chromium, on a page of another origin, and the same chat full page by link: a visitor and an agent write
//! to each other, the line is cut, and everybody can use it, in every language.

use std::path::Path;

use serde_json::{Value, json};
use tandem::chat::model::{Draft, Id, Mark};
use tandem::chat::visit::words::{LOCALES, say};
use tandem::chat::{Asker, Change, Chats};

use super::walk;
use crate::harness::browser::Browser;
use crate::harness::customer::Customer;
use crate::harness::relay::Wire;
use crate::harness::server::{Server, Tenant};
use crate::harness::widget::{Shop, site};

/// A picture that browsers draw: one pixel.
const PNG: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x06, 0x00, 0x00, 0x00, 0x1f, 0x15, 0xc4, 0x89, 0x00, 0x00, 0x00, 0x0d, 0x49,
    0x44, 0x41, 0x54, 0x78, 0x9c, 0x62, 0xf8, 0xcf, 0xc0, 0xf0, 0x1f, 0x00, 0x05, 0x00, 0x01, 0xff, 0x89, 0x99, 0x3d,
    0x1d, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];

/// Who answers, by the desk itself.
pub(super) struct Agent {
    pub(super) chats: Chats,
    pub(super) asker: Asker,
    pub(super) room: String,
}

impl Agent {
    pub(super) async fn of(tenant: &Tenant<'_>, server: &Server, room: &Value) -> Self {
        let kernel::sign_in::Identity::Person { org, person } = server.identity(&tenant.token).await else {
            panic!("the owner is a person")
        };
        let asker = Asker::Person { org: org.into(), id: Id::from(person), role: kernel::Role::Owner };
        Self { chats: server.app.chats.clone(), asker, room: room.as_str().unwrap().to_owned() }
    }

    pub(super) async fn say(&self, text: &str) -> i64 {
        let draft = Draft { author: "Fay".to_owned(), ..Draft::text(text) };
        self.chats.send(&self.asker, &self.room, draft).await.unwrap().seq
    }

    /// What stands in the room, in order.
    pub(super) async fn said(&self) -> Vec<String> {
        let messages = self.chats.messages(&self.asker, &self.room, 0, 500).await.unwrap();
        let words =
            |body: Option<tandem::chat::model::Body>| body.map_or("-".to_owned(), |body| body.words().into_owned());
        messages.into_iter().map(|message| words(message.body)).collect()
    }

    async fn read(&self, seq: i64) {
        self.chats.mark(&self.asker, &self.room, Mark { delivered_seq: seq, read_seq: seq }).await.unwrap();
    }
}

/// The address of the script, by way of `address`.
pub(super) fn script(address: std::net::SocketAddr, shop: &Shop) -> String {
    format!("http://{address}/w/{}.js", shop.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_of_a_foreign_page_and_an_agent_write_to_each_other() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[("widget_title", "Acme support")]).await;
    let page = site(&script(server.app.http(), &shop), "data-locale=\"en\"").await;
    let origin = page.url("");
    shop.set(&acme, &server, &[("allowed_origins", &origin)]).await;

    let mut ann = Customer::at(&page.url("/cart?secret=1"), json!({})).await;
    assert_eq!(ann.ask("launcher", json!({})).await, "Open the chat");
    assert_eq!(ann.ask("frames", json!({})).await, 0, "a page that is only read loads nothing more");
    ann.launch().await;
    ann.see("text=How may I help you?").await;
    assert_eq!(ann.ask("frames", json!({})).await, 1);
    assert_eq!(ann.ask("focused", json!({})).await, "message", "one writes at once");
    assert_eq!(ann.view().await["room"], Value::Null, "nothing was said yet");
    ann.say("Hello, **where** is <b>my</b> parcel? [track](https://example.org) [x](javascript:alert(1))").await;
    ann.see(".mine .note:text-is('Sent')").await;
    let room = ann.view().await["room"].clone();
    let agent = Agent::of(&acme, &server, &room).await;
    assert_eq!(agent.said().await.len(), 1);
    assert_eq!(ann.texts(".mine strong").await, ["where"]);
    assert_eq!(ann.texts(".mine a").await, ["track"], "and no other link");
    assert!(ann.text(".mine .content").await.contains("<b>my</b>"), "no text is read as HTML");

    agent.chats.typing(&agent.asker, &agent.room, true, None, None).await.unwrap();
    ann.see("text=Somebody is writing").await;
    let seq = agent.say("In the van.").await;
    ann.see(".theirs:has-text('In the van.')").await;
    assert_eq!(ann.text(".theirs .author >> nth=-1").await, "Fay");
    agent.read(seq).await;
    ann.see(".mine .note:text-is('Read')").await;
    let marks = acme.client();
    let standing = format!("/v1/chat/rooms/{}/standing", agent.room);
    marks.until(&standing, "the visitor has read it", |standing| standing["marks"]["visitor"]["read"] == seq).await;

    // Away from it, news are counted and not read.
    ann.launch().await;
    let unseen = agent.say("It rings at your door.").await;
    marks
        .until(&standing, "it has reached the page", |standing| standing["marks"]["visitor"]["delivered"] == unseen)
        .await;
    assert_eq!(marks.get(&standing).await.expect(200)["marks"]["visitor"]["read"], seq);
    assert_eq!(ann.ask("launcher", json!({})).await, "Open the chat (1)");
    ann.launch().await;
    marks.until(&standing, "now it is read", |standing| standing["marks"]["visitor"]["read"] == unseen).await;

    // Changed, and taken back.
    ann.say("Tank you").await;
    ann.see(".mine:has-text('Tank you')").await;
    ann.ask("point", json!({"what": ".mine:has-text('Tank you')"})).await;
    ann.ask("click", json!({"what": ".mine:has-text('Tank you') [data-act=edit]"})).await;
    ann.say("Thank you").await;
    ann.see(".mine:has-text('Thank you') .note:text-is('changed')").await;
    ann.say("Secret").await;
    ann.see(".mine:has-text('Secret')").await;
    ann.ask("point", json!({"what": ".mine:has-text('Secret')"})).await;
    ann.ask("click", json!({"what": ".mine:has-text('Secret') [data-act=delete]"})).await;
    ann.press("Really delete?").await;
    ann.see(".mine:has-text('This message was deleted')").await;
    assert_eq!(agent.said().await[3..], ["Thank you", "-"]);

    // Every word between page and frame named the other's origin.
    for message in ann.ask("told", json!({})).await.as_array().unwrap() {
        assert_eq!(message["origin"], format!("http://{}", server.app.http()), "{message}");
    }
    // Another page that gets hold of the frame is not listened to: a message from our own origin is not the host's.
    ann.ask("run", json!({"script": "TandemChat.close()"})).await;
    assert_eq!(ann.ask("launcher", json!({})).await, "Open the chat");

    // The same room after the page was loaded anew, before the widget is opened.
    ann.ask("reload", json!({})).await;
    let again = agent.say("Anything else?").await;
    marks.until(&standing, "the page is back", |standing| standing["marks"]["visitor"]["delivered"] == again).await;
    ann.launch().await;
    ann.see(".theirs:has-text('Anything else?')").await;
    assert_eq!(ann.view().await["room"], room);
    ann.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_the_line_is_cut_arrives_once_and_in_order() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let wire = Wire::to(server.app.http()).await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let page = site(&script(wire.address, &shop), "").await;
    let origin = page.url("");
    shop.set(&acme, &server, &[("allowed_origins", &origin)]).await;
    let mut ann = Customer::at(&page.url("/"), json!({})).await;
    ann.launch().await;
    ann.say("one").await;
    ann.see(".mine .note:text-is('Sent')").await;
    let room = ann.view().await["room"].clone();
    let agent = Agent::of(&acme, &server, &room).await;
    let two = agent.say("two").await;
    ann.see(".theirs:has-text('two')").await;

    wire.cut(true);
    ann.see("text=The connection is lost").await;
    let editing = agent.chats.edit(&agent.asker, &agent.room, two, tandem::chat::model::Body::text("second"));
    editing.await.unwrap();
    agent.say("three").await;
    for text in ["four", "five", "six"] {
        ann.say(text).await;
    }
    assert_eq!(ann.texts(".pending .content").await, ["four", "five", "six"]);
    wire.cut(false);
    ann.ask("see", json!({"what": ".mine:has-text('six') .note:text-is('Sent')"})).await;
    let all = ["one", "second", "three", "four", "five", "six"];
    assert_eq!(agent.said().await, all);
    ann.see(".theirs:has-text('second')").await;
    let seen = ann.texts(".message:not(.greeting) .content").await;
    assert_eq!(seen, all);
    assert_eq!(ann.view().await["seqs"], json!([1, 2, 3, 4, 5, 6]));
    // The browser says that connections fail while there is none.
    ann.finish(&["ERR_", "WebSocket", "Failed to load"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_both_ways_and_a_chat_that_is_over_is_rated() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[("limit_upload_bytes", "2000")]).await;
    let url = format!("http://{}/c/{}/SALESAGENT", server.app.http(), shop.id);
    let mut ann = Customer::at(&url, json!({"full": true, "width": 390, "height": 760})).await;
    ann.see("text=How may I help you?").await;
    ann.attach("cat.png", "image/png", PNG).await;
    ann.see(".mine img[alt='Picture: cat.png']").await;
    let width = "chat.shadowRoot.querySelector('.mine img').naturalWidth";
    assert_eq!(ann.ask("ask", json!({"script": width})).await, 1, "it is drawn");
    ann.attach("notes.html", "text/html", b"<script>alert(1)</script>").await;
    ann.see(".mine button:has-text('notes.html')").await;
    ann.attach("large.bin", "", &[0; 2_001]).await;
    ann.see("text=large.bin is too large").await;
    let room = ann.view().await["room"].clone();
    let agent = Agent::of(&acme, &server, &room).await;
    let messages = agent.chats.messages(&agent.asker, &agent.room, 0, 10).await.unwrap();
    let kinds: Vec<&str> = messages.iter().map(|message| message.kind.as_str()).collect();
    assert_eq!(kinds, ["image", "file"]);
    assert_eq!(messages[1].body.as_ref().unwrap().value()["type"], "application/octet-stream");
    let product = agent.chats.room(&agent.asker, &agent.room).await.unwrap().product;
    assert_eq!(product, "SALESAGENT", "the sales agent's page");

    agent.chats.change(&agent.asker, &agent.room, &Change::Close, |_| Vec::new()).await.unwrap();
    ann.see("text=This chat has ended.").await;
    ann.ask("click", json!({"what": "text=Good"})).await;
    ann.ask("fill", json!({"what": "[name=comment]", "text": "Quick"})).await;
    ann.press("Send the rating").await;
    ann.see("text=Thank you for telling us.").await;
    let (_, rating) = agent.chats.standing(&agent.asker, &agent.room).await.unwrap();
    assert_eq!(rating.map(|rating| (rating.score, rating.comment)), Some((4, "Quick".to_owned())));
    ann.ask("click", json!({"what": ".menu summary"})).await;
    ann.press("Get this chat by e-mail").await;
    ann.ask("fill", json!({"what": "[name=email]", "text": "ann@example.org"})).await;
    ann.press("Send it to me").await;
    ann.see("text=on its way to ann@example.org").await;
    assert!(server.app.kernel.notices(&acme.org.id, "", 9).await.unwrap()[0].text().contains("[cat.png]"));
    ann.press("Start a new chat").await;
    ann.say("Once more").await;
    ann.see(".mine .note:text-is('Sent')").await;
    assert_ne!(ann.view().await["room"], room);
    ann.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_not_listed_holds_no_chat() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[("allowed_origins", "https://shop.example")]).await;
    let page = site(&script(server.app.http(), &shop), "").await;
    let mut eve = Customer::at(&page.url("/"), json!({})).await;
    eve.launch().await;
    // The browser refuses the frame: there is no chat in it, and nothing was opened.
    eve.ask("run", json!({"script": "new Promise((done) => setTimeout(() => done(null), 1500))"})).await;
    assert_eq!(eve.ask("frames", json!({})).await, 1);
    assert_eq!(eve.ask("count", json!({"what": "tandem-chat"})).await, 0);
    assert!(eve.ask("told", json!({})).await.as_array().unwrap().is_empty());
    eve.finish(&["frame-ancestors", "Framing", "Refused to frame", "chrome-error", "recipient window's origin"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chat_is_fit_for_everybody_in_every_language() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let settings =
        [("widget_offline_email", "desk@acme.example"), ("widget_hours", ""), ("limit_sessions_per_minute", "100")];
    let shop = Shop::of(&acme, &server, &settings).await;
    let pictures = walk::pictures();
    for locale in LOCALES {
        let url = format!("http://{}/c/{}?locale={locale}", server.app.http(), shop.id);
        let mut ann = Customer::at(&url, json!({"full": true})).await;
        ann.say("Hello **there**\n\n```\nlet x = 1;\n```").await;
        ann.see(&format!(".mine .note:text-is('{}')", say(locale, "sent"))).await;
        let agent = Agent::of(&acme, &server, &ann.view().await["room"]).await;
        agent.say("Hello! How are you?").await;
        ann.see(".theirs:has-text('How are you?')").await;
        assert_eq!(ann.view().await["locale"], *locale);
        let direction = "getComputedStyle(chat.shadowRoot.querySelector('section')).direction";
        let expected = if *locale == "ar" { "rtl" } else { "ltr" };
        assert_eq!(ann.ask("ask", json!({"script": direction})).await, expected);
        let mirrored = "chat.shadowRoot.querySelector('.mine').getBoundingClientRect().x < \
            chat.shadowRoot.querySelector('.theirs:last-of-type, .theirs').getBoundingClientRect().x";
        assert_eq!(ann.ask("ask", json!({"script": mirrored})).await, *locale == "ar", "{locale}: one's own side");
        let file = ["en", "ar"].contains(locale).then(|| pictures.join(format!("chat-{locale}.webp")));
        let mut wrong = ann.ask("look", json!({"file": file})).await.as_array().unwrap().clone();
        let change = Change::Close;
        agent.chats.change(&agent.asker, &agent.room, &change, |_| Vec::new()).await.unwrap();
        ann.see("[data-form=rating]").await;
        if ["en", "ar", "de"].contains(locale) {
            wrong.extend(ann.ask("look", json!({"file": null})).await.as_array().unwrap().clone());
        }
        assert!(wrong.is_empty(), "{locale}: {wrong:#?}");
        ann.finish(&[]).await;
    }
    // While nobody is there: hours that are over by the time that the test reads this.
    shop.set(&acme, &server, &[("widget_hours", &never_now(&server))]).await;
    let url = format!("http://{}/c/{}", server.app.http(), shop.id);
    let mut tom = Customer::at(&url, json!({"full": true})).await;
    tom.see("[data-form=offline]").await;
    let wrong = tom.ask("look", json!({"file": pictures.join("chat-offline.webp")})).await;
    assert_eq!(wrong, json!([]));
    for (field, text) in [("name", "Tom"), ("email", "tom@example.org"), ("message", "Call me")] {
        tom.ask("fill", json!({"what": format!("[data-form=offline] [name={field}]"), "text": text})).await;
    }
    tom.press("Leave the message").await;
    tom.see("text=We answer to tom@example.org").await;
    assert_eq!(server.app.kernel.notices(&acme.org.id, "", 9).await.unwrap()[0].recipient, "desk@acme.example");
    tom.finish(&[]).await;
    server.stop().await;
}

/// The id that Chromium gives an extension without a key: its folder's hash, written in letters.
fn extension_id(folder: &Path) -> String {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(folder.as_os_str().as_encoded_bytes());
    let letter = |half: u8| char::from(b'a' + half);
    hash.iter().take(16).flat_map(|byte| [letter(byte >> 4), letter(byte & 15)]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_extension_holds_the_chat() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/samples/extension");
    let copy = tempfile::tempdir().unwrap();
    let folder = copy.path().canonicalize().unwrap();
    for file in std::fs::read_dir(sample).unwrap() {
        let file = file.unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let text = text.replace("http://127.0.0.1:8080", &format!("http://{}", server.app.http()));
        std::fs::write(folder.join(file.file_name()), text.replace("app_...", &shop.id)).unwrap();
    }
    let origin = format!("chrome-extension://{}", extension_id(&folder));
    shop.set(&acme, &server, &[("allowed_origins", &origin)]).await;
    let mut ann = Customer::at(&format!("{origin}/popup.html"), json!({"extension": folder})).await;
    ann.see("text=How may I help you?").await;
    ann.say("From the extension").await;
    ann.see(".mine .note:text-is('Sent')").await;
    let agent = Agent::of(&acme, &server, &ann.view().await["room"]).await;
    assert_eq!(agent.said().await, ["From the extension"]);
    assert_eq!(agent.chats.room(&agent.asker, &agent.room).await.unwrap().product, "EXTENSION");
    agent.say("Hello there").await;
    ann.see(".theirs:has-text('Hello there')").await;
    ann.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_without_a_page_do_what_they_say() {
    let mut script = Browser::start("chat_parts", &json!({}));
    script.expect("every part is good", |event| event["event"] == "good").await;
    script.finish().await;
}

#[test]
fn the_script_of_a_page_is_small() {
    let script = include_bytes!("../../../web/widget/widget.js");
    let mut gzip = std::process::Command::new("gzip")
        .arg("-9c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut gzip.stdin.take().unwrap(), script).unwrap();
    let packed = gzip.wait_with_output().unwrap().stdout.len();
    assert!((1..30_000).contains(&packed), "{packed} bytes");
}

/// Hours on a day that is not today nor tomorrow.
fn never_now(server: &Server) -> String {
    const DAYS: [&str; 7] = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];
    // The first of January 1970 was a Thursday.
    let today = usize::try_from(server.app.kernel.clock.now_ms() / 86_400_000).unwrap() % 7;
    format!("{} 09:00-10:00", DAYS[(today + 3) % 7])
}
