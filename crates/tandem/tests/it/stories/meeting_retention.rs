//! An organisation that keeps its meetings for thirty days: with them go their tokens and links, and people who have no
//! other with their sessions. What parties were told has days of its own.

use std::time::Duration;

use kernel::time::rfc3339;
use kernel::{Db, args};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::harness::meeting::{Application, party};
use crate::harness::server::{Plan, Server, Tenant};

/// 2026-11-21T12:00:00Z.
const NOON: i64 = 1_795_262_400_000;
const DAY_MS: i64 = 24 * 3_600_000;
const KEPT_DAYS: i64 = 30;
const SOON: Duration = Duration::from_secs(20);

const MEETINGS: &str = "select order_id as name from meeting where org = $1 order by order_id";
const USERS: &str = "select uid as name from app_user where org = $1 order by uid";
// Each with the number of the meeting that it hangs on.
const TOKENS: &str =
    "select uid || cast(meeting as text) as name from meeting_party_token where org = $1 order by name";
const LINKS: &str =
    "select distinct uid || cast(meeting as text) as name from meeting_link where org = $1 order by name";
const SESSIONS: &str = "select uid || cast(meeting as text) as name from party_session where org = $1 order by name";
const PINS: &str = "select role as name from meeting_pin where org = $1 order by role";
const NOTICES: &str = "select distinct recipient as name from notice where org = $1 order by recipient";

/// What an organisation has of each.
async fn kept(db: &Db, tenant: &Tenant<'_>) -> Vec<(&'static str, String)> {
    let mut kept = Vec::new();
    for (what, sql) in [
        ("meetings", MEETINGS),
        ("users", USERS),
        ("tokens", TOKENS),
        ("links", LINKS),
        ("sessions", SESSIONS),
        ("pins", PINS),
        ("notices", NOTICES),
    ] {
        let rows = db.all(sql, args![&*tenant.org.id]).await.unwrap();
        let names: Vec<String> = rows.iter().map(|row| row.text("name").unwrap()).collect();
        kept.push((what, names.join(" ")));
    }
    kept
}

/// A meeting of two, who both sign in, get a link, and are told that it has moved; then it is over.
async fn met(server: &Server, shop: &Application, order_id: &str, [caller, receiver]: [&str; 2]) {
    let ordered = shop
        .orders(json!({
            "user": {"uid_caller": caller, "uid_receiver": receiver},
            "caller": {"email": format!("{caller}@{order_id}.example")},
            "receiver": {"email": format!("{receiver}@{order_id}.example")},
            "meeting": {"order_id": order_id},
        }))
        .await;
    let path = format!("/v1/meetings/{}", ordered.id);
    shop.client.post(&format!("{path}/links"), &json!({})).await.expect(200);
    for token in [&ordered.caller, &ordered.receiver] {
        party(server, token).await;
    }
    let in_a_minute = rfc3339(server.app.kernel.clock.now_ms() + 60_000);
    shop.client.patch(&path, &json!({"start_at": in_a_minute})).await.expect(200);
    shop.client.until(&path, "it is open", |meeting| meeting["state"] == "open").await;
    shop.client.post(&format!("{path}/finish"), &json!({})).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn meetings_go_with_all_that_hangs_on_them_and_notices_by_themselves() {
    let server = Plan::new().at(NOON).start().await;
    let db = &server.app.kernel.db;
    let (forgets, keeps) = (server.org("forgets").await, server.org("keeps").await);
    let reminds = [("remind_before_s", "600")];
    let (mine, other) = (
        Application::of(&forgets, &server, "Shop", &reminds).await,
        Application::of(&keeps, &server, "Shop", &reminds).await,
    );
    for shop in [&mine, &other] {
        met(&server, shop, "old", ["ann", "tom"]).await;
    }
    server.clock().advance(DAY_MS);
    for shop in [&mine, &other] {
        met(&server, shop, "young", ["ann", "sue"]).await;
    }
    let both = [
        ("meetings", "old young"),
        ("users", "ann sue tom"),
        ("tokens", "ann1 ann2 sue2 tom1"),
        ("links", "ann1 ann2 sue2 tom1"),
        ("sessions", "ann1 ann2 sue2 tom1"),
        ("pins", ""),
        ("notices", "ann@old.example ann@young.example sue@young.example tom@old.example"),
    ]
    .map(|(what, names)| (what, names.to_owned()));
    assert_eq!((kept(db, &forgets).await, kept(db, &keeps).await), (both.to_vec(), both.to_vec()));

    // The days begin at the end of a meeting: half a day after the thirtieth of the first.
    let days = json!({"retention_days": {"meetings": KEPT_DAYS}});
    forgets.client().patch("/v1/org/settings", &days).await.expect(200);
    server.clock().set(NOON + KEPT_DAYS * DAY_MS + DAY_MS / 2);
    let chore = timeout(SOON, async {
        let old_notice = |kept: &[(&str, String)]| kept.iter().any(|(_, names)| names.contains("tom@old.example"));
        while kept(db, &forgets).await[0].1.contains("old") || old_notice(&kept(db, &keeps).await) {
            sleep(Duration::from_millis(20)).await;
        }
    });
    chore.await.expect("the daily chore forgets meetings and notices");
    let young = [
        ("meetings", "young"),
        ("users", "ann sue"),
        ("tokens", "ann2 sue2"),
        ("links", "ann2 sue2"),
        // Hers opens the page of all her meetings, whichever signed her in.
        ("sessions", "ann1 ann2 sue2"),
        ("pins", ""),
        ("notices", "ann@young.example sue@young.example"),
    ]
    .map(|(what, names)| (what, names.to_owned()));
    assert_eq!(kept(db, &forgets).await, young);
    let mut all = both;
    all[6] = young[6].clone();
    assert_eq!(kept(db, &keeps).await, all, "an organisation without the setting keeps its meetings");
    server.stop().await;
}
