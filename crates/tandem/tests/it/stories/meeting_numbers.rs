//! The number that the two of a meeting see: theirs alone while there is one, held exactly as long as their meeting shows it.

use std::collections::BTreeSet;

use kernel::app::NewApp;
use kernel::args;
use serde_json::json;
use tandem::meetings::{MeetingError, MeetingFilter, Scheduled};

use crate::harness::order::{CALLER, DURATION_MS, RECEIVER, START_MS, order};
use crate::harness::server::{Plan, Tenant};

const MINUTE_MS: i64 = 60_000;

/// So many numbers that lead to meetings.
async fn numbers(acme: &Tenant<'_>, count: usize) -> Vec<String> {
    let numbers: Vec<String> = (0..count).map(|n| format!("+4420718387{n:02}")).collect();
    for number in &numbers {
        acme.number(number, "meetings").await;
    }
    numbers
}

async fn application(acme: &Tenant<'_>, pool: &str) -> String {
    let settings = vec![("number_pool".to_owned(), pool.to_owned())];
    let new = NewApp { name: "shop".to_owned(), scopes: Vec::new(), settings };
    acme.server.app.kernel.create_app(&acme.org.id, new).await.unwrap().0.id
}

async fn ordered(acme: &Tenant<'_>, app: &str, order_id: &str) -> Result<Scheduled, MeetingError> {
    acme.server.app.meetings.schedule(&acme.org.id, app, order(order_id, ["1222", "56712"])).await
}

/// Which pair holds which number towards which line.
type Held = BTreeSet<(String, String, String)>;

async fn held(acme: &Tenant<'_>) -> Held {
    let sql = "select pair, number, cli from pair_number where org = $1";
    let rows = acme.server.app.kernel.db.all(sql, args![&acme.org.id]).await.unwrap();
    rows.iter().map(|row| (row.text("pair").unwrap(), row.text("number").unwrap(), row.text("cli").unwrap())).collect()
}

/// The same as the meetings that are not over say it.
async fn shown(acme: &Tenant<'_>) -> Held {
    let page = acme.server.app.meetings.list(&acme.org.id, None, &MeetingFilter::default(), 500).await.unwrap();
    let open = page.meetings.iter().filter(|meeting| meeting.ended_ms.is_none());
    open.flat_map(|meeting| {
        let number = meeting.dial_in.clone()?;
        let lines = [&meeting.caller, &meeting.receiver].map(|party| party.number.clone().unwrap());
        Some(lines.map(|line| (format!("meeting/{}", meeting.id), number.clone(), line)))
    })
    .flatten()
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_has_a_number_of_its_own_until_there_is_none_left() {
    let server = Plan::new().at(START_MS - 30 * MINUTE_MS).start().await;
    let acme = server.org("acme").await;
    let pool = numbers(&acme, 2).await;
    // The third of the pool is bound to nothing, and so is not used.
    let app = application(&acme, &format!("{},+442071838799", pool.join(","))).await;
    let mut seen = Vec::new();
    for order_id in ["1", "2", "3"] {
        let Scheduled { meeting, warnings, .. } = ordered(&acme, &app, order_id).await.unwrap();
        seen.push((meeting.id, meeting.dial_in.unwrap(), meeting.call_back, warnings));
    }
    let [(first, one, true, none), (_, two, true, nothing), (_, _, false, warned)] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!([one, two], [&pool[0], &pool[1]]);
    assert_eq!((none.len(), nothing.len(), &warned[..]), (0, 0, &["pool_exhausted"][..]));
    // An end frees the number of its pair.
    acme.client().post(&format!("/v1/meetings/{first}/cancel"), &json!({})).await.expect(200);
    assert_eq!(ordered(&acme, &app, "4").await.unwrap().meeting.dial_in.as_ref(), Some(one));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_at_once_hold_the_numbers_that_they_show_and_no_others() {
    let server = Plan::new().at(START_MS - 30 * MINUTE_MS).start().await;
    let acme = server.org("acme").await;
    let app = application(&acme, &numbers(&acme, 12).await.join(",")).await;
    // Each order three times in one moment, all between the same two.
    let names: Vec<String> = (0..30).map(|n| format!("{}", n % 10)).collect();
    let posted = names.iter().map(|name| ordered(&acme, &app, name));
    let made = futures_util::future::join_all(posted).await;
    let ids: BTreeSet<i64> = made.iter().map(|made| made.as_ref().unwrap().meeting.id).collect();
    assert_eq!(ids.len(), 10);
    assert!(made.iter().all(|made| made.as_ref().unwrap().meeting.call_back), "there were numbers enough");
    let shown = shown(&acme).await;
    assert_eq!(shown.iter().map(|(_, number, _)| number).collect::<BTreeSet<_>>().len(), 10, "{shown:?}");
    assert_eq!(held(&acme).await, shown);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_goes_with_the_parties_and_without_a_pool_nothing_is_held() {
    let server = Plan::new().at(START_MS - 30 * MINUTE_MS).start().await;
    let acme = server.org("acme").await;
    let app = application(&acme, &numbers(&acme, 1).await.join(",")).await;
    let meeting = ordered(&acme, &app, "551").await.unwrap().meeting;
    let path = format!("/v1/meetings/{}", meeting.id);
    let client = acme.client();
    client.patch(&path, &json!({"receiver": {"number": "+442071838199"}})).await.expect(200);
    let now = held(&acme).await;
    assert_eq!(now, shown(&acme).await);
    assert_eq!(now.iter().map(|(_, _, line)| line.as_str()).collect::<Vec<_>>(), [CALLER, "+442071838199"]);

    let none = vec![("number_pool".to_owned(), String::new())];
    server.app.kernel.set_app(&acme.org.id, &app, none).await.unwrap();
    let poor = client.patch(&path, &json!({"receiver": {"number": RECEIVER}})).await.expect(200);
    assert_eq!(poor["dial_in"], json!(null));
    assert_eq!(held(&acme).await, Held::new(), "what no pair shows leads nobody to it");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_the_moment_of_its_meeting_s_end_is_another_meeting() {
    let server = Plan::new().at(START_MS - 30 * MINUTE_MS).start().await;
    let acme = server.org("acme").await;
    let app = application(&acme, &numbers(&acme, 1).await.join(",")).await;
    let over = ordered(&acme, &app, "551").await.unwrap().meeting;
    // Nobody comes to end it before the order does.
    server.app.kernel.db.run("delete from job where kind = 'meeting'", Vec::new()).await.unwrap();
    server.clock().set(START_MS + DURATION_MS);
    let anew = ordered(&acme, &app, "551").await.unwrap();
    assert!(anew.is_new && anew.meeting.id > over.id);
    assert_eq!((anew.meeting.dial_in, anew.meeting.call_back), (over.dial_in, true), "it was free again");
    let ended = acme.client().get(&format!("/v1/meetings/{}", over.id)).await.expect(200);
    assert_eq!((&ended["state"], &ended["cause"]), (&json!("ended"), &json!("expired")));
    server.stop().await;
}
