//! What a running server says of itself in its data directory: where it listens and how it is reached, so that verbs
//! beside it print links and addresses that work, whatever flags it was started with.
//!
//! Invariant: it is believed only while a server has the data directory and HTTP answers where the file says; a link
//! that signs in must not lead to whoever took the port of a server that was killed.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use kernel::Config;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::console::reachable;

/// Beside the store.
const FILE: &str = "server.json";
/// A server of this machine answers at once.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where a server listens, and how the outside reaches it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    http: SocketAddr,
    https: Option<SocketAddr>,
    /// UDP and TCP.
    sip: Vec<SocketAddr>,
    sip_tls: Vec<SocketAddr>,
    rtc: Vec<SocketAddr>,
    public_url: Option<String>,
    public_ip: Option<IpAddr>,
}

impl Running {
    /// What a server that has started says.
    fn of(app: &App) -> Self {
        let config = &app.kernel.config;
        Self {
            http: app.http(),
            https: app.https(),
            sip: app.sip(),
            sip_tls: app.sip_tls(),
            rtc: config.rtc.clone(),
            public_url: config.public_url.clone(),
            public_ip: config.public_ip,
        }
    }

    /// What the server of a data directory says, if one answers.
    pub(crate) fn of_data(data: &Path) -> Option<Self> {
        let text = fs::read(data.join(FILE)).ok()?;
        let said: Self = serde_json::from_slice(&text).ok()?;
        // The lock is tried last: a server that is only starting takes it before it listens, and must not find it taken.
        let answers = TcpStream::connect_timeout(&reachable(said.http), PATIENCE).is_ok();
        (answers && kernel::kernel::is_in_use(data)).then_some(said)
    }

    /// Whether the server has this port of this machine.
    pub(crate) fn listens(&self, address: SocketAddr) -> bool {
        let others = [&self.sip, &self.sip_tls, &self.rtc].into_iter().flatten();
        let all = others.chain(&self.https).chain([&self.http]);
        all.copied().any(|own| own.port() == address.port() && (own.ip() == address.ip() || own.ip().is_unspecified()))
    }

    /// Puts what the server says over what the settings of a verb say.
    pub(crate) fn overrule(self, config: &mut Config) {
        let Self { http, https, sip, sip_tls, rtc, public_url, public_ip } = self;
        (config.http, config.https, config.sip, config.sip_tls, config.rtc) = (http, https, sip, sip_tls, rtc);
        (config.public_url, config.public_ip) = (public_url, public_ip);
    }
}

/// Says where the server is; without that verbs go by their own settings.
pub(crate) fn announce(app: &App) {
    let written = serde_json::to_vec(&Running::of(app)).map_err(io::Error::from).and_then(|text| {
        let file = app.kernel.config.data.join(FILE);
        let part = file.with_extension("json.part");
        fs::write(&part, text)?;
        fs::rename(part, file)
    });
    if let Err(error) = written {
        tracing::warn!(%error, "{FILE} is not written: verbs beside this server go by their own settings");
    }
}

/// Takes back what [`announce`] said.
pub(crate) fn withdraw(data: &Path) {
    let _gone = fs::remove_file(data.join(FILE));
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn a_server_is_believed_while_it_has_its_data_and_answers() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(Running::of_data(data.path()), None);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let http = listener.local_addr().unwrap();
        let said = Running {
            http,
            https: None,
            sip: vec!["0.0.0.0:5070".parse().unwrap()],
            sip_tls: Vec::new(),
            rtc: Vec::new(),
            public_url: Some("https://calls.example.org".into()),
            public_ip: None,
        };
        fs::write(data.path().join(FILE), serde_json::to_vec(&said).unwrap()).unwrap();
        assert_eq!(Running::of_data(data.path()), None, "somebody else has the port of a server that was killed");
        let lock = fs::File::create(data.path().join("server.lock")).unwrap();
        lock.lock().unwrap();
        assert_eq!(Running::of_data(data.path()), Some(said.clone()));
        assert!(said.listens("192.0.2.1:5070".parse().unwrap()) && said.listens(http));
        assert!(!said.listens("192.0.2.1:5060".parse().unwrap()));

        let mut config = Config { public_ip: Some(Ipv4Addr::LOCALHOST.into()), ..Config::default() };
        said.overrule(&mut config);
        assert_eq!((config.http, config.public_ip), (http, None));
        assert_eq!(config.public_url.as_deref(), Some("https://calls.example.org"));

        drop(listener);
        assert_eq!(Running::of_data(data.path()), None, "a file that a killed server left");
    }
}
