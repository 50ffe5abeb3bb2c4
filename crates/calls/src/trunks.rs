//! Trunks: the carriers of an organisation.
//!
//! Invariant: a trunk's password is sealed with the server's key and leaves the store only towards
//! voice.

use kernel::db::{Db, DbError, Write};
use kernel::{Kernel, RecordError, Secret, args};
use voice::ports::{Transport, TrunkTarget};

use crate::{directory, numbers};

/// What the password is sealed for.
pub(crate) const PASSWORD_PURPOSE: &str = "trunk.password";
/// In the store: the domain's DNS records choose.
pub(crate) const ANY_TRANSPORT: &str = "any";
/// Most targets of a trunk.
const MAX_TARGETS: usize = 16;

kernel::statements! {
    /// A trunk, after those that are there.
    TRUNK_INSERT = "insert into trunk (id, org, name, username, password_sealed, domain, register, ping, srtp, caller_ids, pool, position, created_at)
        select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, coalesce(max(position), 0) + 1, $12 from trunk where org = $2";
    /// One of its targets.
    TARGET_INSERT = "insert into trunk_target (trunk, position, host, port, transport) values ($1, $2, $3, $4, $5)";
    /// The targets of all trunks.
    ALL_TARGETS = "select trunk, host, port, transport from trunk_target order by trunk, position limit 50000";
    /// All trunks, for the operator.
    EVERYWHERE = "select t.id, t.name, t.state, o.slug from trunk t join org o on o.id = t.org order by o.slug, t.position limit 10000";
    /// A trunk is given up.
    TRUNK_DELETE = "delete from trunk where org = $1 and id = $2";
    /// And its targets.
    TARGETS_DELETE = "delete from trunk_target where trunk in (select id from trunk where org = $1 and id = $2)";
    /// The trunks of an organisation.
    TRUNK_LIST = "select id, name, register, state, state_at from trunk where org = $1 order by position limit 100";
}

/// A trunk to be made.
#[derive(Debug, Default)]
pub struct NewTrunk {
    /// Name for people, unique in the organisation.
    pub name: String,
    /// `HOST[:PORT][;transport=udp|tcp|tls]`, tried in this order.
    pub targets: Vec<String>,
    /// Digest user name, when the carrier asks for one.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The domain of From and of REGISTER, when it is not the first target's host.
    pub domain: Option<String>,
    /// Keep a registration with the carrier.
    pub register: bool,
    /// Ask the targets for a sign of life by OPTIONS, so that one that fails is known before a call.
    pub ping: bool,
    /// Offer SDES-SRTP on its calls, and accept nothing else.
    pub srtp: bool,
    /// Numbers that the carrier lets us show; the first is the default.
    pub caller_ids: Vec<String>,
    /// Numbers that masked calls may show.
    pub pool: Vec<String>,
}

/// A trunk of an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkRecord {
    /// `trunk_...`
    pub id: String,
    /// Its name.
    pub name: String,
    /// It keeps a registration.
    pub register: bool,
    /// `ready`, `registered`, `auth_failed` or `unreachable`.
    pub state: String,
    /// Since when, in UTC milliseconds; 0 when never told.
    pub state_at_ms: i64,
}

/// A trunk of any organisation and where it leads, as the operator looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkEverywhere {
    /// `trunk_...`
    pub id: String,
    /// Short name of its organisation.
    pub org: String,
    /// Its name.
    pub name: String,
    /// As in [`TrunkRecord::state`].
    pub state: String,
    /// Where it is reached, in this order.
    pub targets: Vec<TrunkTarget>,
}

/// Makes a trunk; returns its id. A running server takes it up at once.
///
/// # Errors
/// A field that is refused or taken.
pub async fn create_trunk(kernel: &Kernel, org: &str, new: NewTrunk) -> Result<String, RecordError> {
    let invalid = |field, message: &str| RecordError::Invalid { field, message: message.to_owned() };
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > 200 {
        return Err(invalid("name", "a name has 1 to 200 characters"));
    }
    if new.targets.is_empty() || new.targets.len() > MAX_TARGETS {
        return Err(invalid("target", "a trunk has 1 to 16 targets"));
    }
    let targets = new
        .targets
        .iter()
        .map(|text| parse_target(text).map_err(|message| RecordError::Invalid { field: "target", message }))
        .collect::<Result<Vec<_>, _>>()?;
    if new.register && (new.username.is_none() || new.password.is_none()) {
        return Err(invalid("register", "a registration needs a user name and a password"));
    }
    let domain = new.domain.as_deref().map(str::trim).map(str::to_ascii_lowercase);
    if domain.as_deref().is_some_and(|domain| !is_host(domain)) {
        return Err(invalid("domain", "a domain is a host name or an IPv4 address, without port"));
    }
    let caller_ids = e164_list("caller_id", &new.caller_ids)?;
    let pool = e164_list("pool", &new.pool)?;
    let sealed = match &new.password {
        Some(password) => Some(kernel.secrets.seal(PASSWORD_PURPOSE, password.expose())?),
        None => None,
    };
    let now_ms = kernel.clock.now_ms();
    let id = kernel.ids.new("trunk", now_ms);
    let mut writes = vec![Write::new(
        TRUNK_INSERT,
        args![
            &id,
            org,
            name,
            new.username.clone(),
            sealed,
            domain,
            new.register,
            new.ping,
            new.srtp,
            caller_ids,
            pool,
            now_ms
        ],
    )];
    writes.extend(targets.iter().zip(0i64..).map(|(target, position)| {
        let transport = if target.any_transport { ANY_TRANSPORT } else { target.transport.as_str() };
        Write::new(TARGET_INSERT, args![&id, position, &target.host, target.port.map(i64::from), transport])
    }));
    writes.push(directory::bump());
    kernel.db.writer().commit(writes).await.map_err(|error| match error {
        DbError::Duplicate(_) => RecordError::Taken { field: "name", value: name.to_owned() },
        other => RecordError::Db(other),
    })?;
    directory::changed(kernel);
    Ok(id)
}

/// The trunks of an organisation, in the order in which they are tried.
///
/// # Errors
/// What the store says.
pub async fn trunks(kernel: &Kernel, org: &str) -> Result<Vec<TrunkRecord>, DbError> {
    let rows = kernel.db.all(TRUNK_LIST, args![org]).await?;
    rows.iter()
        .map(|row| {
            Ok(TrunkRecord {
                id: row.text("id")?,
                name: row.text("name")?,
                register: row.bool("register")?,
                state: row.text("state")?,
                state_at_ms: row.int("state_at")?,
            })
        })
        .collect()
}

/// The trunks of every organisation, for the operator.
///
/// # Errors
/// What the store says.
pub async fn trunks_everywhere(db: &Db) -> Result<Vec<TrunkEverywhere>, DbError> {
    let targets = all_targets(db).await?;
    let rows = db.all(EVERYWHERE, Vec::new()).await?;
    rows.iter()
        .map(|row| {
            let id = row.text("id")?;
            let own = targets.iter().filter(|(trunk, _)| *trunk == id).map(|(_, target)| target.clone());
            Ok(TrunkEverywhere {
                id: id.clone(),
                org: row.text("slug")?,
                name: row.text("name")?,
                state: row.text("state")?,
                targets: own.collect(),
            })
        })
        .collect()
}

/// Gives a trunk up; false when the organisation has none such. Its calls go on; a running server notices at its next
/// look.
///
/// # Errors
/// What the store says.
pub async fn remove_trunk(kernel: &Kernel, org: &str, id: &str) -> Result<bool, DbError> {
    let writes =
        vec![Write::new(TARGETS_DELETE, args![org, id]), Write::new(TRUNK_DELETE, args![org, id]), directory::bump()];
    let rows = kernel.db.writer().commit(writes).await?;
    directory::changed(kernel);
    Ok(rows.get(1).is_some_and(|rows| *rows > 0))
}

/// The targets of all trunks, each with its trunk's id.
pub(crate) async fn all_targets(db: &Db) -> Result<Vec<(String, TrunkTarget)>, DbError> {
    let rows = db.all(ALL_TARGETS, Vec::new()).await?;
    rows.iter()
        .map(|row| {
            let transport = row.text("transport")?;
            let unknown = || DbError::Column { column: "transport".to_owned(), reason: format!("{transport:?}") };
            let target = TrunkTarget {
                host: row.text("host")?,
                port: row.opt_int("port")?.and_then(|port| u16::try_from(port).ok()),
                any_transport: transport == ANY_TRANSPORT,
                transport: match &*transport {
                    ANY_TRANSPORT => Transport::Udp,
                    named => Transport::parse(named).ok_or_else(unknown)?,
                },
            };
            Ok((row.text("trunk")?, target))
        })
        .collect()
}

/// Reads `HOST[:PORT][;transport=udp|tcp|tls]`; an IPv6 address stands in brackets.
///
/// # Errors
/// A sentence that says what is wrong.
fn parse_target(text: &str) -> Result<TrunkTarget, String> {
    let mut parts = text.trim().split(';');
    let address = parts.next().unwrap_or_default();
    let mut transport = None;
    for parameter in parts {
        let value = parameter.trim().strip_prefix("transport=");
        let named = value
            .and_then(Transport::parse)
            .filter(|transport| !transport.is_web())
            .ok_or_else(|| format!("{parameter:?}: only transport=udp, tcp or tls may follow the address"))?;
        transport = Some(named);
    }
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => {
            host.parse::<std::net::Ipv6Addr>().map_err(|_| format!("{host:?} is no IPv6 address"))?;
            (host, rest.strip_prefix(':'))
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    if !is_host(host) && host.parse::<std::net::Ipv6Addr>().is_err() {
        return Err(format!("{address:?} is no host name or address"));
    }
    let port = port
        .map(|port| port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| format!("{port:?} is no port")))
        .transpose()?;
    let any_transport = transport.is_none() && port.is_none() && host.parse::<std::net::IpAddr>().is_err();
    let transport = transport.unwrap_or(Transport::Udp);
    Ok(TrunkTarget { host: host.to_owned(), port, transport, any_transport })
}

/// A host name, or an IPv4 address.
fn is_host(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=253).contains(&text.len()) && text.chars().all(legal)
}

fn e164_list(field: &'static str, list: &[String]) -> Result<String, RecordError> {
    let numbers = list
        .iter()
        .map(|number| {
            numbers::e164(number).ok_or_else(|| RecordError::Invalid {
                field,
                message: format!("{number:?} is no number with country code, such as +442071838750"),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(serde_json::json!(numbers).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_operators_write_them() {
        let read = |text: &str| parse_target(text).map(|t| (t.host, t.port, t.transport));
        let any = |text: &str| parse_target(text).unwrap().any_transport;
        assert!(any("sip.example.org"));
        for chosen in ["sip.example.org:5060", "sip.example.org;transport=udp", "192.0.2.7", "[2001:db8::1]"] {
            assert!(!any(chosen), "{chosen}");
        }
        assert_eq!(read("sip.example.org"), Ok(("sip.example.org".into(), None, Transport::Udp)));
        assert_eq!(read("192.0.2.7:5080;transport=tcp"), Ok(("192.0.2.7".into(), Some(5080), Transport::Tcp)));
        assert_eq!(read("[2001:db8::1]:5061;transport=TLS"), Ok(("2001:db8::1".into(), Some(5061), Transport::Tls)));
        for bad in ["", ":5060", "host:0", "host:99999", "ho st", "host;transport=sctp", "host;lr", "[::g]"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
