//! The registered contacts of this node: rows that survive a restart, and the same in memory so that
//! a call asks nobody.
//!
//! Invariant: a contact is known after its row is durable; a contact that has lapsed is never returned.
//! Source: RFC 3261, section 10.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::args;
use kernel::db::{Db, DbError, Row, Write};
use voice::ports::{Binding, BindingChange, Transport};

/// Contacts of one extension; the oldest makes room.
pub(crate) const MAX_BINDINGS: usize = 16;

kernel::statements! {
    /// A contact registers, or registers again.
    SAVE = "insert into binding (org, extension, contact, line, node, instance, call_id, cseq, q, expires_at, transport, source, local, path, user_agent, srtp)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        on conflict (org, extension, contact) do update set line = excluded.line, node = excluded.node, instance = excluded.instance,
            call_id = excluded.call_id, cseq = excluded.cseq, q = excluded.q, expires_at = excluded.expires_at, transport = excluded.transport,
            source = excluded.source, local = excluded.local, path = excluded.path, user_agent = excluded.user_agent, srtp = excluded.srtp";
    /// A contact is gone.
    REMOVE = "delete from binding where org = $1 and extension = $2 and contact = $3";
    /// The WebSocket of contacts has closed; one that has come back by another is not meant.
    LOST = "delete from binding where org = $1 and extension = $2 and source = $3 and transport in ('ws', 'wss')";
    /// The contacts whose flows this node holds.
    OF_NODE = "select org, extension, contact, line, instance, call_id, cseq, q, expires_at, transport, source, local, path, user_agent, srtp
        from binding where node = $1 and expires_at > $2 order by org, extension, expires_at";
    /// Contacts that have lapsed, and WebSockets: they closed when the server stopped, and only the phone can open one.
    SWEEP = "delete from binding where node = $1 and (expires_at <= $2 or transport in ('ws', 'wss'))";
}

type Key = (Arc<str>, Arc<str>);

/// The registered contacts.
#[derive(Debug)]
pub(crate) struct Bindings {
    db: Db,
    node: Arc<str>,
    known: Mutex<HashMap<Key, Vec<Binding>>>,
}

impl Bindings {
    /// Reads what was registered before the last stop.
    pub(crate) async fn load(db: Db, node: Arc<str>, now_ms: i64) -> Result<Self, DbError> {
        db.run(SWEEP, args![&node, now_ms]).await?;
        let mut known: HashMap<Key, Vec<Binding>> = HashMap::new();
        for row in db.all(OF_NODE, args![&node, now_ms]).await? {
            if let Some(binding) = binding(&row)? {
                known.entry((binding.org.clone(), binding.extension.clone())).or_default().push(binding);
            }
        }
        Ok(Self { db, node, known: Mutex::new(known) })
    }

    /// The live contacts of an extension, the preferred first.
    pub(crate) fn of(&self, org: &str, extension: &str, now_ms: i64) -> Vec<Binding> {
        let mut live: Vec<Binding> = match self.map().get(&(org.into(), extension.into())) {
            Some(bindings) => bindings.iter().filter(|binding| binding.expires_at_ms > now_ms).cloned().collect(),
            None => Vec::new(),
        };
        live.sort_by_key(|binding| std::cmp::Reverse(binding.q));
        live
    }

    /// Carries out what a REGISTER changes; durable on return.
    pub(crate) async fn change(
        &self,
        org: &str,
        extension: &str,
        change: BindingChange,
        now_ms: i64,
    ) -> Result<(), DbError> {
        let mut after = self.of(org, extension, now_ms);
        let mut gone: Vec<String> = change.remove;
        after.retain(|binding| !gone.contains(&binding.contact));
        for binding in &change.save {
            after.retain(|known| known.contact != binding.contact);
            after.push(binding.clone());
        }
        if after.len() > MAX_BINDINGS {
            // Who registers at this very moment is not seen: the next change makes room for it.
            after.sort_by_key(|binding| std::cmp::Reverse(binding.expires_at_ms));
            gone.extend(after.drain(MAX_BINDINGS..).map(|binding| binding.contact));
        }
        let mut writes: Vec<Write> =
            gone.iter().map(|contact| Write::new(REMOVE, args![org, extension, contact])).collect();
        let kept = change.save.iter().filter(|binding| !gone.contains(&binding.contact));
        writes.extend(kept.map(|binding| save(binding, &self.node)));
        self.db.writer().commit(writes).await?;
        self.remember(org, extension, &gone, change.save);
        Ok(())
    }

    /// Forgets the contacts of a WebSocket that has closed, in memory first: nobody can be called by it.
    pub(crate) async fn lost_connection(&self, org: &str, extension: &str, source: SocketAddr) -> Result<(), DbError> {
        let key: Key = (org.into(), extension.into());
        {
            let mut known = self.map();
            if let Some(bindings) = known.get_mut(&key) {
                bindings.retain(|binding| binding.source != source || !binding.transport.is_web());
                if bindings.is_empty() {
                    known.remove(&key);
                }
            }
        }
        self.db.run(LOST, args![org, extension, source.to_string()]).await?;
        Ok(())
    }

    /// Brings memory up to date with a commit: contact by contact, because another device of the
    /// extension may have registered while it was under way.
    fn remember(&self, org: &str, extension: &str, gone: &[String], saved: Vec<Binding>) {
        let key: Key = (org.into(), extension.into());
        let mut known = self.map();
        let bindings = known.entry(key.clone()).or_default();
        let is_saved = |binding: &Binding| saved.iter().any(|saved| saved.contact == binding.contact);
        bindings.retain(|binding| !gone.contains(&binding.contact) && !is_saved(binding));
        bindings.extend(saved.into_iter().filter(|binding| !gone.contains(&binding.contact)));
        if bindings.is_empty() {
            known.remove(&key);
        }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<Key, Vec<Binding>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn save(binding: &Binding, node: &Arc<str>) -> Write {
    let path = serde_json::to_string(&binding.path).unwrap_or_else(|_| "[]".to_owned());
    Write::new(
        SAVE,
        args![
            &binding.org,
            &binding.extension,
            &binding.contact,
            &binding.line,
            node,
            binding.instance.as_deref(),
            &binding.call_id,
            binding.cseq,
            binding.q,
            binding.expires_at_ms,
            binding.transport.as_str(),
            binding.source.to_string(),
            binding.local.to_string(),
            path,
            &binding.user_agent,
            binding.srtp,
        ],
    )
}

/// A row that an older release wrote in words we no longer know is no contact: the phone comes back.
fn binding(row: &Row) -> Result<Option<Binding>, DbError> {
    let transport = Transport::parse(&row.text("transport")?);
    let source = row.text("source")?.parse();
    let local = row.text("local")?.parse();
    let (Some(transport), Ok(source), Ok(local)) = (transport, source, local) else {
        return Ok(None);
    };
    Ok(Some(Binding {
        org: row.text("org")?.into(),
        extension: row.text("extension")?.into(),
        line: row.text("line")?.into(),
        contact: row.text("contact")?,
        instance: row.opt_text("instance")?,
        call_id: row.text("call_id")?,
        cseq: u32::try_from(row.int("cseq")?).unwrap_or(0),
        q: u16::try_from(row.int("q")?).unwrap_or(1000),
        expires_at_ms: row.int("expires_at")?,
        transport,
        source,
        local,
        path: row.json("path")?,
        user_agent: row.text("user_agent")?,
        srtp: row.bool("srtp")?,
    }))
}

#[cfg(test)]
#[path = "bindings_tests.rs"]
mod tests;
