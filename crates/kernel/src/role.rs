//! Who may do what: one table of role x action, and the scopes of applications.
//!
//! Invariant: every decision of a route goes through [`allowed`] or [`Scope::covers`]; roles are compared nowhere else.
//! The sentences are those of contracts/platform.md, "Who may do what".

use std::fmt;
use std::str::FromStr;

/// A person's role in the organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Billing settings, deleting the organisation, and all below.
    Owner,
    /// People, keys, numbers, trunks, retention, and all below.
    Admin,
    /// All calls, chats, recordings and reports, and all below.
    Supervisor,
    /// The queue, own and assigned calls, and all below.
    Agent,
    /// Own phone, own calls and voicemail.
    Member,
    /// Reads everything, changes nothing.
    Auditor,
}

/// What a route does, as far as permission goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Change billing settings.
    ManageBilling,
    /// Delete the organisation.
    DeleteOrganisation,
    /// Create, change and remove people.
    ManagePeople,
    /// See the people and teams of the organisation.
    ReadPeople,
    /// Create and revoke applications, keys and webhooks.
    ManageKeys,
    /// See applications, webhooks and deliveries, without their secrets.
    ReadKeys,
    /// Bind numbers, make trunks and teams.
    ManageNumbers,
    /// See numbers, trunks and teams.
    ReadNumbers,
    /// Change settings of the organisation, retention among them.
    ManageSettings,
    /// See the settings.
    ReadSettings,
    /// Save, change and delete flows.
    ManageFlows,
    /// See saved flows and the runs of flows.
    ReadFlows,
    /// Run a flow, which places a call in the organisation's name.
    RunFlow,
    /// See every call and event of the organisation.
    ReadCalls,
    /// Hang up, listen to, or move any call.
    ControlCalls,
    /// See every meeting of the organisation.
    ReadMeetings,
    /// Make, change, call and end any meeting.
    ManageMeetings,
    /// See every chat of the organisation.
    ReadChats,
    /// Write in, give away, close and erase any chat.
    ManageChats,
    /// Hear and fetch every recording.
    ReadRecordings,
    /// Hear and fetch the recordings of own calls.
    ReadOwnRecordings,
    /// See and delete every voicemail box.
    ManageVoicemail,
    /// See every voicemail box.
    ReadVoicemail,
    /// See reports.
    ReadReports,
    /// Take calls and chats from a queue.
    WorkQueue,
    /// Use the own phone, see own calls.
    UseOwnPhone,
    /// Hear and delete the own voicemail.
    UseOwnVoicemail,
}

/// Every role, highest first; the auditor stands beside the ladder.
pub const ROLES: [Role; 6] = [Role::Owner, Role::Admin, Role::Supervisor, Role::Agent, Role::Member, Role::Auditor];

/// The one table: an action, the lowest role of the ladder that may do it, whether it only reads, the scope it is of.
const TABLE: &[(Action, Role, Kind, Option<Scope>)] = {
    use Action::*;
    use Kind::{Changes, Reads};
    use Role::*;
    &[
        (ManageBilling, Owner, Changes, None),
        (DeleteOrganisation, Owner, Changes, None),
        (ManagePeople, Admin, Changes, None),
        (ReadPeople, Supervisor, Reads, None),
        (ManageKeys, Admin, Changes, None),
        (ReadKeys, Admin, Reads, None),
        (ManageNumbers, Admin, Changes, None),
        (ReadNumbers, Supervisor, Reads, None),
        (ManageSettings, Admin, Changes, None),
        (ReadSettings, Admin, Reads, None),
        (ManageFlows, Admin, Changes, Some(Scope::Flows)),
        (ReadFlows, Supervisor, Reads, Some(Scope::Flows)),
        (RunFlow, Agent, Changes, Some(Scope::Flows)),
        (ReadCalls, Supervisor, Reads, Some(Scope::Flows)),
        (ControlCalls, Supervisor, Changes, Some(Scope::Flows)),
        (ReadMeetings, Supervisor, Reads, Some(Scope::Meetings)),
        (ManageMeetings, Supervisor, Changes, Some(Scope::Meetings)),
        (ReadChats, Supervisor, Reads, Some(Scope::Chat)),
        (ManageChats, Supervisor, Changes, Some(Scope::Chat)),
        (ReadRecordings, Supervisor, Reads, Some(Scope::Flows)),
        (ReadOwnRecordings, Agent, Reads, Some(Scope::Flows)),
        (ManageVoicemail, Admin, Changes, Some(Scope::Flows)),
        (ReadVoicemail, Supervisor, Reads, Some(Scope::Flows)),
        (ReadReports, Supervisor, Reads, None),
        (WorkQueue, Agent, Changes, None),
        (UseOwnPhone, Member, Changes, None),
        (UseOwnVoicemail, Member, Changes, None),
    ]
};

/// Whether an action changes something: the auditor's question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reads,
    Changes,
}

/// Whether a person of this role may do this.
pub fn allowed(role: Role, action: Action) -> bool {
    TABLE.iter().any(|(entry, lowest, kind, _)| *entry == action && reaches(role, *lowest, *kind))
}

fn reaches(role: Role, lowest: Role, kind: Kind) -> bool {
    match role {
        Role::Auditor => kind == Kind::Reads,
        _ => role <= lowest,
    }
}

/// Whether a person of one role may give another the other role, or change somebody who has it: nobody reaches above
/// oneself.
pub fn may_manage(own: Role, other: Role) -> bool {
    allowed(own, Action::ManagePeople) && own <= other
}

/// Every action there is, for tests that walk roles x routes.
pub fn actions() -> impl Iterator<Item = Action> {
    TABLE.iter().map(|(action, ..)| *action)
}

/// What an application's key may be narrowed to; an application without scopes may do everything of its organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Call flows, calls and recordings.
    Flows,
    /// Masked meetings.
    Meetings,
    /// Phones that set themselves up.
    Provisioning,
    /// Support chat.
    Chat,
    /// Live video on demand.
    Gigs,
}

impl Scope {
    /// Whether an application with `scopes` may do `action`.
    pub fn covers(scopes: &[Scope], action: Action) -> bool {
        scopes.is_empty()
            || TABLE.iter().any(|(entry, .., scope)| *entry == action && scope.is_some_and(|s| scopes.contains(&s)))
    }
}

/// A role or scope that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} \"{word}\"; there are {choices}")]
pub struct UnknownWord {
    what: &'static str,
    word: String,
    choices: &'static str,
}

/// Names an enum's variants on the wire, both ways.
macro_rules! words {
    ($type:ident, $what:literal, $choices:literal, $($variant:ident = $word:literal),+) => {
        impl $type {
            /// The name on the wire and in the store.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $word),+ }
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl FromStr for $type {
            type Err = UnknownWord;
            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $($word => Ok($type::$variant),)+
                    _ => Err(UnknownWord { what: $what, word: word.to_owned(), choices: $choices }),
                }
            }
        }
    };
}
words!(
    Role,
    "role",
    "owner, admin, supervisor, agent, member, auditor",
    Owner = "owner",
    Admin = "admin",
    Supervisor = "supervisor",
    Agent = "agent",
    Member = "member",
    Auditor = "auditor"
);
words!(
    Scope,
    "scope",
    "flows, meetings, provisioning, chat, gigs",
    Flows = "flows",
    Meetings = "meetings",
    Provisioning = "provisioning",
    Chat = "chat",
    Gigs = "gigs"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The whole table, drawn, so that a change of permissions is seen by whoever reviews it.
    #[test]
    fn the_table() {
        let mut drawing = String::new();
        for action in actions() {
            let who: String = ROLES.iter().map(|role| if allowed(*role, action) { 'x' } else { '.' }).collect();
            drawing += &format!("{who} {action:?}\n");
        }
        insta::assert_snapshot!(drawing, @r"
        x..... ManageBilling
        x..... DeleteOrganisation
        xx.... ManagePeople
        xxx..x ReadPeople
        xx.... ManageKeys
        xx...x ReadKeys
        xx.... ManageNumbers
        xxx..x ReadNumbers
        xx.... ManageSettings
        xx...x ReadSettings
        xx.... ManageFlows
        xxx..x ReadFlows
        xxxx.. RunFlow
        xxx..x ReadCalls
        xxx... ControlCalls
        xxx..x ReadMeetings
        xxx... ManageMeetings
        xxx..x ReadChats
        xxx... ManageChats
        xxx..x ReadRecordings
        xxxx.x ReadOwnRecordings
        xx.... ManageVoicemail
        xxx..x ReadVoicemail
        xxx..x ReadReports
        xxxx.. WorkQueue
        xxxxx. UseOwnPhone
        xxxxx. UseOwnVoicemail
        ");
    }

    #[test]
    fn each_action_stands_once() {
        let mut seen = std::collections::BTreeSet::new();
        assert!(actions().all(|action| seen.insert(action)));
    }

    #[test]
    fn an_admin_does_not_touch_an_owner() {
        assert!(may_manage(Role::Owner, Role::Owner) && may_manage(Role::Admin, Role::Auditor));
        assert!(!may_manage(Role::Admin, Role::Owner));
        for role in [Role::Supervisor, Role::Agent, Role::Member, Role::Auditor] {
            assert!(ROLES.iter().all(|other| !may_manage(role, *other)), "{role}");
        }
    }

    #[test]
    fn words_go_both_ways() {
        for role in ROLES {
            assert_eq!(role.as_str().parse::<Role>().unwrap(), role);
        }
        let said = "boss".parse::<Role>().unwrap_err().to_string();
        assert!(said.contains("\"boss\"") && said.contains("supervisor"), "{said}");
        assert_eq!("gigs".parse::<Scope>().unwrap(), Scope::Gigs);
    }

    #[test]
    fn a_scope_opens_its_desk_and_nothing_else() {
        assert!(Scope::covers(&[], Action::ManagePeople));
        assert!(Scope::covers(&[Scope::Flows], Action::RunFlow));
        assert!(!Scope::covers(&[Scope::Meetings], Action::RunFlow));
        assert!(Scope::covers(&[Scope::Meetings], Action::ManageMeetings));
        assert!(!Scope::covers(&[Scope::Flows], Action::ManagePeople));
    }

    proptest! {
        /// Each role of the ladder contains the next one; the auditor never changes anything.
        #[test]
        fn roles_contain_the_next(action in prop::sample::select(actions().collect::<Vec<_>>()), rung in 0usize..4) {
            prop_assert!(!allowed(ROLES[rung + 1], action) || allowed(ROLES[rung], action));
            let name = format!("{action:?}");
            prop_assert_eq!(allowed(Role::Auditor, action), name.starts_with("Read"));
        }
    }
}
