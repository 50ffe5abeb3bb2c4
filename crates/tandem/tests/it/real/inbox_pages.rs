//! The pages beside the inbox in Chromium: canned replies and macros, reports, widgets.

use kernel::Role;
use serde_json::json;

use crate::harness::desk::Desk;
use crate::harness::server::Server;
use crate::harness::widget::Shop;

const REPLIES: &str = "/console/chat/replies";

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_keeps_replies_and_macros_and_an_agent_reads_them() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let mut sue = Desk::of(&server, &acme, "Sue", Role::Supervisor, server.app.http()).await;
    sue.go(REPLIES).await;
    sue.see("text=No reply is kept yet.").await;
    sue.person.click("New: Canned replies").await;
    sue.fill("#shortcut", "two words").await;
    sue.fill("#title", "Greeting").await;
    sue.fill("#text", "Hello {visitor.name|there}.").await;
    sue.person.click("Save").await;
    sue.see("#problem:has-text('shortcut')").await;
    assert_eq!(sue.run("document.querySelector('#title').value").await, "Greeting", "what was typed stays");
    sue.fill("#shortcut", "hi").await;
    sue.person.click("Save").await;
    sue.see("td:has-text('Hello {visitor.name|there}.')").await;
    sue.gone("#problem").await;
    sue.person.click("Edit Greeting").await;
    sue.fill("#text", "Good day.").await;
    sue.person.click("Save").await;
    sue.see("td:has-text('Good day.')").await;

    sue.person.click("New: Macros").await;
    sue.fill("#macro-name", "Refund").await;
    sue.fill("fieldset li:nth-child(1) [data-value]", "We pay it back.").await;
    for (at, kind) in [(2, "tag"), (3, "close")] {
        sue.person.click("Add a step").await;
        let step = json!({"what": format!("fieldset li:nth-child({at}) [data-kind]"), "value": kind});
        sue.person.ask("select", step).await;
    }
    sue.fill("fieldset li:nth-child(2) [data-value]", "refund").await;
    let wrong = sue.look(None).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    sue.person.click("Save").await;
    sue.see("td li:text-is('Close the room')").await;
    let kept = acme.client().get("/v1/chat/macros").await.expect(200);
    let steps = json!([{"do": "reply", "text": "We pay it back."}, {"do": "tag", "tag": "refund"}, {"do": "close"}]);
    assert_eq!(kept["macros"][0]["steps"], steps);

    let mut fay = Desk::of(&server, &acme, "Fay", Role::Agent, server.app.http()).await;
    fay.go(REPLIES).await;
    fay.see("td:has-text('Good day.')").await;
    assert_eq!(fay.run("document.querySelectorAll('main button').length").await, 0, "she changes none");
    fay.finish(&[]).await;

    // Nothing is removed before it was asked for.
    sue.run("window.confirm = () => false; true").await;
    sue.person.click("Remove Greeting").await;
    sue.run("window.confirm = () => true; true").await;
    sue.person.click("Remove Refund").await;
    sue.see("text=There is no macro yet").await;
    assert_eq!(sue.person.texts("td code").await, ["/hi"]);
    sue.finish(&["status of 4"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_charts_with_their_figures_and_widgets_a_line_each() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Shop::of(&acme, &server, &[("allowed_origins", "https://shop.example")]).await;
    let owner = acme.client();
    for score in [5, 4] {
        let guest = shop.guest().await;
        guest.client.post(&guest.path("/messages"), &json!({"body": "Hello"})).await.expect(201);
        owner.post(&guest.path("/messages"), &json!({"body": "Hi"})).await.expect(201);
        owner.post(&guest.path("/close"), &json!({})).await.expect(200);
        let rating = guest.client.post(&guest.path("/rating"), &json!({"score": score})).await;
        assert!(matches!(rating.status, 200 | 204), "{} {}", rating.status, rating.text);
    }
    let mut ida = Desk::of(&server, &acme, "Ida", Role::Admin, server.app.http()).await;
    ida.person.go("/console/chat/reports").await;
    let figures = ida.person.texts(".figure").await;
    assert_eq!((figures[0].as_str(), figures[1].as_str(), figures[4].as_str()), ("2", "2", "4.5 of 5"));
    assert_eq!(ida.run("document.querySelectorAll('.chart svg').length").await, 3);
    let marks =
        "[...document.querySelectorAll('section.columns table')].at(-1).innerText.split(/\\s+/).slice(-4).join(' ')";
    assert_eq!(ida.run(marks).await, "4 1 5 1");
    assert_eq!(ida.person.texts("table td[data-label='Answered first']").await, ["2"]);
    let wrong = ida.look(None).await;
    assert!(wrong.is_empty(), "{wrong:#?}");

    ida.person.go("/console/chat/widgets").await;
    let line = format!("<script src=\"http://{}/w/{}.js\" async></script>", server.app.http(), shop.id);
    assert!(ida.person.texts(".secret code").await.contains(&line), "{line}");
    ida.see("dd:has-text('https://shop.example')").await;
    ida.finish(&[]).await;
    server.stop().await;
}
