//! A server in the test's own process, on free ports, with a database of its own: PostgreSQL when
//! `TANDEM_TEST_DATABASE_URL` names one, else SQLite.
//!
//! A test that only asks over HTTP or SIP sees no difference to `tandem serve`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use calls::{Bound, NewTeam, NewTrunk, NewUser};
use futures_util::future::BoxFuture;
use kernel::app::NewApp;
use kernel::args;
use kernel::config::PortRange;
use kernel::db::testing::TestDb;
use kernel::egress::Resolve;
use kernel::org::NewOrg;
use kernel::sign_in::Identity;
use kernel::{Clock, ClockHand, Config, Egress, Ids, Kernel, Org, Role, Scope, Secret, telemetry};
use tandem::app::App;

use super::client::Client;
use super::phone::Account;

/// RTP ports of one server; nextest runs each test in a process of its own, so ranges may overlap
/// and a server takes the free ones.
const RTP_PORTS: PortRange = PortRange { first: 20_000, last: 29_999 };

/// A running server; ask it by [`Server::client`], ring it by [`Server::sip`].
pub(crate) struct Server {
    pub(crate) app: App,
    /// Turns the clock, when the server was started with one that can be turned.
    hand: Option<ClockHand>,
    _store: TestDb,
    _data: Arc<tempfile::TempDir>,
}

/// How a server is to be started.
pub(crate) struct Plan {
    config: Config,
    clock: Clock,
    hand: Option<ClockHand>,
    names: Option<Names>,
    data: Arc<tempfile::TempDir>,
}

/// Names as a test wants them: each look-up of one gives the next list of addresses, the last stays.
#[derive(Clone, Default)]
pub(crate) struct Names {
    answers: HashMap<&'static str, Vec<Vec<IpAddr>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Names {
    /// Adds a name with the answers to one look-up after the other.
    pub(crate) fn with(mut self, name: &'static str, answers: &[&[&str]]) -> Self {
        let read = |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
        self.answers.insert(name, answers.iter().map(read).collect());
        self
    }

    /// How often a name was looked up.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == name).count()
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        let before = self.asked(host);
        self.asked.lock().unwrap().push(host.to_owned());
        let answers = self.answers.get(host);
        let answer = answers.and_then(|answers| answers.get(before).or(answers.last())).cloned();
        Box::pin(std::future::ready(answer.ok_or_else(|| std::io::Error::other("no such name"))))
    }
}

impl Plan {
    pub(crate) fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = Config {
            data: data.path().to_owned(),
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            sip: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            rtp_ports: RTP_PORTS,
            rtc: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            log: std::env::var("TANDEM_TEST_LOG").unwrap_or_else(|_| "warn".to_owned()),
            drain_seconds: 1,
            ..Config::default()
        };
        Self { config, clock: Clock::system(), hand: None, names: None, data: Arc::new(data) }
    }

    /// Changes settings.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Lets flows, webhooks and prompts reach an address on this machine.
    pub(crate) fn reaching(self, address: SocketAddr) -> Self {
        self.with(|config| config.egress.allow.push(address.to_string()))
    }

    /// Looks names up in a table instead of asking the system.
    pub(crate) fn knowing(mut self, names: &Names) -> Self {
        self.names = Some(names.clone());
        self
    }

    /// Starts with a clock that stands at `start_ms` until the test turns it.
    pub(crate) fn at(mut self, start_ms: i64) -> Self {
        let (clock, hand) = Clock::fake(start_ms);
        self.clock = clock;
        self.hand = Some(hand);
        self
    }

    /// Makes a certificate and listens for HTTPS and SIP over TLS with it.
    pub(crate) async fn with_tls(self) -> Self {
        let (cert, key) = self_signed(self.data.path()).await;
        self.with(|config| {
            config.https = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
            config.sip_tls = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
            config.tls_cert = Some(cert);
            config.tls_key = Some(key);
        })
    }

    /// Starts it.
    pub(crate) async fn start(self) -> Server {
        telemetry::start(&self.config).unwrap();
        let store = test_store().await;
        let egress = match self.names {
            Some(names) => Egress::with_resolver(&self.config.egress, Box::new(names)),
            None => Egress::new(&self.config.egress),
        };
        let (db, bus) = (store.db.clone(), store.bus.clone());
        // For the doctor, who looks for himself.
        let config = Config { database: Some(Secret::new(&*store.url)), ..self.config };
        let kernel = Kernel::assemble_with(egress.unwrap(), config, db, bus, self.clock, Ids::os()).unwrap();
        let app = App::start(kernel).await.unwrap();
        Server { app, hand: self.hand, _store: store, _data: self.data }
    }
}

/// PostgreSQL when the run is for it, else SQLite.
async fn test_store() -> TestDb {
    // `each` gives SQLite, and PostgreSQL after it when there is one.
    TestDb::each().await.pop().unwrap()
}

/// A certificate for localhost and 127.0.0.1, and its key, made by openssl: whoever is told to trust it does.
pub(crate) async fn self_signed(folder: &std::path::Path) -> (PathBuf, PathBuf) {
    super::phone::need("openssl", "openssl");
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let made = tokio::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (cert, key)
}

impl Server {
    /// A server with nothing special.
    pub(crate) async fn start() -> Self {
        Plan::new().start().await
    }

    /// Where SIP listens, by UDP and TCP.
    pub(crate) fn sip(&self) -> SocketAddr {
        self.app.sip()[0]
    }

    /// Where SIP over TLS listens.
    pub(crate) fn sips(&self) -> SocketAddr {
        self.app.voice.local_tls()[0]
    }

    /// A client without a credential.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.app.http())
    }

    /// A browser that has not signed in.
    pub(crate) fn browser(&self) -> Client {
        self.client().browsing()
    }

    /// A browser that somebody signed in, by a link.
    pub(crate) async fn signed_in(&self, whose: &Identity) -> Client {
        let link = self.app.kernel.create_link(whose).await.unwrap();
        let browser = self.browser();
        let reply = browser.send(browser.post_page(&format!("/console/link/{}", link.expose()), &[])).await;
        assert_eq!(reply.status, 303, "{}", reply.text);
        browser
    }

    /// The hand that turns the clock.
    pub(crate) fn clock(&self) -> &ClockHand {
        self.hand.as_ref().expect("started with Plan::at")
    }

    /// Makes an organisation with an owner, who has no phone.
    pub(crate) async fn org(&self, slug: &str) -> Tenant<'_> {
        self.org_called(slug, slug).await
    }

    /// The same with a name for people.
    pub(crate) async fn org_called(&self, slug: &str, name: &str) -> Tenant<'_> {
        let new = NewOrg { name: name.to_owned(), slug: Some(slug.to_owned()), ..NewOrg::default() };
        let org = self.app.kernel.create_org(new).await.unwrap();
        let owner = NewUser { name: "Owner".to_owned(), ..NewUser::default() };
        let owner = calls::create_user(&self.app.kernel, &org, owner).await.unwrap();
        Tenant { server: self, org, token: owner.auth_token.expose().to_owned() }
    }

    /// The person of a token.
    pub(crate) async fn identity(&self, token: &str) -> Identity {
        let principal = self.app.kernel.authenticate(token).await.unwrap().unwrap().principal;
        let (org, person) = (principal.org().to_string(), principal.person().unwrap().to_string());
        Identity::Person { org, person }
    }

    /// Ends it, as SIGTERM would.
    pub(crate) async fn stop(self) {
        self.app.drain().await;
        self.app.stop().await;
    }
}

/// An organisation of a test, and its owner's token.
pub(crate) struct Tenant<'a> {
    pub(crate) server: &'a Server,
    pub(crate) org: Org,
    /// The owner's personal token.
    pub(crate) token: String,
}

impl Tenant<'_> {
    /// A client with the owner's token.
    pub(crate) fn client(&self) -> Client {
        self.server.client().bearing(&self.token)
    }

    /// The ground its server stands on.
    pub(crate) fn kernel(&self) -> &Kernel {
        &self.server.app.kernel
    }

    /// A client without a credential.
    pub(crate) fn bare(&self) -> Client {
        self.server.client()
    }

    /// The id of one of its people, who is not the owner.
    pub(crate) async fn people(&self) -> String {
        let people = self.server.app.kernel.people(&self.org.id, "", 10).await.unwrap();
        people.into_iter().next_back().unwrap().id
    }

    /// The ids of an application that is made, and of its first team and trunk.
    pub(crate) async fn more(&self) -> (String, String, String) {
        let kernel = &self.server.app.kernel;
        let new = NewApp { name: "app".to_owned(), ..NewApp::default() };
        let app = kernel.create_app(&self.org.id, new).await.unwrap().0.id;
        let team = calls::teams(kernel, &self.org.id).await.unwrap().remove(0).id;
        (app, team, calls::trunks(kernel, &self.org.id).await.unwrap().remove(0).id)
    }

    /// Makes a person of a role and gives its token.
    pub(crate) async fn person(&self, role: Role) -> String {
        let new = NewUser { name: role.to_string(), role: Some(role), ..NewUser::default() };
        let made = calls::create_user(&self.server.app.kernel, &self.org, new).await.unwrap();
        made.auth_token.expose().to_owned()
    }

    /// Makes an application and gives its key.
    pub(crate) async fn app_key(&self, scopes: &[Scope]) -> String {
        let new = NewApp { name: "app".to_owned(), scopes: scopes.to_vec(), settings: Vec::new() };
        let (_, key) = self.server.app.kernel.create_app(&self.org.id, new).await.unwrap();
        key.expose().to_owned()
    }

    /// Makes a person and gives the account of the phone, if there is an extension, and the token.
    pub(crate) async fn settle(&self, new: NewUser) -> (Option<Account>, String) {
        let made = calls::create_user(&self.server.app.kernel, &self.org, new).await.unwrap();
        let account = made
            .sip
            .map(|sip| Account::new(self.server.sip(), &sip.username, sip.password.expose()).at_domain(&sip.domain));
        (account, made.auth_token.expose().to_owned())
    }

    /// Makes a person who is known by an extension.
    async fn settle_at(&self, extension: &str) -> (Option<Account>, String) {
        let (name, extension) = (format!("Person {extension}"), Some(extension.to_owned()));
        self.settle(NewUser { name, extension, ..NewUser::default() }).await
    }

    /// Makes a person with an extension and gives the account of a phone for it.
    pub(crate) async fn phone(&self, extension: &str) -> Account {
        self.settle_at(extension).await.0.unwrap()
    }

    /// Makes a person with an extension and gives its token: for a phone in a browser.
    pub(crate) async fn caller(&self, extension: &str) -> String {
        self.settle_at(extension).await.1
    }

    /// From its next registration on, this extension's phones are offered SDES-SRTP and nothing else.
    pub(crate) async fn require_srtp(&self, extension: &str) {
        let set = "update sip_credential set srtp = $3 \
                   where extension in (select id from extension where org = $1 and number = $2)";
        let changed = self.server.app.kernel.db.run(set, args![&self.org.id, extension, true]).await.unwrap();
        assert_eq!(changed, 1, "{extension} has one credential");
    }

    /// Makes a team that rings all its members.
    pub(crate) async fn team(&self, number: &str, members: &[&str]) {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        let (name, number) = (format!("Team {number}"), number.to_owned());
        let new = NewTeam { name, number, members, ..NewTeam::default() };
        calls::create_team(&self.server.app.kernel, &self.org.id, new).await.unwrap();
    }

    /// Makes a trunk without registration.
    pub(crate) async fn trunk(&self, name: &str, targets: &[&str], caller_ids: &[&str]) {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let (targets, caller_ids) = (owned(targets), owned(caller_ids));
        self.add_trunk(NewTrunk { name: name.to_owned(), targets, caller_ids, ..NewTrunk::default() }).await;
    }

    /// Makes a trunk of any kind.
    pub(crate) async fn add_trunk(&self, new: NewTrunk) {
        calls::create_trunk(&self.server.app.kernel, &self.org.id, new).await.unwrap();
    }

    /// Binds a public number: `person:1001`, `team:5263`, `flow:ID`.
    pub(crate) async fn number(&self, e164: &str, to: &str) {
        let bound = Bound::parse(to).unwrap();
        calls::bind_number(&self.server.app.kernel, &self.org.id, e164, &bound).await.unwrap();
    }
}
