//! Verbs of trunks and public numbers.

use calls::{Bound, NewTrunk};
use clap::{Args, Subcommand};
use kernel::{Kernel, RecordError};
use serde_json::json;

use super::{Answer, CliError};

#[derive(Debug, Subcommand)]
pub enum TrunkVerb {
    /// Add a carrier
    Add(AddTrunk),
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
        #[arg(long, value_name = "flow:ID|person:1001|team:5263|meetings")]
        to: String,
    },
}

impl TrunkVerb {
    pub(crate) async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        let Self::Add(add) = self;
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
        let Self::Add { number, org, to } = self;
        let org = kernel.find_org(&org).await?;
        let to = Bound::parse(&to)
            .ok_or_else(|| CliError::because("--to is flow:ID, person:1001, team:5263 or meetings"))?;
        if let Bound::Flow(id) = &to
            && !crate::calls::flow_exists(kernel, &org.id, id).await.map_err(RecordError::Db)?
        {
            return Err(CliError::because(format!("--to: there is no flow {id} in this organisation")));
        }
        let bound = calls::bind_number(kernel, &org.id, &number, &to).await?;
        Ok(Answer {
            text: format!("{} rings {}", bound.number, bound.to),
            json: json!({"id": bound.number, "number": bound.number, "to": bound.to}),
        })
    }
}
