//! What applications have decided about the pages that may use their chat, read for all of them.

use std::collections::BTreeMap;

use kernel::{Db, DbError, args};

use crate::chat::ChatSettings;

/// Applications whose lists are looked at.
const MAX_APPS: i64 = 10_000;

kernel::statements! {
    // A preflight carries no credential and so names no organisation: what it is told is no more than that some
    // application of this server has listed the origin. The request itself is judged by its own application.
    LISTS = "select id, settings from app where disabled_at is null \
        and (settings like '%\"allowed_origins\"%' or settings like '%\"identity\"%') order by id limit $1";
}

/// What is to be said of applications by what they have set: an id and a warning each.
pub(in crate::chat) async fn warnings(db: &Db) -> Result<Vec<(String, &'static str)>, DbError> {
    let mut said = Vec::new();
    for row in db.all(LISTS, args![MAX_APPS]).await? {
        let (id, stored): (String, BTreeMap<String, String>) = (row.text("id")?, row.json("settings")?);
        said.extend(ChatSettings::read(&stored).warnings().into_iter().map(|warning| (id.clone(), warning)));
    }
    Ok(said)
}

/// The settings of every application that says something of origins.
pub(in crate::chat) async fn settings_with_origins(db: &Db) -> Result<Vec<ChatSettings>, DbError> {
    let mut lists = Vec::new();
    for row in db.all(LISTS, args![MAX_APPS]).await? {
        let stored: BTreeMap<String, String> = row.json("settings")?;
        lists.push(ChatSettings::read(&stored));
    }
    Ok(lists)
}
