//! Tokens and keys that organisations hand out: made, recognised, listed, revoked.
//!
//! Invariant: a credential names its organisation; only SHA-256 hashes of secrets are stored, and a secret is shown once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::args;
use crate::db::{Row, Write};
use crate::kernel::Kernel;
use crate::principal::Principal;
use crate::record::RecordError;
use crate::role::Scope;
use crate::secret::{Secret, same, token_hash};

/// Beginnings of our secrets: each leads to one table, and scanners of leaked secrets know them.
pub(crate) const PERSON_TOKEN: &str = "pt_";
pub(crate) const APP_KEY: &str = "ak_";
pub(crate) const PUBLISHABLE_KEY: &str = "pk_";
/// Stands where a person's role does, in the row of an administrator's session.
pub(crate) const ADMINISTRATOR: &str = "administrator";
/// Longest text that is looked up as a credential.
pub(crate) const MAX_TOKEN: usize = 128;
/// A credential is asked of the store again after this time: so long a revocation by another process may take.
const KNOWN_MS: i64 = 2_000;
/// Credentials remembered at once.
const MAX_KNOWN: usize = 4_096;
/// How exact `last_used_at` is; a write per request would cost more than it tells.
const USED_STEP_MS: i64 = 3_600_000;

crate::statements! {
    PERSON_BY_TOKEN = "select t.id as id, t.token_hash as token_hash, t.last_used_at as last_used_at, \
        p.org as org, p.id as owner, p.role as role, '[]' as scopes \
        from person_token t join person p on p.id = t.person \
        where t.token_hash = $1 and t.revoked_at is null and p.disabled_at is null";
    APP_BY_KEY = "select k.id as id, k.token_hash as token_hash, k.last_used_at as last_used_at, \
        a.org as org, a.id as owner, '' as role, a.scopes as scopes \
        from app_key k join app a on a.id = k.app \
        where k.token_hash = $1 and k.revoked_at is null and a.disabled_at is null";
    APP_BY_PUBLISHABLE_KEY = "select org, id from app where publishable_key = $1 and disabled_at is null";
    TOKEN_USED = "update person_token set last_used_at = $2 where id = $1";
    KEY_USED = "update app_key set last_used_at = $2 where id = $1";
    INSERT_TOKEN = "insert into person_token (id, org, person, token_hash, label, created_at) \
        values ($1, $2, $3, $4, $5, $6)";
    INSERT_KEY = "insert into app_key (id, org, app, token_hash, created_at) values ($1, $2, $3, $4, $5)";
    REVOKE_TOKEN = "update person_token set revoked_at = $3 where org = $1 and id = $2 and revoked_at is null";
    REVOKE_KEY = "update app_key set revoked_at = $3 where org = $1 and id = $2 and revoked_at is null";
    TOKENS = "select id, label, created_at, last_used_at from person_token \
        where org = $1 and person = $2 and revoked_at is null order by created_at limit 100";
    KEYS = "select id, '' as label, created_at, last_used_at from app_key \
        where org = $1 and app = $2 and revoked_at is null order by created_at limit 100";
}

/// A credential that was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Id of the token, key or session: what limits and idempotency are counted by.
    pub id: Arc<str>,
    /// Who it is.
    pub principal: Principal,
}

/// A token or key in a list, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialInfo {
    /// Its id.
    pub id: String,
    /// What its owner calls it.
    pub label: String,
    /// When it was made, UTC milliseconds.
    pub created_at: i64,
    /// When it was last used, to the hour; UTC milliseconds.
    pub last_used_at: Option<i64>,
}

/// Not yet at its end, nor further from it than it can be: a clock that is set back makes nothing live longer.
fn is_fresh(now_ms: i64, until_ms: i64) -> bool {
    (1..=KNOWN_MS).contains(&(until_ms - now_ms))
}

/// Credentials that the store confirmed a moment ago, by the hash of their secret.
#[derive(Clone, Default)]
pub(crate) struct KnownCredentials(Arc<Mutex<HashMap<String, (Credential, i64)>>>);

impl std::fmt::Debug for KnownCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KnownCredentials")
    }
}

impl KnownCredentials {
    pub(crate) fn get(&self, hash: &str, now_ms: i64) -> Option<Credential> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(hash).filter(|(_, until_ms)| is_fresh(now_ms, *until_ms)).map(|(credential, _)| credential.clone())
    }

    fn put(&self, hash: String, credential: Credential, now_ms: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.retain(|_, (_, until_ms)| is_fresh(now_ms, *until_ms));
        }
        if known.len() < MAX_KNOWN {
            known.insert(hash, (credential, now_ms + KNOWN_MS));
        }
    }

    /// After a revocation in this process nothing is believed from memory.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Kernel {
    /// Recognises a personal token, an application key or a publishable key. `None` is an unknown, revoked or
    /// disabled one; which of these, nobody is told.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn authenticate(&self, token: &str) -> Result<Option<Credential>, RecordError> {
        let (find, used) = match token.get(..3) {
            _ if token.len() > MAX_TOKEN => return Ok(None),
            Some(PERSON_TOKEN) => (PERSON_BY_TOKEN, TOKEN_USED),
            Some(APP_KEY) => (APP_BY_KEY, KEY_USED),
            Some(PUBLISHABLE_KEY) => return self.publishable(token).await,
            _ => return Ok(None),
        };
        let hash = token_hash(token);
        let now_ms = self.clock.now_ms();
        if let Some(known) = self.known.get(&hash, now_ms) {
            return Ok(Some(known));
        }
        let Some(row) = self.db.one(find, args![&hash]).await? else {
            return Ok(None);
        };
        self.accept(&row, hash, used).await
    }

    pub(crate) async fn accept(
        &self,
        row: &Row,
        hash: String,
        used: &'static str,
    ) -> Result<Option<Credential>, RecordError> {
        // The index found it already; this compares in constant time whatever the engine's text comparison does.
        if !same(&row.text("token_hash")?, &hash) {
            return Ok(None);
        }
        let now_ms = self.clock.now_ms();
        let credential = read(row)?;
        if row.opt_int("last_used_at")?.is_none_or(|at| now_ms - at >= USED_STEP_MS) {
            let write = Write::new(used, args![credential.id.clone(), now_ms]);
            self.db.writer().submit(vec![write]).await?;
        }
        self.known.put(hash, credential.clone(), now_ms);
        Ok(Some(credential))
    }

    async fn publishable(&self, key: &str) -> Result<Option<Credential>, RecordError> {
        let Some(row) = self.db.one(APP_BY_PUBLISHABLE_KEY, args![key]).await? else {
            return Ok(None);
        };
        let app: Arc<str> = row.text("id")?.into();
        Ok(Some(Credential {
            id: Arc::clone(&app),
            principal: Principal::Publishable { org: row.text("org")?.into(), app },
        }))
    }

    /// A new personal token and the write that stores its hash.
    pub(crate) fn draft_person_token(&self, org: &str, person: &str, label: &str) -> (Secret, Write) {
        let now_ms = self.clock.now_ms();
        let token = format!("{PERSON_TOKEN}{}", self.ids.token());
        let id = self.ids.new("ptk", now_ms);
        let write = Write::new(INSERT_TOKEN, args![id, org, person, token_hash(&token), label, now_ms]);
        (token.into(), write)
    }

    /// A new secret key of an application and the write that stores its hash.
    pub(crate) fn draft_app_key(&self, org: &str, app: &str) -> (Secret, Write) {
        let now_ms = self.clock.now_ms();
        let key = format!("{APP_KEY}{}", self.ids.token());
        let id = self.ids.new("key", now_ms);
        let write = Write::new(INSERT_KEY, args![id, org, app, token_hash(&key), now_ms]);
        (key.into(), write)
    }

    /// Makes one more personal token; it is shown here and never again.
    ///
    /// # Errors
    /// When the person is not one of the organisation, or the store fails.
    pub async fn create_person_token(&self, org: &str, person: &str, label: &str) -> Result<Secret, RecordError> {
        self.person(org, person).await?;
        let (token, write) = self.draft_person_token(org, person, label);
        self.db.writer().commit(vec![write]).await?;
        Ok(token)
    }

    /// The live personal tokens of a person.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn person_tokens(&self, org: &str, person: &str) -> Result<Vec<CredentialInfo>, RecordError> {
        self.credentials(TOKENS, org, person).await
    }

    /// The live keys of an application.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn app_keys(&self, org: &str, app: &str) -> Result<Vec<CredentialInfo>, RecordError> {
        self.credentials(KEYS, org, app).await
    }

    async fn credentials(
        &self,
        statement: &'static str,
        org: &str,
        owner: &str,
    ) -> Result<Vec<CredentialInfo>, RecordError> {
        let rows = self.db.all(statement, args![org, owner]).await?;
        rows.iter()
            .map(|row| {
                Ok(CredentialInfo {
                    id: row.text("id")?,
                    label: row.text("label")?,
                    created_at: row.int("created_at")?,
                    last_used_at: row.opt_int("last_used_at")?,
                })
            })
            .collect()
    }

    /// Ends a personal token, at once on this node.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] when the organisation has no such live token.
    pub async fn revoke_person_token(&self, org: &str, id: &str) -> Result<(), RecordError> {
        self.revoke(REVOKE_TOKEN, args![org, id, self.clock.now_ms()], "token", id).await
    }

    /// Ends an application's key, at once on this node.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] when the organisation has no such live key.
    pub async fn revoke_app_key(&self, org: &str, id: &str) -> Result<(), RecordError> {
        self.revoke(REVOKE_KEY, args![org, id, self.clock.now_ms()], "key", id).await
    }

    pub(crate) async fn revoke(
        &self,
        statement: &'static str,
        args: Vec<crate::db::Arg>,
        what: &'static str,
        id: &str,
    ) -> Result<(), RecordError> {
        let revoked = self.db.run(statement, args).await?;
        self.known.forget();
        if revoked == 0 {
            return Err(RecordError::not_found(what, id));
        }
        Ok(())
    }
}

fn read(row: &Row) -> Result<Credential, RecordError> {
    let org: Arc<str> = row.text("org")?.into();
    let owner: Arc<str> = row.text("owner")?.into();
    let role = row.text("role")?;
    let principal = match role.as_str() {
        "" => Principal::App { org, app: owner, scopes: read_scopes(row)?.into() },
        ADMINISTRATOR => Principal::Administrator { org, administrator: owner },
        role => {
            let role = role.parse().map_err(|_| RecordError::invalid("role", role))?;
            Principal::Person { org, person: owner, role }
        }
    };
    Ok(Credential { id: row.text("id")?.into(), principal })
}

/// The column `scopes`: a JSON list of names.
pub(crate) fn read_scopes(row: &Row) -> Result<Vec<Scope>, RecordError> {
    let names: Vec<String> = row.json("scopes")?;
    names
        .iter()
        .map(|name| name.parse().map_err(|e: crate::role::UnknownWord| RecordError::invalid("scopes", e.to_string())))
        .collect()
}

#[cfg(test)]
mod tests;
