//! Who may do what with a room: one function, one table.
//!
//! Invariant: every way to a room, by HTTP, socket or page, asks [`may`] (a room) or [`may_everywhere`] (all of them);
//! roles and identities are compared nowhere else. What an asker may not even see is not found. Sources:
//! docs/contracts/chat.md, "Security of a public widget"; docs/contracts/platform.md, "Who may do what".

use std::sync::Arc;

use kernel::{Action, Principal, Role, Scope, role};

use super::model::{Id, Room, Sender, Side, Visitor};
use super::settings::Identity;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A visitor, by token or vouched for by the application.
    Visitor {
        /// The organisation.
        org: Id,
        /// The application.
        app: Id,
        /// The visitor.
        id: Id,
    },
    /// Somebody of the organisation.
    Person {
        /// The organisation.
        org: Id,
        /// The person.
        id: Id,
        /// What it may do.
        role: Role,
    },
    /// An application's server, by its secret key.
    App {
        /// The organisation.
        org: Id,
        /// The application.
        app: Id,
    },
    /// Anybody, where the application is `open`.
    Open {
        /// The organisation.
        org: Id,
        /// The application.
        app: Id,
    },
    /// Anybody who knows the id of a room.
    Room {
        /// The organisation.
        org: Id,
        /// The room.
        room: Id,
    },
}

impl Asker {
    /// Who a principal is to the chat. None = a credential that does not open it.
    #[must_use]
    pub fn of(principal: &Principal) -> Option<Self> {
        match principal {
            Principal::Person { org, person, role } => {
                Some(Self::Person { org: org.clone(), id: person.clone(), role: *role })
            }
            // It may do everything in the organisation that it works in.
            Principal::Administrator { org, administrator } => (!org.is_empty()).then(|| Self::Person {
                org: org.clone(),
                id: administrator.clone(),
                role: Role::Owner,
            }),
            Principal::App { org, app, scopes } => {
                Scope::covers(scopes, Action::ManageChats).then(|| Self::App { org: org.clone(), app: app.clone() })
            }
            Principal::Publishable { .. } => None,
        }
    }

    /// The organisation.
    #[must_use]
    pub fn org(&self) -> &Id {
        match self {
            Self::Visitor { org, .. }
            | Self::Person { org, .. }
            | Self::App { org, .. }
            | Self::Open { org, .. }
            | Self::Room { org, .. } => org,
        }
    }

    /// The application whose rooms alone it reaches; none = of every application.
    #[must_use]
    pub fn app(&self) -> Option<&Id> {
        match self {
            Self::Visitor { app, .. } | Self::App { app, .. } | Self::Open { app, .. } => Some(app),
            Self::Person { .. } | Self::Room { .. } => None,
        }
    }

    /// Which side it stands on, as its credential says.
    #[must_use]
    pub fn side(&self) -> Side {
        match self {
            Self::Person { .. } | Self::App { .. } => Side::Support,
            Self::Visitor { .. } | Self::Open { .. } | Self::Room { .. } => Side::Visitor,
        }
    }

    /// As whom it writes in a room.
    #[must_use]
    pub fn sender(&self, room: &Room) -> Sender {
        match self {
            Self::Visitor { id, .. } => Sender::Visitor(id.clone()),
            Self::Person { id, .. } => Sender::Person(id.clone()),
            Self::App { app, .. } => Sender::App(app.clone()),
            Self::Open { .. } | Self::Room { .. } => Sender::Visitor(room.visitor.clone()),
        }
    }
}

impl From<&Visitor> for Asker {
    fn from(visitor: &Visitor) -> Self {
        Self::Visitor { org: visitor.org.clone(), app: visitor.app.clone(), id: visitor.id.clone() }
    }
}

/// What is wanted of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act<'a> {
    /// Read the room and its messages, hear what happens in it.
    See,
    /// Say something; also to show that one types.
    Send {
        /// Whether the message says of itself that it is support.
        claims_support: bool,
    },
    /// Say how far one has read.
    Mark,
    /// Change a message of this sender.
    Edit(&'a Sender),
    /// Take back a message of this sender.
    Delete(&'a Sender),
    /// Close the room, or open it again.
    Close,
    /// Close it for having no more to ask: its visitor's own word.
    End,
    /// Read notes, tags and whatever else visitors do not see.
    SeeInside,
    /// Write notes and tags.
    Annotate,
    /// Give the room to a person or a team, or take it.
    Assign,
    /// Begin a call there, or end it.
    Call,
}

/// What is wanted of all rooms of an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wide {
    /// List rooms; hear what happens in every one.
    SeeRooms,
    /// List QR ids, make them, make master links.
    MakeLinks,
    /// Open rooms in the name of visitors, get the room of any keys.
    OpenForOthers,
    /// Use what belongs to those who answer: canned replies, macros, who of them takes chats.
    UseDesk,
    /// Say who takes chats, keep canned replies and macros.
    Direct,
    /// See how chats went.
    SeeReports,
}

impl Wide {
    /// Whether it is of the organisation's people alone, and of no program.
    fn is_for_people(self) -> bool {
        match self {
            Self::UseDesk | Self::Direct | Self::SeeReports => true,
            Self::SeeRooms | Self::MakeLinks | Self::OpenForOthers => false,
        }
    }
}

/// Why something may not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The asker is not to know that there is such a room.
    #[error("there is no such room")]
    NotFound,
    /// The asker may see it, not do this.
    #[error("the credential may not do this")]
    Forbidden,
}

/// Whether somebody may do something with a room. `identity` is the setting of the room's application.
///
/// # Errors
/// [`Denied`].
pub fn may(asker: &Asker, identity: Identity, room: &Room, act: Act<'_>) -> Result<(), Denied> {
    if !sees(asker, identity, room) {
        return Err(Denied::NotFound);
    }
    let good = match asker {
        // It acts in its own name, and puts no words into another's mouth.
        Asker::App { app, .. } => !matches!(act, Act::Edit(sender) if *sender != Sender::App(app.clone())),
        Asker::Person { id, role, .. } => person_may(id, *role, room, act),
        Asker::Visitor { .. } | Asker::Open { .. } | Asker::Room { .. } => visitor_may(asker, identity, room, act),
    };
    if good { Ok(()) } else { Err(Denied::Forbidden) }
}

/// Whether somebody may do something with every room of its application, or of its organisation.
///
/// # Errors
/// [`Denied::Forbidden`].
pub fn may_everywhere(asker: &Asker, identity: Identity, wide: Wide) -> Result<(), Denied> {
    let good = match asker {
        // What is the whole organisation's, and what tells of its people, is no single application's.
        Asker::App { .. } => !wide.is_for_people(),
        Asker::Open { .. } => identity == Identity::Open && !wide.is_for_people(),
        Asker::Person { role, .. } => match wide {
            Wide::SeeRooms | Wide::UseDesk => reads(*role),
            Wide::MakeLinks | Wide::OpenForOthers => works(*role),
            Wide::Direct => role::allowed(*role, Action::ManageChats),
            Wide::SeeReports => role::allowed(*role, Action::ReadReports),
        },
        Asker::Visitor { .. } | Asker::Room { .. } => false,
    };
    if good { Ok(()) } else { Err(Denied::Forbidden) }
}

/// Whether there is such a room at all, as far as the asker is to know.
fn sees(asker: &Asker, identity: Identity, room: &Room) -> bool {
    if *asker.org() != room.org {
        return false;
    }
    match asker {
        Asker::Visitor { app, id, .. } => *app == room.app && *id == room.visitor,
        Asker::App { app, .. } => *app == room.app,
        Asker::Open { app, .. } => identity == Identity::Open && *app == room.app,
        Asker::Room { room: id, .. } => identity != Identity::Verified && *id == room.id,
        Asker::Person { role, .. } => reads(*role),
    }
}

/// Agents see every room, so that whoever is free can help; a member sees none.
fn reads(role: Role) -> bool {
    role::allowed(role, Action::ReadChats) || works(role)
}

/// Whether people of a role answer visitors.
#[must_use]
pub fn answers(role: Role) -> bool {
    works(role)
}

/// Who answers visitors.
fn works(role: Role) -> bool {
    role::allowed(role, Action::WorkQueue)
}

fn person_may(id: &Id, role: Role, room: &Room, act: Act<'_>) -> bool {
    let manages = role::allowed(role, Action::ManageChats);
    // An agent works in what it was given and in what waits.
    let is_mine = room.assignee.as_ref().is_none_or(|assignee| assignee == id);
    let is_own = |sender: &Sender| matches!(sender, Sender::Person(by) if by == id);
    match act {
        Act::See | Act::SeeInside => reads(role),
        Act::Annotate => works(role),
        Act::Send { .. } | Act::Mark | Act::Close | Act::End | Act::Assign | Act::Call => {
            manages || (works(role) && is_mine)
        }
        Act::Edit(sender) => works(role) && is_own(sender),
        Act::Delete(sender) => manages || (works(role) && is_own(sender)),
    }
}

fn visitor_may(asker: &Asker, identity: Identity, room: &Room, act: Act<'_>) -> bool {
    let is_open = identity == Identity::Open;
    let is_own = |sender: &Sender| *sender == asker.sender(room);
    match act {
        Act::See | Act::Mark => true,
        Act::Send { claims_support } => !claims_support || is_open,
        // The id of a room alone proves nobody's words to be one's own.
        Act::Edit(sender) | Act::Delete(sender) => matches!(asker, Asker::Visitor { .. }) && is_own(sender),
        Act::End | Act::Call => matches!(asker, Asker::Visitor { .. }),
        Act::Close => is_open && matches!(asker, Asker::Open { .. }),
        Act::SeeInside | Act::Annotate | Act::Assign => false,
    }
}

/// An asker's own mark for limits: no two share one.
#[must_use]
pub fn limit_key(asker: &Asker, room: &Room) -> Arc<str> {
    match asker {
        Asker::Visitor { id, .. } => id.clone(),
        Asker::Person { id, .. } => id.clone(),
        Asker::App { app, .. } => app.clone(),
        Asker::Open { .. } | Asker::Room { .. } => room.visitor.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::model::State;

    fn room(assignee: Option<&str>) -> Room {
        Room {
            id: "room".into(),
            org: "org".into(),
            app: "app".into(),
            product: String::new(),
            user_id: String::new(),
            label: String::new(),
            portfolio: String::new(),
            event_id: String::new(),
            is_login: false,
            state: State::Open,
            visitor: "vis".into(),
            assignee: assignee.map(Into::into),
            team: None,
            seq_head: 0,
            last_body: None,
            created_ms: 0,
            last_ms: 0,
            closed_ms: None,
            revision: 0,
        }
    }

    fn askers() -> Vec<Asker> {
        let (org, app): (Id, Id) = ("org".into(), "app".into());
        let person = |role| Asker::Person { org: "org".into(), id: "me".into(), role };
        let mut askers = vec![
            Asker::Visitor { org: org.clone(), app: app.clone(), id: "vis".into() },
            Asker::Visitor { org: org.clone(), app: app.clone(), id: "vis_other".into() },
            Asker::Room { org: org.clone(), room: "room".into() },
            Asker::Room { org: org.clone(), room: "room_other".into() },
            Asker::Open { org: org.clone(), app: app.clone() },
            Asker::App { org: org.clone(), app },
            Asker::App { org: org.clone(), app: "app_other".into() },
            Asker::App { org: "org_other".into(), app: "app".into() },
        ];
        askers.extend(role::ROLES.map(person));
        askers.push(Asker::Person { org: "org_other".into(), id: "me".into(), role: Role::Owner });
        askers
    }

    const WIDE: [Wide; 6] =
        [Wide::SeeRooms, Wide::MakeLinks, Wide::OpenForOthers, Wide::UseDesk, Wide::Direct, Wide::SeeReports];

    /// The whole table, drawn, so that a change of permissions is seen by whoever reviews it: x = may, . = may not,
    /// and a dash = there is no such room. Visitor, another one; by the room's id, by another's; open; the application,
    /// another one, one of another organisation; owner, admin, supervisor, agent, member, auditor; another
    /// organisation's owner.
    #[test]
    fn the_table() {
        let (visitor, mine, other) =
            (Sender::Visitor("vis".into()), Sender::Person("me".into()), Sender::Person("other".into()));
        let acts = [
            ("see", Act::See),
            ("send", Act::Send { claims_support: false }),
            ("send as support", Act::Send { claims_support: true }),
            ("mark", Act::Mark),
            ("edit the visitor's", Act::Edit(&visitor)),
            ("edit mine", Act::Edit(&mine)),
            ("edit another's", Act::Edit(&other)),
            ("delete the visitor's", Act::Delete(&visitor)),
            ("delete another's", Act::Delete(&other)),
            ("close", Act::Close),
            ("see inside", Act::SeeInside),
            ("annotate", Act::Annotate),
            ("assign", Act::Assign),
            ("call", Act::Call),
        ];
        let mut drawing = String::new();
        for (identity, assignee) in [
            (Identity::Token, None),
            (Identity::Token, Some("other")),
            (Identity::Open, None),
            (Identity::Verified, None),
        ] {
            drawing += &format!("{} {}\n", identity.as_str(), assignee.unwrap_or("unassigned"));
            for (name, act) in acts {
                let drawn = |asker: &Asker| match may(asker, identity, &room(assignee), act) {
                    Ok(()) => 'x',
                    Err(Denied::Forbidden) => '.',
                    Err(Denied::NotFound) => '-',
                };
                let row: String = askers().iter().map(drawn).collect();
                drawing += &format!("{row} {name}\n");
            }
        }
        for identity in [Identity::Token, Identity::Open, Identity::Verified] {
            for wide in WIDE {
                let drawn = |asker: &Asker| if may_everywhere(asker, identity, wide).is_ok() { 'x' } else { '.' };
                let row: String = askers().iter().map(drawn).collect();
                drawing += &format!("{row} {} {wide:?}\n", identity.as_str());
            }
        }
        insta::assert_snapshot!(drawing, @r"
        token unassigned
        x-x--x--xxxx-x- see
        x-x--x--xxxx-.- send
        .-.--x--xxxx-.- send as support
        x-x--x--xxxx-.- mark
        x-.--.--....-.- edit the visitor's
        .-.--.--xxxx-.- edit mine
        .-.--.--....-.- edit another's
        x-.--x--xxx.-.- delete the visitor's
        .-.--x--xxx.-.- delete another's
        .-.--x--xxxx-.- close
        .-.--x--xxxx-x- see inside
        .-.--x--xxxx-.- annotate
        .-.--x--xxxx-.- assign
        x-.--x--xxxx-.- call
        token other
        x-x--x--xxxx-x- see
        x-x--x--xxx.-.- send
        .-.--x--xxx.-.- send as support
        x-x--x--xxx.-.- mark
        x-.--.--....-.- edit the visitor's
        .-.--.--xxxx-.- edit mine
        .-.--.--....-.- edit another's
        x-.--x--xxx.-.- delete the visitor's
        .-.--x--xxx.-.- delete another's
        .-.--x--xxx.-.- close
        .-.--x--xxxx-x- see inside
        .-.--x--xxxx-.- annotate
        .-.--x--xxx.-.- assign
        x-.--x--xxx.-.- call
        open unassigned
        x-x-xx--xxxx-x- see
        x-x-xx--xxxx-.- send
        x-x-xx--xxxx-.- send as support
        x-x-xx--xxxx-.- mark
        x-.-..--....-.- edit the visitor's
        .-.-..--xxxx-.- edit mine
        .-.-..--....-.- edit another's
        x-.-.x--xxx.-.- delete the visitor's
        .-.-.x--xxx.-.- delete another's
        .-.-xx--xxxx-.- close
        .-.-.x--xxxx-x- see inside
        .-.-.x--xxxx-.- annotate
        .-.-.x--xxxx-.- assign
        x-.-.x--xxxx-.- call
        verified unassigned
        x----x--xxxx-x- see
        x----x--xxxx-.- send
        .----x--xxxx-.- send as support
        x----x--xxxx-.- mark
        x----.--....-.- edit the visitor's
        .----.--xxxx-.- edit mine
        .----.--....-.- edit another's
        x----x--xxx.-.- delete the visitor's
        .----x--xxx.-.- delete another's
        .----x--xxxx-.- close
        .----x--xxxx-x- see inside
        .----x--xxxx-.- annotate
        .----x--xxxx-.- assign
        x----x--xxxx-.- call
        .....xxxxxxx.xx token SeeRooms
        .....xxxxxxx..x token MakeLinks
        .....xxxxxxx..x token OpenForOthers
        ........xxxx.xx token UseDesk
        ........xxx...x token Direct
        ........xxx..xx token SeeReports
        ....xxxxxxxx.xx open SeeRooms
        ....xxxxxxxx..x open MakeLinks
        ....xxxxxxxx..x open OpenForOthers
        ........xxxx.xx open UseDesk
        ........xxx...x open Direct
        ........xxx..xx open SeeReports
        .....xxxxxxx.xx verified SeeRooms
        .....xxxxxxx..x verified MakeLinks
        .....xxxxxxx..x verified OpenForOthers
        ........xxxx.xx verified UseDesk
        ........xxx...x verified Direct
        ........xxx..xx verified SeeReports
        ");
    }

    #[test]
    fn a_principal_is_an_asker_by_its_role_and_scope() {
        let app = |scopes: &[Scope]| Principal::App { org: "o".into(), app: "a".into(), scopes: scopes.into() };
        assert!(Asker::of(&app(&[])).is_some() && Asker::of(&app(&[Scope::Chat])).is_some());
        assert_eq!(Asker::of(&app(&[Scope::Flows])), None);
        assert_eq!(Asker::of(&Principal::Publishable { org: "o".into(), app: "a".into() }), None);
        let administrator = |org: &str| Principal::Administrator { org: org.into(), administrator: "adm".into() };
        assert_eq!(Asker::of(&administrator("")), None, "no organisation is chosen");
        assert!(matches!(Asker::of(&administrator("o")), Some(Asker::Person { role: Role::Owner, .. })));
    }
}
