//! The command line: what may be said, and what each verb answers.
//!
//! A verb changes the store and returns an [`Answer`]; only `main` prints. With `--json` stdout is
//! exactly one line; everything else goes to stderr.

mod admin;
mod demo;
mod doctor;
mod flow;
mod lines;
mod listing;
mod people;
mod settings;
mod upkeep;
mod validity;
mod webhook;

use clap::{Parser, Subcommand};
use kernel::config::ConfigError;
use kernel::kernel::OpenError;
use kernel::{Clock, Config, Ids, Kernel, RecordError, Secret};
use serde_json::Value;

pub use admin::first_link;
pub use demo::{Demo, Endpoint};
pub(crate) use doctor::{Finding, examine};
pub use settings::{Place, ServeFlags};

use crate::running::Running;

/// Self-hosted communications server.
#[derive(Debug, Parser)]
#[command(name = "tandem", version, about, long_about = None)]
pub struct Cli {
    #[command(flatten)]
    place: Place,
    /// Print one JSON object on one line, for scripts.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    serve: ServeFlags,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Order {
    /// Run the server.
    Serve(Config),
    /// Run the server with the tour's organisation.
    Demo(Config),
    /// Carry out a verb and end.
    Verb(Box<Verb>, Config),
}

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the doc comments are the help texts")]
pub enum Verb {
    /// Run the server (what `tandem` alone does)
    Serve(ServeFlags),
    /// Run the server with a sample organisation: the five-minute tour
    Demo(ServeFlags),
    /// Organisations
    #[command(subcommand)]
    Org(people::OrgVerb),
    /// Applications and their keys
    #[command(subcommand)]
    App(people::AppVerb),
    /// People and their phones
    #[command(subcommand)]
    User(people::UserVerb),
    /// Teams: several people behind one number
    #[command(subcommand)]
    Team(people::TeamVerb),
    /// Trunks: carriers
    #[command(subcommand)]
    Trunk(lines::TrunkVerb),
    /// Public numbers
    #[command(subcommand)]
    Number(lines::NumberVerb),
    /// Call flows
    #[command(subcommand)]
    Flow(flow::FlowVerb),
    /// Webhooks
    #[command(subcommand)]
    Webhook(webhook::WebhookVerb),
    /// Administrators of the installation
    #[command(subcommand)]
    Admin(admin::AdminVerb),
    /// Write a copy of the store and its files, also while the server runs
    Backup(upkeep::Backup),
    /// Bring a backup back; the server must be stopped
    Restore(upkeep::Restore),
    /// Move the data to another database
    MigrateStore(upkeep::MigrateStore),
    /// Say what is missing: voices, ports, public address, TLS, clock
    Doctor(ServeFlags),
}

/// What a verb answers: one object for scripts, a few words for people.
#[derive(Debug)]
pub struct Answer {
    /// Printed on one line with `--json`.
    pub json: Value,
    /// Printed without it.
    pub text: String,
}

impl Answer {
    /// Whether a script may go on: false when the doctor found something that does not work.
    pub fn is_good(&self) -> bool {
        self.json.get("ok") != Some(&Value::Bool(false))
    }
}

/// Why a verb failed; the sentence goes to stderr.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What was asked for.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Anything else, in a sentence.
    #[error("{0}")]
    Refused(String),
}

impl CliError {
    /// A refusal from anything that can say why.
    pub fn because(reason: impl ToString) -> Self {
        Self::Refused(reason.to_string())
    }
}

impl Cli {
    /// Whether `--json` was given.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Reads the settings of every source and says what to do.
    ///
    /// # Errors
    /// A setting that is wrong, with the place where it was said.
    pub fn order(self) -> Result<Order, CliError> {
        let Self { place, serve, verb, .. } = self;
        match verb {
            None => Ok(Order::Serve(place.load(&[serve])?)),
            Some(Verb::Serve(more)) => Ok(Order::Serve(place.load(&[serve, more])?)),
            Some(Verb::Demo(more)) => Ok(Order::Demo(place.load(&[serve, more])?)),
            Some(Verb::Doctor(more)) => {
                let flags = [serve, more];
                let config = place.load(&flags)?;
                let config = if flags == <[ServeFlags; 2]>::default() { beside(config) } else { config };
                Ok(Order::Verb(Box::new(Verb::Doctor(ServeFlags::default())), config))
            }
            Some(verb) if serve == ServeFlags::default() => Ok(Order::Verb(Box::new(verb), beside(place.load(&[])?))),
            Some(_) => Err(CliError::because("the flags of `serve` do not belong to this verb")),
        }
    }
}

/// The settings of a verb beside the server of its data directory, if one runs: where that is, it knows best.
fn beside(mut config: Config) -> Config {
    if let Some(running) = Running::of_data(&config.data) {
        running.overrule(&mut config);
    }
    config
}

impl Verb {
    /// Carries the verb out beside a server that may be running.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub async fn run(self, config: Config) -> Result<Answer, CliError> {
        match self {
            Self::Serve(_) | Self::Demo(_) => Err(CliError::because("serve and demo run until they are stopped")),
            Self::Doctor(_) => upkeep::doctor(&config).await,
            Self::Restore(verb) => verb.run(&config).await,
            Self::MigrateStore(verb) => verb.run(),
            Self::Flow(flow::FlowVerb::Check(verb)) if !verb.needs_store() => verb.run_alone(),
            verb => verb.run_on_store(config).await,
        }
    }

    async fn run_on_store(self, config: Config) -> Result<Answer, CliError> {
        let (clock, ids) = (Clock::system(), Ids::os());
        // Only who makes an organisation may make the store for it: in a wrong directory the others find none.
        let kernel = match &self {
            Self::Org(people::OrgVerb::Create { .. }) => Kernel::open(config, clock, ids).await?,
            _ => Kernel::open_present(config, clock, ids).await?,
        };
        let answer = match self {
            Self::Org(verb) => verb.run(&kernel).await,
            Self::App(verb) => verb.run(&kernel).await,
            Self::User(verb) => verb.run(&kernel).await,
            Self::Team(verb) => verb.run(&kernel).await,
            Self::Trunk(verb) => verb.run(&kernel).await,
            Self::Number(verb) => verb.run(&kernel).await,
            Self::Flow(verb) => verb.run(&kernel).await,
            Self::Webhook(verb) => verb.run(&kernel).await,
            Self::Admin(verb) => verb.run(&kernel).await,
            Self::Backup(verb) => verb.run(&kernel).await,
            Self::Serve(_) | Self::Demo(_) | Self::Doctor(_) | Self::Restore(_) | Self::MigrateStore(_) => {
                Err(CliError::because("this verb needs no store"))
            }
        };
        kernel.db.close().await;
        answer
    }
}

/// The first line of stdin, for flags that end with `-stdin`.
fn read_password() -> Result<Secret, CliError> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(CliError::because)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(CliError::because("no password on stdin"));
    }
    Ok(Secret::new(password))
}
