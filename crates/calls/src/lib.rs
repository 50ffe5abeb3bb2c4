//! A call and its legs, whatever they are made of: originate, answer, bridge, play, gather, record,
//! transfer, hang up. No HTTP routes, no sockets.
//!
//! [`Calls`] is the door: it places calls, hands inbound ones to their drivers and reaches those that
//! are up. A driver owns a [`Call`]. Pure rules stand in [`model`], [`connect`], [`gather`] and
//! [`numbers`]; who has which number in [`directory`]; SQL in each part's statements.

#![forbid(unsafe_code)]

mod bindings;
mod browser_phones;
mod call;
pub mod concerning;
pub mod conference;
mod conferences;
mod conferring;
pub mod connect;
mod consultation;
pub mod conversation;
mod destination;
mod dialling;
pub mod directory;
pub mod driver;
pub mod erasure;
pub mod gather;
mod journal;
mod keeping;
mod lines;
mod live;
mod lobby;
pub mod masking;
pub mod model;
pub mod numbers;
pub mod pairing;
mod party;
mod ports;
pub mod presence;
mod public_numbers;
pub mod queue;
pub mod records;
mod recovery;
mod registry;
mod reports;
mod requests;
mod router;
mod routes;
mod sentence;
mod service;
pub mod statistics;
mod store;
mod supervision;
mod sweep;
mod tap;
mod teams;
mod transfer;
mod trunks;
mod unfinished;
mod verbs;
mod waiting;

pub use call::Call;
pub use conferences::{ConferenceView, MemberView};
pub use connect::{ConnectStatus, Strategy};
pub use conversation::{Answering, Conversation, Correspondence, Fitness, Heard, LastRows, Written};
pub use directory::{Bound, Destination, Directory, ResolveError};
pub use driver::{
    CallEvent, ConferenceEvent, Connect, ConnectEvent, JoinConference, LeaveVoicemail, NewCall, QueueEvent, Queueing,
    RecordAction, RecordingEvent, VoicemailEvent, Whisper,
};
pub use lines::{
    CreatedUser, ExtensionEntry, NewUser, SipAccount, add_extension, create_user, disable_user, extensions,
    extensions_of, renew_password, set_voicemail,
};
pub use masking::{CallBack, Mask, MaskOrder};
pub use model::{CallEnd, CallModel, CallState, CallView, Direction, EndedBy, LegRecord, LegRole, LegState};
pub use numbers::NumberError;
pub use pairing::{
    PAIR_RING_MS, PairAddress, PairDesk, PairEvent, PairHandle, PairOrder, PairParty, PairSide, PairSounds, PartedBy,
    PartyLine,
};
pub use public_numbers::{NumberView, bind_number, public_number, public_numbers, release_number};
pub use queue::{AgentState, AgentView, Availability, Left, OwnState, QueueView, TeamStrategy, Turn, TurnWish};
pub use sentence::Sentence;
pub use service::{CallError, Calls, Dialer, InboundHandler, InboundKind, InboundNumber, MAX_PAGE};
pub use store::{CallFilter, CallPage};
pub use supervision::{SuperviseError, SuperviseMode, Supervised};
pub use sweep::{ShelfSweep, sweeps};
pub use tap::Tap;
pub use teams::{NewTeam, TeamChange, TeamRecord, USUAL_RING_S, change_team, create_team, remove_team, team, teams};
pub use trunks::{NewTrunk, TrunkEverywhere, TrunkRecord, create_trunk, remove_trunk, trunks, trunks_everywhere};

#[cfg(test)]
mod tests;
