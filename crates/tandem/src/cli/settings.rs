//! The flags that set something: where the data is, and where the server listens. They become
//! (key, value) pairs for `kernel::config`, which puts them over variables, file and defaults.

use std::path::PathBuf;

use clap::Args;
use kernel::Config;
use kernel::config::{ConfigError, Sources};

/// Where the data is: for every verb.
#[derive(Args, Debug, Default, Clone, PartialEq, Eq)]
pub struct Place {
    /// Settings file; without it, tandem.toml in the data directory
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of the database, the files and the server's key [default: ./tandem-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<String>,
    /// sqlite:///path/file.db or postgres://user:password@host/name [default: tandem.db in the data directory]
    #[arg(long, global = true, value_name = "URL")]
    pub database: Option<String>,
}

/// Declares the flags of `serve` once: the struct that clap reads and the pairs that the configuration reads.
macro_rules! serve_flags {
    ($($(#[doc = $doc:literal])+ $key:ident: $value_name:literal;)*) => {
        /// How the server listens and speaks.
        #[derive(Args, Debug, Default, Clone, PartialEq, Eq)]
        pub struct ServeFlags {
            $($(#[doc = $doc])+ #[arg(long, value_name = $value_name)] pub $key: Vec<String>,)*
        }

        impl ServeFlags {
            /// The flags that were given, with the keys of the settings file.
            fn pairs(self) -> Vec<(&'static str, Vec<String>)> {
                vec![$((stringify!($key), self.$key)),*]
            }
        }
    };
}

serve_flags! {
    /// HTTP listener [default: 127.0.0.1:8080]
    http: "ADDR:PORT";
    /// HTTPS listener; needs --tls-cert and --tls-key
    https: "ADDR:PORT";
    /// Certificate chain in PEM, for HTTPS and SIP over TLS; read again on SIGHUP
    tls_cert: "FILE";
    /// Private key in PEM of that certificate
    tls_key: "FILE";
    /// Network of a reverse proxy whose X-Forwarded-For is believed; may be repeated
    trusted_proxy: "CIDR";
    /// How the outside reaches this server, for links
    public_url: "URL";
    /// SIP listener, UDP and TCP; may be repeated [default: 0.0.0.0:5060 and `[::]`:5060]
    sip: "ADDR:PORT";
    /// SIP listener over TLS; may be repeated [default: one port above --sip]
    sip_tls: "ADDR:PORT";
    /// Host name by which phones may name this server; may be repeated
    sip_names: "NAME";
    /// UDP ports for audio [default: 10000-19999]
    rtp_ports: "A-B";
    /// UDP address for the media of browsers; may be repeated [default: 0.0.0.0:3479 and `[::]`:3479]
    rtc: "ADDR:PORT";
    /// Address that phones outside send their media to, behind NAT
    public_ip: "IP";
    /// How nodes wake each other [default: local]
    bus: "URL";
    /// Organisation of pages that name none
    default_org: "SLUG";
    /// Seconds that live calls get after SIGTERM [default: 30]
    drain_seconds: "SECONDS";
    /// error, warn, info, debug, trace, or a filter such as info,voice=debug [default: info]
    log: "LEVEL";
    /// text or json [default: text]
    log_format: "FORMAT";
}

impl Place {
    /// Reads every source; of two groups of flags the later wins, flag by flag.
    ///
    /// # Errors
    /// A setting that is wrong, with the place where it was said.
    pub fn load(&self, flags: &[ServeFlags]) -> Result<Config, ConfigError> {
        let mut chosen: Vec<(&'static str, Vec<String>)> = Vec::new();
        for (key, values) in flags.iter().cloned().flat_map(ServeFlags::pairs).filter(|(_, values)| !values.is_empty())
        {
            chosen.retain(|(earlier, _)| *earlier != key);
            chosen.push((key, values));
        }
        let mut pairs: Vec<(String, String)> = chosen
            .into_iter()
            .flat_map(|(key, values)| values.into_iter().map(move |value| (key.to_owned(), value)))
            .collect();
        pairs.extend(self.data.iter().map(|data| ("data".to_owned(), data.clone())));
        pairs.extend(self.database.iter().map(|url| ("database".to_owned(), url.clone())));
        Config::load(&Sources { file: self.config.clone(), variables: variables(), flags: pairs })
    }
}

/// The environment as far as it is text; a variable that is not cannot be a setting.
fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(http: &str) -> ServeFlags {
        ServeFlags { http: vec![http.to_owned()], ..ServeFlags::default() }
    }

    #[test]
    fn every_flag_is_a_setting() {
        for (key, _) in ServeFlags::default().pairs() {
            assert!(Config::keys().any(|known| known.dotted() == key), "{key} is no setting");
        }
    }

    #[test]
    fn the_later_group_of_flags_wins() {
        let place = Place::default();
        let config = place.load(&[flags("127.0.0.1:1"), ServeFlags::default(), flags("127.0.0.1:2")]).unwrap();
        assert_eq!(config.http.port(), 2);
    }
}
