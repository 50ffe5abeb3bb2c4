//! The rows of numbers that pairs show. Table: migrations/0008_pairs.sql.
//!
//! Invariant: a pair whose time is over is not read, whether its rows are still there or not.

use std::collections::HashMap;

use kernel::args;
use kernel::db::{Db, DbError, Write};

use super::pool::Seen;
use crate::pairing::PairSide;

kernel::statements! {
    /// What a party, or another one, sees for other pairs: no more than an organisation has numbers.
    SEEN = "select distinct number from pair_number where org = $1 and cli in ($2, $3) and pair <> $4 and until_at > $5";
    /// What the pair itself has.
    OWN = "select number from pair_number where org = $1 and pair = $2 limit 1";
    /// How many pairs show each number.
    COUNTS = "select number, count(distinct pair) as pairs from pair_number where org = $1 and until_at > $2 group by number limit 10000";
    /// A party of a pair sees a number that it sees for no other open pair.
    CLAIM = "insert into pair_number (org, pair, number, cli, side, until_at) select $1, $2, $3, $4, $5, $6
        where not exists (select 1 from pair_number
            where org = $1 and number = $3 and cli = $4 and pair <> $2 and until_at > $7)";
    /// A party of a pair sees a number, whoever sees it besides.
    SHARE = "insert into pair_number (org, pair, number, cli, side, until_at) values ($1, $2, $3, $4, $5, $6)";
    /// A pair shows none any more.
    FORGET = "delete from pair_number where org = $1 and pair = $2";
    /// Nor do those whose time is over.
    FORGET_LAPSED = "delete from pair_number where org = $1 and until_at <= $2";
    /// Whose a call back is.
    CALLED_BACK = "select pair, side from pair_number where org = $1 and cli = $2 and number = $3 and until_at > $4 limit 2";
}

/// What the parties of a pair see; one or two of them.
pub(super) async fn seen(db: &Db, org: &str, clis: &[&str], pair: &str, now_ms: i64) -> Result<Seen, DbError> {
    let Some((one, other)) = clis.first().zip(clis.last()) else { return Ok(Seen::default()) };
    let rows = db.all(SEEN, args![org, *one, *other, pair, now_ms]).await?;
    let of_others = rows.iter().map(|row| row.text("number")).collect::<Result<_, _>>()?;
    let own = db.one(OWN, args![org, pair]).await?.map(|row| row.text("number")).transpose()?;
    Ok(Seen { own, of_others })
}

/// How many open pairs show each number.
pub(super) async fn counts(db: &Db, org: &str, now_ms: i64) -> Result<HashMap<String, u64>, DbError> {
    let rows = db.all(COUNTS, args![org, now_ms]).await?;
    rows.iter().map(|row| Ok((row.text("number")?, u64::try_from(row.int("pairs")?).unwrap_or(0)))).collect()
}

/// What one party of a pair sees.
pub(super) struct Use<'a> {
    pub(super) pair: &'a str,
    pub(super) number: &'a str,
    /// The party's own number.
    pub(super) cli: &'a str,
    pub(super) side: PairSide,
}

/// Fails the commit when another open pair shows the number to the party by now.
pub(super) fn claim(org: &str, shown: &Use<'_>, until_ms: i64, now_ms: i64) -> Write {
    Write::guarded(CLAIM, args![org, shown.pair, shown.number, shown.cli, shown.side.as_str(), until_ms, now_ms])
}

pub(super) fn share(org: &str, shown: &Use<'_>, until_ms: i64) -> Write {
    Write::new(SHARE, args![org, shown.pair, shown.number, shown.cli, shown.side.as_str(), until_ms])
}

pub(super) fn forget(org: &str, pair: &str) -> Write {
    Write::new(FORGET, args![org, pair])
}

pub(super) fn forget_lapsed(org: &str, now_ms: i64) -> Write {
    Write::new(FORGET_LAPSED, args![org, now_ms])
}

/// The pairs whose party calls from `cli` when it calls `number`; two at most, which says that it is not clear.
pub(super) async fn pairs_of(
    db: &Db,
    org: &str,
    cli: &str,
    number: &str,
    now_ms: i64,
) -> Result<Vec<(String, PairSide)>, DbError> {
    let rows = db.all(CALLED_BACK, args![org, cli, number, now_ms]).await?;
    let mut found = Vec::new();
    for row in &rows {
        let side = row.text("side")?;
        let side = PairSide::parse(&side)
            .ok_or_else(|| DbError::Column { column: "side".to_owned(), reason: format!("no such word: {side:?}") })?;
        found.push((row.text("pair")?, side));
    }
    Ok(found)
}
