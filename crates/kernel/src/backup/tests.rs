//! Backups between the engines, under load, and broken ones.

use std::fs;
use std::task::Poll;

use super::exchange::{INCOMING, OUTGOING};
use super::*;
use crate::args;
use crate::bus::Bus;
use crate::db::Write;
use crate::db::testing::TestDb;
use crate::kernel::lock_data;

const EVENT: &str = "insert into event (org, position, id, kind, key, seq, time_at, body) \
    values ('org_1', $1, $2, 'k', $2, 1, 0, '{}')";
const TWIN: &str = "insert into setting (org, name, value) values ('org_1', $1, 'ü''\"\\\n')";

async fn fill(db: &Db, names: impl IntoIterator<Item = String>) {
    for name in names {
        let event = Write::new(EVENT, vec![crate::Arg::NextPosition, name.clone().into()]);
        db.writer().submit(vec![event, Write::new(TWIN, args![name])]).await.unwrap();
    }
    db.writer().flush().await.unwrap();
}

async fn content(db: &Db) -> Vec<String> {
    let mut all = Vec::new();
    let mut snapshot = db.snapshot().await.unwrap();
    for table in tables(schema_version()) {
        let take = |values| {
            all.push(format!("{table} {}", Value::Array(values)));
            Ok::<_, DbError>(())
        };
        snapshot.rows(table, take).await.unwrap();
    }
    // The id of the restore that rows come from is no row of the backup's.
    all.retain(|row| !row.starts_with("setting [\"\",\"restored\""));
    all.sort();
    all
}

async fn org(db: &Db) {
    let sql = "insert into org (id, slug, name, cloud_sid, zone, created_at) values ('org_1', 'a', 'A', 'c', 'UTC', 5)";
    db.run(sql, args![]).await.unwrap();
    let sql =
        "insert into person (id, org, name, email, role, created_at) values ('p', 'org_1', 'P', null, 'owner', 5)";
    db.run(sql, args![]).await.unwrap();
}

fn data_folder() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("secret.key", "the key"),
        ("files/recordings/org_1/a.wav", "RIFF"),
        ("files/voicemail/org_1/empty", ""),
        ("files/cache/org_1/b", "not kept"),
    ] {
        let path = data.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    data
}

#[tokio::test]
async fn a_backup_of_either_engine_is_restored_into_either() {
    let clock = Clock::fake(0).0;
    for from in TestDb::each().await {
        org(&from.db).await;
        fill(&from.db, (0..700).map(|n| n.to_string())).await;
        let data = data_folder();
        let file = data.path().join("backup");
        let saved = backup(&from.db, data.path(), &file, false, &clock).await.unwrap();
        assert_eq!(saved, Contents { rows: 1_403, files: 3 });
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

        for to in TestDb::each().await {
            fill(&to.db, ["older".to_owned()]).await;
            to.db.close().await;
            let target = tempfile::tempdir().unwrap();
            fs::create_dir_all(target.path().join("files/recordings/old")).unwrap();
            fs::write(target.path().join("files/recordings/old/x.wav"), "old").unwrap();
            let restored = restore(&to.url, target.path(), &file, true, &Clock::fake(0).0).await.unwrap();
            assert_eq!(restored.contents, saved);
            let db = Db::open(&to.url, Bus::local()).await.unwrap();
            assert_eq!(content(&db).await, content(&from.db).await);
            let read = |path: &str| fs::read_to_string(target.path().join(path)).ok();
            assert_eq!(read("secret.key").as_deref(), Some("the key"));
            assert_eq!(read("files/recordings/org_1/a.wav").as_deref(), Some("RIFF"));
            assert_eq!(read("files/voicemail/org_1/empty").as_deref(), Some(""));
            assert_eq!((read("files/cache/org_1/b"), read("files/recordings/old/x.wav")), (None, None));
            assert!(!target.path().join(INCOMING).exists() && !target.path().join(OUTGOING).exists());
            // Positions go on where the backup stood.
            fill(&db, ["later".to_owned()]).await;
            let newest = "select max(position) as position from event";
            assert_eq!(db.one(newest, args![]).await.unwrap().unwrap().int("position").unwrap(), 701);
            db.close().await;
        }
    }
}

#[tokio::test]
async fn a_backup_beside_a_busy_writer_is_one_moment() {
    for test in TestDb::each().await {
        org(&test.db).await;
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("backup");
        let clock = Clock::fake(0).0;
        let writing = fill(&test.db, (0..3_000).map(|n| n.to_string()));
        let backing = async {
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            backup(&test.db, data.path(), &file, false, &clock).await.unwrap()
        };
        let ((), _) = tokio::join!(writing, backing);
        test.db.close().await;
        restore(&test.url, data.path(), &file, true, &Clock::fake(0).0).await.unwrap();
        let db = Db::open(&test.url, Bus::local()).await.unwrap();
        let alone = "select count(*) as n from event e full join (select name from setting where org = 'org_1') s on e.id = s.name \
            where e.id is null or s.name is null";
        assert_eq!(db.one(alone, args![]).await.unwrap().unwrap().int("n").unwrap(), 0);
        let lost = "select count(*) as n from counter c where c.kind = 'event' \
            and c.value <> (select coalesce(max(position), 0) from event)";
        assert_eq!(db.one(lost, args![]).await.unwrap().unwrap().int("n").unwrap(), 0);
        db.close().await;
    }
}

#[tokio::test]
async fn a_running_server_refuses_a_restore_and_a_second_server() {
    for test in TestDb::each().await {
        let data = data_folder();
        let file = data.path().join("backup");
        backup(&test.db, data.path(), &file, false, &Clock::fake(0).0).await.unwrap();
        let lock = test.db.lock().await.unwrap();
        assert!(matches!(test.db.lock().await, Err(DbError::InUse)));
        let refused = restore(&test.url, data.path(), &file, true, &Clock::fake(0).0).await;
        assert!(matches!(refused, Err(BackupError::Db(DbError::InUse))), "{refused:?}");
        drop(lock);
        test.db.close().await;
        // The files are another server's, whatever the store is.
        let held = lock_data(data.path()).unwrap();
        let refused = restore(&test.url, data.path(), &file, true, &Clock::fake(0).0).await;
        assert!(matches!(refused, Err(BackupError::Db(DbError::InUse))), "{refused:?}");
        assert!(!was_cut_off(data.path()), "nothing was begun");
        drop(held);
        restore(&test.url, data.path(), &file, true, &Clock::fake(0).0).await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_backup_changes_nothing() {
    for test in TestDb::each().await {
        org(&test.db).await;
        fill(&test.db, (0..20).map(|n| n.to_string())).await;
        let data = data_folder();
        let file = data.path().join("backup");
        backup(&test.db, data.path(), &file, false, &Clock::fake(0).0).await.unwrap();
        fill(&test.db, ["after".to_owned()]).await;
        let before = content(&test.db).await;
        let whole = fs::read(&file).unwrap();
        let text = String::from_utf8(whole.clone()).unwrap();
        let mut broken: Vec<Vec<u8>> = [0, 1, 40, whole.len() / 2, whole.len() - 1].map(|n| whole[..n].to_vec()).into();
        broken.push(text.replace("the key", "the kex").into_bytes());
        broken.push(text.replacen("\"table\":\"org\"", "\"table\":\"org; drop table org\"", 1).into_bytes());
        broken.push(text.replacen("\"cloud_sid\"", "\"cloud_sid) --\"", 1).into_bytes());
        broken.push(text.replace("files/recordings/org_1/a.wav", "files/../../../org_1/a.wav").into_bytes());
        broken.push(text.replacen("\"schema\":", "\"schema\":9", 1).into_bytes());
        broken.push(text.replacen("\"tandem_backup\":1", "\"tandem_backup\":2", 1).into_bytes());
        for (n, broken) in broken.into_iter().enumerate() {
            let path = data.path().join("broken");
            fs::write(&path, broken).unwrap();
            let refused = restore(&test.url, data.path(), &path, true, &Clock::fake(0).0).await;
            assert!(refused.is_err(), "{n}: {refused:?}");
            assert_eq!(content(&test.db).await, before, "{n}");
            assert_eq!(fs::read_to_string(data.path().join("secret.key")).unwrap(), "the key");
        }
    }
}

/// A restore may be cut off wherever it waits: for the store, row by row. What the next start does then leaves either
/// all that was there or all that was restored, rows and files alike.
#[tokio::test]
async fn a_restore_that_is_cut_off_is_whole_or_never_was() {
    for test in TestDb::each().await {
        org(&test.db).await;
        fill(&test.db, (0..5).map(|n| n.to_string())).await;
        let data = data_folder();
        let file = data.path().join("backup");
        let (clock, hand) = Clock::fake(0);
        let saved = backup(&test.db, data.path(), &file, false, &clock).await.unwrap();
        let (key, sound) = (data.path().join("secret.key"), data.path().join("files/recordings/org_1/a.wav"));
        let files = || (fs::read_to_string(&key).unwrap(), fs::read_to_string(&sound).unwrap());
        let restorable = (content(&test.db).await, files());
        fill(&test.db, ["after".to_owned()]).await;
        fs::write(&key, "the newer key").unwrap();
        fs::write(&sound, "newer").unwrap();
        let before = (content(&test.db).await, files());

        let (mut waits, mut left_as_it_was, mut completed) = (0, 0, 0);
        let restored = loop {
            hand.advance(1_000);
            let mut restoring = Box::pin(restore(&test.url, data.path(), &file, true, &clock));
            match waiting_at_most(waits, restoring.as_mut()).await {
                // PostgreSQL has not noticed yet that the last one has gone.
                Some(Err(BackupError::Db(DbError::InUse))) => {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                    continue;
                }
                Some(restored) => break restored.unwrap(),
                None => drop(restoring),
            }
            while let Err(error) = settle(&test.db, data.path()).await {
                assert!(matches!(error, BackupError::Db(DbError::InUse)), "{error:?}");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            assert!(!was_cut_off(data.path()));
            let now = (content(&test.db).await, files());
            if completed == 0 && now == before {
                left_as_it_was += 1;
            } else {
                assert_eq!(now, restorable, "whole or not at all, cut off at wait {waits}");
                completed += 1;
            }
            waits += 1 + waits / STRIDE;
        };
        assert!(left_as_it_was > 10, "rows are waited for one by one: {left_as_it_was}");
        assert_eq!((restored.contents, (content(&test.db).await, files())), (saved, restorable));
        assert!(!was_cut_off(data.path()), "it has come to its end");
    }
}

/// Moments that lie far in are looked at less densely.
const STRIDE: usize = 12;

/// Carries work on until it has waited so many times; `None` when it was not done then.
async fn waiting_at_most<F: Future>(mut waits: usize, mut work: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if waits == 0 => Poll::Ready(None),
        Poll::Pending => {
            waits -= 1;
            Poll::Pending
        }
    })
    .await
}

/// The folder of what a restore replaced, and the names in it.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

#[tokio::test]
async fn nothing_that_is_there_is_replaced_unasked_or_lost() {
    let clock = Clock::fake(0).0;
    for test in TestDb::each().await {
        org(&test.db).await;
        let source = data_folder();
        let file = source.path().join("backup");
        backup(&test.db, source.path(), &file, false, &clock).await.unwrap();
        let saved = fs::read(&file).unwrap();
        fill(&test.db, ["after".to_owned()]).await;
        let refused = backup(&test.db, source.path(), &file, false, &clock).await;
        assert!(matches!(refused, Err(BackupError::Exists(_))), "{refused:?}");
        assert_eq!(fs::read(&file).unwrap(), saved);

        let before = content(&test.db).await;
        let data = data_folder();
        fs::write(data.path().join("secret.key"), "another key").unwrap();
        let refused = restore(&test.url, data.path(), &file, false, &clock).await;
        assert!(matches!(refused, Err(BackupError::Holds(1))), "{refused:?}");
        assert_eq!(content(&test.db).await, before);
        assert!(!was_cut_off(data.path()));
        let is_sqlite = test.db.engine_name() == "sqlite";
        test.db.close().await;

        let restored = restore(&test.url, data.path(), &file, true, &clock).await.unwrap();
        let aside = restored.set_aside.unwrap();
        assert_eq!(aside, data.path().join("replaced-1970-01-01T000000.000Z"));
        assert_eq!(fs::read_to_string(aside.join("secret.key")).unwrap(), "another key");
        assert_eq!(fs::read_to_string(aside.join("files/cache/org_1/b")).unwrap(), "not kept");
        if is_sqlite {
            assert_eq!(names_in(&aside), ["files", "secret.key", "tandem.db"]);
            let old = Db::open(&format!("sqlite://{}", aside.join("tandem.db").display()), Bus::local()).await.unwrap();
            assert_eq!(content(&old).await, before);
            old.close().await;
        }
    }
}

/// What a killed restore leaves while it reads hinders nobody, and gives nobody leave to replace data.
#[tokio::test]
async fn a_restore_that_was_killed_while_it_read_is_swept_away() {
    let clock = Clock::fake(0).0;
    for test in TestDb::each().await {
        org(&test.db).await;
        let data = data_folder();
        let file = data.path().join("backup");
        backup(&test.db, data.path(), &file, false, &clock).await.unwrap();
        let (incoming, outgoing) = (data.path().join(INCOMING), data.path().join(OUTGOING));
        let half = || {
            fs::create_dir_all(incoming.join("files/recordings")).unwrap();
            fs::create_dir_all(&outgoing).unwrap();
            fs::write(outgoing.join(OLD_STORE), "half of it").unwrap();
        };
        half();
        assert!(!was_cut_off(data.path()));
        let refused = restore(&test.url, data.path(), &file, false, &clock).await;
        assert!(matches!(refused, Err(BackupError::Holds(1))), "{refused:?}");
        half();
        let running = lock_data(data.path()).unwrap();
        settle(&test.db, data.path()).await.unwrap();
        assert!(incoming.exists(), "it is another's that runs");
        drop(running);
        settle(&test.db, data.path()).await.unwrap();
        assert!(!incoming.exists() && !outgoing.exists());
        assert_eq!(fs::read_to_string(data.path().join("secret.key")).unwrap(), "the key");
    }
}

#[tokio::test]
async fn a_restored_backup_signs_nobody_in_and_knows_when_it_was() {
    const MADE_AT_MS: i64 = 1_795_219_200_000;
    let (clock, hand) = Clock::fake(MADE_AT_MS);
    for test in TestDb::each().await {
        org(&test.db).await;
        for sql in [
            "insert into administrator (id, name, created_at) values ('adm_1', 'A', 5)",
            "insert into person_session (id, org, person, token_hash, created_at, last_used_at, expires_at) \
                values ('s1', 'org_1', 'p', 'h', 5, 5, 6)",
            "insert into administrator_session (id, administrator, token_hash, created_at, last_used_at, expires_at) \
                values ('s2', 'adm_1', 'h', 5, 5, 6)",
            "insert into sign_in_link (id, token_hash, created_at, expires_at) values ('l1', 'h', 5, 6)",
        ] {
            test.db.run(sql, args![]).await.unwrap();
        }
        let data = data_folder();
        let file = data.path().join("backup");
        let saved = backup(&test.db, data.path(), &file, false, &Clock::fake(MADE_AT_MS).0).await.unwrap();
        let pulse = crate::pulse::Pulse::of(data.path());
        hand.advance(3_600_000);
        pulse.beat(clock.now_ms()).unwrap();
        test.db.close().await;

        let restored = restore(&test.url, data.path(), &file, true, &clock).await.unwrap();
        assert_eq!(restored.contents, saved);
        assert_eq!(pulse.last_ms(), Some(MADE_AT_MS), "calls that it tells of were up then, not until now");
        let db = Db::open(&test.url, Bus::local()).await.unwrap();
        let rows = content(&db).await;
        for table in ["person_session", "administrator_session", "sign_in_link"] {
            assert_eq!(
                rows.iter().filter(|row| row.starts_with(&format!("{table} "))).count(),
                1,
                "{table}: its columns"
            );
        }
        assert_eq!(rows.iter().filter(|row| row.starts_with("administrator ")).count(), 2);
        db.close().await;
    }
}

#[tokio::test]
async fn every_statement_prepares_on_both_engines() {
    for db in TestDb::each().await {
        assert_eq!(db.unpreparable(&[crate::db::dump::ALL]).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_a_killed_backup_left_hinders_none_and_goes() {
    let clock = Clock::fake(0).0;
    let test = TestDb::sqlite().await;
    let data = data_folder();
    let file = data.path().join("backup");
    let beside = |name: &str| data.path().join(name);
    // The name that every backup once wrote to: whoever puts a link there must not choose what is overwritten.
    fs::write(beside("precious"), "not ours").unwrap();
    std::os::unix::fs::symlink(beside("precious"), beside("backup.part")).unwrap();
    fs::write(beside("backup.0123456789abcdef.part"), "half").unwrap();
    fs::write(beside("backup.0123456789abcdeX.part"), "no name of ours").unwrap();
    let (under_way, writing) = open_part(&file).unwrap();
    backup(&test.db, data.path(), &file, false, &clock).await.unwrap();
    let names = names_in(data.path());
    let parts: Vec<_> = names.iter().filter(|name| name.contains(".part")).map(String::as_str).collect();
    let under_way = under_way.file_name().unwrap().to_str().unwrap();
    let mut expected = ["backup.0123456789abcdeX.part", "backup.part", under_way];
    expected.sort_unstable();
    assert_eq!(parts, expected);
    assert_eq!(fs::read_to_string(beside("precious")).unwrap(), "not ours");
    drop(writing);
}
