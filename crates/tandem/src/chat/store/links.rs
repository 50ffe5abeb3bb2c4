//! The rows of links: ids of QR codes, and the master links that hand them out.

use kernel::{Db, DbError, Row, Write, args};

use crate::chat::links::{ListedLink, MasterLink, QrId};

/// Ids that are listed.
const MAX_LISTED: i64 = 10_000;
/// Links that are listed.
const MAX_LINKS: i64 = 500;

kernel::statements! {
    QR_IDS = "select id, product, portfolio, used_at from chat_qr where org = $1 \
        order by case when used_at is null then 0 else 1 end, created_at, id limit $2";
    QR = "select id, product, portfolio, used_at from chat_qr where org = $1 and id = $2";
    INSERT = "insert into chat_qr (org, id, portfolio, product, created_at) values ($1, $2, $3, $4, $5)";
    ADOPT = "insert into chat_qr (org, id, portfolio, product, link, created_at) values ($1, $2, $3, $4, $5, $6) \
        on conflict (org, id) do update set link = excluded.link, portfolio = excluded.portfolio, \
        product = excluded.product";
    USE = "update chat_qr set used_at = $3, room = $4 where org = $1 and id = $2 and used_at is null";
    NEXT = "select id, coalesce(used_at, 0) as used_at from chat_qr where org = $1 and link = $2 \
        order by coalesce(used_at, 0), created_at, id limit 1";
    CLAIM = "update chat_qr set used_at = $3 where org = $1 and id = $2 and coalesce(used_at, 0) = $4";
    INSERT_LINK = "insert into chat_master_link (id, org, app, workspace, product, created_at) \
        values ($1, $2, $3, $4, $5, $6)";
    LINKS = "select l.id, l.org, l.app, l.workspace, l.product, \
        (select count(*) from chat_qr q where q.org = l.org and q.link = l.id and q.link is not null) as ids, \
        (select count(*) from chat_qr q where q.org = l.org and q.link = l.id and q.link is not null \
        and q.used_at is null) as unused from chat_master_link l \
        where l.org = $1 order by l.created_at desc, l.id limit $2";
    // The id is ours and random: it names the organisation.
    LINK = "select l.id, l.org, l.app, l.workspace, l.product from chat_master_link l join app a on a.id = l.app \
        where l.id = $1 and a.disabled_at is null";
}

/// The ids of an organisation, unused ones first.
pub(in crate::chat) async fn qr_ids(db: &Db, org: &str) -> Result<Vec<QrId>, DbError> {
    db.all(QR_IDS, args![org, MAX_LISTED]).await?.iter().map(read).collect()
}

/// One id of an organisation.
pub(in crate::chat) async fn qr_id(db: &Db, org: &str, id: &str) -> Result<Option<QrId>, DbError> {
    db.one(QR, args![org, id]).await?.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<QrId, DbError> {
    Ok(QrId {
        id: row.text("id")?,
        product: row.text("product")?,
        portfolio: row.text("portfolio")?,
        used_ms: row.opt_int("used_at")?,
    })
}

/// A new id.
pub(in crate::chat) fn insert_qr_write(org: &str, qr: &QrId, now_ms: i64) -> Write {
    Write::new(INSERT, args![org, &qr.id, &qr.portfolio, &qr.product, now_ms])
}

/// An id that a master link hands out from now on; one that is new becomes the organisation's.
pub(in crate::chat) fn adopt_qr_write(link: &MasterLink, id: &str, portfolio: &str, now_ms: i64) -> Write {
    Write::new(ADOPT, args![&link.org, id, portfolio, &link.product, &link.id, now_ms])
}

/// An id has opened a room, unless it was used before.
pub(in crate::chat) fn use_qr_write(org: &str, id: &str, room: &str, now_ms: i64) -> Write {
    Write::new(USE, args![org, id, now_ms, room])
}

/// The id that a link hands out next, and when it was used last (UTC milliseconds; 0 = never).
pub(in crate::chat) async fn next_qr(db: &Db, link: &MasterLink) -> Result<Option<(String, i64)>, DbError> {
    let row = db.one(NEXT, args![&link.org, &link.id]).await?;
    row.map(|row| Ok((row.text("id")?, row.int("used_at")?))).transpose()
}

/// Takes an id that was used last at `before_ms`; false = somebody else was faster.
pub(in crate::chat) async fn claim_qr(
    db: &Db,
    org: &str,
    id: &str,
    now_ms: i64,
    before_ms: i64,
) -> Result<bool, DbError> {
    Ok(db.run(CLAIM, args![org, id, now_ms, before_ms]).await? == 1)
}

/// A new master link.
pub(in crate::chat) fn insert_link_write(link: &MasterLink, now_ms: i64) -> Write {
    let MasterLink { id, org, app, label, product } = link;
    Write::new(INSERT_LINK, args![id, org, app, label, product, now_ms])
}

/// The master links of an organisation, the newest first.
pub(in crate::chat) async fn master_links(db: &Db, org: &str) -> Result<Vec<ListedLink>, DbError> {
    let read = |row: &Row| Ok(ListedLink { link: read_link(row)?, ids: row.int("ids")?, unused: row.int("unused")? });
    db.all(LINKS, args![org, MAX_LINKS]).await?.iter().map(read).collect()
}

/// A master link of an application that goes on.
pub(in crate::chat) async fn master_link(db: &Db, id: &str) -> Result<Option<MasterLink>, DbError> {
    db.one(LINK, args![id]).await?.as_ref().map(read_link).transpose()
}

fn read_link(row: &Row) -> Result<MasterLink, DbError> {
    Ok(MasterLink {
        id: row.text("id")?,
        org: row.text("org")?.into(),
        app: row.text("app")?.into(),
        label: row.text("workspace")?,
        product: row.text("product")?,
    })
}
