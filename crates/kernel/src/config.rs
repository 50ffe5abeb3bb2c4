//! Configuration: flags over TANDEM_* variables over tandem.toml over defaults.
//!
//! Invariant: every key is declared once, in `config/keys.rs`, with its doc comment; the struct, the example file, the
//! variables and the flags all come from that declaration, and a key that is not declared is an error that names it.

mod keys;
mod providers;
mod setting;

use std::path::{Path, PathBuf};

use toml::{Table, Value};

pub use keys::{Config, EgressConfig, LimitConfig, MailConfig, MediaConfig, SmsConfig, SpeechConfig};
pub use setting::{Key, LogFormat, MailSecurity, PortRange, Shape};

use crate::egress::AllowList;

/// Name of the file in the data directory, and beginning of the variables.
const FILE_NAME: &str = "tandem.toml";
const ENV_PREFIX: &str = "TANDEM_";
/// Says where the file is; not a key of the file itself.
const ENV_CONFIG: &str = "TANDEM_CONFIG";
/// Kubernetes sets these for a service named `tandem`; tests set the last. None is ours.
const ENV_FOREIGN: [&str; 3] = ["TANDEM_SERVICE_", "TANDEM_PORT", "TANDEM_TEST_"];
/// RTP ports that a media thread needs at least: a pair.
const MIN_RTP_PORTS: u16 = 2;

/// Why the configuration is refused. The sentences are for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A key that does not exist.
    #[error("{source_name}: there is no setting \"{key}\"")]
    Unknown {
        /// The file, the variable or the flag.
        source_name: String,
        /// As it was written.
        key: String,
    },
    /// A value that cannot be read.
    #[error("{}: {reason}", place(source_name, key))]
    Value {
        /// The file, the variable or the flag.
        source_name: String,
        /// The key.
        key: String,
        /// What is expected.
        reason: String,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Together(String),
}

/// A flag says its key itself; a file does not.
fn place(source_name: &str, key: &str) -> String {
    if source_name.starts_with("--") { source_name.to_owned() } else { format!("{source_name}: {key}") }
}

/// Where settings come from; the shell fills it from the command line and the environment.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config FILE`.
    pub file: Option<PathBuf>,
    /// The process's variables; only those that begin with TANDEM_ are read.
    pub variables: Vec<(String, String)>,
    /// Flags as (key, value), the key as in the file (`rtp_ports`, `limits.calls_per_second`); repeat for lists.
    pub flags: Vec<(String, String)>,
}

impl Config {
    /// Reads every source and puts them over each other.
    ///
    /// # Errors
    /// The first thing that is wrong, with the place where it was said.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut over_file = Table::new();
        read_variables(&sources.variables, &mut over_file)?;
        read_flags(&sources.flags, &mut over_file)?;

        let mut merged = Table::new();
        if let Some((path, text)) = find_file(sources, &over_file)? {
            read_text(&path, &text, &mut merged)?;
        }
        overlay(&mut merged, over_file);
        let config: Self =
            merged.try_into().map_err(|e: toml::de::Error| ConfigError::Together(e.message().to_owned()))?;
        config.check()?;
        Ok(config)
    }

    /// Every key of every section, in the order of the example file.
    pub fn keys() -> impl Iterator<Item = &'static Key> {
        Self::SECTIONS.iter().flat_map(|section| section.1.iter())
    }

    /// tandem.example.toml: every key with its comment and default.
    pub fn example() -> String {
        let mut text = String::from(
            "# Settings of a Tandem server. Flags win over TANDEM_* variables, those over this file, this file over the\n\
             # defaults, which are shown. Generated from crates/kernel/src/config/keys.rs.\n",
        );
        for (section, keys) in Self::SECTIONS {
            if !section.is_empty() {
                text += &format!("\n[{section}]\n");
            }
            for key in *keys {
                text.push('\n');
                for line in key.docs {
                    text += &format!("#{line}\n");
                }
                text += &format!("# {} = {}\n", key.name, (key.example)());
            }
        }
        text
    }

    /// What no single key can say.
    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |sentence: &str| Err(ConfigError::Together(sentence.to_owned()));
        if self.bus != "local" {
            return refuse(
                "bus: this version runs on one node and knows only --bus local; NATS comes with several nodes",
            );
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return refuse("tls_cert and tls_key belong together: give both or neither");
        }
        if self.https.is_some() && self.tls_cert.is_none() {
            return refuse("https needs a certificate: give --tls-cert and --tls-key");
        }
        if !self.sip_tls.is_empty() && self.tls_cert.is_none() {
            return refuse("sip_tls needs a certificate: give --tls-cert and --tls-key");
        }
        let known = |url: &&String| ["stun:", "turn:", "turns:"].iter().any(|scheme| url.starts_with(scheme));
        if !self.media.ice_servers.iter().all(|url| known(&url)) {
            return refuse("media.ice_servers: a URL begins with stun:, turn: or turns:");
        }
        if self.media.turn_secret.is_none() && self.media.ice_servers.iter().any(|url| url.starts_with("turn")) {
            return refuse("media.ice_servers: a turn server needs media.turn_secret");
        }
        if self.rtp_ports.count() < MIN_RTP_PORTS {
            return refuse("rtp_ports: at least two ports are needed");
        }
        if let Some(url) = &self.database
            && !["sqlite://", "postgres://", "postgresql://"].iter().any(|scheme| url.expose().starts_with(scheme))
        {
            return refuse("database: the URL begins with sqlite:// or postgres://");
        }
        for (key, url) in [("public_url", &self.public_url), ("speech.provider", &self.speech.provider)] {
            if url.as_ref().is_some_and(|url| !is_base_url(url)) {
                return refuse(&format!("{key}: a URL such as https://calls.example.org, without query"));
            }
        }
        AllowList::parse(&self.egress.allow).map_err(|e| ConfigError::Together(format!("egress.allow: {e}")))?;
        providers::check(self).map_err(ConfigError::Together)
    }
}

/// http or https, with a host, and nothing behind the path: something will be appended.
fn is_base_url(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() && url.fragment().is_none()
    })
}

fn find_key(dotted: &str) -> Option<&'static Key> {
    Config::keys().find(|key| key.dotted() == dotted)
}

/// `--config` or TANDEM_CONFIG must exist; the file in the data directory may.
fn find_file(sources: &Sources, over_file: &Table) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let from_variable = || {
        let (_, path) = sources.variables.iter().find(|(name, _)| name == ENV_CONFIG)?;
        Some(PathBuf::from(path))
    };
    let named = sources.file.clone().or_else(from_variable);
    let must_exist = named.is_some();
    let path = named.unwrap_or_else(|| {
        let data = over_file.get("data").and_then(Value::as_str);
        data.map_or_else(|| Config::default().data, PathBuf::from).join(FILE_NAME)
    });
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must_exist => Ok(None),
        Err(e) => Err(ConfigError::File { path, reason: e.to_string() }),
    }
}

fn read_text(path: &Path, text: &str, into: &mut Table) -> Result<(), ConfigError> {
    let table: Table = text
        .parse()
        .map_err(|e: toml::de::Error| ConfigError::File { path: path.to_owned(), reason: e.to_string() })?;
    let name = path.display().to_string();
    for (outer, value) in table {
        match value {
            Value::Table(section) => {
                for (inner, value) in section {
                    set(&name, &format!("{outer}.{inner}"), value, into)?;
                }
            }
            value => set(&name, &outer, value, into)?,
        }
    }
    Ok(())
}

fn read_variables(variables: &[(String, String)], into: &mut Table) -> Result<(), ConfigError> {
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
            continue;
        };
        if name == ENV_CONFIG || ENV_FOREIGN.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let wanted = rest.to_ascii_lowercase();
        let key = Config::keys()
            .find(|key| key.dotted().replace('.', "_") == wanted)
            .ok_or_else(|| ConfigError::Unknown { source_name: "environment".into(), key: name.clone() })?;
        set(name, &key.dotted(), key.shape.read(text), into)?;
    }
    Ok(())
}

/// A flag that is given again adds to a list.
fn read_flags(flags: &[(String, String)], into: &mut Table) -> Result<(), ConfigError> {
    let mut from_flags = Table::new();
    for (name, text) in flags {
        let shown = format!("--{}", name.replace(['_', '.'], "-"));
        let key = find_key(name)
            .ok_or_else(|| ConfigError::Unknown { source_name: "command line".into(), key: shown.clone() })?;
        let mut value = key.shape.read(text);
        if let (Value::Array(new), Some(Value::Array(before))) = (&mut value, get(&from_flags, key)) {
            let mut all = before.clone();
            all.append(new);
            value = Value::Array(all);
        }
        set(&shown, name, value, &mut from_flags)?;
    }
    overlay(into, from_flags);
    Ok(())
}

fn get<'a>(table: &'a Table, key: &Key) -> Option<&'a Value> {
    if key.section.is_empty() { table.get(key.name) } else { table.get(key.section)?.get(key.name) }
}

/// Checks one value and puts it in its place.
fn set(source_name: &str, dotted: &str, value: Value, into: &mut Table) -> Result<(), ConfigError> {
    let key = find_key(dotted)
        .ok_or_else(|| ConfigError::Unknown { source_name: source_name.to_owned(), key: dotted.to_owned() })?;
    let value = key.shape.normalise(value);
    (key.check)(value.clone()).map_err(|reason| ConfigError::Value {
        source_name: source_name.to_owned(),
        key: dotted.to_owned(),
        reason,
    })?;
    if key.section.is_empty() {
        into.insert(key.name.to_owned(), value);
    } else if let Value::Table(section) = into.entry(key.section).or_insert_with(|| Value::Table(Table::new())) {
        section.insert(key.name.to_owned(), value);
    }
    Ok(())
}

fn overlay(under: &mut Table, over: Table) {
    for (name, value) in over {
        match (under.get_mut(&name), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => {
                under.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
