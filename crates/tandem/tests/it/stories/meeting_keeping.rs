//! What is kept of the two of a meeting is given to one without anything of the other, and erased by a number.

use kernel::app::NewApp;
use kernel::args;
use kernel::notice::NewNotice;
use serde_json::{Value, json};

use crate::harness::order::{CALLER, RECEIVER, START_MS, order};
use crate::harness::server::{Plan, Server, Tenant};

const MEETINGS: &str = "select count(*) as n from meeting where org = $1";
const USERS: &str = "select count(*) as n from app_user where org = $1";
const PINS: &str = "select count(*) as n from meeting_pin where org = $1";

async fn count(server: &Server, sql: &'static str, acme: &Tenant<'_>) -> i64 {
    server.app.kernel.db.one(sql, args![&acme.org.id]).await.unwrap().unwrap().int("n").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn meetings_are_given_out_and_erased_by_a_party_s_number() {
    let server = Plan::new().at(START_MS - 3_600_000).start().await;
    let acme = server.org("acme").await;
    let new = NewApp { name: "shop".to_owned(), ..NewApp::default() };
    let app = server.app.kernel.create_app(&acme.org.id, new).await.unwrap().0.id;
    let meetings = &server.app.meetings;
    let over = meetings.schedule(&acme.org.id, &app, order("1", ["1222", "56712"])).await.unwrap().meeting;
    let ahead = meetings.schedule(&acme.org.id, &app, order("2", ["1222", "56712"])).await.unwrap().meeting;
    acme.client().post(&format!("/v1/meetings/{}/cancel", over.id), &json!({})).await.expect(200);
    for (number, text) in [(CALLER, "for the caller"), (RECEIVER, "for the receiver")] {
        let notice = server.app.kernel.notice_write(&acme.org.id, NewNotice::sms(number, text)).unwrap();
        server.app.kernel.db.writer().commit(vec![notice]).await.unwrap();
    }
    assert_eq!((count(&server, USERS, &acme).await, count(&server, PINS, &acme).await), (2, 2));

    let owner = server.browser().bearing(&acme.token);
    let post = async |path: &str| owner.send(owner.post_page(path, &[("number", CALLER)])).await;
    let file: Value = serde_json::from_str(&post("/console/privacy/export").await.text).unwrap();
    let told = file["meetings"].as_array().unwrap();
    assert_eq!((told.len(), &file["complete"]), (2, &json!(true)));
    assert_eq!(told[0]["meeting"]["pin"], json!(over.pins.caller));
    assert_eq!(told[0]["events"].as_array().unwrap().len(), 3);
    assert_eq!(file["users"][0]["number"], CALLER);
    assert_eq!(file["notices"][0]["text"], "for the caller");
    let text = file.to_string();
    assert!(!text.contains("\"56712\"") && !text.contains("for the receiver"), "what is the other's: {text}");
    for secret in [RECEIVER.trim_start_matches('+'), over.pins.receiver.as_str(), ahead.pins.receiver.as_str()] {
        assert!(!text.contains(secret), "{secret} stands in {text}");
    }

    let page = post("/console/privacy/erase").await.text;
    let left = server.app.kernel.notices(&acme.org.id, "", 10).await.unwrap();
    assert_eq!(left.iter().map(|notice| notice.text()).collect::<Vec<_>>(), ["for the receiver"]);
    assert!(page.contains("1 meetings"), "{page}");
    assert_eq!(count(&server, MEETINGS, &acme).await, 1, "the one that is to come stays");
    acme.client().get(&format!("/v1/meetings/{}", over.id)).await.expect(404);
    let events = acme.client().get("/v1/events?limit=500").await.expect(200);
    assert!(
        events["events"].as_array().unwrap().iter().all(|event| event["key"].as_str() != Some(&over.id.to_string()))
    );
    assert_eq!(count(&server, USERS, &acme).await, 2, "as long as the person is expected");

    acme.client().post(&format!("/v1/meetings/{}/cancel", ahead.id), &json!({})).await.expect(200);
    post("/console/privacy/erase").await;
    assert_eq!((count(&server, MEETINGS, &acme).await, count(&server, USERS, &acme).await), (0, 1));
    server.stop().await;
}
