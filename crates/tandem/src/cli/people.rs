//! Verbs of organisations, applications, people and teams.

use std::net::SocketAddr;

use clap::{Args, Subcommand};
use kernel::app::{App, NewApp};
use kernel::org::NewOrg;
use kernel::person::Person;
use kernel::sign_in::Identity;
use kernel::{Config, Kernel, Org, RecordError, Role, Scope};
use serde_json::{Map, Value, json};

use super::listing::{self, Item, List, Remove};
use super::{Answer, CliError};
use crate::applications::settings as app_settings;
use crate::chat::ChatSettings;
use crate::console::Site;
use crate::meetings::model::Settings;

/// What a pool's number is bound to.
const MEETINGS: &str = "meetings";
/// Where phones look for a server that listens nowhere in particular.
const SIP_PORT: u16 = 5060;

#[derive(Debug, Subcommand)]
pub enum OrgVerb {
    /// Make an organisation
    Create {
        name: String,
        /// Its short name in addresses and in `cloud_id` [default: made from the name]
        #[arg(long)]
        slug: Option<String>,
        /// Its time zone, such as Europe/London [default: UTC]
        #[arg(long)]
        zone: Option<String>,
        /// The domain of its phones [default: the server's own address]
        #[arg(long)]
        sip_domain: Option<String>,
        /// The host name of its keyless pages
        #[arg(long)]
        host: Option<String>,
    },
    /// Show the organisations
    List,
    /// Change settings of an organisation, such as do_not_call=+442071838750 quiet_hours=21:00-08:00
    Set {
        /// Id or slug of the organisation
        org: String,
        /// Lists with commas; an empty value puts a setting back
        #[arg(value_name = "KEY=VALUE", required = true, value_parser = key_value)]
        settings: Vec<(String, String)>,
    },
}

#[derive(Debug, Subcommand)]
pub enum AppVerb {
    /// Make an application; its key is shown once
    #[command(after_help = settings_help())]
    Create {
        name: String,
        /// Id or slug of its organisation
        #[arg(long)]
        org: String,
        /// What its key may do; may be repeated [default: everything of its organisation]
        #[arg(long = "scope")]
        scopes: Vec<Scope>,
        /// A setting; may be repeated
        #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
        settings: Vec<(String, String)>,
    },
    /// Show the applications
    List(List),
    /// End an application: none of its keys is good any more
    Remove { id: String },
    /// Give an application a new key, shown once; every older one ends
    Rotate { id: String },
    /// Change settings of an application
    #[command(after_help = settings_help())]
    Set {
        id: String,
        #[arg(value_name = "KEY=VALUE", required = true, value_parser = key_value)]
        settings: Vec<(String, String)>,
    },
}

#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// Make a person, and a phone when an extension is given
    Create(NewUser),
    /// Show the people and their phones
    List(List),
    /// Print a link that signs a person in to the console, once, within 15 minutes
    Link(OneUser),
    /// Give a person a new auth_token, shown once; every older one ends
    Rotate(OneUser),
    /// End a membership: no token, password or phone of the person works any more
    Disable(OneUser),
}

#[derive(Args, Debug)]
pub struct OneUser {
    /// Id of the person
    id: String,
    /// Id or slug of the organisation
    #[arg(long)]
    org: String,
}

#[derive(Args, Debug)]
pub struct NewUser {
    name: String,
    /// Id or slug of the organisation
    #[arg(long)]
    org: String,
    #[arg(long)]
    email: Option<String>,
    /// owner, admin, supervisor, agent, member or auditor [default: owner for the first person, then member]
    #[arg(long)]
    role: Option<Role>,
    /// The number of the person's phone inside the organisation
    #[arg(long, value_name = "NUMBER")]
    extension: Option<String>,
    /// Whoever calls the extension in vain may leave a message
    #[arg(long, requires = "extension")]
    voicemail: bool,
    /// Read the password for signing in from the first line of stdin
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub enum TeamVerb {
    /// Make a team
    Create {
        name: String,
        /// Id or slug of the organisation
        #[arg(long)]
        org: String,
        /// Its number inside the organisation
        #[arg(long)]
        number: String,
        /// How its members ring: all at once, or one for each caller who waits (ring_all, longest_idle, round_robin)
        #[arg(long, default_value = "ring_all")]
        strategy: String,
        /// How long a member writes up a call before the next one
        #[arg(long, value_name = "SECONDS")]
        wrap_up: Option<i64>,
        /// How long a member's phones ring for a caller who waits
        #[arg(long, value_name = "SECONDS")]
        ring: Option<i64>,
        /// Do not tell whoever dials it and waits where he stands
        #[arg(long)]
        no_announcements: bool,
        /// Extension of a member; may be repeated
        #[arg(long = "member", value_name = "EXTENSION")]
        members: Vec<String>,
    },
    /// Show the teams
    List(List),
    /// Remove a team; its number becomes free
    Remove(Remove),
}

impl OrgVerb {
    pub(crate) async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        match self {
            Self::Create { name, slug, zone, sip_domain, host } => {
                let org = kernel.create_org(NewOrg { name, slug, zone, sip_domain, host }).await?;
                Ok(Answer {
                    text: format!("organisation {} ({}), cloud_sid {}", org.slug, org.id, org.cloud_sid),
                    json: json!({"id": org.id, "slug": org.slug, "cloud_sid": org.cloud_sid}),
                })
            }
            Self::List => {
                let item = |org: Org| {
                    vec![
                        ("id", json!(org.id)),
                        ("slug", json!(org.slug)),
                        ("name", json!(org.name)),
                        ("cloud_sid", json!(org.cloud_sid)),
                        ("zone", json!(org.zone)),
                        ("sip_domain", json!(org.sip_domain)),
                    ]
                };
                Ok(listing::answer(&kernel.orgs().await?.into_iter().map(item).collect::<Vec<_>>()))
            }
            Self::Set { org, settings } => {
                let org = kernel.find_org(&org).await?;
                let changes = settings.into_iter().map(|(key, word)| (key.clone(), setting(&key, &word))).collect();
                let now = kernel.change_org_settings(&org.id, &changes).await?;
                let now = json!(now);
                Ok(Answer {
                    text: format!("organisation {}: {now}", org.slug),
                    json: json!({"id": org.id, "settings": now}),
                })
            }
        }
    }
}

/// A setting of an organisation, as a person types it; what does not fit is left for the settings' own check to name.
fn setting(key: &str, word: &str) -> Value {
    let pairs = |separator: char| word.split(',').filter_map(move |pair| pair.split_once(separator));
    match key {
        _ if word.is_empty() => Value::Null,
        _ if word.starts_with(['{', '[']) => serde_json::from_str(word).unwrap_or_else(|_| word.into()),
        "caller_ids" | "dial_allow" | "dial_only" | "do_not_call" => word.split(',').map(str::trim).collect(),
        "dial_sip" => word.parse::<bool>().map_or_else(|_| word.into(), Value::Bool),
        "quiet_hours" => word.split_once('-').map_or_else(|| word.into(), |(from, to)| json!({"from": from, "to": to})),
        "retention_days" => pairs(':')
            .map(|(kind, days)| (kind.to_owned(), days.parse::<u32>().map_or_else(|_| days.into(), Value::from)))
            .collect::<Map<String, Value>>()
            .into(),
        _ => word.into(),
    }
}

impl AppVerb {
    pub(crate) async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        match self {
            Self::Create { name, org, scopes, settings } => {
                let org = kernel.find_org(&org).await?;
                let settings = app_settings::checked(kernel, settings)?;
                let (app, key) = kernel.create_app(&org.id, NewApp { name, scopes, settings }).await?;
                Ok(Answer {
                    text: format!(
                        "application {}\nAPI key (shown once): {}\npublishable key: {}",
                        app.id,
                        key.expose(),
                        app.publishable_key
                    ),
                    json: json!({"id": app.id, "org": org.id, "api_key": key.expose(), "publishable_key": app.publishable_key}),
                })
            }
            Self::List(list) => list.run(kernel, async |org: &Org| apps(kernel, org).await).await,
            Self::Remove { id } => {
                kernel.disable_app(&kernel.org_of_app(&id).await?, &id).await?;
                Ok(listing::removed("application", &id))
            }
            Self::Rotate { id } => {
                let org = kernel.org_of_app(&id).await?;
                let old = kernel.app_keys(&org, &id).await?;
                let key = kernel.create_app_key(&org, &id).await?;
                for key in old {
                    kernel.revoke_app_key(&org, &key.id).await?;
                }
                Ok(Answer {
                    text: format!("application {id}\nAPI key (shown once): {}", key.expose()),
                    json: json!({"id": id, "org": org, "api_key": key.expose()}),
                })
            }
            Self::Set { id, settings } => {
                let org = kernel.org_of_app(&id).await?;
                let mut app = app_settings::change(kernel, &org, &id, settings).await?;
                let of_chat: Vec<String> =
                    ChatSettings::read(&app.settings).warnings().into_iter().map(str::to_owned).collect();
                app.settings = app_settings::shown(&app);
                let lines: String = app.settings.iter().map(|(name, value)| format!("\n{name}={value}")).collect();
                let mut warnings = pool_warnings(kernel, &app).await?;
                warnings.extend(of_chat);
                let said: String = warnings.iter().map(|warning| format!("\nwarning: {warning}")).collect();
                Ok(Answer {
                    text: format!("application {}{lines}{said}", app.id),
                    json: json!({"id": app.id, "settings": app.settings, "warnings": warnings}),
                })
            }
        }
    }
}

fn settings_help() -> String {
    format!("Settings: {} (docs/meetings.md). An empty value puts one back.", app_settings::names())
}

/// The numbers of the pool that cannot do their work.
async fn pool_warnings(kernel: &Kernel, app: &App) -> Result<Vec<String>, CliError> {
    let own = calls::public_numbers(kernel, &app.org).await.map_err(RecordError::Db)?;
    let pool = Settings::read(&app.settings).number_pool;
    let is_idle = |number: &&String| {
        let number = calls::numbers::public(number);
        !own.iter().any(|own| Some(&own.number) == number.as_ref() && own.to == MEETINGS)
    };
    Ok(pool
        .iter()
        .filter(is_idle)
        .map(|number| format!("{number} does not lead to meetings: tandem number add {number} --org ... --to meetings"))
        .collect())
}

impl UserVerb {
    pub(crate) async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        match self {
            Self::Create(new) => new.create(kernel).await,
            Self::List(list) => list.run(kernel, async |org: &Org| people(kernel, org).await).await,
            Self::Link(OneUser { id, org }) => {
                let org = kernel.find_org(&org).await?.id;
                let person = kernel.person(&org, &id).await?;
                if person.disabled_at.is_some() {
                    return Err(CliError::because(format!("person {id} is disabled")));
                }
                let whose = Identity::Person { org: person.org, person: person.id };
                let site = Site::of(&kernel.config, kernel.config.http, kernel.config.https);
                let url = site.sign_in(&kernel.create_link(&whose).await?);
                Ok(Answer { text: url.clone(), json: json!({"id": id, "url": url}) })
            }
            Self::Rotate(OneUser { id, org }) => {
                let org = kernel.find_org(&org).await?.id;
                let old = kernel.person_tokens(&org, &id).await?;
                let token = kernel.create_person_token(&org, &id, "command line").await?;
                for token in old {
                    kernel.revoke_person_token(&org, &token.id).await?;
                }
                Ok(Answer {
                    text: format!("person {id}, auth_token (shown once) {}", token.expose()),
                    json: json!({"id": id, "auth_token": token.expose()}),
                })
            }
            Self::Disable(OneUser { id, org }) => {
                let org = kernel.find_org(&org).await?.id;
                calls::disable_user(kernel, &org, &id).await?;
                Ok(Answer { text: format!("person {id} is disabled"), json: json!({"id": id}) })
            }
        }
    }
}

impl NewUser {
    async fn create(self, kernel: &Kernel) -> Result<Answer, CliError> {
        let new = self;
        let org = kernel.find_org(&new.org).await?;
        let password = if new.password_stdin { Some(super::read_password()?) } else { None };
        let person =
            calls::NewUser { name: new.name, email: new.email, role: new.role, password, extension: new.extension };
        let made = calls::create_user(kernel, &org, person).await?;
        if let Some(extension) = made.extension.as_deref().filter(|_| new.voicemail) {
            calls::set_voicemail(kernel, &org.id, extension, true).await.map_err(RecordError::Db)?;
        }
        let token = made.auth_token.expose();
        let role = made.role.as_str();
        let mut text = format!(
            "person {id}, {role}, auth_token (shown once) {token}\nconsole: tandem user link {id} --org {}",
            org.slug,
            id = made.id
        );
        let mut json = json!({"id": made.id, "role": role, "auth_token": token, "extension": made.extension});
        if let Some(sip) = &made.sip {
            let password = sip.password.expose();
            let server = sip_server(&kernel.config, &sip.domain);
            text +=
                &format!("\nphone: user {}, password {password}, domain {}, server {server}", sip.username, sip.domain);
            let sip = json!({"username": sip.username, "password": password, "domain": sip.domain, "server": server});
            if let Some(fields) = json.as_object_mut() {
                fields.insert("sip".to_owned(), sip);
            }
        }
        Ok(Answer { json, text })
    }
}

/// Where a phone finds the server, as far as the settings say: what phones are told, else what it listens on.
fn sip_server(config: &Config, domain: &str) -> String {
    let listener = config.sip.first();
    let port = listener.map_or(SIP_PORT, SocketAddr::port);
    let own = listener.map(SocketAddr::ip).filter(|address| !address.is_unspecified());
    match config.public_ip.or(own) {
        Some(address) => SocketAddr::new(address, port).to_string(),
        None => format!("{domain}:{port}"),
    }
}

async fn apps(kernel: &Kernel, org: &Org) -> Result<Vec<Item>, CliError> {
    let page = async |after: &str, limit| Ok(kernel.apps(&org.id, after, limit).await?);
    let item = |app: App| {
        let scopes: Vec<&str> = app.scopes.iter().map(|scope| scope.as_str()).collect();
        vec![
            ("id", json!(app.id)),
            ("name", json!(app.name)),
            ("scopes", json!(scopes)),
            ("publishable_key", json!(app.publishable_key)),
        ]
    };
    Ok(listing::pages(page, |app: &App| &app.id).await?.into_iter().map(item).collect())
}

async fn people(kernel: &Kernel, org: &Org) -> Result<Vec<Item>, CliError> {
    let extensions = calls::extensions(kernel, &org.id).await.map_err(RecordError::Db)?;
    let page = async |after: &str, limit| Ok(kernel.people(&org.id, after, limit).await?);
    let item = |person: Person| {
        let own = extensions.iter().filter(|extension| extension.person == person.id);
        vec![
            ("id", json!(person.id)),
            ("name", json!(person.name)),
            ("role", json!(person.role.as_str())),
            ("email", json!(person.email)),
            ("extensions", own.map(|extension| extension.number.as_str()).collect()),
            ("enabled", json!(person.disabled_at.is_none())),
        ]
    };
    Ok(listing::pages(page, |person: &Person| &person.id).await?.into_iter().map(item).collect())
}

async fn teams(kernel: &Kernel, org: &Org) -> Result<Vec<Item>, CliError> {
    let all = calls::teams(kernel, &org.id).await.map_err(RecordError::Db)?;
    let item = |team: calls::TeamRecord| {
        vec![
            ("id", json!(team.id)),
            ("number", json!(team.number)),
            ("name", json!(team.name)),
            ("strategy", json!(team.strategy)),
        ]
    };
    Ok(all.into_iter().map(item).collect())
}

impl TeamVerb {
    pub(crate) async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        let (org, new) = match self {
            Self::Create { name, org, number, strategy, wrap_up, ring, no_announcements, members } => {
                let new = calls::NewTeam {
                    name,
                    number,
                    strategy: Some(strategy),
                    wrap_up_s: wrap_up,
                    ring_s: ring,
                    announce_position: Some(!no_announcements),
                    members,
                };
                (org, new)
            }
            Self::List(list) => return list.run(kernel, async |org: &Org| teams(kernel, org).await).await,
            Self::Remove(remove) => {
                let team = async |org: &Org, id: &str| Ok(calls::remove_team(kernel, &org.id, id).await?);
                return remove.run(kernel, "team", team).await;
            }
        };
        let org = kernel.find_org(&org).await?;
        let calls::TeamRecord { id, name, number, .. } = calls::create_team(kernel, &org.id, new).await?;
        Ok(Answer { text: format!("team {name}, number {number} ({id})"), json: json!({"id": id, "number": number}) })
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("\"{text}\" is not KEY=VALUE")),
    }
}
