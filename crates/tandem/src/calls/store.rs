//! The SQL of this desk; that of calls themselves is the `calls` crate's.

use std::sync::Arc;

use kernel::{DbError, Kernel, Write, args};

kernel::statements! {
    // A signed URL names no organisation; its signature stands for exactly this path.
    RECORDING_ORG = "select org from recording where id = $1";
    VOICEMAIL_ORG = "select org from voicemail where id = $1";
    FLOW_EXISTS = "select id from flow where org = $1 and id = $2 and deleted_at is null";
    FLOWS_NAMED = "select id from flow where org = $1 and name = $2 and deleted_at is null order by id";
    NOTED = "select id from audit where org = $1 and time_at > $2 and actor = $3 and action = $4 and object = $5 limit 1";
    AUDIT = "insert into audit (id, org, actor, action, object, detail, time_at) values ($1, $2, $3, $4, $5, $6, $7)";
}

/// Whose a recording is.
pub(super) async fn org_of_recording(kernel: &Kernel, id: &str) -> Result<Option<Arc<str>>, DbError> {
    org(kernel, RECORDING_ORG, id).await
}

/// Whose a message is.
pub(super) async fn org_of_message(kernel: &Kernel, id: &str) -> Result<Option<Arc<str>>, DbError> {
    org(kernel, VOICEMAIL_ORG, id).await
}

async fn org(kernel: &Kernel, sql: &'static str, id: &str) -> Result<Option<Arc<str>>, DbError> {
    kernel.db.one(sql, args![id]).await?.map(|row| Ok(row.text("org")?.into())).transpose()
}

/// Whether the organisation has saved this flow.
pub(crate) async fn flow_exists(kernel: &Kernel, org: &str, id: &str) -> Result<bool, DbError> {
    Ok(kernel.db.one(FLOW_EXISTS, args![org, id]).await?.is_some())
}

/// The ids of the organisation's flows of this name.
pub(crate) async fn flows_named(kernel: &Kernel, org: &str, name: &str) -> Result<Vec<String>, DbError> {
    kernel.db.all(FLOWS_NAMED, args![org, name]).await?.iter().map(|row| row.text("id")).collect()
}

/// Notes who heard what; it is durable before anything is heard.
pub(super) async fn audit(kernel: &Kernel, org: &str, actor: &str, action: &str, object: &str) -> Result<(), DbError> {
    audit_with(kernel, org, actor, action, object, "{}").await
}

/// Whether it stands in the audit since a time that somebody did this to that.
pub(super) async fn was_noted(
    kernel: &Kernel,
    org: &str,
    actor: &str,
    action: &str,
    object: &str,
    since_ms: i64,
) -> Result<bool, DbError> {
    Ok(kernel.db.one(NOTED, args![org, since_ms, actor, action, object]).await?.is_some())
}

/// Notes who did what to what; durable on return. `detail` is JSON.
pub(super) async fn audit_with(
    kernel: &Kernel,
    org: &str,
    actor: &str,
    action: &str,
    object: &str,
    detail: &str,
) -> Result<(), DbError> {
    let now_ms = kernel.clock.now_ms();
    let write = Write::new(AUDIT, args![kernel.ids.new("aud", now_ms), org, actor, action, object, detail, now_ms]);
    kernel.db.writer().commit(vec![write]).await.map(drop)
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn every_statement_can_be_prepared() {
        for test in kernel::db::testing::TestDb::each().await {
            assert_eq!(test.unpreparable(&[super::ALL]).await, Vec::<String>::new());
        }
    }
}
