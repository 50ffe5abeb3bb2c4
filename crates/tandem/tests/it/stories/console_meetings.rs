//! Meetings in the console's forms.

use serde_json::json;

use crate::harness::meeting::Application;
use crate::harness::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn another_length_moves_no_meeting() {
    let server = Server::start().await;
    let acme = server.org("acme").await;
    let shop = Application::of(&acme, &server, "Shop", &[]).await;
    // It began at this moment, which no field of a form can show.
    let ordered = shop.orders(json!({})).await;
    let path = format!("/v1/meetings/{}", ordered.id);
    let before = shop.client.get(&path).await.expect(200);
    let owner = server.browser().bearing(&acme.token);
    let page = owner.get(&format!("/console/meetings/{}", ordered.id)).await.text;
    let shown =
        page.split("name=\"starts\"").nth(1).unwrap().split("value=\"").nth(1).unwrap().split('"').next().unwrap();
    let form = [("starts", shown), ("duration", "25")];
    let moved = owner.send(owner.post_page(&format!("/console/meetings/{}/move", ordered.id), &form)).await;
    assert_eq!(moved.status, 303, "{}", moved.text);
    let after = shop.client.get(&path).await.expect(200);
    assert_eq!((&after["starts_at"], &after["duration_seconds"]), (&before["starts_at"], &json!(1_500)));
    let events = shop.client.get("/v1/events?limit=500").await.expect(200);
    let last = events["events"].as_array().unwrap().last().unwrap();
    assert_eq!(last["data"]["starts_at"], before["starts_at"], "{last}");
    server.stop().await;
}
