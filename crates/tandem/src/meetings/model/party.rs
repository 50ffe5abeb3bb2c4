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

/// A name that has so many digits of the party's number in a row would tell it; of a shorter number, all of them.
const TELLING_DIGITS: usize = 5;

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

impl Party {
    /// What the other side may read of the name: all of it, or nothing when it tells the number. A digit of another
    /// script may be any digit.
    #[must_use]
    pub fn shown_name(&self) -> Option<&str> {
        let name = self.name.trim();
        let number: Vec<char> =
            self.number.as_deref().unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
        let in_name: Vec<char> = name.chars().filter(|c| c.is_numeric()).collect();
        let may_be = |(said, digit): (&char, &char)| !said.is_ascii() || said == digit;
        let telling = number.len().clamp(1, TELLING_DIGITS);
        let tells =
            in_name.windows(telling).any(|said| number.windows(telling).any(|part| said.iter().zip(part).all(may_be)));
        (!name.is_empty() && !tells).then_some(name)
    }
}

/// What changes of one of the two. None = as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartyChange {
    /// Who takes this place, as the application described that person last: nothing of the former one stays. Whoever
    /// has the place already keeps what the meeting knows.
    pub person: Option<Party>,
    /// For people.
    pub name: Option<String>,
    /// What to dial; an empty text takes it away.
    pub number: Option<String>,
    /// Where notices go; an empty text takes it away.
    pub email: Option<String>,
    /// How this party talks.
    pub call_type: Option<CallType>,
}

impl PartyChange {
    /// What a second order says of the same person: a name and a mail address that it leaves out stay.
    #[must_use]
    pub fn said_again(party: Party) -> Self {
        let Party { uid: _, name, number, email, call_type } = party;
        Self {
            person: None,
            name: Some(name).filter(|name| !name.is_empty()),
            number: Some(number.unwrap_or_default()),
            email,
            call_type: Some(call_type),
        }
    }

    /// The party after it.
    pub(super) fn applied_to(self, party: &Party) -> Party {
        let Self { person, name, number, email, call_type } = self;
        let base = person.filter(|person| person.uid != party.uid).unwrap_or_else(|| party.clone());
        let given = |new: Option<String>, old| new.map_or(old, |text| Some(text).filter(|text| !text.is_empty()));
        Party {
            uid: base.uid,
            name: name.unwrap_or(base.name),
            number: given(number, base.number),
            email: given(email, base.email),
            call_type: call_type.unwrap_or(base.call_type),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_tells_the_number_is_not_shown() {
        let named = |name: &str, number: &str| {
            let (name, number) = (name.to_owned(), Some(number.to_owned()));
            let party = Party { uid: "ann".to_owned(), name, number, email: None, call_type: CallType::Phone };
            party.shown_name().map(str::to_owned)
        };
        for name in ["Ann", "Ann, room 6681", "Ann \u{661}\u{662}"] {
            assert_eq!(named(name, "+41446681801").as_deref(), Some(name));
        }
        let in_arabic_digits = "\u{664}\u{664}\u{666}\u{666}\u{668}\u{661}\u{668}";
        let full_width = "4 4 6 \u{ff16} \u{ff18}";
        for name in ["+41 44 668 18 01", "Ann 044-668-18-01", "66818", "  ", in_arabic_digits, full_width] {
            assert_eq!(named(name, "+41446681801"), None, "{name}");
        }
        assert_eq!(named("Ann (1001)", "1001"), None, "a short number is told by all of it");
        assert_eq!(named("Ann (100)", "1001").as_deref(), Some("Ann (100)"));
    }
}
