//! What an application decides about its chat and its widget, as a form beside a frame that shows how it looks; and the
//! secrets by which its server vouches for visitors.
//!
//! Invariant: a secret is made here and shown once; two are good at a time, so that one can be changed without a gap.

use askama::Template;
use axum::extract::State as Given;
use axum::http::HeaderMap;
use axum::response::Response;
use kernel::app::App;
use kernel::error::codes;
use kernel::http::{Client, Path};
use kernel::{Action, Kernel, Problem, Scope};
use serde::Deserialize;

use super::door::Needs::May;
use super::door::{Doors, holding_own_frames};
use super::form::{Choice, Field, Form, Posted};
use super::list::Link;
use super::page::{Page, done, show, show_conflict, show_refused};
use super::shown_once::ShownOncePage;
use super::visitor::Visitor;
use crate::applications::settings as app_settings;
use crate::chat::Chats;
use crate::chat::settings::{self as chat, ChatSettings, IDENTITY_SECRETS, Identity};
use crate::chat::visit::settings::{self as widget, WidgetSettings};
use crate::chat::visit::words::LOCALES;

/// Where applications are.
const PLACE: &str = "/console/applications";
/// The field with the version that the form was made for.
const SEEN: &str = "version";

pub(super) fn doors(doors: Doors) -> Doors {
    let manage = May(Action::ManageKeys);
    doors
        .get("/console/applications/{id}/chat", May(Action::ReadKeys), look)
        .post("/console/applications/{id}/chat", manage, change)
        .post("/console/applications/{id}/chat/secret", manage, make_secret)
        .post("/console/applications/{id}/chat/secret/end", manage, end_secret)
}

/// The page of an application's chat.
pub(super) fn path(app: &str) -> String {
    format!("{PLACE}/{app}/chat")
}

/// Whether a setting stands on that page.
pub(super) fn is_shown_there(name: &str) -> bool {
    chat::SETTING_NAMES.contains(&name) || widget::SETTING_NAMES.contains(&name)
}

#[derive(Debug, Deserialize)]
struct AppPath {
    id: String,
}

/// How a field looks.
enum Look {
    Line,
    Number,
    Mail,
    Colour,
    /// Words, one a line.
    Words,
    One(&'static [(&'static str, &'static str)]),
    Locale,
    Product,
}

/// A field of the form.
struct Setting {
    name: &'static str,
    label: &'static str,
    look: Look,
    hint: &'static str,
}

const fn setting(name: &'static str, label: &'static str, look: Look, hint: &'static str) -> Setting {
    Setting { name, label, look, hint }
}

const IDENTITIES: &[(&str, &str)] = &[
    ("token", "By the token of their browser"),
    ("verified", "Your server vouches for each"),
    ("open", "Open: anybody is anybody, for trying samples only"),
];
const SHAPES: &[(&str, &str)] =
    &[("documented", "As document 002 prints them"), ("observed", "As its service answered")];
const ASSIGNS: &[(&str, &str)] =
    &[("auto", "Given to whoever is free, longest idle first"), ("manual", "Taken by people")];
const CALLS: &[(&str, &str)] = &[
    ("off", "None"),
    ("browser", "In the visitor's page"),
    ("phone", "To the visitor's telephone"),
    ("both", "In the page or to a telephone"),
];
const RECORDS: &[(&str, &str)] = &[("false", "No"), ("true", "Yes, once both have heard that it is")];
const PUSHES: &[(&str, &str)] = &[("false", "That there is a message"), ("true", "What the message says")];
const SHARES: &[(&str, &str)] = &[("false", "Those who answer only"), ("true", "The visitor too")];
const THEMES: &[(&str, &str)] = &[("auto", "As the visitor's system"), ("light", "Light"), ("dark", "Dark")];
const POSITIONS: &[(&str, &str)] = &[("right", "Right"), ("left", "Left")];

/// The fields in their order. A setting that is not named here gets a line under its own name.
const SETTINGS: [Setting; 27] = [
    setting("widget_title", "Title", Look::Line, "Stands at its head. Empty: the application's name."),
    setting("widget_greeting", "Greeting", Look::Line, "The first words. Empty: those of the visitor's language."),
    setting("widget_accent", "Colour", Look::Colour, "Words on it are made white or dark, so that they can be read."),
    setting("widget_theme", "Light or dark", Look::One(THEMES), ""),
    setting("widget_position", "Corner of the button", Look::One(POSITIONS), ""),
    setting("widget_locale", "Language", Look::Locale, ""),
    setting("widget_product", "Product", Look::Product, "What a chat is about when the page does not say."),
    setting(
        "widget_hours",
        "Hours",
        Look::Line,
        "When somebody is there, such as mon-fri 09:00-17:00, sat 10:00-14:00. Empty: always.",
    ),
    setting("widget_zone", "Time zone of the hours", Look::Line, "Such as Europe/London. Empty: UTC."),
    setting(
        "widget_offline_email",
        "Mail outside the hours",
        Look::Mail,
        "A form takes a message then, which goes to this address too. Empty: visitors write as ever.",
    ),
    setting(
        "allowed_origins",
        "Pages that may hold the chat",
        Look::Words,
        "Such as https://shop.example, one a line. Empty: pages of this server only. * means any.",
    ),
    setting("identity", "Who visitors are", Look::One(IDENTITIES), ""),
    setting("compat_shape", "Answers of /api/v2", Look::One(SHAPES), ""),
    setting(
        "chat_assign",
        "Who gets a chat",
        Look::One(ASSIGNS),
        "A chat that was taken or handed over stays where it is.",
    ),
    setting(
        "chat_calls",
        "Calls in a chat",
        Look::One(CALLS),
        "Between the visitor and whoever has the chat. Calls to telephones cost what your trunk costs.",
    ),
    setting(
        "chat_record",
        "Record these calls",
        Look::One(RECORDS),
        "In many countries both must be told before: say so in your terms as well. The recording lands in the chat.",
    ),
    setting(
        "chat_push_text",
        "Words in notices",
        Look::One(PUSHES),
        "Notices of browsers whose page is closed. They stand on locked screens, too.",
    ),
    setting("chat_record_shared", "Who hears the recordings", Look::One(SHARES), ""),
    setting(
        "limit_calls_per_hour",
        "Calls an hour",
        Look::Number,
        "Asked for by one visitor. Empty: 3. 0: no limit; to one number never more than 3.",
    ),
    setting(
        "limit_sessions_per_minute",
        "New visitors a minute",
        Look::Number,
        "From one address. Empty: 10. 0: no limit.",
    ),
    setting(
        "limit_conversations_per_hour",
        "New chats an hour",
        Look::Number,
        "Of one visitor. Empty: 6. 0: no limit.",
    ),
    setting("limit_messages_per_minute", "Messages a minute", Look::Number, "Of one visitor. Empty: 30. 0: no limit."),
    setting("limit_messages_burst", "Messages at once", Look::Number, "Before that rate counts. Empty: 10."),
    setting("limit_sockets", "Open pages", Look::Number, "Of one visitor at a time. Empty: 5."),
    setting("limit_characters", "Characters of a message", Look::Number, "Empty: 8000."),
    setting("limit_uploads_per_hour", "Attachments an hour", Look::Number, "Of one visitor. Empty: 20. 0: no limit."),
    setting("limit_upload_bytes", "Bytes of an attachment", Look::Number, "Empty: 10485760, which is 10 MiB."),
];

/// Settings of the chat and the widget that are no secrets, in the order of the form.
fn names() -> impl Iterator<Item = &'static str> {
    let all = chat::SETTING_NAMES.into_iter().chain(widget::SETTING_NAMES);
    let others =
        all.filter(|name| !IDENTITY_SECRETS.contains(name) && SETTINGS.iter().all(|known| known.name != *name));
    SETTINGS.iter().map(|setting| setting.name).chain(others)
}

fn of_name(name: &'static str) -> &'static Setting {
    const OTHER: Setting = setting("", "", Look::Line, "");
    SETTINGS.iter().find(|setting| setting.name == name).unwrap_or(&OTHER)
}

/// The form with what is stored.
fn form(app: &App, products: &[String]) -> Form {
    let look = WidgetSettings::read(&app.settings);
    let rules = ChatSettings::read(&app.settings);
    let mut form = Form::new(path(&app.id), "Save").with(Field::hidden(SEEN, app.version.to_string()));
    for name in names() {
        let setting = of_name(name);
        let label = if setting.label.is_empty() { name } else { setting.label };
        let stored = app.settings.get(name).cloned().unwrap_or_default();
        let field = match setting.look {
            Look::Line => Field::line(name, label).value(stored),
            Look::Number => Field::typed(name, label, "number").value(stored),
            Look::Mail => Field::typed(name, label, "email").value(stored),
            Look::Colour => Field::typed(name, label, "color").value(look.accent.css()),
            Look::Words => Field::text(name, label, 3).value(rules.allowed_origins.join("\n")),
            Look::One(choices) => {
                let now = match name {
                    "identity" => rules.identity.as_str(),
                    "compat_shape" => rules.compat_shape.as_str(),
                    "chat_assign" => rules.assign.as_str(),
                    "chat_calls" => rules.calls.as_str(),
                    "chat_record" => yes_or_no(rules.records_calls),
                    "chat_push_text" => yes_or_no(rules.pushes_text),
                    "chat_record_shared" => yes_or_no(rules.shares_recordings),
                    "widget_theme" => &look.theme,
                    _ => &look.position,
                };
                let choices: Vec<Choice> =
                    choices.iter().map(|(word, label)| ((*word).to_owned(), (*label).to_owned())).collect();
                Field::one(name, label, choices).value(now)
            }
            Look::Locale => {
                let choice = |locale: &&str| ((*locale).to_owned(), language(locale).to_owned());
                let mut choices: Vec<Choice> = vec![("auto".to_owned(), "As the visitor's browser".to_owned())];
                choices.extend(LOCALES.iter().map(choice));
                Field::one(name, label, choices).value(look.locale.clone())
            }
            Look::Product => Field::line(name, label).value(stored).suggesting(products.to_vec()),
        };
        form = form.with(field.optional().hint(setting.hint));
    }
    form
}

/// What a language calls itself; the code of one that is not named here.
fn language(locale: &str) -> &str {
    match locale {
        "ar" => "العربية",
        "de" => "Deutsch",
        "en" => "English",
        "es" => "Español",
        "fr" => "Français",
        "hi" => "हिन्दी",
        "it" => "Italiano",
        "ja" => "日本語",
        "nl" => "Nederlands",
        "pl" => "Polski",
        "pt" => "Português",
        "tr" => "Türkçe",
        "zh" => "中文",
        other => other,
    }
}

fn yes_or_no(is_so: bool) -> &'static str {
    if is_so { "true" } else { "false" }
}

/// What was typed, as changes of the settings: an empty value puts one back.
fn changes(posted: &Posted) -> Vec<(String, String)> {
    let typed = |name: &'static str| match of_name(name).look {
        Look::Words => posted.words(name).join(","),
        _ => posted.get(name).to_owned(),
    };
    names().map(|name| (name.to_owned(), typed(name))).collect()
}

#[derive(Template)]
#[template(path = "console/app_chat.html")]
struct ChatPage {
    page: Page,
    path: String,
    app: App,
    form: Form,
    /// Without a slash at its end.
    base: String,
    is_open: bool,
    /// Whether some pages of other sites may hold it.
    has_origins: bool,
    /// How many identity secrets are good.
    secrets: usize,
    manages: bool,
}

/// Where a request came from, to say where browsers reach this server.
struct From {
    client: Client,
    headers: HeaderMap,
}

async fn app_of(kernel: &Kernel, visitor: &Visitor, id: &str) -> Result<App, Problem> {
    let app = kernel.app(visitor.org_id(), id).await?;
    if Scope::covers(&app.scopes, Action::ManageChats) { Ok(app) } else { Err(Problem::not_found()) }
}

async fn chat_page(
    chats: &Chats,
    visitor: &Visitor,
    from: &From,
    app: App,
    change: impl FnOnce(Form) -> Result<Form, Problem>,
) -> Result<ChatPage, Problem> {
    let kernel = chats.kernel();
    let products = product_names(chats, visitor).await?;
    let rules = ChatSettings::read(&app.settings);
    Ok(ChatPage {
        page: visitor.page(format!("Chat of {}", app.name), PLACE),
        path: path(&app.id),
        form: change(form(&app, &products))?,
        base: kernel.base_url(from.client, &from.headers),
        is_open: rules.identity == Identity::Open,
        has_origins: !rules.allowed_origins.is_empty(),
        secrets: rules.identity_secrets.len(),
        manages: visitor.may(Action::ManageKeys),
        app,
    })
}

/// The names of the organisation's products.
async fn product_names(chats: &Chats, visitor: &Visitor) -> Result<Vec<String>, Problem> {
    let products = chats.products(visitor.org_id()).await.map_err(Problem::internal)?;
    Ok(products.into_iter().map(|product| product.name).collect())
}

async fn look(
    Given(chats): Given<Chats>,
    visitor: Visitor,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<AppPath>,
) -> Result<Response, Problem> {
    let app = app_of(chats.kernel(), &visitor, &id.id).await?;
    holding_own_frames(show(&chat_page(&chats, &visitor, &From { client, headers }, app, Ok).await?)?)
}

async fn change(
    Given(chats): Given<Chats>,
    visitor: Visitor,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<AppPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    let (kernel, from) = (chats.kernel(), From { client, headers });
    let app = app_of(kernel, &visitor, &id.id).await?;
    if posted.get(SEEN) != app.version.to_string() {
        let products = product_names(&chats, &visitor).await?;
        let now = form(&app, &products);
        let both = |form: Form| Ok(form.filled(&posted).set(SEEN, app.version.to_string()).overtaken(&now));
        let page = chat_page(&chats, &visitor, &from, app.clone(), both).await?;
        return holding_own_frames(show_conflict(&page)?);
    }
    match changed(kernel, &app, changes(&posted)).await {
        Ok(()) => {
            note(kernel, &visitor, "application.change", &app).await?;
            Ok(done(&path(&app.id), "saved"))
        }
        Err(error) => {
            let refused = |form: Form| form.filled(&posted).refused(error);
            holding_own_frames(show_refused(&chat_page(&chats, &visitor, &from, app, refused).await?)?)
        }
    }
}

/// Changes the settings, all or none.
async fn changed(kernel: &Kernel, app: &App, changes: Vec<(String, String)>) -> Result<(), Problem> {
    let mut wrong = Problem::new(codes::INVALID_FIELD);
    for (name, value) in &changes {
        // An empty value puts a setting back, whatever it is.
        if !value.is_empty()
            && let Err(expected) = app_settings::check(name, value)
        {
            wrong = wrong.and(format!("/{name}"), "invalid", expected);
        }
    }
    if !wrong.errors.is_empty() {
        return Err(wrong);
    }
    app_settings::change(kernel, &app.org, &app.id, changes).await?;
    Ok(())
}

async fn note(kernel: &Kernel, visitor: &Visitor, action: &str, app: &App) -> Result<(), Problem> {
    let write = kernel.audit_write(visitor.org_id(), visitor.principal().actor(), action, &app.id);
    kernel.db.writer().commit(vec![write]).await.map(drop).map_err(Problem::internal)
}

/// The page as it is now, to whoever pressed a button of an older one.
async fn overtaken(chats: &Chats, visitor: &Visitor, from: &From, app: App) -> Result<Response, Problem> {
    holding_own_frames(show_conflict(&chat_page(chats, visitor, from, app, Ok).await?)?)
}

/// Makes the first secret, or one that is good beside it. A third would take the place of one that somebody may just have
/// copied.
async fn make_secret(
    Given(chats): Given<Chats>,
    visitor: Visitor,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<AppPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    let kernel = chats.kernel().clone();
    let app = app_of(&kernel, &visitor, &id.id).await?;
    let [first, next] = IDENTITY_SECRETS;
    let is_stale = posted.get(SEEN) != app.version.to_string();
    if is_stale || app.settings.contains_key(first) && app.settings.contains_key(next) {
        return overtaken(&chats, &visitor, &From { client, headers }, app).await;
    }
    let name = if app.settings.contains_key(first) { next } else { first };
    let secret = kernel.ids.token();
    note(&kernel, &visitor, "application.identity_secret_make", &app).await?;
    app_settings::change(&kernel, &app.org, &app.id, vec![(name.to_owned(), secret.clone())]).await?;
    let about = "Your server signs with it who a visitor is: a JSON Web Token (HS256), or the HMAC-SHA256 of the user's id. \
        Keep it where your secrets are; it never goes into a page.";
    let about = if name == next {
        format!("{about} The one before stays good: sign with this one everywhere, then end the older one.")
    } else {
        about.to_owned()
    };
    show(&ShownOncePage {
        page: visitor.page(format!("An identity secret for {}", app.name), PLACE),
        about,
        secrets: vec![("Identity secret", secret)],
        next: Link::new("To the chat's settings", path(&app.id)),
    })
}

/// Ends the older of two secrets, or the only one: the one that stood on the page, not the next one at a second click.
async fn end_secret(
    Given(chats): Given<Chats>,
    visitor: Visitor,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<AppPath>,
    posted: Posted,
) -> Result<Response, Problem> {
    let kernel = chats.kernel().clone();
    let app = app_of(&kernel, &visitor, &id.id).await?;
    if posted.get(SEEN) != app.version.to_string() {
        return overtaken(&chats, &visitor, &From { client, headers }, app).await;
    }
    let [first, next] = IDENTITY_SECRETS;
    // Both are sealed for the same purpose: the newer one moves as it is.
    let newer = app.settings.get(next).cloned().unwrap_or_default();
    note(&kernel, &visitor, "application.identity_secret_end", &app).await?;
    kernel.set_app(&app.org, &app.id, vec![(first.to_owned(), newer), (next.to_owned(), String::new())]).await?;
    Ok(done(&path(&app.id), "saved"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(settings: &[(&str, &str)]) -> App {
        App {
            id: "app_1".to_owned(),
            org: "org_1".to_owned(),
            name: "Shop".to_owned(),
            scopes: Vec::new(),
            publishable_key: String::new(),
            settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            version: 7,
            created_at: 0,
        }
    }

    #[test]
    fn the_form_has_every_setting_but_the_secrets() {
        let form = form(&app(&[]), &[]);
        for name in chat::SETTING_NAMES.into_iter().chain(widget::SETTING_NAMES) {
            let is_there = form.fields.iter().any(|field| field.name == name);
            assert_eq!(is_there, !IDENTITY_SECRETS.contains(&name), "{name}");
        }
    }

    #[test]
    fn what_is_shown_is_what_is_stored_or_what_holds() {
        let stored = app(&[
            ("identity", "verified"),
            ("identity_secret", "sealed"),
            ("allowed_origins", "https://a.example, https://b.example"),
            ("widget_hours", "mon 09:00-10:00"),
            ("limit_sockets", "9"),
            ("chat_calls", "both"),
            ("chat_record", "true"),
        ]);
        let form = form(&stored, &["LOGIN".to_owned()]);
        let value = |name: &str| form.fields.iter().find(|field| field.name == name).unwrap().text_value().to_owned();
        assert_eq!((value("identity"), value("compat_shape")), ("verified".to_owned(), "documented".to_owned()));
        assert_eq!(value("allowed_origins"), "https://a.example\nhttps://b.example");
        assert_eq!((value("widget_accent"), value("widget_locale")), ("#0b6b6b".to_owned(), "auto".to_owned()));
        assert_eq!((value("widget_hours"), value("limit_sockets")), ("mon 09:00-10:00".to_owned(), "9".to_owned()));
        assert_eq!((value("chat_assign"), value("chat_calls")), ("auto".to_owned(), "both".to_owned()));
        assert_eq!((value("chat_record"), value("chat_record_shared")), ("true".to_owned(), "false".to_owned()));
        assert!(form.fields.iter().all(|field| field.label != field.name), "each has a label of its own");
        assert_eq!((value("limit_messages_burst"), value(SEEN)), (String::new(), "7".to_owned()));
        assert!(!form.fields.iter().any(|field| field.values.iter().any(|value| value == "sealed")));
    }
}
