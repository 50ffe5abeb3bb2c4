//! Verbs of trunks and public numbers.

use calls::{Bound, NewTrunk};
use clap::{Args, Subcommand};
use kernel::{Kernel, Org, RecordError};
use serde_json::json;

use super::listing::{List, Remove};
use super::{Answer, CliError};

#[derive(Debug, Subcommand)]
pub enum TrunkVerb {
    /// Add a carrier
    Add(AddTrunk),
    /// Show the carriers, and how each fares
    List(List),
    /// Give a carrier up
    Remove(Remove),
}

#[derive(Args, Debug)]
pub struct AddTrunk {
    name: String,
    /// Id or slug of the organisation
    #[arg(long)]
    org: String,
    /// Where it is reached; may be repeated, and is tried in this order
    #[arg(long = "target", value_name = "HOST[:PORT][;transport=udp|tcp|tls]", required = true)]
    targets: Vec<String>,
    /// User name that the carrier gave
    #[arg(long, requires = "password_stdin")]
    username: Option<String>,
    /// Read the carrier's password from the first line of stdin
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// The domain of From and of the registration, when it is not the first target's host
    #[arg(long, value_name = "HOST")]
    domain: Option<String>,
    /// Keep a registration with the carrier
    #[arg(long, requires = "username")]
    register: bool,
    /// Ask the targets for a sign of life every 30 s (OPTIONS), so that one that fails is known before a call
    #[arg(long)]
    ping: bool,
    /// Offer SRTP (SDES keys) on its calls, and accept nothing else; best with transport=tls, which hides the keys
    #[arg(long)]
    srtp: bool,
    /// A number that may be shown to called parties; may be repeated
    #[arg(long = "caller-id", value_name = "NUMBER")]
    caller_ids: Vec<String>,
    /// A number of the pool for masked meetings; may be repeated
    #[arg(long = "pool", value_name = "NUMBER")]
    pool: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum NumberVerb {
    /// Bind a public number to what answers it
    Add {
        /// Such as +442071838750
        number: String,
        /// Id or slug of the organisation
        #[arg(long)]
        org: String,
        #[arg(long, value_name = "flow:ID|flow:NAME|person:1001|team:5263|meetings")]
        to: String,
    },
    /// Show the public numbers, and what each reaches
    List(List),
    /// Give a public number up
    Remove(Remove),
}

impl TrunkVerb {
    pub(crate) async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        match self {
            Self::Add(add) => add.run(kernel).await,
            Self::List(list) => {
                let all = calls::trunks_everywhere(&kernel.db).await.map_err(RecordError::Db)?;
                let items = async |org: &Org| {
                    let own = all.iter().filter(|trunk| trunk.org == org.slug);
                    Ok(own
                        .map(|trunk| {
                            let hosts: Vec<&str> = trunk.targets.iter().map(|target| target.host.as_str()).collect();
                            vec![
                                ("id", json!(trunk.id)),
                                ("name", json!(trunk.name)),
                                ("state", json!(trunk.state)),
                                ("targets", json!(hosts)),
                            ]
                        })
                        .collect())
                };
                list.run(kernel, items).await
            }
            Self::Remove(remove) => {
                let trunk = async |org: &Org, id: &str| {
                    Ok(calls::remove_trunk(kernel, &org.id, id).await.map_err(RecordError::Db)?)
                };
                remove.run(kernel, "trunk", trunk).await
            }
        }
    }
}

impl AddTrunk {
    async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        let add = self;
        let org = kernel.find_org(&add.org).await?;
        let password = if add.password_stdin { Some(super::read_password()?) } else { None };
        let text = format!("trunk {}", add.name);
        let new = NewTrunk {
            name: add.name,
            targets: add.targets,
            username: add.username,
            password,
            domain: add.domain,
            register: add.register,
            ping: add.ping,
            srtp: add.srtp,
            caller_ids: add.caller_ids,
            pool: add.pool,
        };
        let id = calls::create_trunk(kernel, &org.id, new).await?;
        Ok(Answer { text: format!("{text} ({id})"), json: json!({"id": id}) })
    }
}

impl NumberVerb {
    pub(crate) async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        let (number, org, to) = match self {
            Self::Add { number, org, to } => (number, org, to),
            Self::List(list) => {
                let items = async |org: &Org| {
                    let all = calls::public_numbers(kernel, &org.id).await.map_err(RecordError::Db)?;
                    Ok(all
                        .into_iter()
                        .map(|bound| vec![("id", json!(bound.number)), ("to", json!(bound.to))])
                        .collect())
                };
                return list.run(kernel, items).await;
            }
            Self::Remove(remove) => {
                let number = async |org: &Org, number: &str| {
                    Ok(calls::release_number(kernel, &org.id, number).await.map_err(RecordError::Db)?)
                };
                return remove.run(kernel, "number", number).await;
            }
        };
        let org = kernel.find_org(&org).await?;
        let to = match Bound::parse(&to) {
            Some(Bound::Flow(flow)) => Bound::Flow(find_flow(kernel, &org, &flow).await?),
            Some(to) => to,
            None => return Err(CliError::because("--to is flow:ID, flow:NAME, person:1001, team:5263 or meetings")),
        };
        let bound = calls::bind_number(kernel, &org.id, &number, &to).await?;
        Ok(Answer {
            text: format!("{} rings {}", bound.number, bound.to),
            json: json!({"id": bound.number, "number": bound.number, "to": bound.to}),
        })
    }
}

/// The flow that a person names by its id or, when only one has it, by its name.
async fn find_flow(kernel: &Kernel, org: &Org, said: &str) -> Result<String, CliError> {
    if crate::calls::flow_exists(kernel, &org.id, said).await.map_err(RecordError::Db)? {
        return Ok(said.to_owned());
    }
    let mut named = crate::calls::flows_named(kernel, &org.id, said).await.map_err(RecordError::Db)?;
    match (named.pop(), named.len()) {
        (Some(id), 0) => Ok(id),
        (None, _) => Err(CliError::because(format!("--to: there is no flow {said} in this organisation"))),
        (Some(_), others) => Err(CliError::because(format!("--to: {} flows are named {said}: give an id", others + 1))),
    }
}
