//! Sessions: browsers that a person or an administrator signed in.
//!
//! Invariant: a session is a row with an end; the cookie holds a secret of which only the hash is stored.

use crate::args;
use crate::credential::{Credential, MAX_TOKEN};
use crate::db::{Row, Write};
use crate::kernel::Kernel;
use crate::push::forget_push_holder_write;
use crate::record::RecordError;
use crate::secret::{Secret, token_hash};
use crate::sign_in::Identity;

/// Beginning of the cookie's value.
const SESSION_TOKEN: &str = "st_";
/// The same, of an administrator.
const ADMINISTRATOR_TOKEN: &str = "sa_";
/// A session ends this long after the sign-in.
const SESSION_LIFE_MS: i64 = 14 * 86_400_000;
/// Sessions of one person in a list.
const MAX_LIST: i64 = 100;

crate::statements! {
    PERSON_BY_SESSION = "select s.id as id, s.token_hash as token_hash, s.last_used_at as last_used_at, \
        p.org as org, p.id as owner, p.role as role, '[]' as scopes \
        from person_session s join person p on p.id = s.person \
        where s.token_hash = $1 and s.expires_at > $2 and p.disabled_at is null";
    ADMINISTRATOR_BY_SESSION = "select id, token_hash, last_used_at, org, administrator as owner, \
        'administrator' as role, '[]' as scopes from administrator_session \
        where token_hash = $1 and expires_at > $2";
    ADMINISTRATOR_SESSION_USED = "update administrator_session set last_used_at = $2 where id = $1";
    INSERT_ADMINISTRATOR_SESSION = "insert into administrator_session (id, administrator, token_hash, address, \
        user_agent, created_at, last_used_at, expires_at) values ($1, $2, $3, $4, $5, $6, $6, $7)";
    REVOKE_ADMINISTRATOR_SESSION = "delete from administrator_session where administrator = $1 and id = $2";
    ADMINISTRATOR_SESSIONS = "select id, address, user_agent, created_at, last_used_at, expires_at \
        from administrator_session where administrator = $1 and expires_at > $2 order by created_at desc limit $3";
    REVOKE_OWN_SESSION = "delete from person_session where org = $1 and person = $2 and id = $3";
    SESSION_USED = "update person_session set last_used_at = $2 where id = $1";
    INSERT_SESSION = "insert into person_session (id, org, person, token_hash, address, user_agent, created_at, \
        last_used_at, expires_at) values ($1, $2, $3, $4, $5, $6, $7, $7, $8)";
    REVOKE_SESSION = "delete from person_session where org = $1 and id = $2";
    SESSIONS = "select id, address, user_agent, created_at, last_used_at, expires_at from person_session \
        where org = $1 and person = $2 and expires_at > $3 order by created_at desc limit $4";
}

/// A signed-in browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Where the sign-in came from.
    pub address: String,
    /// What the browser says it is.
    pub user_agent: String,
    /// UTC milliseconds.
    pub created_at: i64,
    /// UTC milliseconds, to the hour.
    pub last_used_at: i64,
    /// UTC milliseconds.
    pub expires_at: i64,
}

/// A session about to be made: commit `write` with what it belongs to, and its browser is signed in.
pub(crate) struct SessionDraft {
    /// Its id.
    pub(crate) id: String,
    /// The cookie's value, shown once.
    pub(crate) token: Secret,
    /// What makes it.
    pub(crate) write: Write,
}

impl Kernel {
    /// Recognises the cookie of a signed-in browser.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn authenticate_session(&self, token: &str) -> Result<Option<Credential>, RecordError> {
        let (find, used) = match token.get(..SESSION_TOKEN.len()) {
            _ if token.len() > MAX_TOKEN => return Ok(None),
            Some(SESSION_TOKEN) => (PERSON_BY_SESSION, SESSION_USED),
            Some(ADMINISTRATOR_TOKEN) => (ADMINISTRATOR_BY_SESSION, ADMINISTRATOR_SESSION_USED),
            _ => return Ok(None),
        };
        let hash = token_hash(token);
        let now_ms = self.clock.now_ms();
        if let Some(known) = self.known.get(&hash, now_ms) {
            return Ok(Some(known));
        }
        match self.db.one(find, args![&hash, now_ms]).await? {
            Some(row) => self.accept(&row, hash, used).await,
            None => Ok(None),
        }
    }

    /// Recognises again, for what lasts longer than a request, what [`crate::http::presented_token`] gave.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recognise(&self, token: &str) -> Result<Option<Credential>, RecordError> {
        match self.authenticate(token).await? {
            Some(credential) => Ok(Some(credential)),
            None => self.authenticate_session(token).await,
        }
    }

    /// Signs a person's browser in: the cookie's value, shown once.
    ///
    /// # Errors
    /// When the person is not one of the organisation, or the store fails.
    pub async fn create_session(
        &self,
        org: &str,
        person: &str,
        address: &str,
        user_agent: &str,
    ) -> Result<Secret, RecordError> {
        self.person(org, person).await?;
        let whose = Identity::Person { org: org.to_owned(), person: person.to_owned() };
        let draft = self.draft_session(&whose, address, user_agent, self.clock.now_ms());
        self.db.writer().commit(vec![draft.write]).await?;
        Ok(draft.token)
    }

    /// A new session of a person or an administrator that begins at `now_ms`.
    pub(crate) fn draft_session(&self, whose: &Identity, address: &str, user_agent: &str, now_ms: i64) -> SessionDraft {
        let id = self.ids.new("ses", now_ms);
        let kind = match whose {
            Identity::Person { .. } => SESSION_TOKEN,
            Identity::Administrator(_) => ADMINISTRATOR_TOKEN,
        };
        let token = format!("{kind}{}", self.ids.token());
        let (hash, agent, expires_at) = (token_hash(&token), shown(user_agent), now_ms + SESSION_LIFE_MS);
        let write = match whose {
            Identity::Person { org, person } => {
                Write::new(INSERT_SESSION, args![&id, org, person, hash, address, agent, now_ms, expires_at])
            }
            Identity::Administrator(administrator) => Write::new(
                INSERT_ADMINISTRATOR_SESSION,
                args![&id, administrator, hash, address, agent, now_ms, expires_at],
            ),
        };
        SessionDraft { id, token: token.into(), write }
    }

    /// The live sessions of who is signed in, the latest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sessions_of(&self, whose: &Identity) -> Result<Vec<Session>, RecordError> {
        match whose {
            Identity::Person { org, person } => self.sessions(org, person).await,
            Identity::Administrator(id) => {
                let rows = self.db.all(ADMINISTRATOR_SESSIONS, args![id, self.clock.now_ms(), MAX_LIST]).await?;
                rows.iter().map(read).collect()
            }
        }
    }

    /// Signs one of its own browsers out, at once on this node.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] when the session is not its own.
    pub async fn end_own_session(&self, whose: &Identity, id: &str) -> Result<(), RecordError> {
        match whose {
            Identity::Person { org, person } => {
                self.revoke(REVOKE_OWN_SESSION, args![org, person, id], "session", id).await?;
                self.forget_browser_of(org, id).await
            }
            Identity::Administrator(administrator) => {
                self.revoke(REVOKE_ADMINISTRATOR_SESSION, args![administrator, id], "session", id).await
            }
        }
    }

    /// The live sessions of a person, the latest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sessions(&self, org: &str, person: &str) -> Result<Vec<Session>, RecordError> {
        let rows = self.db.all(SESSIONS, args![org, person, self.clock.now_ms(), MAX_LIST]).await?;
        rows.iter().map(read).collect()
    }

    /// Signs a browser out, at once on this node.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] when the organisation has no such session.
    pub async fn revoke_session(&self, org: &str, id: &str) -> Result<(), RecordError> {
        self.revoke(REVOKE_SESSION, args![org, id], "session", id).await?;
        self.forget_browser_of(org, id).await
    }

    /// Who has signed out is told nothing there any more, whoever sits there next.
    async fn forget_browser_of(&self, org: &str, session: &str) -> Result<(), RecordError> {
        self.db.writer().commit(vec![forget_push_holder_write(org, session)]).await?;
        Ok(())
    }
}

/// What a browser says it is, fit to be shown.
fn shown(user_agent: &str) -> String {
    user_agent.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn read(row: &Row) -> Result<Session, RecordError> {
    Ok(Session {
        id: row.text("id")?,
        address: row.text("address")?,
        user_agent: row.text("user_agent")?,
        created_at: row.int("created_at")?,
        last_used_at: row.int("last_used_at")?,
        expires_at: row.int("expires_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing;
    use crate::org::NewOrg;
    use crate::person::NewPerson;

    #[tokio::test]
    async fn sessions_are_listed_revoked_and_end() {
        for kernel in testing::each().await {
            let org = NewOrg { name: "dev".into(), ..NewOrg::default() };
            let org = kernel.create_org(org).await.unwrap().id;
            let ann = NewPerson { name: "Ann".into(), ..NewPerson::default() };
            let person = kernel.create_person(&org, ann).await.unwrap().0.id;
            let open = async || kernel.create_session(&org, &person, "192.0.2.1", "Browser\n1").await.unwrap();
            let (first, second) = (open().await, open().await);
            let who = async |session: &Secret| kernel.authenticate_session(session.expose()).await.unwrap();
            assert!(who(&first).await.is_some() && who(&second).await.is_some());
            assert_eq!(kernel.authenticate(first.expose()).await.unwrap(), None, "a cookie is no bearer token");
            let sessions = kernel.sessions(&org, &person).await.unwrap();
            assert_eq!(sessions.len(), 2);
            assert_eq!(sessions[0].user_agent, "Browser1");
            let first_id = who(&first).await.unwrap().id;
            assert!(kernel.revoke_session("org_other", &first_id).await.is_err());
            kernel.revoke_session(&org, &first_id).await.unwrap();
            assert!(who(&first).await.is_none());
            kernel.hand.advance(SESSION_LIFE_MS);
            assert!(who(&second).await.is_none());
            assert!(kernel.sessions(&org, &person).await.unwrap().is_empty());
        }
    }
}
