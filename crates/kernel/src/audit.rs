//! The audit: who read or changed what, as rows that nobody changes.

use crate::args;
use crate::db::{Row, Write};
use crate::kernel::Kernel;
use crate::record::RecordError;

/// Sorts after every id.
const AFTER_ALL: &str = "~";

crate::statements! {
    INSERT = "insert into audit (id, org, actor, action, object, time_at) values ($1, $2, $3, $4, $5, $6)";
    LIST = "select a.id as id, a.actor as actor, a.action as action, a.object as object, a.time_at as time_at, \
        p.name as name from audit a left join person p on p.org = a.org and p.id = a.actor \
        where a.org = $1 and a.id < $2 order by a.id desc limit $3";
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// `aud_...`, in the order of time.
    pub id: String,
    /// Id of a person, an application or an administrator, or `signed_url`.
    pub actor: String,
    /// Of a person.
    pub actor_name: Option<String>,
    /// Such as `recording.read`.
    pub action: String,
    /// What it was done to.
    pub object: String,
    /// UTC milliseconds.
    pub at_ms: i64,
}

impl Kernel {
    /// The write that notes who did what; commit it before, or with, what it tells of.
    pub fn audit_write(&self, org: &str, actor: &str, action: &str, object: &str) -> Write {
        let now_ms = self.clock.now_ms();
        Write::new(INSERT, args![self.ids.new("aud", now_ms), org, actor, action, object, now_ms])
    }

    /// The audit of an organisation, newest first, from before an id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn audit(&self, org: &str, before: Option<&str>, limit: i64) -> Result<Vec<AuditEntry>, RecordError> {
        let rows = self.db.all(LIST, args![org, before.unwrap_or(AFTER_ALL), limit]).await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<AuditEntry, RecordError> {
    Ok(AuditEntry {
        id: row.text("id")?,
        actor: row.text("actor")?,
        actor_name: row.opt_text("name")?,
        action: row.text("action")?,
        object: row.text("object")?,
        at_ms: row.int("time_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing;

    #[tokio::test]
    async fn rows_are_listed_newest_first_and_by_organisation() {
        for kernel in testing::each().await {
            for object in ["rec_1", "rec_2", "rec_3"] {
                let write = kernel.audit_write("org_a", "per_1", "recording.read", object);
                kernel.db.writer().commit(vec![write]).await.unwrap();
                kernel.hand.advance(1);
            }
            let first = kernel.audit("org_a", None, 2).await.unwrap();
            assert_eq!(first.iter().map(|entry| entry.object.as_str()).collect::<Vec<_>>(), ["rec_3", "rec_2"]);
            let rest = kernel.audit("org_a", Some(&first[1].id), 2).await.unwrap();
            assert_eq!(rest.len(), 1);
            assert!(kernel.audit("org_b", None, 2).await.unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn every_statement_prepares_on_both_engines() {
        for db in crate::db::testing::TestDb::each().await {
            assert_eq!(db.unpreparable(&[ALL]).await, Vec::<String>::new());
        }
    }
}
