//! A room goes from hand to hand: somebody takes it, gives it back, hands it over.

use calls::TeamRecord;
use kernel::RecordError;

use super::agents::Teams;
use super::canned::invalid;
use crate::chat::model::{Id, Room};
use crate::chat::{Act, Asker, Change, ChatError, Chats, Wide};

/// To whom a room is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// A person.
    Person(String),
    /// A team; none = whoever takes it.
    Team(Option<String>),
}

/// The rooms that wait for a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// None = for anybody.
    pub(super) team: Option<Id>,
    pub(super) rooms: i64,
    /// Since when the oldest one waits, UTC milliseconds.
    pub(super) oldest_ms: i64,
}

impl Chats {
    /// The teams that rooms can wait for.
    ///
    /// # Errors
    /// [`ChatError`].
    pub(super) async fn teams(&self, asker: &Asker) -> Result<Vec<TeamRecord>, ChatError> {
        self.may_everywhere(asker, Wide::SeeRooms).await?;
        Ok(Teams::read(self.kernel(), asker.org()).await?.teams)
    }

    /// A person takes a room.
    ///
    /// # Errors
    /// [`ChatError`]: it is another's, it is closed; nothing has changed then.
    pub(crate) async fn take(&self, asker: &Asker, room: &str) -> Result<Room, ChatError> {
        let Asker::Person { id, .. } = asker else { return Err(ChatError::Forbidden) };
        self.reach(asker, room, Act::Assign).await?.0.takes_messages()?;
        self.change(asker, room, &Change::Assign(Some(id.clone())), |_| Vec::new()).await
    }

    /// A room is given back: it waits again.
    ///
    /// # Errors
    /// As [`Chats::take`].
    pub(crate) async fn release(&self, asker: &Asker, room: &str) -> Result<Room, ChatError> {
        self.reach(asker, room, Act::Assign).await?.0.takes_messages()?;
        self.change(asker, room, &Change::Assign(None), |_| Vec::new()).await
    }

    /// A room is handed over, with a note to whoever gets it.
    ///
    /// # Errors
    /// [`ChatError`]: there is no such person or team, the room is another's or closed; nothing has changed then.
    pub(crate) async fn transfer(
        &self,
        asker: &Asker,
        room: &str,
        to: &To,
        note: Option<&str>,
    ) -> Result<Room, ChatError> {
        let (before, _) = self.reach(asker, room, Act::Assign).await?;
        before.takes_messages()?;
        let change = self.destination(asker.org(), to).await?;
        let is_there = before.clone().changed(&change, self.now_ms()).0 == before;
        let Some(note) = note.filter(|note| !note.trim().is_empty()) else {
            return self.change(asker, room, &change, |_| Vec::new()).await;
        };
        if is_there {
            self.note(asker, room, note).await?;
            return Ok(before);
        }
        let (note, writes) = self.draft_note(asker, &before, note)?;
        let after = self.change(asker, room, &change, |_| writes.clone()).await?;
        self.tell_note(&after, note);
        Ok(after)
    }

    /// The change that leads there.
    async fn destination(&self, org: &Id, to: &To) -> Result<Change, ChatError> {
        match to {
            To::Person(person) => match self.who_answers(org, person).await {
                Ok(found) => Ok(Change::Assign(Some(found.id.into()))),
                Err(RecordError::NotFound { .. }) => Err(invalid("person", "nobody of this id answers chats").into()),
                Err(error) => Err(error.into()),
            },
            To::Team(None) => Ok(Change::Team(None)),
            To::Team(Some(team)) => {
                self.check_team(org, Some(team)).await?;
                Ok(Change::Team(Some(team.as_str().into())))
            }
        }
    }

    /// That there is such a team, if one is named.
    pub(super) async fn check_team(&self, org: &str, team: Option<&str>) -> Result<(), ChatError> {
        match team {
            Some(team) if calls::team(self.kernel(), org, team).await?.is_none() => {
                Err(invalid("team", "there is no such team").into())
            }
            _ => Ok(()),
        }
    }
}
