//! The outbox as rows, and the courier with a provider that does as it is told.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use super::courier::wait_ms;
use super::*;
use crate::kernel::testing::{self, START_MS, TestKernel};

/// A mail server that nobody asks: tests set a courier to work with a provider of their own.
fn with_mail() -> Config {
    let mut config = Config::default();
    config.mail.server = Some("mail.invalid".into());
    config.mail.from = Some("calls@example.org".into());
    config
}

/// Answers as it is told, in turn, then takes everything; remembers ids and texts.
#[derive(Default)]
struct Told {
    answers: Mutex<VecDeque<Outcome>>,
    seen: Mutex<Vec<(String, String)>>,
}

impl Told {
    fn to(answers: impl IntoIterator<Item = Outcome>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), seen: Mutex::default() })
    }

    fn seen(&self) -> Vec<(String, String)> {
        self.seen.lock().unwrap().clone()
    }
}

impl Provider for Told {
    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Outcome> {
        self.seen.lock().unwrap().push((letter.to.to_owned(), letter.text.to_owned()));
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Outcome::Sent);
        Box::pin(std::future::ready(answer))
    }
}

fn employ(kernel: &TestKernel, provider: &Arc<Told>) {
    let courier = Courier::new(kernel.kernel.clone(), Channel::Mail, Arc::clone(provider) as _);
    kernel.tasks.spawn(courier.run(kernel.stop.clone()));
}

async fn write(kernel: &TestKernel, org: &str, new: NewNotice) -> String {
    // Ids are in the order of time, not within one millisecond.
    kernel.hand.advance(1);
    let write = kernel.notice_write(org, new).unwrap();
    kernel.db.writer().commit(vec![write]).await.unwrap();
    kernel.notices(org, "", 1).await.unwrap()[0].id.clone()
}

async fn one(kernel: &TestKernel, org: &str, id: &str) -> Notice {
    kernel.notices(org, "", 100).await.unwrap().into_iter().find(|notice| notice.id == id).unwrap()
}

/// Waits until a notice is as it should be.
async fn until(kernel: &TestKernel, id: &str, good: impl Fn(&Notice) -> bool) -> Notice {
    for _ in 0..500 {
        let notice = one(kernel, "org_a", id).await;
        if good(&notice) {
            return notice;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", one(kernel, "org_a", id).await);
}

#[tokio::test]
async fn notices_are_kept_in_order_and_by_organisation() {
    for kernel in testing::each().await {
        for n in 1..=3 {
            let mail = NewNotice::mail("ann@x.org", &format!("Message\r\n{n}"), &"é".repeat(40_000));
            write(&kernel, "org_a", mail).await;
        }
        write(&kernel, "org_b", NewNotice::sms("+442071838750", "123456")).await;

        let newest = kernel.notices("org_a", "", 2).await.unwrap();
        let subjects: Vec<_> = newest.iter().map(|notice| notice.subject.as_str()).collect();
        assert_eq!(subjects, ["Message  3", "Message  2"], "a subject is one line");
        assert_eq!((newest[0].text().len(), newest[0].state), (MAX_BODY, State::Kept));
        let oldest = kernel.notices("org_a", &newest[1].id, 2).await.unwrap();
        assert_eq!(oldest.len(), 1);
        let other = kernel.notices("org_b", "", 10).await.unwrap();
        assert_eq!((other.len(), other[0].channel), (1, Channel::Sms));
    }
}

#[tokio::test]
async fn a_link_lies_sealed_is_shown_while_it_is_good_and_goes_when_it_was_sent() {
    for kernel in testing::each_with(with_mail()).await {
        let mail = |to: &str| {
            NewNotice::mail(to, "Hello", "Come\u{1a} in:\n")
                .with_link("https://x/l/sl_secret", START_MS + 1_000)
                .and("\nBye")
        };
        let good = write(&kernel, "org_a", mail("ann@x.org")).await;
        let row = kernel.db.one("select body, link from notice where id = $1", args![&good]).await.unwrap().unwrap();
        assert!(!row.text("body").unwrap().contains("sl_secret") && !row.text("link").unwrap().contains("sl_secret"));
        let notice = one(&kernel, "org_a", &good).await;
        assert_eq!(notice.text(), "Come in:\nhttps://x/l/sl_secret\nBye");
        assert_eq!(notice.text_without_link("(no)"), "Come in:\n(no)\nBye");
        assert_eq!(notice.state, State::Pending);

        let told = Told::to([Outcome::Refused("no such user".into())]);
        employ(&kernel, &told);
        let failed = until(&kernel, &good, |notice| notice.state == State::Failed).await;
        assert!(failed.can_be_sent_again() && failed.text().contains("sl_secret"), "somebody may hand it over");
        kernel.send_notice_again("org_a", &good).await.unwrap();
        let sent = until(&kernel, &good, |notice| notice.state == State::Sent).await;
        assert_eq!(sent.text(), "Come in:\n(the link was sent)\nBye");
        assert!(kernel.send_notice_again("org_a", &good).await.is_err());
        let texts: Vec<_> = told.seen().into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["Come in:\nhttps://x/l/sl_secret\nBye"; 2]);

        let late = write(&kernel, "org_a", mail("ben@x.org").until(START_MS)).await;
        let late = until(&kernel, &late, |notice| notice.state == State::Failed).await;
        assert!(late.reason.clone().unwrap().contains("time was up") && !late.text().contains("sl_secret"), "{late:?}");
        assert!(kernel.send_notice_again("org_a", &late.id).await.is_err(), "its link is not good any more");
        assert_eq!(told.seen().len(), 2);
        kernel.kernel.close().await;
    }
}

#[tokio::test]
async fn what_a_provider_takes_later_climbs_the_ladder_until_its_time_is_up() {
    for kernel in testing::each_with(with_mail()).await {
        let told = Told::to((0..20).map(|n| Outcome::Later(format!("busy\r\n{n}"))));
        employ(&kernel, &told);
        let id = write(&kernel, "org_a", NewNotice::mail("ann@x.org", "Hello", "x").until(START_MS + 100_000)).await;
        let mut waits = Vec::new();
        for attempt in 1..=3 {
            let notice = until(&kernel, &id, |notice| notice.attempts == attempt).await;
            if notice.state == State::Failed {
                let reason = notice.reason.unwrap();
                assert!(reason.starts_with("busy  2;") && reason.contains("no time left"), "{reason}");
                break;
            }
            assert_eq!(notice.reason.unwrap(), format!("busy  {}", attempt - 1));
            let wait = notice.due_at - kernel.clock.now_ms();
            waits.push(wait);
            kernel.hand.advance(wait);
        }
        assert_eq!(waits, [10_000, 30_000]);
        assert_eq!(told.seen().len(), 3);
        kernel.kernel.close().await;
    }
    assert_eq!((0..8).map(wait_ms).collect::<Vec<_>>()[4..], [900_000, 3_600_000, 3_600_000, 3_600_000]);
}

#[tokio::test]
async fn what_may_have_gone_out_is_handed_over_twice_at_most_and_no_link_gets_into_its_reason() {
    for kernel in testing::each_with(with_mail()).await {
        let unknown = || Outcome::Unknown("no answer to \"https://x/l/sl_secret\"".into());
        let told = Told::to([unknown(), unknown(), unknown()]);
        employ(&kernel, &told);
        let mail = NewNotice::mail("ann@x.org", "Hello", "").with_link("https://x/l/sl_secret", START_MS + 1_000_000);
        let id = write(&kernel, "org_a", mail).await;
        let notice = until(&kernel, &id, |notice| notice.attempts == 1).await;
        assert_eq!(notice.reason.unwrap(), "no answer to \"(link)\"");
        kernel.hand.advance(10_000);
        let notice = until(&kernel, &id, |notice| notice.state == State::Failed).await;
        assert!(notice.reason.unwrap().ends_with("it may have gone out"));
        assert_eq!(told.seen().len(), 2);
        kernel.kernel.close().await;
    }
}

#[tokio::test]
async fn what_is_not_true_any_more_is_withdrawn_and_what_somebody_was_told_can_be_erased() {
    for kernel in testing::each_with(with_mail()).await {
        let mail = |to: &str, about: &str| NewNotice::mail(to, "Moved", "x").about(about);
        let old = write(&kernel, "org_a", mail("ann@x.org", "meeting/5")).await;
        let other = write(&kernel, "org_a", mail("ann@x.org", "meeting/6")).await;
        let strange = write(&kernel, "org_b", mail("ann@x.org", "meeting/5")).await;
        kernel.db.writer().commit(vec![withdraw_notices_write("org_a", "meeting/5")]).await.unwrap();
        let states = [("org_a", &old), ("org_a", &other), ("org_b", &strange)];
        let mut found = Vec::new();
        for (org, id) in states {
            found.push(one(&kernel, org, id).await.state);
        }
        assert_eq!(found, [State::Failed, State::Pending, State::Pending]);
        kernel.db.writer().commit(vec![erase_notices_write("org_a", "ann@x.org")]).await.unwrap();
        assert!(kernel.notices("org_a", "", 10).await.unwrap().is_empty());
        assert_eq!(kernel.notices("org_b", "", 10).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_provider_that_is_away_is_not_asked_for_each_and_all_arrive_in_the_end() {
    for kernel in testing::each_with(with_mail()).await {
        let told = Told::to((0..4).map(|_| Outcome::Unreachable("no connection".into())));
        let mut ids = Vec::new();
        for n in 0..12 {
            ids.push(write(&kernel, "org_a", NewNotice::mail(&format!("a{n}@x.org"), "Hello", "x")).await);
        }
        employ(&kernel, &told);
        for id in &ids[..4] {
            until(&kernel, id, |notice| notice.attempts == 1).await;
        }
        let asked = told.seen().len();
        assert!((4..=8).contains(&asked), "{asked}: four at once, and no more than the next four while they failed");
        for _ in 0..20 {
            kernel.hand.advance(10_000);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for id in &ids {
            until(&kernel, id, |notice| notice.state == State::Sent).await;
        }
        let mut to: Vec<_> = told.seen().into_iter().map(|(to, _)| to).collect();
        assert_eq!(to.len(), 12 + 4, "each once, and again what was not taken");
        to.sort();
        to.dedup();
        assert_eq!(to.len(), 12);
        kernel.kernel.close().await;
    }
}

#[tokio::test]
async fn what_was_sent_and_not_marked_is_sent_again_with_the_same_id() {
    /// Takes a letter and never comes back: the server dies meanwhile.
    struct Dies(Mutex<Vec<String>>);
    impl Provider for Dies {
        fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Outcome> {
            self.0.lock().unwrap().push(letter.id.to_owned());
            Box::pin(std::future::pending())
        }
    }
    for kernel in testing::each_with(with_mail()).await {
        let id = write(&kernel, "org_a", NewNotice::mail("ann@x.org", "Hello", "x")).await;
        let dies = Arc::new(Dies(Mutex::default()));
        let courier = Courier::new(kernel.kernel.clone(), Channel::Mail, Arc::clone(&dies) as _);
        let life = kernel.tasks.spawn(courier.run(kernel.stop.clone()));
        while dies.0.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        life.abort();
        assert_eq!(one(&kernel, "org_a", &id).await.state, State::Pending);
        let told = Told::to([]);
        employ(&kernel, &told);
        until(&kernel, &id, |notice| notice.state == State::Sent).await;
        assert_eq!((dies.0.lock().unwrap().as_slice(), told.seen().len()), (std::slice::from_ref(&id), 1));
        kernel.kernel.close().await;
    }
}

#[tokio::test]
async fn without_a_provider_nothing_can_be_sent_and_what_waited_for_one_is_kept() {
    for kernel in testing::each().await {
        let id = write(&kernel, "org_a", NewNotice::mail("ann@x.org", "Hello", "x")).await;
        let refused = kernel.send_notice_again("org_a", &id).await.unwrap_err().to_string();
        assert!(refused.contains("[mail]"), "{refused}");
        kernel.db.run("update notice set state = 'pending' where id = $1", args![&id]).await.unwrap();
        kernel.start_notices();
        until(&kernel, &id, |notice| notice.state == State::Kept).await;
        assert!(kernel.send_notice_again("org_b", &id).await.is_err(), "another organisation's");
        kernel.kernel.close().await;
    }
}

#[tokio::test]
async fn every_statement_prepares_on_both_engines() {
    for db in crate::db::testing::TestDb::each().await {
        assert_eq!(db.unpreparable(&[ALL, courier::ALL]).await, Vec::<String>::new());
    }
}
