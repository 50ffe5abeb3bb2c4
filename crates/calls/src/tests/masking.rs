//! Numbers of pairs, on both engines.

use kernel::args;
use kernel::db::testing::TestDb;
use kernel::db::{DbError, Write};
use kernel::org::NewOrg;

use super::pairing::{ANN, BOB, POOL};
use super::stage::*;
use crate::*;

const OTHER: &str = "+442071838759";
const CAROL: &str = "+14155550133";
const HOUR_MS: i64 = 3_600_000;

fn pair(stage: &Stage, name: &str, first: &str, second: Option<&str>) -> MaskOrder {
    MaskOrder {
        org: stage.org(),
        pair: name.to_owned(),
        pool: vec![POOL.to_owned(), OTHER.to_owned()],
        first: Some(first.to_owned()),
        second: second.map(str::to_owned),
        until_ms: NOON + HOUR_MS,
    }
}

/// A number that was committed; whoever was too slow asks again.
async fn masked(calls: &Calls, mut order: MaskOrder) -> (Option<String>, bool) {
    loop {
        let Mask { number, exhausted, writes } = calls.mask(&order).await.unwrap();
        match calls.kernel().db.writer().commit(writes).await {
            Ok(_) => return (number, exhausted),
            Err(DbError::Conflict) => order.pool.rotate_left(1),
            Err(error) => panic!("{error}"),
        }
    }
}

async fn given(stage: &Stage, order: MaskOrder) -> (Option<String>, bool) {
    masked(&stage.calls, order).await
}

async fn back(stage: &Stage, from: &str, number: &str) -> CallBack {
    stage.calls.called_back(&stage.org.id, from, number).await.unwrap()
}

fn of(pair: &str, side: PairSide) -> CallBack {
    CallBack::Pair { pair: pair.to_owned(), side }
}

fn shows(number: &str) -> (Option<String>, bool) {
    (Some(number.to_owned()), false)
}

#[tokio::test]
async fn a_call_back_finds_its_pair_and_who_calls() {
    for db in TestDb::each().await {
        let stage = Stage::on(db).await;
        assert_eq!(given(&stage, pair(&stage, "meeting/1", ANN, Some(BOB))).await, shows(POOL));
        assert_eq!(given(&stage, pair(&stage, "meeting/2", CAROL, None)).await, shows(POOL), "to others the same");
        assert_eq!(given(&stage, pair(&stage, "meeting/3", ANN, Some(CAROL))).await, shows(OTHER));
        assert_eq!(given(&stage, pair(&stage, "meeting/3", ANN, Some(CAROL))).await, shows(OTHER), "kept");
        assert_eq!(back(&stage, ANN, POOL).await, of("meeting/1", PairSide::First));
        assert_eq!(
            back(&stage, "0014155550122", POOL).await,
            of("meeting/1", PairSide::Second),
            "however it is written"
        );
        assert_eq!(back(&stage, CAROL, POOL).await, of("meeting/2", PairSide::First));
        assert_eq!(back(&stage, CAROL, OTHER).await, of("meeting/3", PairSide::Second));
        assert_eq!(back(&stage, BOB, OTHER).await, CallBack::Nobody);
        let other = stage.kernel.create_org(NewOrg { name: "Other".into(), ..NewOrg::default() }).await.unwrap();
        assert_eq!(stage.calls.called_back(&other.id, ANN, POOL).await.unwrap(), CallBack::Nobody);
    }
}

#[tokio::test]
async fn an_exhausted_pool_says_so_and_leads_nobody_astray() {
    let stage = Stage::new().await;
    given(&stage, pair(&stage, "meeting/1", ANN, None)).await;
    given(&stage, pair(&stage, "meeting/2", ANN, None)).await;
    given(&stage, pair(&stage, "meeting/3", BOB, None)).await;
    let third = given(&stage, pair(&stage, "meeting/4", ANN, Some(CAROL))).await;
    assert_eq!(third, (Some(OTHER.to_owned()), true), "the least used");
    assert_eq!(back(&stage, ANN, OTHER).await, CallBack::Unclear);
    assert_eq!(back(&stage, CAROL, OTHER).await, of("meeting/4", PairSide::Second), "to her it is the only one");
    let writes = stage.calls.unmask(&stage.org.id, "meeting/4");
    stage.kernel.db.writer().commit(writes).await.unwrap();
    assert_eq!(back(&stage, ANN, OTHER).await, of("meeting/2", PairSide::First), "clear again");
}

#[tokio::test]
async fn a_number_is_free_again_when_the_pairs_time_is_over() {
    let stage = Stage::new().await;
    given(&stage, pair(&stage, "meeting/1", ANN, None)).await;
    stage.hand.advance(HOUR_MS - 1);
    assert_eq!(back(&stage, ANN, POOL).await, of("meeting/1", PairSide::First));
    stage.hand.advance(1);
    assert_eq!(back(&stage, ANN, POOL).await, CallBack::Nobody);
    let later = MaskOrder { until_ms: NOON + 2 * HOUR_MS, ..pair(&stage, "meeting/2", ANN, None) };
    assert_eq!(given(&stage, later).await, shows(POOL));
    let rows = stage.kernel.db.all("select pair from pair_number order by pair", Vec::new()).await.unwrap();
    let left: Vec<String> = rows.iter().map(|row| row.text("pair").unwrap()).collect();
    assert_eq!(left, ["meeting/2"], "what has lapsed is forgotten");
}

#[tokio::test]
async fn without_a_pool_or_a_phone_there_is_nothing_to_show() {
    let stage = Stage::new().await;
    given(&stage, pair(&stage, "meeting/1", ANN, None)).await;
    let pages = MaskOrder { first: None, ..pair(&stage, "meeting/1", ANN, None) };
    assert_eq!(given(&stage, pages).await, (None, false));
    assert_eq!(back(&stage, ANN, POOL).await, CallBack::Nobody, "the number that it had is free");
    let poor = MaskOrder { pool: Vec::new(), ..pair(&stage, "meeting/1", ANN, Some(BOB)) };
    assert_eq!(given(&stage, poor).await, (None, false));
}

#[tokio::test]
async fn many_at_once_never_share_a_number_while_there_is_another() {
    let stage = Stage::new().await;
    let pool: Vec<String> = (0..20).map(|n| format!("+4420718380{n:02}")).collect();
    let orders = (0..20).map(|n| MaskOrder { pool: pool.clone(), ..pair(&stage, &format!("meeting/{n}"), ANN, None) });
    let mut asking = tokio::task::JoinSet::new();
    for order in orders {
        let calls = stage.calls.clone();
        asking.spawn(async move { masked(&calls, order).await });
    }
    let mut given: Vec<String> = asking.join_all().await.into_iter().filter_map(|(number, _)| number).collect();
    given.sort();
    assert_eq!(given, pool);
}

#[tokio::test]
async fn a_number_that_somebody_else_has_by_now_is_refused_with_all_that_goes_with_it() {
    for db in TestDb::each().await {
        let stage = Stage::on(db).await;
        let slow = stage.calls.mask(&pair(&stage, "meeting/1", ANN, None)).await.unwrap();
        assert_eq!(given(&stage, pair(&stage, "meeting/2", ANN, None)).await, shows(POOL));
        let writer = stage.kernel.db.writer();
        assert!(matches!(writer.commit(slow.writes).await, Err(DbError::Conflict)));
        assert_eq!(back(&stage, ANN, POOL).await, of("meeting/2", PairSide::First));
        let given_up = stage.calls.mask(&pair(&stage, "meeting/3", BOB, None)).await.unwrap();
        assert_eq!((given_up.number.as_deref(), back(&stage, BOB, POOL).await), (Some(POOL), CallBack::Nobody));
    }
}

#[tokio::test]
async fn a_shared_number_is_kept() {
    let stage = Stage::new().await;
    for name in ["meeting/1", "meeting/2", "meeting/3"] {
        given(&stage, pair(&stage, name, ANN, None)).await;
    }
    // From now on the third would get the other one, if it were chosen as at first.
    given(&stage, pair(&stage, "meeting/4", BOB, None)).await;
    assert_eq!(given(&stage, pair(&stage, "meeting/5", ANN, None)).await, (Some(OTHER.to_owned()), true));
    given(&stage, pair(&stage, "meeting/6", CAROL, None)).await;
    for until_ms in [2, 3, 4].map(|hours| NOON + hours * HOUR_MS) {
        let longer = MaskOrder { until_ms, ..pair(&stage, "meeting/3", ANN, None) };
        assert_eq!(given(&stage, longer).await, (Some(POOL.to_owned()), true));
    }
}

#[tokio::test]
async fn a_line_of_very_many_pairs_has_its_share_too() {
    let stage = Stage::new().await;
    let many: Vec<Write> = (0..10_050)
        .map(|n| {
            let sql =
                "insert into pair_number (org, pair, number, cli, side, until_at) values ($1, $2, $3, $4, $5, $6)";
            let number = if n < 10_049 { POOL } else { OTHER };
            Write::new(sql, args![&stage.org.id, format!("meeting/{n}"), number, ANN, "first", NOON + HOUR_MS])
        })
        .collect();
    stage.kernel.db.writer().commit(many).await.unwrap();
    assert_eq!(given(&stage, pair(&stage, "meeting/new", ANN, None)).await, (Some(OTHER.to_owned()), true));
}
