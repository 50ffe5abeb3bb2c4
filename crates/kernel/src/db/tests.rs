//! The store on both engines: arguments, transactions, and the group commit.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::testing::TestDb;
use super::*;
use crate::args;

const PUT: &str = "insert into setting (org, name, value) values ($1, $2, $3)";
const GET: &str = "select value from setting where org = $1 and name = $2";
const CHANGE: &str = "update setting set value = $3 where org = $1 and name = $2";
const COUNT: &str = "select count(*) as n from setting";
const POSITION: &str = "insert into setting (org, name, value) values ($1, $2, cast($3 as bigint))";

fn put(name: &str, value: &str) -> Write {
    Write::new(PUT, args!["o", name, value])
}

fn change(name: &str, value: &str) -> Write {
    Write::guarded(CHANGE, args!["o", name, value])
}

async fn get(db: &Db, name: &str) -> Option<String> {
    let row = db.one(GET, args!["o", name]).await.unwrap();
    row.map(|row| row.text("value").unwrap())
}

async fn count(db: &Db) -> i64 {
    db.one(COUNT, args![]).await.unwrap().unwrap().int("n").unwrap()
}

#[tokio::test]
async fn every_type_comes_back_as_it_went_and_null_fits_everywhere() {
    for test in TestDb::each().await {
        let mut tx = test.db.begin().await.unwrap();
        tx.script(
            "create table sample (id bigint not null primary key, t text, i bigint, b boolean, r double precision)"
                .into(),
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let insert = "insert into sample (id, t, i, b, r) values ($1, $2, $3, $4, $5)";
        test.db.run(insert, args![1_i64, "ü'\n", i64::MIN, true, -0.25]).await.unwrap();
        let none = args![2_i64, None::<String>, None::<i64>, None::<bool>, None::<f64>];
        test.db.run(insert, none).await.unwrap();
        test.db.run(insert, args![3_i64, "", 0_i64, false, f64::MAX]).await.unwrap();
        let select = "select id, t, i, b, r from sample where (t = $1 or $1 is null) order by id";
        let rows = test.db.all(select, args![None::<String>]).await.unwrap();
        assert_eq!(rows.len(), 3);
        let first = (rows[0].text("t").unwrap(), rows[0].int("i").unwrap(), rows[0].bool("b").unwrap());
        assert_eq!(first, ("ü'\n".to_owned(), i64::MIN, true));
        assert_eq!((rows[0].real("r").unwrap(), rows[2].real("r").unwrap()), (-0.25, f64::MAX));
        assert_eq!((rows[1].opt_text("t").unwrap(), rows[1].opt_int("i").unwrap()), (None, None));
        assert_eq!((rows[1].opt_bool("b").unwrap(), rows[1].opt_real("r").unwrap()), (None, None));
        assert!(!rows[2].bool("b").unwrap());
        for wrong in [rows[1].text("t").map(drop), rows[0].int("t").map(drop), rows[0].text("nowhere").map(drop)] {
            assert!(matches!(wrong, Err(DbError::Column { .. })), "{wrong:?}");
        }
        assert_eq!(test.db.all(select, args![""]).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing_and_the_next_one_goes_on() {
    for test in TestDb::each().await {
        for _ in 0..20 {
            let mut tx = test.db.begin().await.unwrap();
            tx.run(PUT, args!["o", "a", "1"]).await.unwrap();
            drop(tx);
        }
        assert_eq!(count(&test.db).await, 0);
        test.db.run(PUT, args!["o", "a", "2"]).await.unwrap();
        let mut tx = test.db.begin().await.unwrap();
        tx.lock_row("update setting set org = org where org = $1 and name = $2", args!["o", "a"]).await.unwrap();
        assert_eq!(tx.one(GET, args!["o", "a"]).await.unwrap().unwrap().text("value").unwrap(), "2");
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn violations_are_named() {
    for test in TestDb::each().await {
        test.db.run(PUT, args!["o", "a", "1"]).await.unwrap();
        let twice = test.db.run(PUT, args!["o", "a", "1"]).await;
        assert!(matches!(twice, Err(DbError::Duplicate(_))), "{twice:?}");
        let orphan = "insert into app_key (id, org, app, token_hash, created_at) values ('k', 'none', 'none', 'h', 0)";
        let orphan = test.db.run(orphan, args![]).await;
        assert!(matches!(orphan, Err(DbError::Reference(_))), "{orphan:?}");
        let nonsense = test.db.run("update nowhere set x = 1", args![]).await;
        assert!(matches!(&nonsense, Err(error) if !error.is_transient()), "{nonsense:?}");
    }
}

#[tokio::test]
async fn a_group_is_whole_or_not_at_all_and_only_the_guilty_fails() {
    for test in TestDb::each().await {
        let writer = test.db.writer();
        writer.commit(vec![put("a", "0")]).await.unwrap();
        let (good, conflict, duplicate, after) = tokio::join!(
            writer.commit(vec![change("a", "1"), put("b", "1")]),
            writer.commit(vec![put("c", "1"), change("nobody", "1")]),
            writer.commit(vec![put("d", "1"), put("a", "2")]),
            writer.commit(vec![put("e", "1"), Write::new(CHANGE, args!["o", "nobody", "1"])]),
        );
        assert_eq!(good.unwrap(), [1, 1]);
        assert!(matches!(conflict, Err(DbError::Conflict)), "{conflict:?}");
        assert!(matches!(duplicate, Err(DbError::Duplicate(_))), "{duplicate:?}");
        assert_eq!(after.unwrap(), [1, 0]);
        let mut left = BTreeSet::new();
        for name in ["a", "b", "c", "d", "e"] {
            if get(&test.db, name).await.is_some() {
                left.insert(name);
            }
        }
        assert_eq!(left, BTreeSet::from(["a", "b", "e"]));
        assert_eq!(get(&test.db, "a").await.as_deref(), Some("1"));
    }
}

#[tokio::test]
async fn many_writes_share_few_commits_and_keep_their_order() {
    for test in TestDb::each().await {
        let writer = test.db.writer();
        writer.commit(vec![put("a", "0")]).await.unwrap();
        let before = writer.stats();
        for n in 1..=2_000 {
            writer.submit(vec![Write::new(CHANGE, args!["o", "a", n.to_string()])]).await.unwrap();
        }
        writer.flush().await.unwrap();
        let after = writer.stats();
        assert_eq!(get(&test.db, "a").await.as_deref(), Some("2000"));
        assert_eq!(after.writes - before.writes, 2_000);
        let commits = after.commits - before.commits;
        assert!((4..=200).contains(&commits), "{commits} commits of 2000 writes");
        assert_eq!(after.retries, 0);
    }
}

#[tokio::test]
async fn submit_from_takes_nothing_from_a_caller_that_gives_up() {
    let test = TestDb::sqlite().await;
    let mut pending = vec![put("a", "1")];
    // The lock is held: the writer cannot go on, and its queue fills.
    let tx = test.db.begin().await.unwrap();
    let fill = async {
        loop {
            test.db.writer().submit(vec![Write::new(CHANGE, args!["o", "nobody", ""])]).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(100), fill).await.is_err());
    let full = tokio::time::timeout(Duration::from_millis(20), test.db.writer().submit_from(&mut pending)).await;
    assert!(full.is_err() || pending.is_empty());
    drop(tx);
    test.db.writer().submit_from(&mut pending).await.unwrap();
    test.db.writer().flush().await.unwrap();
    assert_eq!(get(&test.db, "a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_refuses_what_comes_later() {
    for test in TestDb::each().await {
        for n in 0..300 {
            test.db.writer().submit(vec![put(&n.to_string(), "")]).await.unwrap();
        }
        test.db.close().await;
        assert!(matches!(test.db.writer().submit(vec![put("late", "")]).await, Err(DbError::Closed)));
        assert!(matches!(test.db.writer().commit(vec![put("late", "")]).await, Err(DbError::Closed)));
        let again = Db::open(&test.url, Bus::local()).await.unwrap();
        assert_eq!(count(&again).await, 300);
        again.close().await;
    }
}

/// Two stores on one database are two processes: the command line beside the server.
#[tokio::test]
async fn two_processes_write_side_by_side() {
    for test in TestDb::each().await {
        let other = Db::open(&test.url, Bus::local()).await.unwrap();
        let work = async |db: &Db, who: &str| {
            for n in 0..60 {
                if n % 3 == 0 {
                    let mut tx = db.begin().await.unwrap();
                    tx.run(PUT, args!["o", format!("{who}{n}"), ""]).await.unwrap();
                    tx.commit().await.unwrap();
                } else {
                    db.writer().commit(vec![put(&format!("{who}{n}"), "")]).await.unwrap();
                }
            }
        };
        tokio::join!(work(&test.db, "a"), work(&other, "b"));
        assert_eq!(count(&test.db).await, 120);
        other.close().await;
    }
}

/// Another process holds SQLite's write lock for longer than the busy timeout: the writer goes on trying.
#[tokio::test]
async fn the_writer_outlives_a_lock_that_is_held_for_long() {
    let test = TestDb::sqlite().await;
    let other = Db::open(&test.url, Bus::local()).await.unwrap();
    let tx = other.begin().await.unwrap();
    let release = async {
        while test.db.writer().stats().retries == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(tx);
    };
    let (written, ()) = tokio::join!(test.db.writer().commit(vec![put("a", "1")]), release);
    assert_eq!(written.unwrap(), [1]);
    other.close().await;
}

#[tokio::test]
async fn positions_grow_in_the_order_of_commits_over_writers_and_transactions() {
    for test in TestDb::each().await {
        let other = Db::open(&test.url, Bus::local()).await.unwrap();
        let insert = "insert into event (org, position, id, kind, key, seq, time_at, body) \
            values ('o', $1, $2, 'k', $2, 1, 0, '{}')";
        let seen_in_order = async {
            // A reader who remembers the newest position never finds an older one later.
            let mut last = 0;
            let mut all = BTreeSet::new();
            while all.len() < 120 {
                let newer = "select position from event where org = 'o' and position > $1 order by position";
                for row in test.db.all(newer, args![last]).await.unwrap() {
                    last = row.int("position").unwrap();
                    assert!(all.insert(last));
                }
                let row = test.db.one("select count(*) as n from event", args![]).await.unwrap().unwrap();
                assert!(row.int("n").unwrap() >= i64::try_from(all.len()).unwrap());
            }
        };
        let work = async |db: &Db, who: &str| {
            for n in 0..60 {
                let args = vec![Arg::NextPosition, Arg::Text(format!("{who}{n}"))];
                if n % 4 == 0 {
                    let mut tx = db.begin().await.unwrap();
                    tx.run(insert, args).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    tx.commit().await.unwrap();
                } else {
                    db.writer().submit(vec![Write::new(insert, args)]).await.unwrap();
                }
            }
        };
        let all = async { tokio::join!(work(&test.db, "a"), work(&other, "b"), seen_in_order) };
        tokio::time::timeout(Duration::from_secs(20), Box::pin(all)).await.unwrap();
        other.close().await;
    }
}

#[tokio::test]
async fn a_group_names_the_position_of_its_own_event() {
    for test in TestDb::each().await {
        for name in ["a", "b"] {
            let next = Write::new(POSITION, vec!["o".into(), name.into(), Arg::NextPosition]);
            let same = Write::new(POSITION, vec!["p".into(), name.into(), Arg::SamePosition]);
            test.db.writer().commit(vec![next, same]).await.unwrap();
        }
        let same = "select count(*) as n from setting o join setting p on o.name = p.name and o.value = p.value \
            where o.org = 'o' and p.org = 'p'";
        assert_eq!(test.db.one(same, args![]).await.unwrap().unwrap().int("n").unwrap(), 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever groups are thrown at the writer, it ends where running them one after the other ends.
    #[test]
    fn a_batch_is_as_good_as_one_by_one(groups in proptest::collection::vec(
        proptest::collection::vec((0..5_u8, any::<bool>()), 1..4), 1..30,
    )) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let test = TestDb::sqlite().await;
            let mut model = std::collections::BTreeMap::new();
            let mut expected = Vec::new();
            let mut waits = Vec::new();
            for (n, group) in groups.iter().enumerate() {
                let value = n.to_string();
                let mut next = model.clone();
                let fits = group.iter().all(|(name, is_put)| {
                    let known = next.insert(*name, value.clone()).is_some();
                    known != *is_put
                });
                expected.push(fits);
                if fits {
                    model = next;
                }
                let write = |(name, is_put): &(u8, bool)| {
                    if *is_put { put(&name.to_string(), &value) } else { change(&name.to_string(), &value) }
                };
                waits.push(test.db.writer().commit(group.iter().map(write).collect()));
            }
            let outcomes: Vec<_> = futures_util::future::join_all(waits).await.iter().map(Result::is_ok).collect();
            assert_eq!(outcomes, expected);
            for name in 0..5_u8 {
                assert_eq!(get(&test.db, &name.to_string()).await.as_ref(), model.get(&name));
            }
        });
    }
}
