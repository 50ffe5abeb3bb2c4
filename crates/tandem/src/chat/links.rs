//! Links that open a chat: ids behind QR codes, each meant for one visitor, and master links, each of which hands out
//! the next id that nobody got yet.
//!
//! Invariant: of two visitors in the same moment no two get the same unused id: an id is claimed by one guarded update.
//! When all are used, the one that was used longest ago comes again: a printed code never fails.
//! Source: docs/contracts/chat.md, "The documented API", rows 10 to 12.

use kernel::{DbError, Write};

use super::model::Id;
use super::{ChatError, Chats, store};

/// Letters of an id, as document 002 shows them.
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Characters of an id that we make.
const ID_LENGTH: usize = 12;
/// Longest id that is taken over.
const MAX_ID: usize = 64;
/// Ids that one request makes, or takes over.
pub const MAX_IDS: usize = 1_000;
/// How often a claim is tried when somebody else was faster.
const MAX_TRIES: usize = 64;

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

/// A link in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedLink {
    /// The link.
    pub link: MasterLink,
    /// Ids that it hands out.
    pub ids: i64,
    /// Those that nobody got yet.
    pub unused: i64,
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
        store::qr_ids(&self.kernel().db, org).await
    }

    /// One id of an organisation.
    ///
    /// # Errors
    /// What the store says.
    pub async fn qr_id(&self, org: &Id, id: &str) -> Result<Option<QrId>, DbError> {
        store::qr_id(&self.kernel().db, org, id).await
    }

    /// Makes ids, at most [`MAX_IDS`].
    ///
    /// # Errors
    /// What the store says.
    pub async fn make_qr_ids(&self, org: &Id, count: usize, product: &str) -> Result<Vec<QrId>, DbError> {
        let now_ms = self.now_ms();
        let new = || QrId { id: self.new_id(), product: product.to_owned(), portfolio: String::new(), used_ms: None };
        let made: Vec<QrId> = std::iter::repeat_with(new).take(count.min(MAX_IDS)).collect();
        let write = |qr: &QrId| store::insert_qr_write(org, qr, now_ms);
        self.kernel().db.writer().commit(made.iter().map(write).collect()).await?;
        Ok(made)
    }

    /// Whoever opens a room by an id uses it up. Nothing to do for one that is not ours.
    pub(super) fn use_qr_write(&self, org: &Id, id: &str, room: &Id) -> Write {
        store::use_qr_write(org, id, room, self.now_ms())
    }

    /// Makes a link that hands these ids out; those that are new to the organisation become its own.
    ///
    /// # Errors
    /// What the store says.
    pub async fn make_master_link(&self, org: &Id, new: NewMasterLink) -> Result<MasterLink, DbError> {
        let now_ms = self.now_ms();
        let NewMasterLink { app, label, product, code, ids } = new;
        let link = MasterLink { id: self.new_id(), org: org.clone(), app, label, product };
        let mut writes = vec![store::insert_link_write(&link, now_ms)];
        writes.extend(code.map(|code| store::set_product_write(org, &link.product, code)));
        let ids = ids.iter().take(MAX_IDS);
        writes.extend(ids.map(|(qr, portfolio)| store::adopt_qr_write(&link, qr, portfolio, now_ms)));
        self.kernel().db.writer().commit(writes).await?;
        Ok(link)
    }

    /// The master links of an organisation, the newest first.
    ///
    /// # Errors
    /// What the store says.
    pub async fn master_links(&self, org: &Id) -> Result<Vec<ListedLink>, DbError> {
        store::master_links(&self.kernel().db, org).await
    }

    /// A master link.
    ///
    /// # Errors
    /// What the store says.
    pub async fn master_link(&self, id: &str) -> Result<Option<MasterLink>, DbError> {
        store::master_link(&self.kernel().db, id).await
    }

    /// The next id of a link: an unused one, else the one that was used longest ago.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] when the link has none, [`ChatError::Busy`], or what the store says.
    pub async fn hand_out(&self, link: &MasterLink) -> Result<String, ChatError> {
        let db = &self.kernel().db;
        for _ in 0..MAX_TRIES {
            let (id, used_ms) = store::next_qr(db, link).await?.ok_or(ChatError::NotFound)?;
            // Never the same time twice, or the oldest would not move back.
            let now_ms = self.now_ms().max(used_ms + 1);
            if store::claim_qr(db, &link.org, &id, now_ms, used_ms).await? {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_stand_in_a_path() {
        assert!(is_id("ZiQ7qUH73Q83") && is_id("a-b_c"));
        for bad in ["", "a/b", "a b", "a?b", "..", "ü", &"x".repeat(65)] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
