//! What administrators decide, over the API: the settings of the organisation, and each extension's box.

use kernel::Role;
use serde_json::json;

use crate::harness::server::Plan;

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_changes_settings_and_a_member_may_not() {
    let server = Plan::new().start().await;
    let org = server.org("mine").await;
    let client = org.client();
    let settings = client.get("/v1/org/settings").await.expect(200);
    assert_eq!(settings["do_not_call"], json!([]));
    let change = json!({"do_not_call": ["+442071838750"], "quiet_hours": {"from": "21:00", "to": "08:00"}});
    let changed = client.patch("/v1/org/settings", &change).await.expect(200);
    assert_eq!(changed["do_not_call"], change["do_not_call"]);
    assert_eq!(client.get("/v1/org/settings").await.expect(200), changed);

    let refused = client.patch("/v1/org/settings", &json!({"dial_only": ["44"]})).await.expect(422);
    assert_eq!(refused["errors"][0]["pointer"], "/dial_only");
    assert_eq!(client.get("/v1/org/settings").await.expect(200), changed, "nothing of it was taken");

    let other = server.org("other").await.client();
    assert_eq!(other.get("/v1/org/settings").await.expect(200)["do_not_call"], json!([]));
    let member = server.client().bearing(&org.person(Role::Member).await);
    member.get("/v1/org/settings").await.expect(403);
    member.patch("/v1/org/settings", &change).await.expect(403);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extensions_box_is_switched_on_and_off() {
    let server = Plan::new().start().await;
    let org = server.org("mine").await;
    org.phone("1001").await;
    let client = org.client();
    let listed = client.get("/v1/extensions").await.expect(200);
    assert_eq!(
        (&listed["extensions"][0]["number"], &listed["extensions"][0]["voicemail"]),
        (&json!("1001"), &json!(false))
    );
    let on = client.patch("/v1/extensions/1001", &json!({"voicemail": true})).await.expect(200);
    assert_eq!(on["voicemail"], true);
    client.patch("/v1/extensions/9999", &json!({"voicemail": true})).await.expect(404);
    // An admin serves the phones of those who are not above him.
    org.hire("Olivia Brand", Role::Owner, Some("1020")).await;
    let admin = server.client().bearing(&org.person(Role::Admin).await);
    let listed = client.get("/v1/extensions").await.expect(200);
    let hers = listed["extensions"].as_array().unwrap().iter().find(|entry| entry["number"] == "1020").unwrap();
    let line = json!({"extension": "1021", "person": hers["person"]});
    admin.post("/v1/extensions", &line).await.expect(403);
    admin.patch("/v1/extensions/1020", &json!({"voicemail": true})).await.expect(403);
    admin.patch("/v1/extensions/1001", &json!({"voicemail": true})).await.expect(200);
    client.post("/v1/extensions", &line).await.expect(201);
    client.patch("/v1/extensions/1001", &json!({"voicemail": "yes"})).await.expect(422);
    let other = server.org("other").await.client();
    other.patch("/v1/extensions/1001", &json!({"voicemail": false})).await.expect(404);
    assert_eq!(client.get("/v1/extensions").await.expect(200)["extensions"][0]["voicemail"], true);
    server.stop().await;
}
