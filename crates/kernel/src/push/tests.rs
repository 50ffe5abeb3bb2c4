//! What waits for browsers, whose they are, and what an attempt may come to, on each engine.

use super::courier::{Outcome, tidy, wait_ms};
use super::*;
use crate::kernel::testing::{self, START_MS, TestKernel};
use crate::org::NewOrg;
use crate::person::NewPerson;

const POINT: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

fn browser(n: usize, owner: &str, holder: Holder) -> NewSubscription {
    NewSubscription {
        owner: owner.to_owned(),
        holder,
        endpoint: format!("https://push.example.org/{n}"),
        keys: BrowserKeys::read(POINT, AUTH).unwrap(),
        until_ms: None,
        locale: "en".to_owned(),
        page: String::new(),
    }
}

fn desk() -> Holder {
    Holder::Desk("token".to_owned(), START_MS + 1_000_000_000)
}

async fn org(kernel: &TestKernel, slug: &str) -> Arc<str> {
    let org = NewOrg { name: slug.into(), ..NewOrg::default() };
    kernel.create_org(org).await.unwrap().id.into()
}

/// State, version and time of what waits, oldest first.
async fn waiting(kernel: &Kernel) -> Vec<(String, i64, i64)> {
    let rows = kernel.db.all("select state, version, due_at from push_message order by due_at", args![]).await.unwrap();
    let read =
        |row: &crate::db::Row| (row.text("state").unwrap(), row.int("version").unwrap(), row.int("due_at").unwrap());
    rows.iter().map(read).collect()
}

async fn tell(kernel: &Kernel, org: &str, owner: &str, topic: &str) {
    let write = push_write(org, owner, topic, kernel.clock.now_ms());
    kernel.db.writer().commit(vec![write]).await.unwrap();
}

#[tokio::test]
async fn every_statement_can_be_prepared() {
    for test in crate::db::testing::TestDb::each().await {
        assert_eq!(test.unpreparable(&[ALL, courier::ALL]).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_key_is_made_once_and_is_the_same_for_every_node() {
    for test in testing::each().await {
        let key = test.push_public_key().await.unwrap();
        let node = test.beside(&test.config.data);
        assert_eq!(node.push_public_key().await.unwrap(), key);
        let elsewhere = tempfile::tempdir().unwrap();
        assert!(test.beside(elsewhere.path()).push_public_key().await.is_err(), "it lies sealed");
    }
}

#[tokio::test]
async fn of_many_browsers_the_newest_stay_and_one_that_is_known_is_renewed() {
    for test in testing::each().await {
        let org = org(&test, "a").await;
        for n in 0..=MAX_BROWSERS_OF_DESK {
            test.hand.advance(1_000);
            test.subscribe_push(&org, browser(usize::try_from(n).unwrap(), "vis_a", desk())).await.unwrap();
        }
        let renewed = test.push_browsers(&org, "vis_a").await.unwrap();
        assert_eq!((renewed.len() as i64, renewed[0]), (MAX_BROWSERS_OF_DESK, START_MS + 2_000), "the first one went");
        test.hand.advance(1_000);
        test.subscribe_push(&org, browser(2, "vis_a", desk())).await.unwrap();
        assert_eq!(test.push_browsers(&org, "vis_a").await.unwrap().len() as i64, MAX_BROWSERS_OF_DESK);
        // Neither another visitor nor another organisation ends it.
        test.unsubscribe_push(&org, "vis_b", "https://push.example.org/2").await.unwrap();
        test.unsubscribe_push("org_other", "vis_a", "https://push.example.org/2").await.unwrap();
        assert_eq!(test.push_browsers(&org, "vis_a").await.unwrap().len() as i64, MAX_BROWSERS_OF_DESK);
        test.unsubscribe_push(&org, "vis_a", "https://push.example.org/2").await.unwrap();
        test.unsubscribe_push(&org, "vis_a", "https://push.example.org/2").await.unwrap();
        assert_eq!(test.push_browsers(&org, "vis_a").await.unwrap().len() as i64, MAX_BROWSERS_OF_DESK - 1);
    }
}

#[tokio::test]
async fn a_browser_tells_the_person_who_signed_in_last() {
    for test in testing::each().await {
        let org = org(&test, "a").await;
        let held = |session: &str| Holder::Session(session.to_owned());
        test.subscribe_push(&org, browser(1, "per_a", held("a"))).await.unwrap();
        test.subscribe_push(&org, browser(1, "vis_a", desk())).await.unwrap();
        test.subscribe_push(&org, browser(1, "per_b", held("b"))).await.unwrap();
        let mut count = Vec::new();
        for owner in ["per_a", "per_b", "vis_a"] {
            count.push(test.push_browsers(&org, owner).await.unwrap().len());
        }
        assert_eq!(count, [0, 1, 1], "the person before is not told there any more; a visitor is somebody else");
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_called_is_refused() {
    let test = testing::sqlite_with(crate::Config::default()).await;
    let org = org(&test, "a").await;
    let long = format!("https://push.example.org/{}", "x".repeat(MAX_ENDPOINT));
    for endpoint in [
        "",
        "push",
        "http://push.example.org/1",
        "https://127.0.0.1/",
        "https://[::1]/x",
        "https://me@a.example/",
        &long,
    ] {
        let new = NewSubscription { endpoint: endpoint.to_owned(), ..browser(1, "vis_a", desk()) };
        let refused = test.subscribe_push(&org, new).await;
        assert!(matches!(refused, Err(RecordError::Invalid { field: "endpoint", .. })), "{endpoint}: {refused:?}");
    }
    let over = NewSubscription { until_ms: Some(START_MS), ..browser(1, "vis_a", desk()) };
    let refused = test.subscribe_push(&org, over).await;
    assert!(matches!(refused, Err(RecordError::Invalid { field: "expirationTime", .. })), "{refused:?}");
}

#[tokio::test]
async fn a_browser_is_told_of_a_topic_once_a_minute() {
    for test in testing::each().await {
        let org = org(&test, "a").await;
        tell(&test, &org, "vis_a", "room").await;
        assert_eq!(waiting(&test).await, [], "nobody is there to be told");
        test.subscribe_push(&org, browser(1, "vis_a", desk())).await.unwrap();
        for _ in 0..3 {
            tell(&test, &org, "vis_a", "room").await;
        }
        assert_eq!(waiting(&test).await, [("pending".to_owned(), 3, START_MS + REST_MS)], "three are told as one");
        let sent = "update push_message set state = 'sent', sent_at = $1";
        test.db.run(sent, args![START_MS + REST_MS]).await.unwrap();
        test.hand.advance(10_000);
        tell(&test, &org, "vis_a", "room").await;
        tell(&test, &org, "vis_a", "another").await;
        let now_ms = test.clock.now_ms();
        let later = ("pending".to_owned(), 4, START_MS + REST_MS + QUIET_MS);
        assert_eq!(waiting(&test).await, [("pending".to_owned(), 1, now_ms + REST_MS), later]);
        test.db.run("update push_message set state = 'sent', sent_at = $1", args![now_ms]).await.unwrap();
        tidy(&test, now_ms + QUIET_MS).await.unwrap();
        assert_eq!(waiting(&test).await.len(), 2, "for a minute it is known when it was told");
        tidy(&test, now_ms + QUIET_MS + 1).await.unwrap();
        assert_eq!(waiting(&test).await, []);
    }
}

#[tokio::test]
async fn what_belongs_to_nobody_any_more_is_deleted() {
    for test in testing::each().await {
        let org = org(&test, "a").await;
        let ann = NewPerson { name: "Ann".into(), ..NewPerson::default() };
        let person = test.create_person(&org, ann).await.unwrap().0.id;
        let session = test.create_session(&org, &person, "192.0.2.1", "Browser").await.unwrap();
        let session = test.authenticate_session(session.expose()).await.unwrap().unwrap().id.to_string();
        test.subscribe_push(&org, browser(1, &person, Holder::Session(session.clone()))).await.unwrap();
        test.subscribe_push(&org, browser(2, &person, Holder::Token("ptk_none".to_owned()))).await.unwrap();
        test.subscribe_push(&org, browser(3, "vis_a", desk())).await.unwrap();
        tell(&test, &org, &person, "room").await;
        tidy(&test, test.clock.now_ms()).await.unwrap();
        let kept = async |owner: &str| test.push_browsers(&org, owner).await.unwrap().len();
        assert_eq!((kept(&person).await, kept("vis_a").await), (1, 1), "there is no such token");
        assert_eq!(waiting(&test).await.len(), 1);
        test.revoke_session(&org, &session).await.unwrap();
        assert_eq!(kept(&person).await, 0, "signed out");
        tidy(&test, test.clock.now_ms()).await.unwrap();
        assert_eq!((kept(&person).await, kept("vis_a").await, waiting(&test).await.len()), (0, 1, 0));
        test.hand.advance(1_000_000_001);
        tidy(&test, test.clock.now_ms()).await.unwrap();
        assert_eq!(kept("vis_a").await, 0, "its token is over");
    }
}

#[test]
fn an_answer_of_a_push_service_is_read_by_its_rfc() {
    for (status, outcome) in [
        (201, Outcome::Sent),
        (202, Outcome::Sent),
        (301, Outcome::Dropped),
        (400, Outcome::Dropped),
        (403, Outcome::Dropped),
        (404, Outcome::Gone),
        (410, Outcome::Gone),
        (413, Outcome::Dropped),
        (429, Outcome::Later(7_000)),
        (500, Outcome::Later(7_000)),
        (503, Outcome::Later(7_000)),
    ] {
        assert_eq!(Outcome::of_status(status, Some(7_000)), outcome, "{status}");
    }
    let waits: Vec<i64> = (0..8).map(wait_ms).collect();
    assert_eq!(waits, [10_000, 30_000, 120_000, 300_000, 900_000, 3_600_000, 3_600_000, 3_600_000]);
}
