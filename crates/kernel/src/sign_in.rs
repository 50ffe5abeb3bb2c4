//! Signing in: links that work once, mail address and password, and the session that comes of it.
//!
//! Invariant: a link is good for one sign-in within 15 minutes, an invitation's within a day; whoever fails to sign in learns nothing about who there
//! is, not even by how long the answer takes, and meets a limit per address and per name that he tries.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::sleep;

use crate::args;
use crate::db::{DbError, Write};
use crate::kernel::Kernel;
use crate::limit::RetryAfter;
use crate::password;
use crate::record::{MAX_EMAIL, RecordError};
use crate::secret::{Secret, token_hash};

/// A link is good for so long (contracts/platform.md).
pub const LINK_LIFE_MS: i64 = 15 * 60_000;
/// A link by which somebody is invited is good for so long: it waits in a mailbox until it is read.
pub const INVITATION_LIFE_MS: i64 = 24 * 3_600_000;
/// Beginning of what a link carries.
const LINK_TOKEN: &str = "sl_";
/// Longest text that is looked up as a link.
const MAX_LINK: usize = 128;
/// People of one mail address whose password is tried: a mail address is unique in an organisation, not on the server.
const MAX_NAMESAKES: i64 = 5;
/// A refused sign-in is answered after so long: more than the passwords of all namesakes take, so that the time does not
/// tell whether there is anybody of that address.
const REFUSED_AFTER: Duration = Duration::from_millis(500);

crate::statements! {
    INSERT_LINK = "insert into sign_in_link (id, token_hash, org, person, administrator, created_at, expires_at) \
        values ($1, $2, $3, $4, $5, $6, $7)";
    LIVE_LINK = "select l.id as id, l.org as org, l.person as person, l.administrator as administrator \
        from sign_in_link l where l.token_hash = $1 and l.used_at is null and l.expires_at > $2";
    USE_LINK = "update sign_in_link set used_at = $2 where id = $1 and used_at is null and expires_at > $2";
    PEOPLE_BY_EMAIL = "select id, org, password_hash from person \
        where email = $1 and email is not null and disabled_at is null and (org = $2 or $2 = '') order by id limit $3";
    ADMINISTRATOR_BY_EMAIL = "select id, password_hash from administrator where email = $1";
    SET_ADMINISTRATOR_PASSWORD = "update administrator set password_hash = $2 where id = $1";
    SET_PERSON_PASSWORD = "update person set password_hash = $3, version = version + 1 where org = $1 and id = $2";
    PERSON_PASSWORD = "select password_hash from person where org = $1 and id = $2 and disabled_at is null";
    ADMINISTRATOR_PASSWORD = "select password_hash from administrator where id = $1";
    FRESH_PERSON_SESSION = "select s.id from person_session s join sign_in_link l \
        on l.org = s.org and l.person = s.person and l.used_at = s.created_at \
        where s.org = $1 and s.person = $2 and s.id = $3 and s.created_at > $4";
    FRESH_ADMINISTRATOR_SESSION = "select s.id from administrator_session s join sign_in_link l \
        on l.administrator = s.administrator and l.used_at = s.created_at \
        where s.administrator = $1 and s.id = $2 and s.created_at > $3";
    SIGNED_IN = "update administrator set signed_in_at = $2 where id = $1";
    END_PERSON_SESSIONS = "delete from person_session where org = $1 and person = $2 and id <> $3";
    END_ADMINISTRATOR_SESSIONS = "delete from administrator_session where administrator = $1 and id <> $2";
    END_PERSON_LINKS = "delete from sign_in_link where org = $1 and person = $2 and used_at is null";
    END_ADMINISTRATOR_LINKS = "delete from sign_in_link where administrator = $1 and used_at is null";
}

/// Who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A member of an organisation.
    Person {
        /// The organisation.
        org: String,
        /// The person.
        person: String,
    },
    /// An administrator of the installation.
    Administrator(String),
}

/// What is known about who signs in, to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityView {
    /// Name for people.
    pub name: String,
    /// For signing in by password.
    pub email: Option<String>,
    /// Of a person: the name of its organisation.
    pub org_name: Option<String>,
}

/// Why a password did not sign anybody in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Too many tries.
    #[error(transparent)]
    Wait(#[from] RetryAfter),
    /// The store, or the hashing.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Kernel {
    /// A link that signs in once, and the write that makes it good: commit it with what it belongs to.
    pub fn draft_link(&self, whose: &Identity) -> (Secret, Write) {
        self.draft_link_for(whose, LINK_LIFE_MS)
    }

    /// The same for somebody who is invited: good for a day.
    pub fn draft_invitation(&self, whose: &Identity) -> (Secret, Write) {
        self.draft_link_for(whose, INVITATION_LIFE_MS)
    }

    fn draft_link_for(&self, whose: &Identity, life_ms: i64) -> (Secret, Write) {
        let now_ms = self.clock.now_ms();
        let token = format!("{LINK_TOKEN}{}", self.ids.token());
        let (org, person, administrator) = match whose {
            Identity::Person { org, person } => (org.as_str(), person.as_str(), ""),
            Identity::Administrator(id) => ("", "", id.as_str()),
        };
        let id = self.ids.new("lnk", now_ms);
        let args = args![id, token_hash(&token), org, person, administrator, now_ms, now_ms + life_ms];
        (token.into(), Write::new(INSERT_LINK, args))
    }

    /// A link that signs in once.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_link(&self, whose: &Identity) -> Result<Secret, RecordError> {
        let (token, write) = self.draft_link(whose);
        self.db.writer().commit(vec![write]).await?;
        Ok(token)
    }

    /// Whose a link is, if it is still good; it stays good.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read_link(&self, token: &str) -> Result<Option<Identity>, RecordError> {
        Ok(self.live_link(token).await?.map(|(_, whose)| whose))
    }

    /// Signs a browser in by a link, the first time within its life, and sets the password when one comes along, all in
    /// one commit: the cookie's value, shown once. `None` when the link is not good any more.
    ///
    /// # Errors
    /// A password that is refused; the link stays good.
    pub async fn sign_in_by_link(
        &self,
        token: &str,
        password: Option<&Secret>,
        address: IpAddr,
        user_agent: &str,
    ) -> Result<Option<Secret>, RecordError> {
        let Some((link, whose)) = self.live_link(token).await? else { return Ok(None) };
        // The session begins in the moment in which the link is used up: by that it is known as one of a link.
        let now_ms = self.clock.now_ms();
        let session = self.draft_session(&whose, &address.to_string(), user_agent, now_ms);
        let mut writes = vec![Write::guarded(USE_LINK, args![link, now_ms]), session.write];
        if let Identity::Administrator(id) = &whose {
            writes.push(Write::new(SIGNED_IN, args![id, now_ms]));
        }
        if let Some(password) = password {
            writes.extend(self.password_writes(&whose, password, &session.id).await?);
        }
        match self.db.writer().commit(writes).await {
            Ok(_) => {
                self.known.forget();
                Ok(Some(session.token))
            }
            Err(DbError::Conflict) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn live_link(&self, token: &str) -> Result<Option<(String, Identity)>, RecordError> {
        if !token.starts_with(LINK_TOKEN) || token.len() > MAX_LINK {
            return Ok(None);
        }
        let row = self.db.one(LIVE_LINK, args![token_hash(token), self.clock.now_ms()]).await?;
        let Some(row) = row else { return Ok(None) };
        let (org, person) = (row.text("org")?, row.text("person")?);
        let whose = if person.is_empty() {
            Identity::Administrator(row.text("administrator")?)
        } else {
            if self.person(&org, &person).await?.disabled_at.is_some() {
                return Ok(None);
            }
            Identity::Person { org, person }
        };
        Ok(Some((row.text("id")?, whose)))
    }

    /// What is shown of who signs in.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] when there is no such person or administrator.
    pub async fn identity(&self, whose: &Identity) -> Result<IdentityView, RecordError> {
        match whose {
            Identity::Administrator(id) => {
                let found = self.administrator(id).await?;
                Ok(IdentityView { name: found.name, email: found.email, org_name: None })
            }
            Identity::Person { org, person } => {
                let found = self.person(org, person).await?;
                let org_name = self.org_by_id(org).await?.map(|org| org.name);
                Ok(IdentityView { name: found.name, email: found.email, org_name })
            }
        }
    }

    /// Everybody whose mail address and password these are: of `org`, or of the whole server when it is `""`. The same
    /// person may be a member of several organisations, each with a password of its own.
    ///
    /// # Errors
    /// [`SignInError::Wait`] when too many tries failed.
    pub async fn sign_in_by_password(
        &self,
        org: &str,
        email: &str,
        password: &Secret,
        address: IpAddr,
    ) -> Result<Vec<Identity>, SignInError> {
        let email = name_of(email);
        self.limits.sign_in(address, &email, self.clock.now_ms())?;
        let patience = sleep(REFUSED_AFTER);
        let mut good = Vec::new();
        let candidates = self.namesakes(org, &email).await?;
        if candidates.is_empty() {
            password::verify(None, password).await?;
        }
        for (whose, stored) in candidates {
            if password::verify(stored, password).await? {
                good.push(whose);
            }
        }
        if good.is_empty() {
            patience.await;
        } else {
            self.limits.signed_in(address, &email);
        }
        Ok(good)
    }

    /// Everybody of this mail address who may sign in, with the stored password.
    async fn namesakes(&self, org: &str, email: &str) -> Result<Vec<(Identity, Option<String>)>, RecordError> {
        let mut found = Vec::new();
        if let Some(row) = self.db.one(ADMINISTRATOR_BY_EMAIL, args![email]).await? {
            found.push((Identity::Administrator(row.text("id")?), row.opt_text("password_hash")?));
        }
        for row in self.db.all(PEOPLE_BY_EMAIL, args![email, org, MAX_NAMESAKES]).await? {
            let whose = Identity::Person { org: row.text("org")?, person: row.text("id")? };
            found.push((whose, row.opt_text("password_hash")?));
        }
        Ok(found)
    }

    /// Whether somebody at `address` may ask for a link for this mail address now; whether there is anybody of it is not
    /// looked at.
    ///
    /// # Errors
    /// How long to wait when it is asked for too often.
    pub fn may_ask_for_link(&self, email: &str, address: IpAddr) -> Result<(), RetryAfter> {
        self.limits.sign_in_link(address, &name_of(email), self.clock.now_ms())
    }

    /// Everybody of this mail address, for who asked for a link by mail.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn who_may_sign_in(&self, org: &str, email: &str) -> Result<Vec<Identity>, RecordError> {
        let found = self.namesakes(org, &name_of(email)).await?;
        Ok(found.into_iter().map(|(whose, _)| whose).collect())
    }

    /// Signs a browser in: the cookie's value, shown once.
    ///
    /// # Errors
    /// When there is no such person or administrator, or the store fails.
    pub async fn sign_in(&self, whose: &Identity, address: IpAddr, user_agent: &str) -> Result<Secret, RecordError> {
        let address = address.to_string();
        match whose {
            Identity::Person { org, person } => self.create_session(org, person, &address, user_agent).await,
            Identity::Administrator(id) => {
                let now_ms = self.clock.now_ms();
                let session = self.draft_session(whose, &address, user_agent, now_ms);
                let signed_in = Write::new(SIGNED_IN, args![id, now_ms]);
                self.db.writer().commit(vec![session.write, signed_in]).await?;
                Ok(session.token)
            }
        }
    }

    /// Whether a link signed this session in so short a time ago that the link would still be good: proof enough for a
    /// new password.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_fresh_by_link(&self, whose: &Identity, session: &str) -> Result<bool, RecordError> {
        let since_ms = self.clock.now_ms() - LINK_LIFE_MS;
        let found = match whose {
            Identity::Person { org, person } => {
                self.db.one(FRESH_PERSON_SESSION, args![org, person, session, since_ms]).await?
            }
            Identity::Administrator(id) => {
                self.db.one(FRESH_ADMINISTRATOR_SESSION, args![id, session, since_ms]).await?
            }
        };
        Ok(found.is_some())
    }

    /// Whether this is the present password of who is signed in; somebody without one has none that is right.
    ///
    /// # Errors
    /// [`SignInError::Wait`] when too many tries failed.
    pub async fn is_own_password(
        &self,
        whose: &Identity,
        password: &Secret,
        address: IpAddr,
    ) -> Result<bool, SignInError> {
        let (id, found) = match whose {
            Identity::Person { org, person } => (person, self.db.one(PERSON_PASSWORD, args![org, person]).await),
            Identity::Administrator(id) => (id, self.db.one(ADMINISTRATOR_PASSWORD, args![id]).await),
        };
        self.limits.sign_in(address, id, self.clock.now_ms())?;
        let row = found.map_err(RecordError::from)?;
        let stored = row.map(|row| row.opt_text("password_hash")).transpose().map_err(RecordError::from)?.flatten();
        let is_right = password::verify(stored, password).await?;
        if is_right {
            self.limits.signed_in(address, id);
        }
        Ok(is_right)
    }

    /// Sets the password of who is signed in. Every other session and every open link of it ends in the same commit.
    ///
    /// # Errors
    /// A password that is refused, or nobody whose it could be.
    pub async fn change_password(
        &self,
        whose: &Identity,
        password: &Secret,
        this_session: &str,
    ) -> Result<(), RecordError> {
        let writes = self.password_writes(whose, password, this_session).await?;
        self.db.writer().commit(writes.into()).await?;
        self.known.forget();
        Ok(())
    }

    /// What sets a password and ends every other session and every open link.
    async fn password_writes(
        &self,
        whose: &Identity,
        password: &Secret,
        this_session: &str,
    ) -> Result<[Write; 3], RecordError> {
        let hash = password::hash(&self.ids, password).await?;
        Ok(match whose {
            Identity::Person { org, person } => [
                Write::guarded(SET_PERSON_PASSWORD, args![org, person, hash]),
                Write::new(END_PERSON_SESSIONS, args![org, person, this_session]),
                Write::new(END_PERSON_LINKS, args![org, person]),
            ],
            Identity::Administrator(id) => [
                Write::guarded(SET_ADMINISTRATOR_PASSWORD, args![id, hash]),
                Write::new(END_ADMINISTRATOR_SESSIONS, args![id, this_session]),
                Write::new(END_ADMINISTRATOR_LINKS, args![id]),
            ],
        })
    }
}

/// A mail address as it is stored; no more of a longer text than an address can have.
fn name_of(email: &str) -> String {
    email.trim().chars().take(MAX_EMAIL).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests;
