//! What an application decides about its meetings, as a form; and whether the numbers of its pool lead to meetings.
//!
//! Invariant: a secret that is set is never shown; it stays until another one is typed, or its box is ticked.

use std::collections::BTreeMap;

use calls::NumberView;
use kernel::app::App;
use kernel::error::codes;
use kernel::{Kernel, Problem};

use super::form::{Choice, Field, Form, Posted};
use super::table::{Cell, Table};
use crate::applications::settings as app_settings;
use crate::meetings::model::{LEGACY_SECRET, Settings};

/// The field with the version that the form was made for.
const SEEN: &str = "version";
/// What is ticked to forget the secret of tokens of before.
const FORGET: &str = "forget_legacy";
/// What a pool's number is bound to.
const MEETINGS: &str = "meetings";

/// A field of the form, how it looks, and what stands beside it.
struct Setting {
    name: &'static str,
    label: &'static str,
    look: Look,
    hint: &'static str,
}

enum Look {
    Line,
    Seconds,
    Tick,
    Units,
}

const SETTINGS: [Setting; 10] = [
    Setting {
        name: "time_zone",
        label: "Time zone",
        look: Look::Line,
        hint: "Of a start that names none, such as Europe/London.",
    },
    Setting { name: "duration_unit", label: "A duration is told in", look: Look::Units, hint: "" },
    Setting {
        name: "auto_start",
        label: "Call both at the start",
        look: Look::Tick,
        hint: "Else one of the two calls.",
    },
    Setting {
        name: "talk_warning_s",
        label: "Warn before the end",
        look: Look::Seconds,
        hint: "Seconds; both hear it. 0: not at all.",
    },
    Setting {
        name: "extend_max_s",
        label: "The two may extend by",
        look: Look::Seconds,
        hint: "Seconds in all; your application may always.",
    },
    Setting {
        name: "reconnect_s",
        label: "They may call again for",
        look: Look::Seconds,
        hint: "Seconds after a line dropped. 0: the meeting is over then.",
    },
    Setting { name: "record", label: "Record the talk", look: Look::Tick, hint: "After an announcement." },
    Setting {
        name: "remind_before_s",
        label: "Remind before the start",
        look: Look::Seconds,
        hint: "Seconds; also of changes. Empty or 0: nobody is told anything.",
    },
    Setting {
        name: "veto_url",
        label: "Ask before each call",
        look: Look::Line,
        hint: "A URL that gets the meeting; its 403 blocks the call.",
    },
    Setting {
        name: "number_pool",
        label: "Number pool",
        look: Look::Line,
        hint: "Own numbers that the two see and may call, joined by commas; bind each to meetings.",
    },
];

/// The form with what is stored.
pub(super) fn form(path: &str, app: &App) -> Form {
    let now = shown(&Settings::read(&app.settings));
    let mut form = Form::new(format!("{path}/meetings"), "Save").with(Field::hidden(SEEN, app.version.to_string()));
    for setting in &SETTINGS {
        let value = now.get(setting.name).cloned().unwrap_or_default();
        let field = match setting.look {
            Look::Line => Field::line(setting.name, setting.label).value(value),
            Look::Seconds => Field::typed(setting.name, setting.label, "number").value(value),
            Look::Tick => Field::tick(setting.name, setting.label).ticked(value == "true"),
            Look::Units => {
                let choices: Vec<Choice> = ["minutes", "seconds"].map(|unit| (unit.into(), unit.into())).into();
                Field::one(setting.name, setting.label, choices).value(value)
            }
        };
        form = form.with(field.optional().hint(setting.hint));
    }
    let hint = if app.settings.contains_key(LEGACY_SECRET) {
        "One is set: tokens of before are taken. Type another to replace it."
    } else {
        "The secret_key_base of the system that this one follows: its tokens are taken then, too. Empty: they are refused."
    };
    let form = form.with(Field::typed(LEGACY_SECRET, "Secret of older tokens", "password").optional().hint(hint));
    if app.settings.contains_key(LEGACY_SECRET) {
        return form.with(Field::tick(FORGET, "Forget that secret"));
    }
    form
}

/// What is stored, as the fields have it.
fn shown(settings: &Settings) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("time_zone", settings.time_zone.clone()),
        ("duration_unit", settings.duration_unit.as_str().to_owned()),
        ("auto_start", settings.auto_start.to_string()),
        ("talk_warning_s", settings.talk_warning_s.to_string()),
        ("extend_max_s", settings.extend_max_s.to_string()),
        ("reconnect_s", settings.reconnect_s.to_string()),
        ("record", settings.record.to_string()),
        ("remind_before_s", settings.remind_before_s.map(|seconds| seconds.to_string()).unwrap_or_default()),
        ("veto_url", settings.veto_url.clone().unwrap_or_default()),
        ("number_pool", settings.number_pool.join(", ")),
    ])
}

/// What was typed, as changes of the settings: an empty value puts one back.
pub(super) fn changes(posted: &Posted) -> Vec<(String, String)> {
    let typed = |setting: &Setting| match setting.look {
        Look::Tick => posted.is_ticked(setting.name).to_string(),
        Look::Line if setting.name == "number_pool" => posted.words(setting.name).join(","),
        Look::Line | Look::Seconds | Look::Units => posted.get(setting.name).to_owned(),
    };
    let mut changes: Vec<(String, String)> =
        SETTINGS.iter().map(|setting| (setting.name.to_owned(), typed(setting))).collect();
    match posted.optional(LEGACY_SECRET) {
        Some(secret) => changes.push((LEGACY_SECRET.to_owned(), secret)),
        None if posted.is_ticked(FORGET) => changes.push((LEGACY_SECRET.to_owned(), String::new())),
        None => {}
    }
    changes
}

/// What was typed, when somebody else has changed the application since the form was shown.
pub(super) fn overtaken(path: &str, app: &App, posted: &Posted) -> Option<Form> {
    let is_late = posted.get(SEEN) != app.version.to_string();
    is_late.then(|| form(path, app).filled(posted).set(SEEN, app.version.to_string()).overtaken(&form(path, app)))
}

/// Changes the settings of meetings, all or none.
///
/// # Errors
/// What is wrong with them, all at once, or what the store says.
pub(super) async fn change(kernel: &Kernel, app: &App, changes: Vec<(String, String)>) -> Result<App, Problem> {
    let mut wrong = Problem::new(codes::INVALID_FIELD);
    for (name, value) in &changes {
        if let Err(expected) = Settings::check(name, value) {
            wrong = wrong.and(format!("/{name}"), "invalid", expected);
        }
    }
    if !wrong.errors.is_empty() {
        return Err(wrong);
    }
    Ok(app_settings::change(kernel, &app.org, &app.id, changes).await?)
}

/// The numbers of the pool, and whether each can do its work.
pub(super) fn pool(app: &App, own: &[NumberView]) -> Table {
    let settings = Settings::read(&app.settings);
    let rows = settings.number_pool.into_iter().map(|number| {
        let bound = own.iter().find(|own| own.number == number).map(|own| own.to.as_str());
        let state = match bound {
            Some(MEETINGS) => Cell::State("leads to meetings".to_owned(), "good"),
            Some(other) => Cell::State(format!("leads to {other}"), "bad"),
            None => Cell::State("not bound".to_owned(), "bad"),
        };
        vec![Cell::Code(number), state]
    });
    Table::new("Numbers of the pool", &["Number", "State"]).with(rows)
}

#[cfg(test)]
mod tests {
    use crate::meetings::model::SETTING_NAMES;

    use super::*;

    fn app(settings: &[(&str, &str)]) -> App {
        App {
            id: "app_1".to_owned(),
            org: "org_1".to_owned(),
            name: "Shop".to_owned(),
            scopes: Vec::new(),
            publishable_key: String::new(),
            settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            version: 1,
            created_at: 0,
        }
    }

    #[test]
    fn the_form_has_every_setting() {
        let form = form("/x", &app(&[]));
        for name in SETTING_NAMES {
            assert!(form.fields.iter().any(|field| field.name == name), "{name} is missing");
        }
    }

    #[test]
    fn what_is_shown_is_what_is_stored_but_for_the_secret() {
        let stored = app(&[("time_zone", "Europe/London"), ("record", "true"), (LEGACY_SECRET, "sealed")]);
        let form = form("/x", &stored);
        let value = |name: &str| form.fields.iter().find(|field| field.name == name).unwrap().text_value().to_owned();
        assert_eq!((value("time_zone").as_str(), value("record").as_str()), ("Europe/London", "on"));
        assert_eq!((value("talk_warning_s").as_str(), value(LEGACY_SECRET).as_str()), ("60", ""));
        assert!(form.fields.iter().any(|field| field.name == FORGET));
    }

    #[test]
    fn a_pool_says_which_number_does_not_lead_here() {
        let stored = app(&[("number_pool", "+441,+442,+443")]);
        let own = |number: &str, to: &str| NumberView { number: number.to_owned(), to: to.to_owned() };
        let table = pool(&stored, &[own("+441", "meetings"), own("+442", "team:5263")]);
        let words: Vec<String> = table
            .rows
            .iter()
            .map(|row| match &row[1] {
                Cell::State(word, _) => word.clone(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(words, ["leads to meetings", "leads to team:5263", "not bound"]);
    }
}
