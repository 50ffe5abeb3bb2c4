//! The console's inbox in Chromium, and the visitor with the real widget on a page of another origin: they write to each
//! other, the line is cut on either side, rooms go from one to another, and everybody can use the page.

use kernel::Role;
use serde_json::{Value, json};

use super::walk;
use crate::harness::customer::Customer;
use crate::harness::desk::Desk;
use crate::harness::relay::Wire;
use crate::harness::server::{Server, Tenant};
use crate::harness::stub::Stub;
use crate::harness::widget::{Shop, site};

/// A picture that browsers draw: one pixel.
const PNG: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x06, 0x00, 0x00, 0x00, 0x1f, 0x15, 0xc4, 0x89, 0x00, 0x00, 0x00, 0x0d, 0x49,
    0x44, 0x41, 0x54, 0x78, 0x9c, 0x62, 0xf8, 0xcf, 0xc0, 0xf0, 0x1f, 0x00, 0x05, 0x00, 0x01, 0xff, 0x89, 0x99, 0x3d,
    0x1d, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];
/// What browsers say while there is no connection.
const CUT: [&str; 3] = ["ERR_", "WebSocket", "Failed to load"];

/// A shop whose page, of another origin, holds the widget by way of `address`.
async fn shop(server: &Server, acme: &Tenant<'_>, address: std::net::SocketAddr) -> (Shop, Stub) {
    let shop = Shop::of(acme, server, &[("limit_messages_per_minute", "600"), ("limit_messages_burst", "100")]).await;
    let page = site(&format!("http://{address}/w/{}.js", shop.id), "data-locale=\"en\"").await;
    shop.set(acme, server, &[("allowed_origins", &page.url(""))]).await;
    (shop, page)
}

/// A visitor who has opened the widget and said something.
async fn visitor(page: &Stub, words: &str) -> Customer {
    let mut ann = Customer::at(&page.url("/cart"), json!({})).await;
    ann.launch().await;
    ann.say(words).await;
    ann.see(".mine .note:text-is('Sent')").await;
    ann
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_and_an_agent_write_to_each_other() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (_shop, page) = shop(&server, &acme, server.app.http()).await;
    let mut fay = Desk::of(&server, &acme, "Fay", Role::Agent, server.app.http()).await;
    let mut ann = visitor(&page, "Hello, where is my **parcel**?").await;
    fay.see(".folders .has-unread[data-folder=waiting]").await;
    assert_eq!(fay.run("document.title").await, "(1) Inbox · Tandem");
    fay.open("waiting", "Hello, where").await;
    assert_eq!(fay.person.texts("#messages strong").await, ["parcel"]);
    fay.see("#room-state:has-text('visitor here now')").await;
    ann.see(".mine .note:text-is('Read')").await;
    assert_eq!(fay.run("document.title").await, "Inbox · Tandem");

    // What the visitor writes is seen before it is sent; that the agent writes, too.
    ann.ask("fill", json!({"what": "#message", "text": "I would like"})).await;
    fay.see("#typing:has-text('I would like')").await;
    fay.fill("#message", "One").await;
    ann.see("text=Somebody is writing").await;
    ann.ask("fill", json!({"what": "#message", "text": ""})).await;
    fay.choose("#message").await;
    fay.keys(&["End"]).await;
    fay.type_in(" moment").await;
    fay.keys(&["Shift+Enter"]).await;
    fay.type_in("please").await;
    fay.keys(&["Enter"]).await;
    ann.see(".theirs:has-text('please')").await;
    assert_eq!(ann.text(".theirs .content >> nth=-1").await, "One moment\nplease");
    assert_eq!(ann.text(".theirs .author >> nth=-1").await, "Fay");
    fay.see(".message.own .note:text-is('Read')").await;

    // A note is theirs alone.
    fay.choose("#composer [data-act=note]").await;
    fay.say("She is a regular").await;
    fay.see(".message.inside:has-text('She is a regular')").await;
    fay.choose("#composer [data-act=reply]").await;
    fay.say("It is in the van").await;
    ann.see(".theirs:has-text('It is in the van')").await;
    assert_eq!(ann.ask("count", json!({"what": "text=regular"})).await, 0);
    let all = ["Hello, where is my parcel?", "One moment\nplease", "She is a regular", "It is in the van"];
    assert_eq!(fay.said().await, all);

    // Changed, and taken back.
    let van = "#messages .message:has-text('in the van')";
    fay.run("document.querySelector('#messages').lastElementChild.querySelector('[data-act=edit]').focus()").await;
    fay.choose(&format!("{van} [data-act=edit]")).await;
    fay.say("It is at your door").await;
    ann.see(".theirs:has-text('at your door') .note:text-is('changed')").await;
    ann.say("Wrong window").await;
    fay.see("#messages .message:has-text('Wrong window')").await;
    ann.ask("point", json!({"what": ".mine:has-text('Wrong window')"})).await;
    ann.ask("click", json!({"what": ".mine:has-text('Wrong window') [data-act=delete]"})).await;
    ann.press("Really delete?").await;
    fay.see("#messages .message[data-deleted]").await;

    // Files go both ways.
    ann.attach("cat.png", "image/png", PNG).await;
    fay.see("#messages img[alt='Picture: cat.png']").await;
    let width = "document.querySelector('#messages img').decode().then(() => document.querySelector('#messages img').naturalWidth)";
    assert_eq!(fay.run(width).await, 1, "it is drawn");
    fay.attach("van.png", "image/png", PNG).await;
    ann.see(".theirs img[alt='Picture: van.png']").await;
    fay.attach("terms.pdf", "application/pdf", b"%PDF-1.7").await;
    ann.see(".theirs button:has-text('terms.pdf')").await;

    // The page loaded anew is the same; the room's own address leads to it.
    let path = fay.person.path().await;
    assert!(path.starts_with("/console/inbox/"), "{path}");
    let before = fay.said().await;
    fay.go(&path).await;
    fay.see("#messages img[alt='Picture: van.png']").await;
    assert_eq!(fay.said().await, before);

    fay.choose(".thread-head [data-act=close]").await;
    ann.see("text=This chat has ended.").await;
    fay.see("#room-state:has-text('Closed')").await;
    fay.gone("#composer").await;
    fay.choose(".thread-head [data-act=reopen]").await;
    fay.see("#composer").await;
    ann.finish(&[]).await;
    fay.finish(&[]).await;
    server.stop().await;
}

/// Both sides write while the line of one is cut; afterwards both have the same, once and in order.
async fn write_while_cut(whose: &str) {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (hers, his) = (Wire::to(server.app.http()).await, Wire::to(server.app.http()).await);
    let (_shop, page) = shop(&server, &acme, hers.address).await;
    let mut fay = Desk::of(&server, &acme, "Fay", Role::Agent, his.address).await;
    let mut ann = visitor(&page, "one").await;
    fay.open("waiting", "one").await;
    fay.say("two").await;
    ann.see(".theirs:has-text('two')").await;
    fay.see(".message.own .note:text-is('Read')").await;

    let wire = if whose == "agent" { &his } else { &hers };
    wire.cut(true);
    let mut expected = vec!["one", "two"];
    if whose == "agent" {
        fay.see("#line:has-text('The connection is lost')").await;
        ann.say("three").await;
        ann.see(".mine:has-text('three') .note:text-is('Sent')").await;
        for text in ["four", "five"] {
            fay.say(text).await;
        }
        assert_eq!(fay.person.texts("#pending .content").await, ["four", "five"]);
    } else {
        ann.see("text=The connection is lost").await;
        fay.say("three").await;
        fay.see("#messages .message:has-text('three')").await;
        for text in ["four", "five"] {
            ann.say(text).await;
        }
        assert_eq!(ann.texts(".pending .content").await, ["four", "five"]);
    }
    expected.extend(["three", "four", "five"]);
    wire.cut(false);
    fay.see("#messages .message:has-text('five')").await;
    ann.see(".message:has-text('five') >> nth=0").await;
    fay.say("six").await;
    ann.see(".theirs:has-text('six')").await;
    expected.push("six");
    assert_eq!(fay.said().await, expected);
    assert_eq!(ann.texts(".message:not(.greeting) .content").await, expected);
    assert_eq!(ann.view().await["seqs"], json!([1, 2, 3, 4, 5, 6]));
    fay.gone("#line").await;
    ann.finish(&CUT).await;
    fay.finish(&CUT).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_the_agents_line_is_cut() {
    write_while_cut("agent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_the_visitors_line_is_cut() {
    write_while_cut("visitor").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_goes_from_one_agent_to_another_with_all_that_belongs_to_it() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (shop, page) = shop(&server, &acme, server.app.http()).await;
    let owner = acme.client();
    let reply =
        json!({"shortcut": "hi", "title": "Greeting", "text": "Hello {visitor.name|there}, I am {agent.name}."});
    owner.post("/v1/chat/canned", &reply).await.expect(201);
    let wait = json!({"shortcut": "wait", "title": "Patience", "text": "One moment."});
    owner.post("/v1/chat/canned", &wait).await.expect(201);
    let steps = json!([{"do": "tag", "tag": "refund"}, {"do": "reply", "text": "We pay it back."}, {"do": "note", "text": "Paid"}]);
    owner.post("/v1/chat/macros", &json!({"name": "Refund", "steps": steps})).await.expect(201);
    let mut fay = Desk::of(&server, &acme, "Fay", Role::Agent, server.app.http()).await;
    let mut gus = Desk::of(&server, &acme, "Gus", Role::Agent, server.app.http()).await;
    let mut ann = visitor(&page, "My zebra is broken").await;
    fay.open("waiting", "zebra").await;
    fay.choose(".thread-head [data-act=take]").await;
    fay.see("#room-state:has-text('Yours')").await;
    assert_eq!(
        fay.run("document.activeElement.id").await,
        "room-name",
        "the pressed button has gone, the focus has not"
    );
    gus.see("[data-folder=waiting] .count:text-is('0')").await;

    // A canned reply by its first letters and keys alone.
    fay.choose("#message").await;
    fay.type_in("/").await;
    fay.see("#canned li >> nth=1").await;
    fay.type_in("h").await;
    fay.gone("#canned li:has-text('wait')").await;
    fay.keys(&["Enter"]).await;
    until(&mut fay, "document.querySelector('#message').value === 'Hello there, I am Fay.'").await;
    fay.keys(&["Enter"]).await;
    ann.see(".theirs:has-text('Hello there, I am Fay.')").await;

    // The card: who it is, and tags.
    fay.see("#card dd:has-text('not verified')").await;
    fay.choose("#card button:text-is('Edit')").await;
    // An address alone, before anybody knows a name.
    fay.fill("#card [name=email]", "ann@example.org").await;
    fay.choose("#card button:text-is('Save')").await;
    fay.see("#card dd:has-text('ann@example.org')").await;
    fay.choose("#card button:text-is('Edit')").await;
    fay.fill("#card [name=name]", "Ann Berg").await;
    fay.choose("#card button:text-is('Save')").await;
    fay.see("#room-name:text-is('Ann Berg')").await;
    fay.fill("#tag", "VIP").await;
    fay.keys(&["Enter"]).await;
    fay.see(".tags li:has-text('vip')").await;
    fay.choose(".thread-head [data-act=macros]").await;
    fay.person.click("Run it").await;
    ann.see(".theirs:has-text('We pay it back.')").await;
    fay.see(".tags li:has-text('refund')").await;
    fay.see(".message.inside:has-text('Paid')").await;

    // Handed over with a note, it is the other's at once.
    fay.choose(".thread-head [data-act=transfer]").await;
    let gus_id = gus.run("document.querySelector('#inbox').dataset.me").await;
    let to = json!({"what": "#transfer-to", "value": format!("person:{}", gus_id.as_str().unwrap())});
    fay.person.ask("select", to).await;
    fay.fill("#transfer-note", "Knows zebras").await;
    fay.choose("#sheet .primary").await;
    fay.see("#room-state:has-text('With Gus')").await;
    fay.gone("#composer").await;
    gus.see("[data-folder=mine] .count:text-is('1')").await;
    gus.open("mine", "Ann Berg").await;
    gus.see(".message.inside:has-text('Knows zebras')").await;
    gus.see(".tags li:has-text('vip')").await;
    gus.say("Gus here").await;
    ann.see(".theirs:has-text('Gus here')").await;
    fay.see("#messages .message:has-text('Gus here'):not(.own)").await;
    assert_eq!(ann.ask("count", json!({"what": "text=zebras"})).await, 0, "no note is seen outside");

    // A search finds the room by words of the visitor.
    let other = shop.guest().await;
    other.client.post(&other.path("/messages"), &json!({"body": "An elephant"})).await.expect(201);
    gus.fill("#query", "zebr").await;
    gus.see("#rooms a:has-text('My zebra is broken')").await;
    assert_eq!(
        gus.run("[...document.querySelectorAll('#rooms a')].some((a) => a.textContent.includes('elephant'))").await,
        false
    );
    gus.choose("#rooms a:has-text('My zebra is broken')").await;
    gus.see(".message.found:has-text('My zebra is broken')").await;
    ann.finish(&[]).await;
    fay.finish(&[]).await;
    gus.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_works_with_keys_alone_and_is_told_of_news() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (shop, _page) = shop(&server, &acme, server.app.http()).await;
    let mut rooms = Vec::new();
    for words in ["first", "second"] {
        let guest = shop.guest().await;
        guest.client.post(&guest.path("/messages"), &json!({"body": words})).await.expect(201);
        rooms.push(guest);
    }
    let mut fay = Desk::of(&server, &acme, "Fay", Role::Agent, server.app.http()).await;
    fay.choose("[data-folder=waiting]").await;
    fay.see("#rooms a >> nth=1").await;
    fay.run("document.activeElement.blur()").await;
    fay.keys(&["j"]).await;
    fay.see("#messages .message:has-text('first')").await;
    fay.keys(&["j"]).await;
    fay.see("#messages .message:has-text('second')").await;
    fay.keys(&["ArrowUp"]).await;
    fay.see("#messages .message:has-text('first')").await;
    fay.keys(&["r"]).await;
    // While one writes, no key is a shortcut.
    fay.type_in("jean ?").await;
    fay.keys(&["Enter"]).await;
    fay.see("#messages .message.own:has-text('jean ?')").await;
    fay.run("document.activeElement.blur()").await;
    fay.keys(&["n"]).await;
    fay.type_in("Only for us").await;
    fay.keys(&["Enter"]).await;
    fay.see(".message.inside:has-text('Only for us')").await;
    fay.run("document.activeElement.blur()").await;
    fay.keys(&["a"]).await;
    fay.see("#room-state:has-text('Yours')").await;
    fay.keys(&["?"]).await;
    fay.see("#keys-help[open]").await;
    fay.keys(&["e", "Escape"]).await;
    fay.gone("#keys-help").await;
    fay.run("document.activeElement.blur()").await;
    fay.keys(&["/"]).await;
    assert_eq!(fay.run("document.activeElement.id").await, "query");
    fay.keys(&["Escape"]).await;
    fay.run("document.activeElement.blur()").await;
    // Switched off, they do nothing; switched on again, they do.
    fay.choose(".inbox-heading [data-act=keys]").await;
    fay.choose("#keys-on").await;
    fay.keys(&["Escape"]).await;
    fay.run("document.activeElement.blur()").await;
    fay.keys(&["e"]).await;
    fay.choose(".inbox-heading [data-act=keys]").await;
    fay.choose("#keys-on").await;
    fay.keys(&["Escape"]).await;
    fay.see("#room-state:has-text('Yours')").await;
    fay.run("document.activeElement.blur()").await;
    // One stray key closes nothing.
    fay.keys(&["e"]).await;
    fay.see("#problem:has-text('once more')").await;
    fay.see("#room-state:has-text('Yours')").await;
    fay.keys(&["e", "e"]).await;
    fay.see("#room-state:has-text('Closed')").await;

    // Nothing is shown over other windows before it was asked for; afterwards only while the page is not seen.
    let notices = "globalThis.told = []; globalThis.Notification = class { \
        static permission = 'default'; static async requestPermission() { return (Notification.permission = 'granted'); } \
        constructor(title, { body }) { told.push([title, body]); } close() {} }; true";
    fay.run(notices).await;
    let hide = "Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true }); true";
    let unseen = async |words: &str| {
        rooms[1].client.post(&rooms[1].path("/messages"), &json!({"body": words})).await.expect(201);
    };
    fay.run(hide).await;
    unseen("before it was asked for").await;
    fay.see("#rooms a:has-text('before it was asked for')").await;
    fay.choose("#alerts").await;
    fay.see("#alerts[aria-pressed=true]").await;
    unseen("Are you there?").await;
    fay.see("#rooms a:has-text('Are you there?')").await;
    let told = fay.run("told").await;
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told[0][1], "Are you there?");
    assert_eq!(fay.run("document.title").await, "(1) Inbox · Tandem");
    fay.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_told_by_frames_and_fetched_when_they_are_seen() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (shop, _page) = shop(&server, &acme, server.app.http()).await;
    let mut fay = Desk::of(&server, &acme, "Fay", Role::Agent, server.app.http()).await;
    let count = "globalThis.asked = []; const { fetch } = globalThis; globalThis.fetch = (url, init) => { \
        if (/inbox(\\/[0-9a-f]+$|\\?.*room=)/.test(String(url))) globalThis.asked.push(String(url)); return fetch(url, init); }; true";
    fay.run(count).await;
    let guest = shop.guest().await;
    for words in ["I saw a heron", "And a coot"] {
        guest.client.post(&guest.path("/messages"), &json!({"body": words})).await.expect(201);
    }
    fay.see("[data-folder=waiting] .count:text-is('1')").await;
    assert_eq!(fay.run("document.title").await, "(1) Inbox · Tandem");
    assert_eq!(fay.run("globalThis.asked").await, json!([]), "nobody has looked at it");
    fay.choose("[data-folder=waiting]").await;
    fay.see("#rooms a:has-text('And a coot')").await;
    until(&mut fay, "globalThis.asked.length === 1").await;
    guest.client.post(&guest.path("/messages"), &json!({"body": "And a rail"})).await.expect(201);
    fay.see("#rooms a:has-text('And a rail')").await;
    assert_eq!(fay.run("globalThis.asked.length").await, 1, "what is known whole is not asked for again");

    // What a flow answers is marked, and waits for nobody.
    let greet = json!([
        {"id": 1, "type": "digits", "prompt": "Which bird?", "flow": {"*": 2}},
        {"id": 2, "type": "hangup"},
    ]);
    let flow = acme.client().post("/v1/flows", &json!({"name": "Robot", "flow": greet})).await.expect(201);
    acme.client().put("/v1/chat/products/LOGIN", &json!({"flow_id": flow["id"]})).await.expect(200);
    let other = shop.guest().await;
    other.client.post(&other.path("/messages"), &json!({"body": "Hi robot"})).await.expect(201);
    fay.choose("[data-folder=all]").await;
    fay.see("#rooms a:has-text('answered by a flow')").await;
    fay.see("[data-folder=waiting] .count:text-is('1')").await;

    // j and k go through what a search has found, message by message.
    fay.fill("#query", "and a").await;
    fay.see("#rooms a:has-text('And a coot')").await;
    fay.run("document.activeElement.blur()").await;
    fay.keys(&["j"]).await;
    fay.see(".message.found:has-text('And a rail')").await;
    fay.run("document.activeElement.blur()").await;
    fay.keys(&["j"]).await;
    fay.see(".message.found:has-text('And a coot')").await;

    // A message that is being changed is no draft for the next one.
    fay.fill("#query", "").await;
    fay.run("document.querySelector('#query').dispatchEvent(new Event('input'))").await;
    fay.choose(&format!("#rooms a[data-room='{}']", guest.room)).await;
    fay.say("It was a grebe").await;
    let mine = "#messages .message.own:has-text('grebe')";
    fay.see(&format!("{mine} .note")).await;
    fay.fill("#message", "my own draft").await;
    fay.run("document.querySelector('#messages .own [data-act=edit]').focus()").await;
    fay.choose(&format!("{mine} [data-act=edit]")).await;
    fay.choose(&format!("#rooms a[data-room='{}']", other.room)).await;
    fay.see("#messages .message:has-text('Hi robot')").await;
    assert_eq!(fay.run("document.querySelector('#message').value").await, "");
    fay.choose(&format!("#rooms a[data-room='{}']", guest.room)).await;
    fay.see(mine).await;
    until(&mut fay, "document.querySelector('#message').value === 'my own draft'").await;
    assert_eq!(fay.run("document.querySelector('#composer').classList.contains('editing')").await, false);

    // Where calls go to telephones only, the number is asked for.
    let phone = "globalThis.wishes = []; const before = globalThis.fetch; globalThis.fetch = async (url, init) => { \
        if (!String(url).endsWith('/call')) return before(url, init); \
        if (init?.method === 'POST') globalThis.wishes.push(JSON.parse(init.body)); \
        return Response.json(init?.method === 'POST' ? { call: {} } : { modes: ['phone'], call: null, hears_recordings: true }); }; true";
    fay.run(phone).await;
    fay.choose(".thread-head [data-act=take]").await;
    fay.choose(".thread-head [data-act=call]").await;
    fay.fill("#call-phone", "+442071838750").await;
    fay.choose("#sheet .primary").await;
    until(&mut fay, "globalThis.wishes.length === 1").await;
    assert_eq!(fay.run("globalThis.wishes[0]").await, json!({"mode": "phone", "phone": "+442071838750"}));
    fay.finish(&[]).await;
    server.stop().await;
}

/// Waits until a script in the page says yes.
async fn until(desk: &mut Desk, script: &str) {
    for _ in 0..400 {
        if desk.run(script).await == true {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("never: {script}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_reads_changes_nothing_and_everybody_can_use_the_page() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let (shop, _page) = shop(&server, &acme, server.app.http()).await;
    let guest = shop.guest().await;
    guest.client.post(&guest.path("/messages"), &json!({"body": "Is anybody **there**?"})).await.expect(201);
    let image = guest.bring("cat.png", "image/png", PNG).await;
    guest.client.post(&guest.path("/messages"), &json!({"kind": "image", "body": image})).await.expect(201);
    let reply = json!({"shortcut": "hi", "title": "Greeting", "text": "Hello."});
    acme.client().post("/v1/chat/canned", &reply).await.expect(201);
    let path = format!("/console/inbox/{}", guest.room);

    let mut eve = Desk::of(&server, &acme, "Eve", Role::Auditor, server.app.http()).await;
    eve.go(&path).await;
    eve.see("#messages .message:has-text('Is anybody there?')").await;
    for hidden in ["#composer", ".thread-head [data-act=take]", ".thread-head [data-act=close]", "[data-state]"] {
        let count =
            format!("[...document.querySelectorAll(\"{hidden}\")].filter((one) => one.checkVisibility()).length");
        assert_eq!(eve.run(&count).await, 0, "{hidden}");
    }
    // Her reading is not told to the visitor.
    let standing = guest.client.get(&guest.path("/standing")).await.expect(200);
    assert_eq!(standing["marks"]["support"], json!({"read": 0, "delivered": 0}));
    eve.finish(&[]).await;

    let mut fay = Desk::of(&server, &acme, "Fay", Role::Agent, server.app.http()).await;
    fay.go(&path).await;
    fay.see("#messages img").await;
    fay.choose("#composer [data-act=note]").await;
    fay.say("Look *here*").await;
    fay.see(".message.inside").await;
    fay.choose("#composer [data-act=reply]").await;
    fay.say("Hello").await;
    fay.see("#messages .message.own").await;
    let mut wrong = fay.look(Some(walk::pictures().join("inbox-room.webp"))).await;
    fay.choose(".thread-head [data-act=transfer]").await;
    wrong.extend(fay.look(None).await);
    fay.choose("#sheet [data-act=fold]").await;
    fay.person.ask("size", json!({"width": 1440})).await;
    fay.choose("#message").await;
    fay.type_in("/").await;
    fay.see("#canned li").await;
    wrong.extend(fay.run(AXE_OF_THE_LIST).await.as_array().unwrap().clone());
    // One pane at a time on a phone.
    fay.person.ask("size", json!({"width": 360})).await;
    let panes = "[...document.querySelectorAll('.pane')].filter((pane) => pane.checkVisibility()).map((pane) => pane.className)";
    assert_eq!(fay.run(panes).await, json!(["pane pane-thread"]));
    fay.choose(".thread-head [data-act=show-card]").await;
    assert_eq!(fay.run(panes).await, json!(["pane pane-card"]));
    fay.choose(".pane-card [data-act=show-card]").await;
    fay.choose(".thread-head [data-act=show-list]").await;
    assert_eq!(fay.run(panes).await, json!(["pane pane-list"]));
    wrong.extend(fay.look(None).await);
    assert!(wrong.is_empty(), "{wrong:#?}");
    fay.finish(&[]).await;
    server.stop().await;
}

/// What axe, which the looks before have brought into the page, finds while the list of canned replies is open.
const AXE_OF_THE_LIST: &str = "axe.run(document, { preload: false, resultTypes: ['violations'] }).then(({ violations }) => \
    violations.filter(({ impact }) => ['serious', 'critical'].includes(impact)).map(({ id, nodes }) => id + ' ' + nodes[0]?.html))";

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_without_a_page_do_what_they_say() {
    let mut script = crate::harness::browser::Browser::start("inbox_parts", &Value::Null);
    script.expect("every part is good", |event| event["event"] == "good").await;
    script.finish().await;
}
