//! All meetings of a party, as cards in three groups: now, coming up, past.

use askama::Template;
use askama::filters::HtmlSafe;
use jiff::tz::TimeZone;
use kernel::{Kernel, Problem, zones};

use super::card::{Card, View};
use crate::meetings::Meetings;
use crate::meetings::model::{CallType, Meeting, Role, Settings, State};
use crate::meetings::sessions::PartySession;

/// The groups: what their cards look like, and their headings.
const GROUPS: [(&str, &str); 3] = [("now", "Now"), ("next", "Coming up"), ("past", "Past")];

/// One group.
struct Group {
    title: &'static str,
    cards: Vec<Card>,
}

/// The part of the page that is read again when something happens.
#[derive(Template)]
#[template(path = "party/cards.html")]
pub(super) struct Cards {
    /// Whom they are for.
    pub(super) mark: String,
    /// UTC milliseconds.
    now_ms: i64,
    groups: Vec<Group>,
}

/// Every value in it is escaped by its own templates.
impl HtmlSafe for Cards {}

/// The meetings of a party with what its application has decided.
pub(super) struct Seen {
    pub(super) settings: Settings,
    /// Which of the two the party is, in each.
    pub(super) meetings: Vec<(Role, Meeting)>,
}

impl Seen {
    /// Reads them.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn by(meetings: &Meetings, party: &PartySession) -> Result<Self, Problem> {
        let settings = meetings.settings(&party.org, &party.app).await.map_err(Problem::internal)?;
        let all = meetings.of_party(&party.org, &party.app, &party.uid, party.meeting).await;
        let all = all.map_err(Problem::internal)?;
        let meetings = all.into_iter().filter_map(|meeting| Some((meeting.role_of(&party.uid)?, meeting))).collect();
        Ok(Self { settings, meetings })
    }

    /// What the party is called: as its newest meeting has it.
    pub(super) fn own_name(&self) -> String {
        let newest = self.meetings.iter().max_by_key(|(_, meeting)| meeting.id);
        newest.map_or_else(String::new, |(role, meeting)| meeting.party(*role).name.clone())
    }

    /// Whether the party may have to talk in its page.
    pub(super) fn talks_in_page(&self) -> bool {
        let in_page = |(role, meeting): &(Role, Meeting)| {
            meeting.state != State::Ended && meeting.party(*role).call_type == CallType::Browser
        };
        self.meetings.iter().any(in_page)
    }

    /// The cards, as they are at this moment.
    pub(super) fn cards(&self, kernel: &Kernel, party: &PartySession) -> Cards {
        let (now_ms, mark) = (kernel.clock.now_ms(), party.mark());
        let zone = zone_of(&self.settings);
        let view = View { settings: &self.settings, zone: &zone, now_ms, mark: &mark };
        let mut all: Vec<Card> = self.meetings.iter().map(|(role, meeting)| Card::of(meeting, *role, &view)).collect();
        // The one that was signed in for comes first in its group, then the earliest; of those that are past the latest.
        all.sort_by_key(|card| (card.id() != party.meeting, card.starts_ms(), card.id()));
        let mut groups = Vec::new();
        for (look, title) in GROUPS {
            let (mut cards, rest): (Vec<Card>, _) = all.into_iter().partition(|card| card.look() == look);
            all = rest;
            if look == "past" {
                cards.sort_by_key(|card| std::cmp::Reverse((card.starts_ms(), card.id())));
            }
            if !cards.is_empty() {
                groups.push(Group { title, cards });
            }
        }
        Cards { mark, now_ms, groups }
    }
}

/// The application's zone.
pub(super) fn zone_of(settings: &Settings) -> TimeZone {
    zones::parse_zone(&settings.time_zone).map_or(TimeZone::UTC, zones::Zone::time_zone)
}
