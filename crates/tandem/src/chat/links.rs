//! Links that open a chat: ids behind QR codes, each meant for one visitor, and master links, each of which hands out
//! the next id that nobody got yet.
//!
//! Invariant: of two visitors in the same moment no two get the same unused id: an id is claimed by one guarded update.
//! When all are used, the one that was used longest ago comes again: a printed code never fails.
//! Source: docs/contracts/chat.md, "The documented API", rows 10 to 12.

use kernel::{DbError, Row, Write, args};

use super::model::Id;
use super::{ChatError, Chats, products};

/// Letters of an id, as document 002 shows them.
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Characters of an id that we make.
const ID_LENGTH: usize = 12;
/// Longest id that is taken over.
const MAX_ID: usize = 64;
/// Ids that one request makes, or takes over.
pub const MAX_IDS: usize = 1_000;
/// Ids that are listed.
const MAX_LISTED: i64 = 10_000;
/// How often a claim is tried when somebody else was faster.
const MAX_TRIES: usize = 64;

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
    // The id is ours and random: it names the organisation.
    LINK = "select l.id, l.org, l.app, l.workspace, l.product from chat_master_link l join app a on a.id = l.app \
        where l.id = $1 and a.disabled_at is null";
}

/// An id behind a QR code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QrId {
    /// The id; public.
    pub id: String,
    /// The product's name; empty = none was said.
    pub product: String,
    /// `portfolioName` of document 002; empty = none was said.
    pub portfolio: String,
    /// When somebody got it, UTC milliseconds.
    pub used_ms: Option<i64>,
}

/// A link that hands out ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterLink {
    /// Its id; public.
    pub id: String,
    /// The organisation.
    pub org: Id,
    /// The application whose chat it opens.
    pub app: Id,
    /// `workspace_id` of document 002.
    pub label: String,
    /// The product's name.
    pub product: String,
}

/// What a master link is made of.
#[derive(Clone, Debug)]
pub struct NewMasterLink {
    /// The application whose chat it opens.
    pub app: Id,
    /// `workspace_id` of document 002.
    pub label: String,
    /// The product's name.
    pub product: String,
    /// The product's code, when the organisation is to know it by this one.
    pub code: Option<i64>,
    /// Ids, and `portfolioName` of each.
    pub ids: Vec<(String, String)>,
}

/// Whether a text can be an id: what may stand in a path.
#[must_use]
pub fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

impl Chats {
    /// The ids of an organisation, unused ones first.
    ///
    /// # Errors
    /// What the store says.
    pub async fn qr_ids(&self, org: &Id) -> Result<Vec<QrId>, DbError> {
        let rows = self.kernel().db.all(QR_IDS, args![org, MAX_LISTED]).await?;
        rows.iter().map(read).collect()
    }

    /// One id of an organisation.
    ///
    /// # Errors
    /// What the store says.
    pub async fn qr_id(&self, org: &Id, id: &str) -> Result<Option<QrId>, DbError> {
        self.kernel().db.one(QR, args![org, id]).await?.as_ref().map(read).transpose()
    }

    /// Makes ids, at most [`MAX_IDS`].
    ///
    /// # Errors
    /// What the store says.
    pub async fn make_qr_ids(&self, org: &Id, count: usize, product: &str) -> Result<Vec<QrId>, DbError> {
        let now_ms = self.now_ms();
        let new = || QrId { id: self.new_id(), product: product.to_owned(), portfolio: String::new(), used_ms: None };
        let made: Vec<QrId> = std::iter::repeat_with(new).take(count.min(MAX_IDS)).collect();
        let write = |qr: &QrId| Write::new(INSERT, args![org, &qr.id, &qr.portfolio, product, now_ms]);
        self.kernel().db.writer().commit(made.iter().map(write).collect()).await?;
        Ok(made)
    }

    /// Whoever opens a room by an id uses it up. Nothing to do for one that is not ours.
    pub(super) fn use_qr_write(&self, org: &Id, id: &str, room: &Id) -> Write {
        Write::new(USE, args![org, id, self.now_ms(), room])
    }

    /// Makes a link that hands these ids out; those that are new to the organisation become its own.
    ///
    /// # Errors
    /// What the store says.
    pub async fn make_master_link(&self, org: &Id, new: NewMasterLink) -> Result<MasterLink, DbError> {
        let now_ms = self.now_ms();
        let NewMasterLink { app, label, product, code, ids } = new;
        let id = self.new_id();
        let mut writes = vec![Write::new(INSERT_LINK, args![&id, org, &app, &label, &product, now_ms])];
        writes.extend(code.map(|code| products::set_write(org, &product, code)));
        writes.extend(
            ids.into_iter()
                .take(MAX_IDS)
                .map(|(qr, portfolio)| Write::new(ADOPT, args![org, qr, portfolio, &product, &id, now_ms])),
        );
        self.kernel().db.writer().commit(writes).await?;
        Ok(MasterLink { id, org: org.clone(), app, label, product })
    }

    /// A master link.
    ///
    /// # Errors
    /// What the store says.
    pub async fn master_link(&self, id: &str) -> Result<Option<MasterLink>, DbError> {
        let row = self.kernel().db.one(LINK, args![id]).await?;
        let read = |row: Row| {
            Ok(MasterLink {
                id: row.text("id")?,
                org: row.text("org")?.into(),
                app: row.text("app")?.into(),
                label: row.text("workspace")?,
                product: row.text("product")?,
            })
        };
        row.map(read).transpose()
    }

    /// The next id of a link: an unused one, else the one that was used longest ago.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] when the link has none, [`ChatError::Busy`], or what the store says.
    pub async fn hand_out(&self, link: &MasterLink) -> Result<String, ChatError> {
        let db = &self.kernel().db;
        for _ in 0..MAX_TRIES {
            let next = db.one(NEXT, args![&link.org, &link.id]).await?.ok_or(ChatError::NotFound)?;
            let (id, used_ms) = (next.text("id")?, next.int("used_at")?);
            // Never the same time twice, or the oldest would not move back.
            let now_ms = self.now_ms().max(used_ms + 1);
            if db.run(CLAIM, args![&link.org, &id, now_ms, used_ms]).await? == 1 {
                return Ok(id);
            }
        }
        Err(ChatError::Busy)
    }

    fn new_id(&self) -> String {
        let letter = || {
            let at = usize::try_from(self.kernel().ids.below(LETTERS.len() as u64)).unwrap_or_default();
            LETTERS.get(at).map_or('A', |letter| char::from(*letter))
        };
        std::iter::repeat_with(letter).take(ID_LENGTH).collect()
    }
}

fn read(row: &Row) -> Result<QrId, DbError> {
    Ok(QrId {
        id: row.text("id")?,
        product: row.text("product")?,
        portfolio: row.text("portfolio")?,
        used_ms: row.opt_int("used_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_statement_can_be_prepared() {
        for test in kernel::db::testing::TestDb::each().await {
            let statements = [ALL, products::ALL, crate::chat::origins::ALL];
            assert_eq!(test.unpreparable(&statements).await, Vec::<String>::new());
        }
    }

    #[test]
    fn an_id_may_stand_in_a_path() {
        assert!(is_id("ZiQ7qUH73Q83") && is_id("a-b_c"));
        for bad in ["", "a/b", "a b", "a?b", "..", "ü", &"x".repeat(65)] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
