//! The frames of a browser phone's WebSocket: one JSON object a message, told apart by `type`.
//!
//! A phone says [`Up`], the server says [`Down`]. A conversation:
//!
//! ```text
//! phone   {"type":"hello","token":"..."}          first; the token only where no cookie or Bearer came with the request
//! server  {"type":"ready","phone":"...","extension":"1001","name":"Ann","ice_servers":[],"calls":[]}
//!
//! phone   {"type":"call","id":"c1","to":"1002","sdp":"v=0..."}         calling; ids of calls made here are the phone's own
//! server  {"type":"answer","id":"c1","sdp":"v=0..."}                   media may flow from here on
//! server  {"type":"ringing","id":"c1"}
//! server  {"type":"answered","id":"c1"}
//! phone   {"type":"hangup","id":"c1"}
//! server  {"type":"ended","id":"c1","cause":"normal","by":"phone"}
//!
//! server  {"type":"incoming","id":"leg_...","from":{"number":"1002","name":"Bob"},"sdp":"v=0..."}
//! phone   {"type":"ringing","id":"leg_..."}
//! phone   {"type":"answer","id":"leg_...","sdp":"v=0..."}
//! server  {"type":"answered","id":"leg_..."}
//! server  {"type":"ended","id":"leg_...","cause":"normal","by":"server"}
//! ```
//!
//! A call ends with exactly one `ended`, whoever ended it. A frame that cannot be taken is answered with `error` and
//! changes nothing. Descriptions are whole: our side is ICE-lite with fixed candidates, and needs none of the phone's
//! (it learns the address from the phone's checks), so that a phone sends its offer without waiting for candidates.
//!
//! After a lost socket the phone comes back with `{"type":"hello","phone":"..."}` within 30 s (5 s where a call rings):
//! its calls live on, and `ready` names them. After a change of network it sends `offer` with an ICE restart for each; after a reload of the
//! page, which has lost its connections, a fresh offer for each that it wants to keep, and `hangup` for the others.
//!
//! Whoever is sent away is told why twice: by an `error` frame, and by the code of the close frame ([`Fault::close_code`]).

use serde::{Deserialize, Serialize};

use crate::leg::PhoneId;
use kernel::secret::Secret;

/// The largest frame, in bytes: a description with many candidates has 10 kB.
pub const MAX_FRAME_BYTES: usize = 65_536;

/// What a phone says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Up {
    /// The first frame.
    Hello {
        /// The phone that was here before, as `ready` called it: its calls go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phone: Option<PhoneId>,
        /// A token, where the request carried no credential.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Secret>,
    },
    /// Makes a call.
    Call {
        /// The call's name from now on, of the phone's choice.
        id: String,
        /// Whom, as it was dialled.
        to: String,
        /// An offer.
        sdp: String,
    },
    /// An incoming call rings here.
    Ringing {
        /// Which.
        id: String,
    },
    /// Takes an incoming call.
    Answer {
        /// Which.
        id: String,
        /// The answer to its offer.
        sdp: String,
    },
    /// Refuses an incoming call.
    Reject {
        /// Which.
        id: String,
        /// With this SIP status (486 busy, 603 declined); 603 without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sip_code: Option<u16>,
    },
    /// Ends a call, in whatever state it is.
    Hangup {
        /// Which.
        id: String,
    },
    /// Holds the other party, or takes it off hold. No new description is needed: the server stops sending audio
    /// here and plays music there.
    Hold {
        /// Which.
        id: String,
        /// Hold, or resume.
        on: bool,
    },
    /// A new offer for a call that is up: an ICE restart, or new connections after a reload. Answered with `answer`.
    Offer {
        /// Which.
        id: String,
        /// The offer.
        sdp: String,
    },
    /// Connects the other party with someone else and leaves.
    Transfer {
        /// Which.
        id: String,
        /// Whom the other party is to talk with, as it would be dialled.
        to: String,
    },
    /// Presses keys, for a browser whose connection cannot send them as RFC 4733 events (`RTCDTMFSender.canInsertDTMF`
    /// is false).
    Dtmf {
        /// Which call.
        id: String,
        /// `0` to `9`, `A` to `D`, `*`, `#`, one after the other.
        digits: String,
    },
    /// Asks for a sign of life.
    Ping,
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Down {
    /// The phone is online.
    Ready {
        /// Its name, for a `hello` after a lost socket. Whoever knows it and is the same person takes its calls over.
        phone: PhoneId,
        /// The extension that it rings for.
        extension: String,
        /// The person's name.
        name: String,
        /// For `RTCPeerConnection`'s `iceServers`.
        ice_servers: Vec<IceServer>,
        /// Calls that are up already, after a lost socket.
        calls: Vec<CallView>,
    },
    /// Somebody calls. Sent again after a lost socket, while it rings.
    Incoming {
        /// The call's name from now on.
        id: String,
        /// Who calls.
        from: Caller,
        /// An offer.
        sdp: String,
    },
    /// The answer to the offer of a `call` or an `offer`.
    Answer {
        /// Which.
        id: String,
        /// The answer.
        sdp: String,
    },
    /// The other party's phone rings. The phone plays a ringing tone of its own until `early_media`, `answered` or
    /// `ended` comes.
    Ringing {
        /// Which.
        id: String,
    },
    /// What is to be heard before the answer comes as audio: a ringing tone of the other side, an announcement.
    EarlyMedia {
        /// Which.
        id: String,
    },
    /// The call is up.
    Answered {
        /// Which.
        id: String,
    },
    /// The call is on hold.
    Held {
        /// Which.
        id: String,
        /// Who holds.
        by: Side,
    },
    /// It is no longer.
    Resumed {
        /// Which.
        id: String,
        /// Who held.
        by: Side,
    },
    /// The call is over.
    Ended {
        /// Which.
        id: String,
        /// Why: a cause of the contract (`normal`, `busy`, `no_answer`, `media_timeout`, `unreachable`, ...).
        cause: String,
        /// The SIP status, where there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sip_code: Option<u16>,
        /// Who ended it.
        by: Side,
    },
    /// A frame was not taken.
    Error {
        /// What is wrong, as a word: see [`Fault`].
        code: Fault,
        /// What is wrong, as a sentence.
        message: String,
        /// The call that the frame named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The member of the frame that is wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        field: Option<String>,
    },
    /// What to ask for addresses from now on: credentials for relays last a day, and a page stays open longer.
    IceServers {
        /// For the `iceServers` of connections that are made from now on.
        ice_servers: Vec<IceServer>,
    },
    /// The answer to `ping`.
    Pong,
}

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// This phone.
    Phone,
    /// The other party, or the server for it.
    Server,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The number; empty when it is withheld.
    pub number: String,
    /// The name beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// An entry of `iceServers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:` and `turn:` URLs.
    pub urls: Vec<String>,
    /// TURN user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// TURN password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Secret>,
}

/// A call that outlived its socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallView {
    /// Its name.
    pub id: String,
    /// How far it is.
    pub state: CallState,
    /// Whether the phone holds the other party.
    pub held: bool,
}

/// How far a call is, for a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// The phone calls; nobody has answered.
    Calling,
    /// The phone is called; `incoming` follows.
    Ringing,
    /// Answered.
    Up,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It is no JSON object of a known type, or a member is missing or of the wrong kind.
    InvalidFrame,
    /// No good credential, or none that may phone: the socket is closed.
    Unauthorized,
    /// The person has no extension, so there is nothing to ring: the socket is closed.
    NoExtension,
    /// The server takes no phone now: the socket is closed; try again later.
    Unavailable,
    /// No call of that name.
    UnknownCall,
    /// A call of that name is up already.
    CallExists,
    /// The call is not in a state in which that can be done.
    WrongState,
    /// The description is not one, or holds nothing that both can speak. A `call` with it does not begin; an incoming
    /// call that was answered with it ends; a call that is up goes on as it was.
    BadSdp,
    /// More calls than a phone may have.
    TooManyCalls,
    /// Nobody agreed to the transfer: the call goes on.
    TransferRefused,
    /// The phone may not do that: one that only takes calls makes none, and hands none on.
    NotAllowed,
    /// About a call: its `offer` came within a second of the one before, and is to be made again after that. Without a
    /// call: too many frames, and the socket is closed.
    RateLimited,
}

impl Fault {
    /// The code of the close frame with which a phone is sent away for this (RFC 6455, section 7.4.2).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Unauthorized => 4_401,
            Self::NoExtension => 4_403,
            Self::RateLimited => 4_429,
            // Try again later.
            Self::Unavailable => 1_013,
            // A frame that is against the rules.
            Self::InvalidFrame
            | Self::UnknownCall
            | Self::CallExists
            | Self::WrongState
            | Self::BadSdp
            | Self::TooManyCalls
            | Self::TransferRefused
            | Self::NotAllowed => 1_008,
        }
    }
}

impl Up {
    /// Reads a message.
    ///
    /// # Errors
    /// The `error` frame that answers it.
    pub fn read(text: &str) -> Result<Self, Down> {
        let refuse = |why: &dyn std::fmt::Display| Down::Error {
            code: Fault::InvalidFrame,
            message: format!("not a frame: {why}"),
            id: None,
            field: None,
        };
        // A list of the members' values would be read too.
        if !text.trim_start().starts_with('{') {
            return Err(refuse(&"a JSON object is expected"));
        }
        serde_json::from_str(text).map_err(|error| refuse(&error))
    }
}

impl Down {
    /// The message for a frame.
    #[must_use]
    pub fn write(&self) -> String {
        // Strings and lists of them always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_spelt_as_documented() {
        let hello = Up::read(r#"{"type":"hello"}"#).unwrap();
        assert_eq!(hello, Up::Hello { phone: None, token: None });
        let call = Up::read(r#"{"type":"call","id":"c1","to":"1002","sdp":"v=0"}"#).unwrap();
        assert_eq!(call, Up::Call { id: "c1".into(), to: "1002".into(), sdp: "v=0".into() });
        assert_eq!(Up::read(r#"{"type":"ping"}"#).unwrap(), Up::Ping);
        let ended =
            Down::Ended { id: "c1".into(), cause: "busy".into(), sip_code: Some(486), by: Side::Server }.write();
        assert_eq!(ended, r#"{"type":"ended","id":"c1","cause":"busy","sip_code":486,"by":"server"}"#);
        assert_eq!(Down::Pong.write(), r#"{"type":"pong"}"#);
    }

    #[test]
    fn what_is_no_frame_is_answered_with_an_error() {
        for text in [
            "",
            "[]",
            r#"["ping"]"#,
            "{}",
            r#"{"type":"dance"}"#,
            r#"{"type":"call","id":"c1"}"#,
            r#"{"type":"hold","id":"c1","on":"yes"}"#,
        ] {
            let Err(Down::Error { code, message, .. }) = Up::read(text) else { panic!("{text}") };
            assert_eq!(code, Fault::InvalidFrame);
            assert!(!message.is_empty());
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let hello = Up::read(r#"{"type":"hello","token":"pt_secret"}"#).unwrap();
        assert!(!format!("{hello:?}").contains("pt_secret"));
    }
}
