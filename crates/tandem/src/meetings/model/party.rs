//! Who meets: the two, and whoever else changes a meeting.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Who ordered.
    Caller,
    /// Who is called.
    Receiver,
}

impl Role {
    /// Both, the caller first.
    pub const BOTH: [Self; 2] = [Self::Caller, Self::Receiver];

    /// The word on the wire and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Receiver => "receiver",
        }
    }

    /// Reads what [`Role::as_str`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::BOTH.into_iter().find(|role| role.as_str() == text)
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Receiver,
            Self::Receiver => Self::Caller,
        }
    }
}

/// Who wants something of a meeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The application, or somebody of the organisation.
    Application,
    /// One of the two.
    Party(Role),
    /// The server.
    System,
}

impl Actor {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Party(role) => role.as_str(),
            Self::System => "system",
        }
    }

    /// The party, if it is one.
    #[must_use]
    pub fn role(self) -> Option<Role> {
        match self {
            Self::Party(role) => Some(role),
            Self::Application | Self::System => None,
        }
    }
}

/// How a party talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallType {
    /// By the number that the application gave.
    Phone,
    /// In the meeting's page.
    Browser,
}

impl CallType {
    /// The word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Browser => "browser",
        }
    }

    /// Reads the word in any case, as document 000 writes it (`Phone`).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Phone, Self::Browser].into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text.trim()))
    }
}

/// One of the two, as the application described them when the meeting was last posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// As the application knows the person; unique in it.
    pub uid: String,
    /// For people; may be empty.
    pub name: String,
    /// What to dial, `+` and digits or an own number. Never shown to the other.
    pub number: Option<String>,
    /// Where this party's invitations and reminders go, if by mail.
    #[serde(default)]
    pub email: Option<String>,
    /// How this party talks.
    pub call_type: CallType,
}
