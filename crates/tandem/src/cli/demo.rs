//! `tandem demo`: the five-minute tour. An organisation with two phones and a team, a test endpoint
//! for the sample flow of document 003, a meeting of two people, a shop with a chat, and the words that lead a newcomer
//! through it.
//!
//! Invariant: what it prints works as it stands, at every start again.

mod appointment;
mod household;
mod narrator;
mod shop;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use kernel::sign_in::Identity;
use kernel::{Config, Kernel};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::appointment::Links;
use self::household::Kept;
use self::narrator::Narrator;
use super::CliError;
use crate::app::{App, StartError};
use crate::console::{outward_address, reachable};
use crate::flows::store;

const FILE_NAME: &str = "demo.json";
const SLUG: &str = "dev";
const CUSTOMER: &str = "1001";
const AGENT: &str = "1002";
const TEAM: &str = "5263";
/// The number that the sample of document 003 calls; here it rings 1001.
const NUMBER: &str = "+917507161643";
/// The sample of document 003, word for word.
const SAMPLE: &str = include_str!("demo/sample.json");
/// Its name in the console.
const SAMPLE_NAME: &str = "Sample";
/// Saved flows among which it is looked for.
const MAX_SAVED: i64 = 500;
/// The host of its `http` step, which the demo's own endpoint stands in for.
const SAMPLE_ENDPOINT: &str = "https://in01c005d.samespace.com";

/// The tour, ready to be walked.
pub struct Demo {
    tour: Tour,
    shop: shop::Page,
    narrator: Narrator,
}

/// What a newcomer is told.
struct Tour {
    kept: Kept,
    today: Timestamp,
    file: PathBuf,
}

/// The demo's own HTTP server, not yet serving: the configuration must allow its address first.
pub struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
}

impl Demo {
    /// Opens the test endpoint, where it was last time if it can, and allows flows to reach it and nothing else.
    ///
    /// # Errors
    /// When no port is free on loopback.
    pub async fn open_endpoint(config: &mut Config) -> Result<Endpoint, CliError> {
        // The demo that runs on this data would lose its endpoint to this one, which will not start.
        if kernel::kernel::is_in_use(&config.data) {
            return Err(CliError::because(StartError::InUse(config.data.clone())));
        }
        let last = household::read(&config.data.join(FILE_NAME))?.map(|kept| kept.endpoint);
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = match TcpListener::bind(last.unwrap_or(anywhere)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(anywhere).await.map_err(CliError::because)?,
        };
        let address = listener.local_addr().map_err(CliError::because)?;
        config.egress.allow.push(address.to_string());
        config.default_org.get_or_insert_with(|| SLUG.to_owned());
        Ok(Endpoint { listener, address })
    }

    /// Makes the organisation at the first start, finds it again later, and serves the endpoint.
    ///
    /// # Errors
    /// When the data belongs to something else than a demo.
    pub async fn prepare(kernel: &Kernel, endpoint: Endpoint) -> Result<Self, CliError> {
        let file = kernel.config.data.join(FILE_NAME);
        let kept = household::settle(kernel, &file, endpoint.address).await?;
        let shop = shop::Page::default();
        serve(kernel, endpoint, shop.clone());
        let today = Timestamp::from_millisecond(kernel.clock.now_ms()).map_err(CliError::because)?;
        let narrator = Narrator::listen(kernel, &kept).await?;
        let tour = Tour { kept, today, file };
        tour.keep_sample(kernel).await?;
        Ok(Self { tour, shop, narrator })
    }

    /// Says what to do now, and from then on what happens.
    ///
    /// # Errors
    /// What the store says.
    pub async fn guide(self, app: &App) -> Result<(), CliError> {
        self.shop.open(app, &self.tour.kept.org, self.tour.kept.endpoint).await?;
        eprintln!("{}", self.tour.text(app).await?);
        app.kernel.tasks.spawn(self.narrator.narrate(Arc::clone(app.calls.directory())));
        Ok(())
    }
}

impl Tour {
    /// Keeps the sample as a saved flow, so that the console draws it and calls with it; a new version when it changed.
    async fn keep_sample(&self, kernel: &Kernel) -> Result<(), CliError> {
        let sample = self.payload();
        let body = json!({"flow": sample.get("flow"), "record": false});
        let org = &self.kept.org;
        let saved = store::list(&kernel.db, org, "", MAX_SAVED).await.map_err(CliError::because)?;
        match saved.into_iter().find(|flow| flow.name == SAMPLE_NAME) {
            Some(flow) => {
                let now = store::one(&kernel.db, org, &flow.id).await.map_err(CliError::because)?;
                // Only what the demo itself wrote, on another day, gives way; not what a newcomer made of it.
                let old = now.and_then(|now| now.body).filter(|old| *old != body);
                let tomorrow = self.tomorrow();
                if old.is_some_and(|old| timeless(old, &tomorrow) == timeless(body.clone(), &tomorrow)) {
                    store::update(kernel, org, &flow.id, None, (None, &body)).await.map_err(CliError::because)?;
                }
            }
            None => drop(store::create(kernel, org, SAMPLE_NAME, &body).await.map_err(CliError::because)?),
        }
        Ok(())
    }

    /// What to do now, with a link that signs the owner in.
    async fn text(&self, app: &App) -> Result<String, CliError> {
        let owner = app.kernel.people(&self.kept.org, "", 1).await?.into_iter().next();
        let console = match owner {
            Some(owner) => {
                let whose = Identity::Person { org: owner.org, person: owner.id };
                app.site().sign_in(&app.kernel.create_link(&whose).await?)
            }
            None => app.site().url("/console"),
        };
        let links = appointment::open(app, &self.kept.org).await?;
        Ok(self.words(app, &console, &links))
    }

    fn words(&self, app: &App, console: &str, meeting: &Links) -> String {
        let http = app.http();
        let sip = app.sip().first().copied().unwrap_or(http);
        let server = reachable(sip);
        let elsewhere = match outward_address().filter(|_| sip.ip().is_unspecified()) {
            Some(address) => format!("   (a phone on another machine: {address}:{})", sip.port()),
            None => String::new(),
        };
        let phones: String = self
            .kept
            .phones
            .iter()
            .map(|phone| format!("     user {}   password {}\n", phone.user, phone.password))
            .collect();
        format!(
            "\n\
             Tandem is running. HTTP http://{http}   SIP {server}   API pages http://{http}/docs\n\
             \n\
             The console, as the owner of the sample organisation (this link signs in once, within 15 minutes):\n\
             \n     {console}\n\
             \n\
             In it, \"Hear a flow\" and \"Call me\": the page is a phone that rings, you hear the sample flow and see its steps.\n\
             \n\
             A meeting of two people who do not learn each other's number. Open each link in a browser window of its own, one of\n\
             them private (a browser knows one of the two at a time); press Call in one and Answer in the other:\n\
             \n     Ann, the caller:    {caller}\n     Ben, the receiver:  {receiver}\n\
             \n\
             A chat: a page of another origin holds the widget, and you answer in the console's inbox:\n\
             \n     a visitor's page:   http://{endpoint}{shop}\n     the inbox:          {inbox}\n\
             \n\
             With phones of your own:\n\
             \n\
             1. Register a softphone, any SIP softphone, by UDP or TCP:\n\
             \n     server {server}{elsewhere}\n{phones}\n\
             \x20  With one phone use {CUSTOMER}: it plays the customer. A second one as {AGENT} plays the agent of team {TEAM}.\n\
             \n\
             2. Paste this line into another terminal, and {CUSTOMER} rings, whose number here is the sample's {NUMBER}:\n\
             \n{curl}\n\
             \n\
             3. Answer. A voice asks; press any four digits. The flow asks http://{endpoint}/api/test/<digits>,\n\
             \x20  which answers 200 (500 when the digits begin with 0), books a callback for tomorrow, and connects team {TEAM}.\n\
             \n\
             Watch it live:   curl -N -H 'Authorization: Bearer {token}' http://{http}/v1/tap\n\
             What happened:   curl -H 'Authorization: Bearer {token}' http://{http}/v1/calls\n\
             \n\
             The secrets above are kept in {file}. Ctrl-C ends the demo.\n\
             As administrator of the whole installation you come in by `target/release/tandem admin link --data {data}`.\n",
            caller = meeting.caller,
            receiver = meeting.receiver,
            shop = shop::PATH,
            inbox = app.site().url("/console/inbox"),
            curl = self.curl(http),
            endpoint = self.kept.endpoint,
            token = self.kept.auth_token,
            file = self.file.display(),
            data = app.kernel.config.data.display(),
        )
    }

    /// The sample with the demo's credentials, as a line for a shell.
    fn curl(&self, http: SocketAddr) -> String {
        format!("curl -H 'Content-Type: application/json' http://{http}/api/v2/call/flow -d '{}'", self.payload())
    }

    /// The sample of document 003: three credentials, the endpoint's host and the callback's date are the demo's.
    fn payload(&self) -> Value {
        let text = SAMPLE.replace(SAMPLE_ENDPOINT, &format!("http://{}", self.kept.endpoint));
        let mut sample: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
        for (key, value) in
            [("cloud_id", SLUG), ("cloud_sid", &self.kept.cloud_sid), ("auth_token", &self.kept.auth_token)]
        {
            sample.insert(key.to_owned(), value.into());
        }
        let tomorrow = self.tomorrow();
        let steps = sample.get_mut("flow").and_then(Value::as_array_mut).into_iter().flatten();
        for step in steps.filter_map(Value::as_object_mut) {
            if step.get("type").is_some_and(|kind| kind == "callback") {
                step.insert("date".to_owned(), tomorrow.as_str().into());
            }
        }
        Value::Object(sample)
    }

    /// The day of the sample's callback, as `2027-01-01`.
    fn tomorrow(&self) -> String {
        self.today.to_zoned(TimeZone::UTC).date().saturating_add(1.day()).to_string()
    }
}

/// A flow without what differs from start to start: the callback's day, which was some demo's tomorrow, and the port of
/// the endpoint on this machine.
fn timeless(mut body: Value, tomorrow: &str) -> Value {
    let steps = body.get_mut("flow").and_then(Value::as_array_mut).into_iter().flatten();
    for step in steps.filter_map(Value::as_object_mut) {
        if step.get("date").and_then(Value::as_str).is_some_and(|date| date <= tomorrow) {
            step.remove("date");
        }
        let path = step.get("url").and_then(Value::as_str).and_then(path_on_this_machine);
        if let Some(path) = path.map(str::to_owned) {
            step.insert("url".to_owned(), path.into());
        }
    }
    body
}

/// `/api/test` of `http://127.0.0.1:4711/api/test`.
fn path_on_this_machine(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://")?;
    let (host, _) = rest.split_once('/')?;
    host.parse::<SocketAddr>().ok()?.ip().is_loopback().then(|| &rest[host.len()..])
}

/// Answers what the sample's `http` step asks, and says so on the terminal; and serves the shop.
fn serve(kernel: &Kernel, endpoint: Endpoint, shop: shop::Page) {
    let answer = async |uri: Uri| {
        let refused = uri.path().rsplit('/').next().is_some_and(|digits| digits.starts_with('0'));
        let status = if refused { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        eprintln!("The flow asked {uri}: {status}");
        (status, axum::Json(json!({"known": !refused})))
    };
    let router = Router::new().route(shop::PATH, get(async move || shop.answer())).fallback(answer);
    let stop = kernel.stop.clone().cancelled_owned();
    kernel.tasks.spawn(async move {
        if let Err(error) = axum::serve(endpoint.listener, router).with_graceful_shutdown(stop).await {
            tracing::warn!(%error, "the demo's endpoint ended");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tour() -> Tour {
        Tour {
            kept: Kept {
                org: "org_1".into(),
                cloud_sid: "sid".into(),
                auth_token: "pt_secret".into(),
                phones: Vec::new(),
                endpoint: "127.0.0.1:4711".parse().unwrap(),
            },
            today: "2026-12-31T23:00:00Z".parse().unwrap(),
            file: PathBuf::new(),
        }
    }

    #[tokio::test]
    async fn a_second_demo_leaves_the_first_one_its_endpoint() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config { data: folder.path().to_owned(), ..Config::default() };
        let kernel = Kernel::open(config.clone(), kernel::Clock::system(), kernel::Ids::os()).await.unwrap();
        let _first = kernel.lock().await.unwrap();
        let Err(refused) = Demo::open_endpoint(&mut config).await else { panic!("a server has the data") };
        assert!(refused.to_string().starts_with("a server uses"), "{refused}");
        assert!(!folder.path().join(FILE_NAME).exists());
    }

    #[test]
    fn the_sample_differs_only_in_credentials_host_and_date() {
        let original: Value = serde_json::from_str(SAMPLE).unwrap();
        let mut payload = tour().payload();
        assert_eq!(payload["flow"][4]["url"], "http://127.0.0.1:4711/api/test/{{account_id}}");
        assert_eq!(payload["flow"][3]["date"], "2027-01-01");
        payload["flow"][4]["url"] = original["flow"][4]["url"].clone();
        payload["flow"][3]["date"] = original["flow"][3]["date"].clone();
        for credential in ["cloud_sid", "auth_token"] {
            assert_ne!(payload[credential], original[credential]);
            payload[credential] = original[credential].clone();
        }
        assert_eq!(payload, original);
    }

    #[test]
    fn only_another_day_or_port_makes_the_sample_the_same() {
        let today = tour().payload();
        let later = Tour { today: "2027-02-01T00:00:00Z".parse().unwrap(), ..tour() };
        assert_ne!(today["flow"], later.payload()["flow"]);
        let timeless = |flow: &Value| timeless(flow.clone(), &later.tomorrow())["flow"].clone();
        let mut moved = later.payload();
        moved["flow"][4]["url"] = "http://127.0.0.1:4712/api/test/{{account_id}}".into();
        assert_eq!(timeless(&today), timeless(&moved));
        let own = [(1, "text", "Mine"), (4, "url", "https://example.org/own"), (3, "date", "2027-12-24")];
        for (step, field, value) in own {
            let mut edited = today.clone();
            edited["flow"][step][field] = value.into();
            assert_ne!(timeless(&edited), timeless(&today), "a newcomer's own {field} stays");
        }
    }

    #[test]
    fn the_curl_line_is_one_line_in_one_pair_of_quotes() {
        let line = tour().curl("127.0.0.1:8080".parse().unwrap());
        assert!(!line.contains('\n'));
        assert_eq!(line.matches('\'').count(), 4, "{line}");
    }
}
