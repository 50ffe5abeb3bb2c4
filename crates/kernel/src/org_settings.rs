//! What the administrators of an organisation decide: whom it may call, when, and how long it keeps things.
//!
//! Invariant: what is stored has been checked as a whole, so that whoever reads it need not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::args;
use crate::kernel::Kernel;
use crate::record::RecordError;

/// Longest list of numbers or prefixes.
const MAX_NUMBERS: usize = 10_000;
/// Longest announcement, in characters: half a minute of speech.
const MAX_ANNOUNCEMENT: usize = 500;
/// Longest time that things are kept for a number of days; longer = for ever, which is said by leaving the kind out.
const MAX_RETENTION_DAYS: u32 = 3_650;
/// What `retention_days` may name.
pub const RETENTION_KINDS: [&str; 6] = ["calls", "chats", "events", "meetings", "recordings", "voicemail"];
/// Every setting, as the API calls it.
const NAMES: [&str; 9] = [
    "caller_ids",
    "dial_allow",
    "dial_only",
    "dial_sip",
    "do_not_call",
    "quiet_hours",
    "recording_announcement",
    "retention_days",
    "tariff",
];
/// How often a change is tried again when somebody else changed the settings in the same moment.
const MAX_TRIES: usize = 5;

crate::statements! {
    SET = "update org set settings = $3, version = version + 1 where id = $1 and version = $2";
}

/// What an organisation's administrators decide; JSON in the store.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OrgSettings {
    /// Numbers, besides those bound here, that the organisation may show as caller id; E.164, the first is the default.
    pub caller_ids: Vec<String>,
    /// Prefixes (E.164) that may be dialled although they are premium; emergency numbers stay closed.
    pub dial_allow: Vec<String>,
    /// If not empty, only numbers with one of these prefixes may be dialled.
    pub dial_only: Vec<String>,
    /// Whether flows may dial `sip:` addresses.
    pub dial_sip: bool,
    /// Numbers that callbacks never ring; E.164.
    pub do_not_call: Vec<String>,
    /// When callbacks wait, in the organisation's zone.
    pub quiet_hours: Option<QuietHours>,
    /// Spoken to both parties before a recording begins.
    pub recording_announcement: Option<String>,
    /// Days that things are kept, by kind (calls, chats, events, meetings, recordings, voicemail); absent = for ever.
    pub retention_days: BTreeMap<String, u32>,
    /// What an outgoing minute costs, for reports: a price and a currency, such as `0.012 EUR`.
    pub tariff: Option<String>,
}

/// From one time of day to another, over midnight when `to` is earlier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// `HH:MM`.
    pub from: String,
    /// `HH:MM`.
    pub to: String,
}

impl OrgSettings {
    /// These settings with the named ones replaced; null puts one back to what it was at first.
    ///
    /// # Errors
    /// The first setting that does not exist or whose value is refused.
    pub fn with(&self, changes: &Map<String, Value>) -> Result<Self, RecordError> {
        let defaults = as_object(&Self::default())?;
        let mut changed = as_object(self)?;
        for (name, value) in changes {
            let Some(name) = NAMES.into_iter().find(|known| known == name) else {
                let message = format!("there is no \"{name}\"; there are {}", NAMES.join(", "));
                return Err(refused("settings", message));
            };
            let value = if value.is_null() { defaults.get(name).unwrap_or(value) } else { value };
            let alone = Map::from_iter([(name.to_owned(), value.clone())]);
            serde_json::from_value::<Self>(Value::Object(alone)).map_err(|error| refused(name, error.to_string()))?;
            changed.insert(name.to_owned(), value.clone());
        }
        let changed: Self =
            serde_json::from_value(Value::Object(changed)).map_err(|error| refused("settings", error.to_string()))?;
        changed.check()?;
        Ok(changed)
    }

    fn check(&self) -> Result<(), RecordError> {
        for (name, numbers, shortest) in [
            ("caller_ids", &self.caller_ids, 7),
            ("do_not_call", &self.do_not_call, 7),
            ("dial_allow", &self.dial_allow, 1),
            ("dial_only", &self.dial_only, 1),
        ] {
            if numbers.len() > MAX_NUMBERS {
                return Err(refused(name, format!("at most {MAX_NUMBERS}")));
            }
            if let Some(bad) = numbers.iter().find(|number| !is_e164(number, shortest)) {
                let example = if shortest == 1 { "a prefix such as +4490" } else { "a number such as +442071838750" };
                return Err(refused(name, format!("\"{bad}\" is not {example}")));
            }
        }
        if let Some(hours) = &self.quiet_hours {
            for time in [&hours.from, &hours.to] {
                if !is_time_of_day(time) {
                    return Err(refused("quiet_hours", format!("\"{time}\" is not a time of day such as 21:30")));
                }
            }
            if hours.from == hours.to {
                return Err(refused("quiet_hours", "from and to are the same; null is no quiet hours"));
            }
        }
        if let Some(text) = &self.recording_announcement
            && (text.trim().is_empty() || text.chars().count() > MAX_ANNOUNCEMENT)
        {
            return Err(refused("recording_announcement", format!("1 to {MAX_ANNOUNCEMENT} characters, or null")));
        }
        if let Some(text) = &self.tariff
            && !is_price(text)
        {
            return Err(refused("tariff", "a price and a currency, such as 0.012 EUR"));
        }
        for (kind, days) in &self.retention_days {
            if !RETENTION_KINDS.contains(&kind.as_str()) {
                return Err(refused(
                    "retention_days",
                    format!("\"{kind}\": not one of {}", RETENTION_KINDS.join(", ")),
                ));
            }
            if !(1..=MAX_RETENTION_DAYS).contains(days) {
                return Err(refused("retention_days", format!("\"{kind}\": 1 to {MAX_RETENTION_DAYS} days")));
            }
        }
        Ok(())
    }
}

/// `0.012 EUR`: a number that is not negative, a blank, three capitals.
fn is_price(text: &str) -> bool {
    text.split_once(' ').is_some_and(|(price, currency)| {
        let plain = price.len() <= 12 && price.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let named = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
        plain && price.parse::<f64>().is_ok() && named
    })
}

impl Kernel {
    /// Changes the named settings of an organisation and leaves the others; null puts one back to what it was at first.
    ///
    /// # Errors
    /// A setting that is refused, an organisation that does not exist, or the store's failure.
    pub async fn change_org_settings(
        &self,
        org: &str,
        changes: &Map<String, Value>,
    ) -> Result<OrgSettings, RecordError> {
        for _ in 0..MAX_TRIES {
            let found = self.org_by_id(org).await?.ok_or_else(|| RecordError::not_found("organisation", org))?;
            let settings = found.settings.with(changes)?;
            if self.db.run(SET, args![org, found.version, to_json(&settings)?]).await? > 0 {
                return Ok(settings);
            }
        }
        Err(RecordError::Conflict)
    }

    /// The same for who has seen the settings in a version of their organisation, and decided on what stood there.
    ///
    /// # Errors
    /// [`RecordError::Conflict`] when they were changed since; as [`Kernel::change_org_settings`].
    pub async fn change_org_settings_seen(
        &self,
        org: &str,
        version: i64,
        changes: &Map<String, Value>,
    ) -> Result<OrgSettings, RecordError> {
        let found = self.org_by_id(org).await?.ok_or_else(|| RecordError::not_found("organisation", org))?;
        let settings = found.settings.with(changes)?;
        match self.db.run(SET, args![org, version, to_json(&settings)?]).await? {
            0 => Err(RecordError::Conflict),
            _ => Ok(settings),
        }
    }
}

pub(crate) fn to_json(settings: &OrgSettings) -> Result<String, RecordError> {
    serde_json::to_string(settings).map_err(|error| refused("settings", error.to_string()))
}

fn as_object(settings: &OrgSettings) -> Result<Map<String, Value>, RecordError> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Ok(Map::new()),
        Err(error) => Err(refused("settings", error.to_string())),
    }
}

fn refused(name: &'static str, message: impl Into<String>) -> RecordError {
    RecordError::invalid(name, message)
}

/// `+` and digits, the first not 0 (ITU-T E.164: 15 at most).
fn is_e164(number: &str, shortest: usize) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (shortest..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn is_time_of_day(text: &str) -> bool {
    text.len() == 5 && jiff::civil::Time::strptime("%H:%M", text).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kernel::testing;
    use crate::org::NewOrg;

    fn changes(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_change_leaves_the_others_and_null_puts_back() {
        let first = OrgSettings::default()
            .with(&changes(json!({"dial_sip": true, "quiet_hours": {"from": "21:00", "to": "08:00"}})))
            .unwrap();
        let second = first.with(&changes(json!({"dial_sip": null, "retention_days": {"recordings": 30}}))).unwrap();
        assert!(!second.dial_sip);
        assert_eq!(second.quiet_hours, first.quiet_hours);
        assert_eq!(second.retention_days.get("recordings"), Some(&30));
        let third = second.with(&changes(json!({"quiet_hours": null, "retention_days": null}))).unwrap();
        assert_eq!(third, OrgSettings::default());
    }

    #[test]
    fn every_setting_is_listed() {
        let settings = as_object(&OrgSettings::default()).unwrap();
        let names: Vec<&str> = settings.keys().map(String::as_str).collect();
        assert_eq!(names, NAMES);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (change, named) in [
            (json!({"colour": "red"}), "colour"),
            (json!({"caller_ids": "+442071838750"}), "caller_ids"),
            (json!({"caller_ids": ["02071838750"]}), "02071838750"),
            (json!({"do_not_call": ["+44"]}), "+44"),
            (json!({"dial_only": ["44"]}), "\"44\""),
            (json!({"dial_only": [""]}), "dial_only"),
            (json!({"dial_sip": "yes"}), "dial_sip"),
            (json!({"quiet_hours": {"from": "24:00", "to": "08:00"}}), "24:00"),
            (json!({"quiet_hours": {"from": "8:00", "to": "09:00"}}), "8:00"),
            (json!({"quiet_hours": {"from": "08:00", "to": "08:00"}}), "quiet_hours"),
            (json!({"quiet_hours": {"from": "08:00"}}), "quiet_hours"),
            (json!({"recording_announcement": " "}), "recording_announcement"),
            (json!({"recording_announcement": "x".repeat(501)}), "recording_announcement"),
            (json!({"retention_days": {"pigeons": 3}}), "pigeons"),
            (json!({"retention_days": {"events": 0}}), "events"),
            (json!({"retention_days": {"events": -1}}), "retention_days"),
        ] {
            let said = OrgSettings::default().with(&changes(change.clone())).unwrap_err().to_string();
            assert!(said.contains(named), "{change}: {said}");
        }
    }

    #[tokio::test]
    async fn two_changes_at_once_both_hold() {
        for kernel in testing::each().await {
            let org = kernel.create_org(NewOrg { name: "A".into(), ..NewOrg::default() }).await.unwrap();
            let (one, two) = (changes(json!({"dial_sip": true})), changes(json!({"do_not_call": ["+442071838750"]})));
            let (first, second) =
                tokio::join!(kernel.change_org_settings(&org.id, &one), kernel.change_org_settings(&org.id, &two));
            first.unwrap();
            second.unwrap();
            let settings = kernel.find_org("a").await.unwrap().settings;
            assert!(settings.dial_sip);
            assert_eq!(settings.do_not_call, ["+442071838750"]);
            let seen = kernel.find_org("a").await.unwrap().version;
            kernel.change_org_settings_seen(&org.id, seen, &changes(json!({"dial_sip": false}))).await.unwrap();
            let late = kernel.change_org_settings_seen(&org.id, seen, &one).await;
            assert!(matches!(late, Err(RecordError::Conflict)), "{late:?}");
            assert!(!kernel.find_org("a").await.unwrap().settings.dial_sip, "the late one changed nothing");
            let nobody = kernel.change_org_settings("org_none", &one).await;
            assert!(matches!(nobody, Err(RecordError::NotFound { .. })));
        }
    }
}
