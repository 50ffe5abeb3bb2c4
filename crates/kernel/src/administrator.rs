//! Administrators of the installation: they see every organisation and belong to none.
//!
//! Invariant: an administrator works in one organisation at a time, the one that its session looks at; before it has
//! chosen one, no route works for it but those that choose.

use crate::args;
use crate::db::Row;
use crate::kernel::Kernel;
use crate::record::{RecordError, check_email};

/// Its name until it says another.
const FIRST_NAME: &str = "Administrator";

crate::statements! {
    INSERT = "insert into administrator (id, name, email, created_at) values ($1, $2, $3, $4)";
    FIRST = "select id, name, email, password_hash, signed_in_at from administrator order by id limit 1";
    BY_ID = "select id, name, email, password_hash, signed_in_at from administrator where id = $1";
    BY_EMAIL = "select id, name, email, password_hash, signed_in_at from administrator where email = $1";
    SIGNED_IN_ONCE = "select id from administrator where signed_in_at is not null limit 1";
    SET_EMAIL = "update administrator set email = $2 where id = $1";
    LOOK_AT = "update administrator_session set org = $3 where id = $1 and administrator = $2";
}

/// Who runs the installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Administrator {
    /// `adm_...`
    pub id: String,
    /// Name for people.
    pub name: String,
    /// In lower case; for signing in by password.
    pub email: Option<String>,
    /// Whether a password is set.
    pub has_password: bool,
    /// UTC milliseconds; `None` = never yet.
    pub signed_in_at: Option<i64>,
}

impl Kernel {
    /// Whether an administrator has ever signed in: until then each start of the server prints a link.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn has_administrator(&self) -> Result<bool, RecordError> {
        Ok(self.db.one(SIGNED_IN_ONCE, args![]).await?.is_some())
    }

    /// The administrator of this mail address, else the first one; made when there is none.
    ///
    /// # Errors
    /// A mail address that is refused.
    pub async fn find_administrator(&self, email: Option<&str>) -> Result<Administrator, RecordError> {
        let email = email.map(check_email).transpose()?;
        let found = match &email {
            Some(email) => self.db.one(BY_EMAIL, args![email]).await?,
            None => self.db.one(FIRST, args![]).await?,
        };
        if let Some(row) = found {
            return read(&row);
        }
        let now_ms = self.clock.now_ms();
        let id = self.ids.new("adm", now_ms);
        let insert = self.db.run(INSERT, args![&id, FIRST_NAME, email.clone(), now_ms]).await;
        insert.map_err(RecordError::taken("email", email.clone().unwrap_or_default()))?;
        Ok(Administrator { id, name: FIRST_NAME.to_owned(), email, has_password: false, signed_in_at: None })
    }

    /// One administrator.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] when there is none of this id.
    pub async fn administrator(&self, id: &str) -> Result<Administrator, RecordError> {
        let row = self.db.one(BY_ID, args![id]).await?;
        row.as_ref().map(read).transpose()?.ok_or_else(|| RecordError::not_found("administrator", id))
    }

    /// Gives an administrator the mail address by which it signs in.
    ///
    /// # Errors
    /// An address that is refused or taken.
    pub async fn set_administrator_email(&self, id: &str, email: &str) -> Result<(), RecordError> {
        let email = check_email(email)?;
        let changed = self.db.run(SET_EMAIL, args![id, &email]).await.map_err(RecordError::taken("email", email))?;
        if changed == 0 { Err(RecordError::not_found("administrator", id)) } else { Ok(()) }
    }

    /// Lets a session of an administrator look at an organisation from now on.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] when there is no such organisation, or the session is not the administrator's.
    pub async fn look_at_org(&self, administrator: &str, session: &str, org: &str) -> Result<(), RecordError> {
        if self.org_by_id(org).await?.is_none() {
            return Err(RecordError::not_found("organisation", org));
        }
        let changed = self.db.run(LOOK_AT, args![session, administrator, org]).await?;
        self.known.forget();
        if changed == 0 { Err(RecordError::not_found("session", session)) } else { Ok(()) }
    }
}

fn read(row: &Row) -> Result<Administrator, RecordError> {
    Ok(Administrator {
        id: row.text("id")?,
        name: row.text("name")?,
        email: row.opt_text("email")?,
        has_password: row.opt_text("password_hash")?.is_some(),
        signed_in_at: row.opt_int("signed_in_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing;

    #[tokio::test]
    async fn the_first_is_made_once_and_others_by_their_address() {
        for kernel in testing::each().await {
            let first = kernel.find_administrator(None).await.unwrap();
            assert_eq!(kernel.find_administrator(None).await.unwrap(), first);
            kernel.hand.advance(1);
            let ann = kernel.find_administrator(Some("Ann@Example.org")).await.unwrap();
            assert_ne!(ann.id, first.id);
            assert_eq!(kernel.find_administrator(Some("ann@example.org")).await.unwrap(), ann);
            assert_eq!(kernel.find_administrator(None).await.unwrap(), first, "the first one stays the first");
            let taken = kernel.set_administrator_email(&first.id, "ann@example.org").await;
            assert!(matches!(taken, Err(RecordError::Taken { field: "email", .. })), "{taken:?}");
            kernel.set_administrator_email(&first.id, "root@example.org").await.unwrap();
            assert_eq!(kernel.administrator(&first.id).await.unwrap().email.as_deref(), Some("root@example.org"));
            assert!(kernel.find_administrator(Some("nobody")).await.is_err());
        }
    }
}
