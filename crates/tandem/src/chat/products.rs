//! Products: their names and the codes in `room_room_id` (document 002).
//!
//! Invariant: every organisation knows the products below; what it says of a name itself counts before them.
//! Source: docs/contracts/chat.md, "The documented API".

use kernel::DbError;

use super::model::Id;
use super::{Chats, store};

/// The products of document 002.
const PRESET: [(&str, i64); 22] = [
    ("WORKFLOWAI", 11),
    ("TEAMMANAGEMENT", 12),
    ("WIFIQRCODE", 13),
    ("SALESAGENTLOGIN", 14),
    ("LEGALZARD", 15),
    ("USEREXPERIENCELIVE", 16),
    ("SOCIALMEDIAAUTOMATION", 17),
    ("LIVINGLABSCALES", 18),
    ("LOGOSCAN", 19),
    ("LIVINGLABMONITORING", 20),
    ("PERMUTATIONCALCULATOR", 21),
    ("SECUREREPOSITORIES", 22),
    ("SECUREDATA", 23),
    ("CUSTOMEREXPERIENCE", 24),
    ("DOWELLCSC", 25),
    ("LIVINGLABCHAT", 26),
    ("SALESAGENT", 27),
    ("LOGIN", 28),
    ("DOWELLMAIL", 29),
    ("EXTENSION", 30),
    ("LIVINGLABADMIN", 31),
    ("PUBLICCHAT", 32),
];
/// Longest name of a product, characters.
const MAX_NAME: usize = 64;
/// Greatest code.
pub const MAX_CODE: i64 = 999_999;

/// A product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Its name.
    pub name: String,
    /// Its code.
    pub code: i64,
    /// The saved flow that answers its new rooms.
    pub flow: Option<String>,
}

fn preset(name: &str) -> Option<i64> {
    PRESET.iter().find(|(known, _)| *known == name).map(|(_, code)| *code)
}

/// Whether a text can name a product: what may stand in a path and in a link.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

impl Chats {
    /// The code of a product; none when the organisation has no such product.
    ///
    /// # Errors
    /// What the store says.
    pub async fn product_code(&self, org: &Id, name: &str) -> Result<Option<i64>, DbError> {
        let own = store::own_code(&self.kernel().db, org, name).await?;
        Ok(own.or_else(|| preset(name)))
    }

    /// A product; none when the organisation has no such product.
    ///
    /// # Errors
    /// What the store says.
    pub async fn product(&self, org: &Id, name: &str) -> Result<Option<Product>, DbError> {
        let Some(code) = self.product_code(org, name).await? else { return Ok(None) };
        let flow = store::flow_of_product(&self.kernel().db, org, name).await?;
        Ok(Some(Product { name: name.to_owned(), code, flow }))
    }

    /// Makes a product, or changes it; its flow must be one of the organisation's ([`Chats::fitness`]).
    ///
    /// # Errors
    /// What the store says.
    pub async fn put_product(&self, org: &Id, product: &Product) -> Result<(), DbError> {
        let write = store::product_write(org, &product.name, product.code, product.flow.as_deref());
        self.kernel().db.writer().commit(vec![write]).await.map(drop)
    }

    /// The products of an organisation, by code.
    ///
    /// # Errors
    /// What the store says.
    pub async fn products(&self, org: &Id) -> Result<Vec<Product>, DbError> {
        let own = store::own_products(&self.kernel().db, org).await?;
        let others = PRESET.iter().filter(|(name, _)| own.iter().all(|product| product.name != *name));
        let mut products: Vec<Product> =
            others.map(|(name, code)| Product { name: (*name).to_owned(), code: *code, flow: None }).collect();
        products.extend(own);
        products.sort_by(|a, b| (a.code, &a.name).cmp(&(b.code, &b.name)));
        Ok(products)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_of_the_document_are_each_there_once() {
        let mut codes: Vec<i64> = PRESET.iter().map(|(_, code)| *code).collect();
        codes.dedup();
        assert_eq!(codes, (11..=32).collect::<Vec<_>>());
        assert!(PRESET.iter().all(|(name, _)| is_name(name)));
        assert_eq!((preset("WIFIQRCODE"), preset("LOGIN"), preset("wifiqrcode")), (Some(13), Some(28), None));
        for bad in ["", "a b", "a/b", "a?b", "ü", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
