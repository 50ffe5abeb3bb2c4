//! Canned replies and macros are kept: whoever answers reads them, whoever directs changes them.

use kernel::{DbError, RecordError, Write};

use super::canned::{Canned, fill, invalid};
use super::macros::{Macro, Step};
use super::store::replies as store;
use crate::chat::{Asker, ChatError, Chats, Wide};

/// What shall change of a canned reply; none = as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CannedChange {
    pub(super) shortcut: Option<String>,
    pub(super) title: Option<String>,
    pub(super) text: Option<String>,
    pub(super) team: Option<Option<String>>,
}

fn missing(what: &'static str, id: &str) -> ChatError {
    RecordError::NotFound { what, name: id.to_owned() }.into()
}

/// What a commit of one record says.
fn outcome(
    done: Result<Vec<u64>, DbError>,
    (what, id): (&'static str, &str),
    (field, value): (&'static str, &str),
) -> Result<(), ChatError> {
    match done {
        Ok(_) => Ok(()),
        Err(DbError::Conflict) => Err(missing(what, id)),
        Err(DbError::Duplicate(_)) => Err(RecordError::Taken { field, value: value.to_owned() }.into()),
        Err(error) => Err(error.into()),
    }
}

/// The same of a new one, of which there may be too many.
fn added(done: Result<Vec<u64>, DbError>, (field, value): (&'static str, &str)) -> Result<(), ChatError> {
    match done {
        Err(DbError::Conflict) => {
            Err(invalid(field, format!("there are {} already: delete one first", store::MAX_REPLIES)).into())
        }
        done => outcome(done, ("reply", value), (field, value)),
    }
}

impl Chats {
    /// Writes one of them, and in the same commit who did so: what stands there is said in the name of every agent.
    async fn keep(&self, asker: &Asker, action: &str, id: &str, write: Write) -> Result<Vec<u64>, DbError> {
        let mut writes = vec![write];
        if let Asker::Person { org, id: person, .. } = asker {
            writes.push(self.kernel().audit_write(org, person, action, id));
        }
        self.kernel().db.writer().commit(writes).await
    }

    /// The canned replies, each with what it says in a room, if one is named.
    ///
    /// # Errors
    /// [`ChatError`].
    pub(super) async fn canned_replies(
        &self,
        asker: &Asker,
        room: Option<&str>,
    ) -> Result<Vec<(Canned, Option<String>)>, ChatError> {
        self.may_everywhere(asker, Wide::UseDesk).await?;
        let names = match room {
            Some(room) => Some(self.names(asker, &self.room(asker, room).await?).await?),
            None => None,
        };
        let all = store::all_canned(&self.kernel().db, asker.org()).await?;
        let filled = |canned: &Canned| names.as_ref().map(|names| fill(&canned.text, names));
        Ok(all.into_iter().map(|canned| (canned.clone(), filled(&canned))).collect())
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ChatError`].
    pub(super) async fn canned_reply(&self, asker: &Asker, id: &str) -> Result<Canned, ChatError> {
        self.may_everywhere(asker, Wide::UseDesk).await?;
        store::canned(&self.kernel().db, asker.org(), id).await?.ok_or_else(|| missing("canned reply", id))
    }

    /// Adds one.
    ///
    /// # Errors
    /// [`ChatError`]; nothing has changed then.
    pub(super) async fn add_canned(&self, asker: &Asker, canned: Canned) -> Result<Canned, ChatError> {
        self.may_everywhere(asker, Wide::Direct).await?;
        let now_ms = self.now_ms();
        let canned = Canned { id: self.kernel().ids.new("can", now_ms), ..canned.checked()? };
        self.check_team(asker.org(), canned.team.as_deref()).await?;
        let write = store::put_canned_write(asker.org(), &canned, now_ms);
        let done = self.keep(asker, "chat.canned_create", &canned.id, write).await;
        added(done, ("shortcut", &canned.shortcut))?;
        Ok(canned)
    }

    /// Changes one.
    ///
    /// # Errors
    /// [`ChatError`]; nothing has changed then.
    pub(super) async fn change_canned(
        &self,
        asker: &Asker,
        id: &str,
        change: CannedChange,
    ) -> Result<Canned, ChatError> {
        self.may_everywhere(asker, Wide::Direct).await?;
        let before = self.canned_reply(asker, id).await?;
        let CannedChange { shortcut, title, text, team } = change;
        let canned = Canned {
            id: before.id,
            shortcut: shortcut.unwrap_or(before.shortcut),
            title: title.unwrap_or(before.title),
            text: text.unwrap_or(before.text),
            team: team.unwrap_or(before.team),
        };
        let canned = canned.checked()?;
        self.check_team(asker.org(), canned.team.as_deref()).await?;
        let write = store::change_canned_write(asker.org(), &canned);
        let done = self.keep(asker, "chat.canned_change", id, write).await;
        outcome(done, ("canned reply", id), ("shortcut", &canned.shortcut))?;
        Ok(canned)
    }

    /// Removes one.
    ///
    /// # Errors
    /// [`ChatError`]; nothing has changed then.
    pub(super) async fn remove_canned(&self, asker: &Asker, id: &str) -> Result<(), ChatError> {
        self.may_everywhere(asker, Wide::Direct).await?;
        let done = self.keep(asker, "chat.canned_delete", id, store::take_canned_write(asker.org(), id)).await;
        outcome(done, ("canned reply", id), ("id", id))
    }

    /// The macros.
    ///
    /// # Errors
    /// [`ChatError`].
    pub(super) async fn macros(&self, asker: &Asker) -> Result<Vec<Macro>, ChatError> {
        self.may_everywhere(asker, Wide::UseDesk).await?;
        Ok(store::all_macros(&self.kernel().db, asker.org()).await?)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ChatError`].
    pub(super) async fn one_macro(&self, asker: &Asker, id: &str) -> Result<Macro, ChatError> {
        self.may_everywhere(asker, Wide::UseDesk).await?;
        store::one_macro(&self.kernel().db, asker.org(), id).await?.ok_or_else(|| missing("macro", id))
    }

    /// Adds one.
    ///
    /// # Errors
    /// [`ChatError`]; nothing has changed then.
    pub(super) async fn add_macro(&self, asker: &Asker, wanted: Macro) -> Result<Macro, ChatError> {
        self.may_everywhere(asker, Wide::Direct).await?;
        let now_ms = self.now_ms();
        let wanted = Macro { id: self.kernel().ids.new("mac", now_ms), ..wanted.checked()? };
        let write = store::put_macro_write(asker.org(), &wanted, now_ms);
        let done = self.keep(asker, "chat.macro_create", &wanted.id, write).await;
        added(done, ("name", &wanted.name))?;
        Ok(wanted)
    }

    /// Changes one.
    ///
    /// # Errors
    /// [`ChatError`]; nothing has changed then.
    pub(super) async fn change_macro(
        &self,
        asker: &Asker,
        id: &str,
        name: Option<String>,
        steps: Option<Vec<Step>>,
    ) -> Result<Macro, ChatError> {
        self.may_everywhere(asker, Wide::Direct).await?;
        let before = self.one_macro(asker, id).await?;
        let wanted = Macro { id: before.id, name: name.unwrap_or(before.name), steps: steps.unwrap_or(before.steps) };
        let wanted = wanted.checked()?;
        let done = self.keep(asker, "chat.macro_change", id, store::change_macro_write(asker.org(), &wanted)).await;
        outcome(done, ("macro", id), ("name", &wanted.name))?;
        Ok(wanted)
    }

    /// Removes one.
    ///
    /// # Errors
    /// [`ChatError`]; nothing has changed then.
    pub(super) async fn remove_macro(&self, asker: &Asker, id: &str) -> Result<(), ChatError> {
        self.may_everywhere(asker, Wide::Direct).await?;
        let done = self.keep(asker, "chat.macro_delete", id, store::take_macro_write(asker.org(), id)).await;
        outcome(done, ("macro", id), ("id", id))
    }
}
