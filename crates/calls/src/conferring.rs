//! A live call in a conference: it comes, keeps the recording if it is to, and leaves.
//!
//! Invariant: every conference.joined of a call is followed by one conference.left, before its call.completed.

use std::sync::Arc;

use kernel::db::Write;
use kernel::{Shelf, args};
use serde_json::json;
use voice::leg::{RecordCommand, RecordingId};

use crate::conference::{Member, Refused};
use crate::conferences::{Joining, Place};
use crate::driver::{CallEvent, ConferenceEvent, JoinConference, RecordingEvent};
use crate::live::Live;
use crate::{records, store};

/// Frames a second of a conference's recording.
const RECORDING_RATE: u32 = 16_000;

/// A call's place in a conference.
pub(crate) struct Conferring {
    place: Place,
    room: Arc<str>,
    since_ms: i64,
    /// The recording of the conference that this call keeps.
    keeps: Option<RecordingId>,
}

/// Why a call leaves a conference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// The call is over.
    HungUp,
    /// Its driver wants so.
    Left,
    /// Somebody threw it out by API.
    Kicked,
    /// Somebody ended the conference by API.
    Over,
}

impl Leaving {
    fn as_str(self) -> &'static str {
        match self {
            Self::HungUp => "hangup",
            Self::Left => "left",
            Self::Kicked => "kicked",
            Self::Over => "ended",
        }
    }
}

impl Live {
    pub(crate) fn join_conference(&mut self, wish: JoinConference) {
        if self.is_ending() || self.conference.is_some() {
            return;
        }
        if !self.standing().is_some_and(|party| party.answered) {
            return self.tell(CallEvent::Conference(ConferenceEvent::Failed));
        }
        self.cancel_connect();
        let room: Arc<str> = wish.room.into();
        let now_ms = self.now_ms();
        let Some(party) = self.standing() else { return };
        let member = Member {
            leg: party.leg.id().clone(),
            call: self.model.id.clone(),
            number: self.model.shown(self.customer_number()),
            name: self.display.clone().filter(|_| !self.model.masked),
            muted: wish.muted,
            records: wish.record,
            joined_at_ms: now_ms,
        };
        party.leg.stop_play();
        let joining = Joining {
            org: self.model.org.clone(),
            room: room.clone(),
            member,
            leg: party.leg.clone(),
            max: wish.max,
            announced: wish.announced,
        };
        let (kernel, dialer) = (self.calls.kernel(), self.calls.dialer());
        let joined =
            self.calls.conferences().join(joining, || kernel.ids.new("conf", now_ms), || dialer.room(&self.model.org));
        match joined {
            Err(Refused::Full) => self.tell(CallEvent::Conference(ConferenceEvent::Full)),
            Err(Refused::Recorded) => self.tell(CallEvent::Conference(ConferenceEvent::Recorded)),
            Ok(place) => {
                let data = json!({"conference": &*place.id, "room": &*room, "members": place.members});
                self.conference = Some(Conferring { place, room, since_ms: now_ms, keeps: None });
                let leg = self.standing.clone();
                self.emit("conference.joined", leg.as_ref(), data);
                self.tell(CallEvent::Conference(ConferenceEvent::Joined));
            }
        }
    }

    /// Leaves the conference that the call is in, if it is in one.
    pub(crate) fn leave_conference(&mut self, leaving: Leaving) {
        let Some(Conferring { place, room, since_ms, keeps }) = self.conference.take() else { return };
        let id = place.id.clone();
        drop(place);
        if let Some(recording) = keeps {
            self.keeping.complete(recording);
        }
        let seconds = (self.now_ms() - since_ms) as f64 / 1000.0;
        let data = json!({
            "conference": &*id, "room": &*room, "reason": leaving.as_str(), "seconds": seconds,
        });
        let leg = self.standing.clone();
        self.emit("conference.left", leg.as_ref(), data);
        self.tell(CallEvent::Conference(ConferenceEvent::Ended));
    }

    /// The call keeps the recording of its conference from now on, or no longer.
    pub(crate) fn keep_conference(&mut self, on: bool) {
        let Some(conferring) = &mut self.conference else { return };
        if !on {
            if let Some(recording) = conferring.keeps.take() {
                self.keeping.complete(recording);
            }
            return;
        }
        if conferring.keeps.is_some() {
            return;
        }
        let room = conferring.place.room.clone();
        let now_ms = self.now_ms();
        let id: RecordingId = self.calls.kernel().ids.new("rec", now_ms).into();
        let file = self.calls.kernel().files.place(Shelf::Recordings, &self.model.org, &records::file_name(&id));
        match (file, self.standing()) {
            (Ok(path), Some(party)) => {
                let start = RecordCommand::Start { id: id.clone(), path, rate: RECORDING_RATE };
                party.leg.record_room(&room, start);
                self.recording_begins(&id);
                if let Some(conferring) = &mut self.conference {
                    conferring.keeps = Some(id);
                }
            }
            (Err(error), _) => {
                tracing::error!(call = %self.model.id, %error, "no place for a recording");
                self.emit("recording.failed", None, json!({"id": &*id, "error": "no place for the file"}));
            }
            (Ok(_), None) => {}
        }
    }

    /// The row and the event of a recording that begins.
    pub(crate) fn recording_begins(&mut self, id: &RecordingId) {
        self.journal.row(Write::new(
            store::RECORDING_INSERT,
            args![&**id, &self.model.org, &self.model.id, &self.model.node, records::file_name(id), self.now_ms()],
        ));
        self.emit("recording.started", None, json!({"id": &**id}));
        self.tell(CallEvent::Recording(RecordingEvent::Started { id: id.to_string() }));
    }
}
