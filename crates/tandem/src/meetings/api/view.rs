//! A meeting as the API shows it: to its application with all it knows, to one of the two without anything of the other.

use calls::records::RecordingView;
use kernel::time::rfc3339;
use serde::Serialize;
use utoipa::ToSchema;

use crate::meetings::model::{CallType, Cause, Meeting, Party, Role, Settings, State};

/// One of the two.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PartyView {
    /// As the application knows the person; of the other party it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    /// For people.
    name: String,
    /// What is dialled; only for the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<String>,
    /// Only for the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// How this party talks.
    call_type: CallType,
}

/// Another time that a party proposes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProposalView {
    /// Who proposes.
    by: Role,
    /// RFC 3339, UTC.
    starts_at: String,
    /// The longest talk.
    duration_seconds: i64,
}

/// A meeting.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeetingView {
    /// Counts from 1 in its organisation.
    id: i64,
    /// The same, as document 000 calls it.
    meeting_id: i64,
    /// `app_...`
    application: String,
    /// As the application knows it.
    order_id: String,
    /// How far it is.
    state: State,
    /// Why it ended.
    cause: Option<Cause>,
    /// Who ordered.
    caller: PartyView,
    /// Who is called.
    receiver: PartyView,
    /// Which of the two asks; only for one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    you: Option<Role>,
    /// RFC 3339, UTC.
    starts_at: String,
    /// RFC 3339, UTC: nobody can begin a call from then on.
    ends_at: String,
    /// RFC 3339, UTC: from when on either may call.
    opens_at: String,
    /// The longest talk, without extensions.
    duration_seconds: i64,
    /// By how much it was extended.
    extended_seconds: i64,
    /// By how much the two may still extend it.
    extend_left_seconds: i64,
    /// How long the two have talked.
    talked_seconds: i64,
    /// The number that both see and may call.
    dial_in: Option<String>,
    /// The caller's; only for the application and the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<String>,
    /// The receiver's; only for the application and the receiver.
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver_pin: Option<String>,
    /// Calls that were tried.
    attempts: u32,
    /// What became of the last one that reached nobody.
    last_attempt: Option<Cause>,
    /// Another time that a party proposes.
    proposal: Option<ProposalView>,
    /// RFC 3339, UTC: since when the two talk.
    live_since: Option<String>,
    /// RFC 3339, UTC.
    created_at: String,
    /// RFC 3339, UTC.
    ended_at: Option<String>,
    /// Ids of its calls, oldest first; only for the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<Vec<String>>,
    /// Its recordings, oldest first; only where one meeting is read, and only for the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    recordings: Option<Vec<RecordingView>>,
}

/// Some meetings.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MeetingList {
    /// In the order of their start.
    pub(super) meetings: Vec<MeetingView>,
    /// Ask with it for the next page.
    pub(super) cursor: Option<String>,
}

impl MeetingView {
    /// As its application sees it, or as one of the two does.
    #[must_use]
    pub fn of(meeting: &Meeting, settings: &Settings, you: Option<Role>, now_ms: i64) -> Self {
        let pin = |role: Role| (you.is_none_or(|you| you == role)).then(|| meeting.pins.of(role).to_owned());
        Self {
            id: meeting.id,
            meeting_id: meeting.id,
            application: meeting.app.clone(),
            order_id: meeting.order_id.clone(),
            state: meeting.state,
            cause: meeting.cause,
            caller: party(&meeting.caller, you, Role::Caller),
            receiver: party(&meeting.receiver, you, Role::Receiver),
            you,
            starts_at: rfc3339(meeting.starts_ms),
            ends_at: rfc3339(meeting.ends_ms),
            opens_at: rfc3339(meeting.opens_ms()),
            duration_seconds: meeting.duration_ms / 1_000,
            extended_seconds: meeting.extended_ms / 1_000,
            extend_left_seconds: meeting.extend_left_ms(settings) / 1_000,
            talked_seconds: meeting.talked_until_ms(now_ms) / 1_000,
            dial_in: meeting.dial_in.clone(),
            pin: pin(Role::Caller),
            receiver_pin: pin(Role::Receiver),
            attempts: meeting.attempts,
            last_attempt: meeting.last_attempt,
            proposal: meeting.proposal.map(|proposal| ProposalView {
                by: proposal.by,
                starts_at: rfc3339(proposal.starts_ms),
                duration_seconds: proposal.duration_ms / 1_000,
            }),
            live_since: meeting.live_since_ms.map(rfc3339),
            created_at: rfc3339(meeting.created_ms),
            ended_at: meeting.ended_ms.map(rfc3339),
            calls: you.is_none().then(|| meeting.calls.clone()),
            recordings: None,
        }
    }

    /// With its recordings.
    pub(super) fn with(self, recordings: Vec<RecordingView>) -> Self {
        Self { recordings: Some(recordings), ..self }
    }
}

fn party(party: &Party, you: Option<Role>, role: Role) -> PartyView {
    let shown = party.shown_name();
    let Party { uid, name, number, email, call_type } = party;
    let is_shown = you.is_none_or(|you| you == role);
    let name = if is_shown { name } else { shown.unwrap_or_default() };
    PartyView {
        uid: is_shown.then(|| uid.clone()),
        name: name.to_owned(),
        number: number.clone().filter(|_| you.is_none()),
        email: email.clone().filter(|_| you.is_none()),
        call_type: *call_type,
    }
}
