//! Canned replies and macros are kept: whoever answers reads them, whoever directs changes them.

use kernel::{DbError, RecordError};

use super::canned::{Canned, fill};
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

impl Chats {
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
        let done = self.kernel().db.writer().commit(vec![store::put_canned_write(asker.org(), &canned, now_ms)]).await;
        outcome(done, ("canned reply", &canned.id), ("shortcut", &canned.shortcut))?;
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
        let done = self.kernel().db.writer().commit(vec![store::change_canned_write(asker.org(), &canned)]).await;
        outcome(done, ("canned reply", id), ("shortcut", &canned.shortcut))?;
        Ok(canned)
    }

    /// Removes one.
    ///
    /// # Errors
    /// [`ChatError`]; nothing has changed then.
    pub(super) async fn remove_canned(&self, asker: &Asker, id: &str) -> Result<(), ChatError> {
        self.may_everywhere(asker, Wide::Direct).await?;
        let done = self.kernel().db.writer().commit(vec![store::take_canned_write(asker.org(), id)]).await;
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
        let done = self.kernel().db.writer().commit(vec![store::put_macro_write(asker.org(), &wanted, now_ms)]).await;
        outcome(done, ("macro", &wanted.id), ("name", &wanted.name))?;
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
        let done = self.kernel().db.writer().commit(vec![store::change_macro_write(asker.org(), &wanted)]).await;
        outcome(done, ("macro", id), ("name", &wanted.name))?;
        Ok(wanted)
    }

    /// Removes one.
    ///
    /// # Errors
    /// [`ChatError`]; nothing has changed then.
    pub(super) async fn remove_macro(&self, asker: &Asker, id: &str) -> Result<(), ChatError> {
        self.may_everywhere(asker, Wide::Direct).await?;
        let done = self.kernel().db.writer().commit(vec![store::take_macro_write(asker.org(), id)]).await;
        outcome(done, ("macro", id), ("id", id))
    }
}
