//! The conferences of this node: opened by the first call that comes, closed behind the last.
//!
//! The rules are [`crate::conference`]'s; here their effects reach rooms, legs and calls. Invariant: a member is here
//! exactly as long as its [`Place`]; nothing waits under the lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::time::rfc3339;
use serde::Serialize;
use utoipa::ToSchema;
use voice::leg::{Leg, LegId, Part, PlayMode, Playable, RecordCommand, Room};

use crate::conference::{Conference, Effect, Member, Refused};
use crate::registry::Registry;
use crate::requests::Request;
use crate::service::Calls;

/// What is played to somebody alone; calls name what they play from 1 on.
const LONELY_MUSIC: u64 = 0;

type Name = (Arc<str>, Arc<str>);

/// Conferences by organisation and room. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Conferences(Arc<Inner>);

struct Inner {
    registry: Arc<Registry>,
    open: Mutex<HashMap<Name, Open>>,
}

struct Open {
    conference: Conference,
    room: Room,
    legs: HashMap<LegId, Leg>,
}

/// Who wants to come, and where.
pub(crate) struct Joining {
    pub(crate) org: Arc<str>,
    pub(crate) room: Arc<str>,
    pub(crate) member: Member,
    pub(crate) leg: Leg,
    pub(crate) max: u32,
    /// It knows of a recording.
    pub(crate) announced: bool,
}

/// A member's place; dropped, it is free.
pub(crate) struct Place {
    conferences: Conferences,
    name: Name,
    leg: LegId,
    /// The conference's id.
    pub(crate) id: Arc<str>,
    /// The media of it.
    pub(crate) room: Room,
    /// How many members there were with this one, when it came.
    pub(crate) members: usize,
}

/// A conference, as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConferenceView {
    /// `conf_...`: another one each time the room opens.
    pub id: String,
    /// The room's name.
    pub room: String,
    /// It is being recorded.
    pub recording: bool,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// Oldest first.
    pub members: Vec<MemberView>,
}

/// Somebody in a conference, as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemberView {
    /// `leg_...`
    pub id: String,
    /// The call.
    pub call_id: String,
    /// The number, as it may be shown.
    pub number: String,
    /// The name, when it is known.
    pub name: Option<String>,
    /// Hears, and is not heard.
    pub muted: bool,
    /// RFC 3339, UTC.
    pub joined_at: String,
}

impl Conferences {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self(Arc::new(Inner { registry, open: Mutex::default() }))
    }

    /// Brings a leg into a room, which is opened for the first one by `open` and named by `id`.
    pub(crate) fn join(
        &self,
        joining: Joining,
        id: impl FnOnce() -> String,
        open: impl FnOnce() -> Room,
    ) -> Result<Place, Refused> {
        let Joining { org, room, member, leg, max, announced } = joining;
        let (name, leg_id, now_ms) = ((org, room), member.leg.clone(), member.joined_at_ms);
        let mut all = self.open();
        let place = all.entry(name.clone()).or_insert_with(|| Open {
            conference: Conference::new(id().into(), now_ms),
            room: open(),
            legs: HashMap::new(),
        });
        let effects = place.conference.join(member, max, announced)?;
        place.legs.insert(leg_id.clone(), leg);
        self.carry_out(place, effects);
        Ok(Place {
            conferences: self.clone(),
            name,
            leg: leg_id,
            id: place.conference.id.clone(),
            room: place.room.clone(),
            members: place.conference.members.len(),
        })
    }

    fn leave(&self, name: &Name, leg: &LegId) {
        let mut all = self.open();
        let Some(open) = all.get_mut(name) else { return };
        let effects = open.conference.leave(leg);
        self.carry_out(open, effects);
        open.legs.remove(leg);
        if open.conference.members.is_empty() {
            all.remove(name);
        }
    }

    /// All conferences of an organisation, by room.
    pub(crate) fn list(&self, org: &str) -> Vec<ConferenceView> {
        let all = self.open();
        let mut views: Vec<_> =
            all.iter().filter(|((owner, _), _)| &**owner == org).map(|((_, room), open)| view(room, open)).collect();
        views.sort_by(|one, other| one.room.cmp(&other.room));
        views
    }

    /// One conference.
    pub(crate) fn one(&self, org: &str, room: &str) -> Option<ConferenceView> {
        self.change(org, room, |_, _| Some(()))
    }

    /// Mutes a member, or no longer; none when there is no such conference or member.
    pub(crate) fn mute(&self, org: &str, room: &str, leg: &str, muted: bool) -> Option<ConferenceView> {
        self.change(org, room, |all, open| {
            let effects = open.conference.mute(leg, muted)?;
            all.carry_out(open, effects);
            Some(())
        })
    }

    /// Wants a recording, or ends it; none when there is no such conference.
    pub(crate) fn record(&self, org: &str, room: &str, on: bool) -> Option<ConferenceView> {
        self.change(org, room, |all, open| {
            let effects = open.conference.record(on);
            all.carry_out(open, effects);
            Some(())
        })
    }

    /// Asks the calls of some members to leave; false when there is no such conference or none of them.
    pub(crate) fn dismiss(&self, org: &str, room: &str, who: impl Fn(&str) -> bool, kicked: bool) -> bool {
        let found = self.change(org, room, |all, open| {
            let mut leaving = open.conference.members.iter().filter(|member| who(&member.leg)).peekable();
            leaving.peek()?;
            for member in leaving {
                all.0.registry.ask(org, &member.call, Request::LeaveConference { kicked });
            }
            Some(())
        });
        found.is_some()
    }

    fn change(
        &self,
        org: &str,
        room: &str,
        act: impl FnOnce(&Self, &mut Open) -> Option<()>,
    ) -> Option<ConferenceView> {
        let mut all = self.open();
        let open = all.get_mut(&(org.into(), room.into()))?;
        act(self, open)?;
        Some(view(room, open))
    }

    fn carry_out(&self, open: &Open, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Cast { leg, muted } => {
                    let part = if muted { Part::Listener } else { Part::Speaker };
                    open.with(&leg, |leg| leg.join_room(&open.room, part));
                }
                Effect::Release(leg) => open.with(&leg, Leg::leave_room),
                Effect::Alone(leg) => {
                    open.with(&leg, |leg| leg.play(LONELY_MUSIC, Playable::HoldMusic, PlayMode::FOREVER));
                }
                Effect::Company(leg) => open.with(&leg, Leg::stop_play),
                Effect::Record(leg) => self.tell_keeper(open, &leg, true),
                Effect::StopRecording(leg) => {
                    // Here and now: whoever keeps the next one begins it after this.
                    open.with(&leg, |leg| leg.record_room(&open.room, RecordCommand::Stop));
                    self.tell_keeper(open, &leg, false);
                }
            }
        }
    }

    fn tell_keeper(&self, open: &Open, leg: &LegId, keeps: bool) {
        if let Some(member) = open.conference.members.iter().find(|member| member.leg == *leg) {
            self.0.registry.ask_here(&member.call, Request::KeepConference(keeps));
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Name, Open>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calls {
    /// The conferences of an organisation that are up here, by room.
    pub fn conferences_of(&self, org: &str) -> Vec<ConferenceView> {
        self.conferences().list(org)
    }

    /// One of them.
    pub fn conference(&self, org: &str, room: &str) -> Option<ConferenceView> {
        self.conferences().one(org, room)
    }

    /// Mutes a member, named by its leg, or no longer; none when there is no such member.
    pub fn mute_member(&self, org: &str, room: &str, member: &str, muted: bool) -> Option<ConferenceView> {
        self.conferences().mute(org, room, member, muted)
    }

    /// Throws a member out; its call goes on without the conference. False when there is no such member.
    pub fn kick_member(&self, org: &str, room: &str, member: &str) -> bool {
        self.conferences().dismiss(org, room, |leg| leg == member, true)
    }

    /// Ends a conference: the calls of all its members go on without it. False when there is none.
    pub fn end_conference(&self, org: &str, room: &str) -> bool {
        self.conferences().dismiss(org, room, |_| true, false)
    }

    /// Begins to record a conference, or ends it; none when there is no such conference.
    pub fn record_conference(&self, org: &str, room: &str, on: bool) -> Option<ConferenceView> {
        self.conferences().record(org, room, on)
    }
}

impl Open {
    fn with(&self, leg: &LegId, act: impl FnOnce(&Leg)) {
        if let Some(leg) = self.legs.get(leg) {
            act(leg);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.conferences.leave(&self.name, &self.leg);
    }
}

fn view(room: &str, open: &Open) -> ConferenceView {
    let conference = &open.conference;
    ConferenceView {
        id: conference.id.to_string(),
        room: room.to_owned(),
        recording: conference.is_recorded(),
        started_at: rfc3339(conference.started_at_ms),
        members: conference.members.iter().map(member_view).collect(),
    }
}

fn member_view(member: &Member) -> MemberView {
    MemberView {
        id: member.leg.to_string(),
        call_id: member.call.to_string(),
        number: member.number.clone(),
        name: member.name.clone(),
        muted: member.muted,
        joined_at: rfc3339(member.joined_at_ms),
    }
}
