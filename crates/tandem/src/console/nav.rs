//! The navigation: one table of every place, and what it takes to go there.
//!
//! Invariant: a visitor sees a line exactly when the page behind it lets the visitor in.

use kernel::Action;

use super::door::Needs;
use super::visitor::Visitor;
use Needs::{Administrator, May, MayEither, SignIn};

/// A line of the table: path, label, icon, and what the page needs.
type Line = (&'static str, &'static str, &'static str, Needs);

/// Every place, in groups.
pub(super) const TABLE: &[(&str, &[Line])] = &[
    ("", &[("/console", "Overview", "home", SignIn)]),
    (
        "Calls",
        &[
            ("/console/live", "Live calls", "live", May(Action::ReadCalls)),
            ("/console/calls", "Calls", "calls", SignIn),
            ("/console/callbacks", "Callbacks", "callback", May(Action::ReadCalls)),
            ("/console/queues", "Queues", "queue", MayEither(Action::WorkQueue, Action::ReadCalls)),
            ("/phone", "Phone", "phone", May(Action::UseOwnPhone)),
            (
                "/console/recordings",
                "Recordings",
                "recording",
                MayEither(Action::ReadRecordings, Action::ReadOwnRecordings),
            ),
            ("/console/voicemail", "Voicemail", "voicemail", SignIn),
            ("/console/reports", "Reports", "report", May(Action::ReadReports)),
        ],
    ),
    (
        "Flows",
        &[
            ("/console/flows", "Flows", "flow", May(Action::ReadFlows)),
            ("/console/runs", "Runs", "run", May(Action::ReadFlows)),
        ],
    ),
    (
        "Chat",
        &[
            ("/console/inbox", "Inbox", "chat", MayEither(Action::WorkQueue, Action::ReadChats)),
            ("/console/chat/replies", "Replies", "flow", MayEither(Action::WorkQueue, Action::ReadChats)),
            ("/console/chat/reports", "Chat reports", "report", May(Action::ReadReports)),
            ("/console/chat/widgets", "Widgets", "webhook", May(Action::ReadKeys)),
            ("/console/chat/products", "Products", "product", MayEither(Action::ReadChats, Action::WorkQueue)),
            ("/console/chat/codes", "QR codes", "code", MayEither(Action::ReadChats, Action::WorkQueue)),
        ],
    ),
    ("Meetings", &[("/console/meetings", "Meetings", "calendar", May(Action::ReadMeetings))]),
    (
        "Who and where",
        &[
            ("/console/people", "People", "people", May(Action::ReadPeople)),
            ("/console/teams", "Teams", "team", May(Action::ReadNumbers)),
            ("/console/numbers", "Numbers", "number", May(Action::ReadNumbers)),
            ("/console/trunks", "Trunks", "trunk", May(Action::ReadNumbers)),
        ],
    ),
    (
        "Programs",
        &[
            ("/console/applications", "Applications", "key", May(Action::ReadKeys)),
            ("/console/webhooks", "Webhooks", "webhook", May(Action::ReadKeys)),
        ],
    ),
    (
        "Organisation",
        &[
            ("/console/settings", "Settings", "settings", May(Action::ReadSettings)),
            ("/console/outbox", "Outbox", "outbox", May(Action::ManagePeople)),
            ("/console/privacy", "Export and erase", "download", May(Action::ManageSettings)),
            ("/console/audit", "Audit", "audit", May(Action::ReadSettings)),
        ],
    ),
    ("Installation", &[("/console/health", "Health", "health", Administrator)]),
];

/// A group of lines that a visitor sees.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Empty for the first.
    pub(super) title: &'static str,
    /// Never empty.
    pub(super) items: Vec<Item>,
}

/// A line that a visitor sees.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) path: &'static str,
    pub(super) label: &'static str,
    pub(super) icon: &'static str,
    /// Whether the visitor is there.
    pub(super) is_here: bool,
}

/// What a visitor sees at a place. Before an organisation is chosen, nothing.
pub(super) fn of(visitor: &Visitor, place: &str) -> Vec<Group> {
    if visitor.org.is_none() {
        return Vec::new();
    }
    let group = |(title, lines): &(&'static str, &'static [Line])| {
        let lines = lines.iter().filter(|(.., needs)| needs.admit(visitor.principal()).is_ok());
        let items: Vec<Item> =
            lines.map(|(path, label, icon, _)| Item { path, label, icon, is_here: *path == place }).collect();
        (!items.is_empty()).then_some(Group { title, items })
    };
    TABLE.iter().filter_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_leads_to_a_page_that_needs_the_same() {
        let plan = crate::console::plan();
        for (path, label, icon, needs) in TABLE.iter().flat_map(|(_, lines)| *lines) {
            let door = plan.iter().find(|door| door.path == *path && door.method.is_safe());
            let door = door.unwrap_or_else(|| panic!("{label} leads to {path}, where nothing is"));
            assert_eq!(door.needs, *needs, "{label}");
            assert!(super::super::icon::exists(icon), "{label} has no icon");
        }
    }
}
