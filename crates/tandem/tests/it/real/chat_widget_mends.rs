//! The widget where visitors are not as one expects: several tabs, a shared browser, a long chat behind a closed button, a
//! bad network, a narrow screen.

use serde_json::{Value, json};
use tandem::chat::Change;

use super::chat_widget::{Agent, script};
use crate::harness::customer::Customer;
use crate::harness::relay::Wire;
use crate::harness::server::Server;
use crate::harness::widget::{Shop, site};

/// What the chat's own page keeps in the browser.
const KEPT: &str =
    "[...Object.keys(localStorage), ...Object.keys(sessionStorage)].filter((key) => key.startsWith('tandem-chat'))";

/// Waits until a script of the chat's page says yes.
async fn until(ann: &mut Customer, what: &str, script: &str) {
    for _ in 0..400 {
        if ann.ask("ask", json!({ "script": script })).await == true {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{what}: {script}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_out_leaves_nothing_for_the_next_at_that_browser() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let url = format!("http://{}/c/{}", server.app.http(), shop.id);
    let mut ann = Customer::at(&url, json!({"full": true})).await;
    ann.see("text=How may I help you?").await;

    // Signed out while the room is on its way: the late answer is nobody's.
    let slow = "(() => { const fetch = globalThis.fetch; globalThis.fetch = async (url, init) => { \
        const answer = await fetch(url, init); \
        if (String(url).endsWith('/rooms')) { globalThis.opening = (globalThis.opening ?? 0) + 1; \
            await new Promise((go) => (globalThis.go = go)); globalThis.gone = true; } \
        return answer; }; return true; })()";
    ann.ask("ask", json!({"script": slow})).await;
    ann.say("my card is 4111").await;
    until(&mut ann, "the room is on its way", "globalThis.opening === 1").await;
    ann.ask("fill", json!({"what": "#message", "text": "half a word"})).await;
    let other = format!(
        "(localStorage.setItem('tandem-chat:{}::ann', '{{}}'), chat.signOut(), globalThis.go(), true)",
        shop.id
    );
    ann.ask("ask", json!({ "script": other })).await;
    until(&mut ann, "the answer is there", "globalThis.gone === true").await;
    ann.ask("run", json!({"script": "new Promise((done) => setTimeout(() => done(null), 300))"})).await;
    assert_eq!(ann.view().await["room"], Value::Null);
    assert_eq!(ann.ask("ask", json!({"script": KEPT})).await, json!([]));
    let field = "chat.shadowRoot.querySelector('#message').value";
    assert_eq!(ann.ask("ask", json!({ "script": field })).await, "");
    assert_eq!(ann.texts(".mine").await, Vec::<String>::new());
    ann.finish(&[]).await;

    // On a page that has not loaded the frame.
    let page = site(&script(server.app.http(), &shop), "").await;
    let origin = page.url("");
    shop.set(&acme, &server, &[("allowed_origins", &origin)]).await;
    let mut tom = Customer::at(&page.url("/"), json!({})).await;
    tom.launch().await;
    tom.say("Tom's words").await;
    tom.see(".mine .note:text-is('Sent')").await;
    tom.ask("run", json!({"script": "localStorage.clear()"})).await;
    tom.ask("reload", json!({})).await;
    assert_eq!(tom.ask("frames", json!({})).await, 0);
    tom.ask("run", json!({"script": "TandemChat.signOut()"})).await;
    tom.launch().await;
    tom.see("text=How may I help you?").await;
    until(&mut tom, "nothing is kept", &format!("{KEPT}.length === 0")).await;
    assert_eq!(tom.view().await["room"], Value::Null);
    tom.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_are_one_visitor_and_the_newest_is_heard() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[("limit_sockets", "1")]).await;
    let url = format!("http://{}/c/{}", server.app.http(), shop.id);
    let mut ann = Customer::at(&url, json!({"full": true})).await;
    ann.see("text=How may I help you?").await;
    ann.ask("tab", json!({"number": 1})).await;
    ann.see("text=How may I help you?").await;
    ann.ask("tab", json!({"number": 0})).await;
    ann.say("from one").await;
    ann.see(".mine .note:text-is('Sent')").await;
    let room = ann.view().await["room"].clone();
    ann.ask("tab", json!({"number": 1})).await;
    ann.say("from two").await;
    ann.see(".mine:has-text('from two') .note:text-is('Sent')").await;
    assert_eq!(ann.view().await["room"], room, "one browser is one visitor");
    let agent = Agent::of(&acme, &server, &room).await;
    assert_eq!(agent.said().await, ["from one", "from two"]);
    // The older tab had to give its line up: it does not say that anything is broken, and what is written there arrives.
    ann.ask("tab", json!({"number": 0})).await;
    assert_eq!(ann.ask("count", json!({"what": ".banner:has-text('lost')"})).await, 0);
    ann.say("from one again").await;
    ann.see(".mine:has-text('from one again') .note:text-is('Sent')").await;
    assert_eq!(agent.said().await, ["from one", "from two", "from one again"]);
    ann.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_chat_opens_at_its_end_and_is_counted_once() {
    const MANY: i64 = 60;
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let page = site(&script(server.app.http(), &shop), "").await;
    let origin = page.url("");
    shop.set(&acme, &server, &[("allowed_origins", &origin)]).await;
    let mut ann = Customer::at(&page.url("/"), json!({})).await;
    ann.launch().await;
    ann.say("Hello").await;
    ann.see(".mine .note:text-is('Sent')").await;
    let room = ann.view().await["room"].clone();
    let agent = Agent::of(&acme, &server, &room).await;
    let count = "(() => { const { send } = WebSocket.prototype; globalThis.marks = 0; \
        WebSocket.prototype.send = function (data) { \
            if (/\"type\":\"(read|delivered)\"/.test(data)) globalThis.marks += 1; return send.call(this, data); }; \
        globalThis.added = []; new MutationObserver((changes) => { for (const { target, addedNodes } of changes) \
            if (!target.closest('[aria-live=off]')) globalThis.added.push(...[...addedNodes].map((node) => node.textContent)); \
        }).observe(chat.shadowRoot.querySelector('[role=log]'), { childList: true, subtree: true }); return true; })()";
    ann.ask("ask", json!({ "script": count })).await;
    let one = agent.say("The only one").await;
    ann.see(".theirs:has-text('The only one')").await;
    ann.say("My own words").await;
    ann.see(".mine:has-text('My own words') .note:text-is('Sent')").await;
    let added = ann.ask("ask", json!({"script": "globalThis.added"})).await;
    let heard =
        |words: &str| added.as_array().unwrap().iter().filter(|text| text.as_str().unwrap().contains(words)).count();
    assert_eq!((heard("The only one"), heard("My own words")), (1, 1), "each is read out once: {added}");
    assert_eq!(added.as_array().unwrap().len(), 2, "and nothing of the past with it: {added}");

    for number in 0..MANY {
        agent.say(&format!("Answer {number} of those who were asked")).await;
    }
    until(&mut ann, "all have come", &format!("chat.view.seqs.length === {}", MANY + 3)).await;
    until(&mut ann, "all are read", "chat.view.unread === 0").await;
    let marks = ann.ask("ask", json!({"script": "globalThis.marks"})).await.as_i64().unwrap();
    assert!((1..MANY).contains(&marks), "{marks} marks for {MANY} messages");
    let standing = format!("/v1/chat/rooms/{}/standing", agent.room);
    acme.client().until(&standing, "read", |standing| standing["marks"]["visitor"]["read"] == one + 1 + MANY).await;

    // Another page of the shop, then an answer: the button counts it, and opens at it.
    ann.ask("fill", json!({"what": "#message", "text": "half a word"})).await;
    ann.ask("reload", json!({})).await;
    agent.say("The last one").await;
    acme.client()
        .until(&standing, "the page is back", |standing| standing["marks"]["visitor"]["delivered"] == one + 2 + MANY)
        .await;
    assert_eq!(ann.ask("launcher", json!({})).await, "Open the chat (1)");
    ann.launch().await;
    ann.see(".theirs:has-text('The last one')").await;
    let is_at_end = "(() => { const { scrollTop, scrollHeight, clientHeight } = chat.shadowRoot.querySelector('.scroll'); \
        return clientHeight > 0 && scrollHeight > 2 * clientHeight && scrollHeight - scrollTop - clientHeight < 60; })()";
    until(&mut ann, "the end is seen", is_at_end).await;
    until(&mut ann, "and read", "chat.view.unread === 0").await;
    let field = "chat.shadowRoot.querySelector('#message').value";
    assert_eq!(ann.ask("ask", json!({ "script": field })).await, "half a word", "what was written stays");
    let told = ann.ask("told", json!({})).await.to_string();
    assert!(told.contains("has_room") && !told.contains(room.as_str().unwrap()), "the id of a room is a key: {told}");
    ann.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_request_that_fails_is_tried_again() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let url = format!("http://{}/c/{}", server.app.http(), shop.id);
    for part in [format!("**/v1/chat/widget/{}", shop.id), "**/chat-words-en*".to_owned()] {
        let mut ann = Customer::at(&url, json!({"full": true, "fail": part})).await;
        ann.see("text=How may I help you?").await;
        ann.say("Here I am").await;
        ann.see(".mine .note:text-is('Sent')").await;
        ann.finish(&["ERR_FAILED", "Failed to load", "net::"]).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_a_closed_chat_does_not_take_go_into_the_next() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let wire = Wire::to(server.app.http()).await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let url = format!("http://{}/c/{}", wire.address, shop.id);
    let mut ann = Customer::at(&url, json!({"full": true, "locale": "de-DE"})).await;
    ann.say("eins").await;
    ann.see(".mine .note:text-is('Gesendet')").await;
    let room = ann.view().await["room"].clone();
    let agent = Agent::of(&acme, &server, &room).await;
    wire.cut(true);
    ann.see(".banner:visible").await;
    ann.say("zwei").await;
    agent.chats.change(&agent.asker, &agent.room, &Change::Close, |_| Vec::new()).await.unwrap();
    wire.cut(false);
    ann.see(".failed:has-text('zwei')").await;
    let problem = ann.text(".problem").await;
    assert!(!problem.contains("closed"), "it is said in the visitor's language: {problem}");
    ann.ask("click", json!({"what": "[data-act=new]"})).await;
    let field = "chat.shadowRoot.querySelector('#message').value";
    assert_eq!(ann.ask("ask", json!({ "script": field })).await, "zwei");
    ann.ask("click", json!({"what": ".send"})).await;
    ann.see(".mine:has-text('zwei') .note:text-is('Gesendet')").await;
    let next = Agent::of(&acme, &server, &ann.view().await["room"]).await;
    assert_ne!(json!(next.room), room);
    assert_eq!(next.said().await, ["zwei"]);
    ann.finish(&["ERR_", "WebSocket", "Failed to load"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_does_not_load_can_be_closed_on_a_telephone() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[("allowed_origins", "https://shop.example")]).await;
    let page = site(&script(server.app.http(), &shop), "").await;
    let mut eve = Customer::at(&page.url("/"), json!({"width": 390, "height": 760})).await;
    eve.launch().await;
    assert_eq!(eve.ask("launcher", json!({})).await, "Close the chat");
    // Pressing it is not possible while it is covered, or not seen.
    eve.launch().await;
    assert_eq!(eve.ask("launcher", json!({})).await, "Open the chat");
    eve.launch().await;
    eve.ask("run", json!({"script": "document.body.focus()"})).await;
    eve.ask("run", json!({"script": "dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }))"})).await;
    assert_eq!(eve.ask("launcher", json!({})).await, "Open the chat");
    eve.finish(&["frame-ancestors", "Framing", "Refused to frame", "chrome-error", "recipient window's origin"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_socket_passes_everything_goes_by_requests() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let url = format!("http://{}/c/{}", server.app.http(), shop.id);
    let mut ann = Customer::at(&url, json!({"full": true, "deaf": true})).await;
    ann.say("one").await;
    ann.see(".mine:has-text('one') .note:text-is('Sent')").await;
    assert_eq!(ann.ask("ask", json!({"script": "globalThis.sockets"})).await, 3, "it was tried, and given up");
    let room = ann.view().await["room"].clone();
    let agent = Agent::of(&acme, &server, &room).await;
    let seq = agent.say("two").await;
    ann.see(".theirs:has-text('two')").await;
    for words in ["three", "four"] {
        ann.say(words).await;
    }
    ann.see(".mine:has-text('four') .note:text-is('Sent')").await;
    assert_eq!(agent.said().await, ["one", "two", "three", "four"]);
    let standing = format!("/v1/chat/rooms/{}/standing", agent.room);
    acme.client()
        .until(&standing, "it was read", |standing| standing["marks"]["visitor"]["read"].as_i64() >= Some(seq))
        .await;
    ann.ask("point", json!({"what": ".mine:has-text('four')"})).await;
    ann.ask("click", json!({"what": ".mine:has-text('four') [data-act=edit]"})).await;
    ann.say("five").await;
    ann.see(".mine:has-text('five') .note:text-is('changed')").await;
    assert_eq!(agent.said().await, ["one", "two", "three", "five"]);
    assert_eq!(ann.view().await["seqs"], json!([1, 2, 3, 4]));
    ann.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_keeps_nothing_says_so() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let url = format!("http://{}/c/{}", server.app.http(), shop.id);
    let mut eve = Customer::at(&url, json!({"full": true, "shut": true})).await;
    eve.see("text=How may I help you?").await;
    assert_eq!(eve.ask("count", json!({"what": ".banner:has-text('forgets')"})).await, 0, "there is nothing yet");
    eve.say("Hello").await;
    eve.see(".mine .note:text-is('Sent')").await;
    eve.see(".banner:has-text('This browser forgets the chat')").await;
    // The menu closes where one presses elsewhere.
    eve.ask("click", json!({"what": "summary"})).await;
    eve.see("[data-act=transcript]").await;
    eve.ask("click", json!({"what": ".scroll"})).await;
    eve.ask("gone", json!({"what": "[data-act=transcript]"})).await;
    eve.finish(&[]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sent_survives_its_tab() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let wire = Wire::to(server.app.http()).await;
    let shop = Shop::of(&acme, &server, &[]).await;
    let url = format!("http://{}/c/{}", wire.address, shop.id);
    let mut ann = Customer::at(&url, json!({"full": true})).await;
    ann.say("one").await;
    ann.see(".mine .note:text-is('Sent')").await;
    let agent = Agent::of(&acme, &server, &ann.view().await["room"]).await;
    wire.cut(true);
    ann.see(".banner:has-text('lost')").await;
    ann.say("two").await;
    ann.say("three").await;
    ann.see(".pending:has-text('three')").await;
    // The tab is gone, and with it all that belonged to it alone.
    ann.ask("ask", json!({"script": "(chat.remove(), sessionStorage.clear(), true)"})).await;
    wire.cut(false);
    ann.ask("reload", json!({})).await;
    ann.see(".mine:has-text('three') .note:text-is('Sent')").await;
    assert_eq!(agent.said().await, ["one", "two", "three"]);
    let kept = "Object.keys(localStorage).filter((key) => key.includes(':to:')).length";
    until(&mut ann, "what was sent is kept no more", &format!("{kept} === 0")).await;
    ann.finish(&["ERR_", "WebSocket", "Failed to load"]).await;
    server.stop().await;
}
