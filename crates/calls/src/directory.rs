//! Who has which number: people, teams, public numbers, trunks, and what an organisation may dial.
//!
//! Answers come from memory while nothing has changed. Every change of these tables bumps one row of
//! `counter` in the same commit, so that a change by another process (the command line beside a
//! running server) is seen within a quarter of a second, one by this process at once.
//! Invariant: an answer is never older than that.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kernel::bus::Subscription;
use kernel::db::{DbError, Write};
use kernel::{Kernel, RecordError, args};
use voice::ports::{Binding, BindingChange, Credential, LineIdentity, Secret, TrunkState};

use crate::Dialer;
use crate::bindings::Bindings;
use crate::browser_phones::BrowserPhones;
use crate::numbers::{self, CallerIdFacts, ChosenCallerId, DialPlan, Dialled, NumberError};
use crate::queue::TeamStrategy;

pub use crate::destination::{Bound, Destination, PersonEntry, ResolveError, TeamEntry};

/// Answers from memory are trusted for so long without a look at the store, in milliseconds.
const FRESH_MS: i64 = 250;
/// An organisation's settings are trusted for so long, in milliseconds.
const SETTINGS_FRESH_MS: i64 = 1_000;
/// Answers kept of each kind; beyond it all are forgotten.
const MAX_KNOWN: usize = 20_000;
/// Says on the bus that something here has changed.
const SUBJECT: &str = "directory";

kernel::statements! {
    /// How often the directory has changed.
    GENERATION = "select value from counter where org = '' and kind = 'directory'";
    /// It changes.
    BUMP = "insert into counter (org, kind, value) values ('', 'directory', 1)
        on conflict (org, kind) do update set value = counter.value + 1";
    /// Who has a number inside the organisation.
    INSIDE = "select kind, target from voice_number where org = $1 and number = $2";
    /// A person's extension by its id.
    EXTENSION = "select number, person, name, voicemail from extension where org = $1 and id = $2";
    /// The public number that rings a person.
    NUMBER_OF_PERSON = "select e164 from number where org = $1 and kind = 'person' and target = $2 order by created_at limit 1";
    /// A team by its id.
    TEAM = "select number, name, strategy, wrap_up_s, ring_s, announce_position from team where org = $1 and id = $2";
    /// Its members.
    TEAM_MEMBERS = "select extension from team_member where org = $1 and team = $2 order by position limit 500";
    /// What a public number reaches.
    NUMBER = "select kind, target from number where org = $1 and e164 = $2";
    /// The organisation's first public number.
    FIRST_NUMBER = "select e164 from number where org = $1 order by created_at, e164 limit 1";
    /// A digest user name and the extension it stands for.
    CREDENTIAL = "select c.id, c.org, c.realm, c.ha1_md5, c.ha1_sha256, c.srtp, e.number, e.person, e.domain
        from sip_credential c join extension e on e.id = c.extension
        where c.domain = $1 and c.username = $2 and c.revoked_at is null";
    /// The organisation's trunks, in the order in which they are tried.
    TRUNKS = "select id, caller_ids from trunk where org = $1 order by position limit 100";
}

/// What an organisation may dial and show.
#[derive(Debug)]
pub(crate) struct OrgPlan {
    dial_only: Vec<String>,
    dial_premium: Vec<String>,
    dial_sip: bool,
    /// Numbers that it may show besides those bound here.
    verified: Vec<String>,
    /// Shown when nothing better may be.
    fallback: Option<String>,
    trunks: Vec<Arc<str>>,
}

#[derive(Default)]
struct Known {
    generation: i64,
    checked_at_ms: i64,
    /// With the time of reading: settings change without a word to the directory.
    orgs: HashMap<String, (i64, Arc<OrgPlan>)>,
    inside: HashMap<(String, String), Option<Destination>>,
    numbers: HashMap<(String, String), Option<Bound>>,
    /// By id.
    teams: HashMap<(String, String), Option<TeamEntry>>,
    credentials: HashMap<(String, String), Credential>,
}

impl Known {
    /// Keeps an answer that was read in this generation; an older one may be out of date already.
    fn keep<K: Hash + Eq, V>(&mut self, generation: i64, map: fn(&mut Self) -> &mut HashMap<K, V>, key: K, value: V) {
        if self.generation != generation {
            return;
        }
        let map = map(self);
        if map.len() >= MAX_KNOWN {
            map.clear();
        }
        map.insert(key, value);
    }
}

/// The directory of a server.
pub struct Directory {
    pub(crate) kernel: Kernel,
    bindings: Bindings,
    pub(crate) browsers: BrowserPhones,
    known: Mutex<Known>,
    news: Mutex<Subscription>,
    trunk_states: Mutex<HashMap<Arc<str>, TrunkState>>,
    dialer: OnceLock<Arc<dyn Dialer>>,
}

impl Directory {
    /// The directory of the kernel's store, with the registrations from before the last stop.
    ///
    /// # Errors
    /// What the store says.
    pub async fn open(kernel: Kernel) -> Result<Arc<Self>, DbError> {
        let bindings = Bindings::load(kernel.db.clone(), kernel.node.clone(), kernel.clock.now_ms()).await?;
        let news = Mutex::new(kernel.bus.subscribe(SUBJECT));
        Ok(Arc::new(Self {
            kernel,
            bindings,
            browsers: BrowserPhones::default(),
            known: Mutex::default(),
            news,
            trunk_states: Mutex::default(),
            dialer: OnceLock::new(),
        }))
    }

    /// Who is told when trunks may have changed.
    pub(crate) fn attach(&self, dialer: Arc<dyn Dialer>) {
        // Attached once, at start; a second time changes nothing.
        let _second = self.dialer.set(dialer);
    }

    /// What a dialled text leads to: inside the organisation first, then outside, as its dial plan
    /// allows.
    ///
    /// # Errors
    /// [`NumberError`] as the contract names it, or what the store says.
    pub async fn resolve(&self, org: &str, dialled: &str) -> Result<Destination, ResolveError> {
        self.refresh().await?;
        match numbers::read(dialled)? {
            Dialled::Sip(address) => {
                let plan = self.plan(org).await?;
                if plan.dial_sip { Ok(Destination::Sip(address)) } else { Err(NumberError::NotAllowed.into()) }
            }
            Dialled::Short(number) => match self.inside(org, &number).await? {
                Some(destination) => Ok(destination),
                None if numbers::is_emergency(&number) => Err(NumberError::NotAllowed.into()),
                None => Err(NumberError::Unknown.into()),
            },
            Dialled::E164 { dialled, e164 } => {
                if let Some(destination) = self.inside(org, &dialled).await? {
                    return Ok(destination);
                }
                if let Some(bound) = self.public_number(org, &e164).await? {
                    return self.bound(org, e164, bound).await;
                }
                let plan = self.plan(org).await?;
                let dial_plan = DialPlan { only: &plan.dial_only, premium: &plan.dial_premium };
                if numbers::may_dial(&e164, dial_plan) {
                    Ok(Destination::Outside(e164))
                } else {
                    Err(NumberError::NotAllowed.into())
                }
            }
        }
    }

    /// What one of the organisation's public numbers reaches; `None` when it is not its own.
    ///
    /// # Errors
    /// What the store says.
    pub async fn public_number(&self, org: &str, e164: &str) -> Result<Option<Bound>, DbError> {
        let key = (org.to_owned(), e164.to_owned());
        if let Some(known) = self.known().numbers.get(&key) {
            return Ok(known.clone());
        }
        let generation = self.known().generation;
        let row = self.kernel.db.one(NUMBER, args![org, e164]).await?;
        let bound = row.map(|row| Ok::<_, DbError>(bound(&row.text("kind")?, row.text("target")?))).transpose()?;
        let bound = bound.flatten();
        self.known().keep(generation, |known| &mut known.numbers, key, bound.clone());
        Ok(bound)
    }

    /// The destination behind a public number: people are rung as such.
    pub(crate) async fn bound(&self, org: &str, e164: String, bound: Bound) -> Result<Destination, ResolveError> {
        match &bound {
            Bound::Person(number) | Bound::Team(number) => {
                self.inside(org, number).await?.ok_or_else(|| NumberError::Unknown.into())
            }
            Bound::Flow(_) | Bound::Meetings => Ok(Destination::OwnNumber { e164, bound }),
        }
    }

    /// The caller id rule (docs/contracts/flows.md, "connect/call numbers"): what is shown when
    /// `wanted` was asked for, and whether that replaces it.
    ///
    /// # Errors
    /// What the store says.
    pub async fn caller_id(
        &self,
        org: &str,
        wanted: Option<&str>,
        customer: Option<&str>,
        outside: bool,
    ) -> Result<ChosenCallerId, ResolveError> {
        self.refresh().await?;
        let plan = self.plan(org).await?;
        let owned = match wanted.and_then(|wanted| numbers::e164(wanted).or_else(|| Some(wanted.to_owned()))) {
            None => false,
            Some(wanted) => {
                plan.verified.contains(&wanted)
                    || self.public_number(org, &wanted).await?.is_some()
                    // Inside, a number of the organisation may call as itself.
                    || (!outside && self.inside(org, &wanted).await?.is_some())
            }
        };
        let fallback = plan.fallback.as_deref();
        Ok(numbers::choose_caller_id(CallerIdFacts { wanted, customer, outside, owned, fallback }))
    }

    /// The person behind an extension.
    ///
    /// # Errors
    /// What the store says.
    pub async fn person(&self, org: &str, extension: &str) -> Result<Option<PersonEntry>, DbError> {
        Ok(match self.inside(org, extension).await? {
            Some(Destination::Person(entry)) => Some(entry),
            _ => None,
        })
    }

    /// Whether these are one team that lets its callers wait.
    pub(crate) async fn has_queue(&self, org: &str, numbers: &[String]) -> bool {
        let [number] = numbers else { return false };
        matches!(self.resolve(org, number).await, Ok(Destination::Team(team)) if team.queues())
    }

    /// A team by its id; none when it is gone.
    pub(crate) async fn team(&self, org: &str, id: &str) -> Result<Option<TeamEntry>, DbError> {
        let key = (org.to_owned(), id.to_owned());
        if let Some(known) = self.known().teams.get(&key) {
            return Ok(known.clone());
        }
        let generation = self.known().generation;
        let team = match self.read_team(org, id).await? {
            Some(Destination::Team(team)) => Some(team),
            _ => None,
        };
        self.known().keep(generation, |known| &mut known.teams, key, team.clone());
        Ok(team)
    }

    /// The digest credential of a user name in a domain.
    pub(crate) async fn credential(&self, domain: &str, username: &str) -> Result<Option<Credential>, DbError> {
        self.refresh().await?;
        let key = (domain.to_owned(), username.to_owned());
        if let Some(known) = self.known().credentials.get(&key) {
            return Ok(Some(known.clone()));
        }
        let generation = self.known().generation;
        let Some(row) = self.kernel.db.one(CREDENTIAL, args![domain, username]).await? else { return Ok(None) };
        let credential = Credential {
            identity: LineIdentity {
                org: row.text("org")?.into(),
                extension: row.text("number")?.into(),
                person: Some(row.text("person")?.into()),
                line: row.text("id")?.into(),
            },
            realm: row.text("realm")?,
            domain: row.text("domain")?,
            ha1_md5: Secret::new(row.text("ha1_md5")?),
            ha1_sha256: Secret::new(row.text("ha1_sha256")?),
            srtp: row.bool("srtp")?,
        };
        self.known().keep(generation, |known| &mut known.credentials, key, credential.clone());
        Ok(Some(credential))
    }

    /// The live contacts of an extension.
    pub fn bindings(&self, org: &str, extension: &str) -> Vec<Binding> {
        self.bindings.of(org, extension, self.kernel.clock.now_ms())
    }

    pub(crate) async fn change_bindings(
        &self,
        org: &str,
        extension: &str,
        change: BindingChange,
    ) -> Result<(), DbError> {
        self.bindings.change(org, extension, change, self.kernel.clock.now_ms()).await?;
        self.kernel.bus.publish(&registrations(org), extension.to_owned());
        Ok(())
    }

    pub(crate) async fn lost_connection(&self, org: &str, extension: &str, source: SocketAddr) -> Result<(), DbError> {
        self.bindings.lost_connection(org, extension, source).await
    }

    /// The trunk that a call outside takes: the first in working order, else the first.
    pub(crate) async fn trunk(&self, org: &str) -> Result<Option<Arc<str>>, ResolveError> {
        let plan = self.plan(org).await?;
        let states = self.trunk_states.lock().unwrap_or_else(PoisonError::into_inner);
        let works =
            |trunk: &&Arc<str>| !matches!(states.get(&**trunk), Some(TrunkState::AuthFailed | TrunkState::Unreachable));
        Ok(plan.trunks.iter().find(works).or(plan.trunks.first()).cloned())
    }

    pub(crate) fn note_trunk(&self, trunk: &str, state: TrunkState) {
        self.trunk_states.lock().unwrap_or_else(PoisonError::into_inner).insert(trunk.into(), state);
    }

    /// Forgets what is out of date: at once after a change by this process, within [`FRESH_MS`]
    /// after one by another.
    pub(crate) async fn refresh(&self) -> Result<(), DbError> {
        let now_ms = self.kernel.clock.now_ms();
        let told = {
            let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
            let mut told = false;
            while news.try_next().is_some() {
                told = true;
            }
            told
        };
        if !told && (now_ms - self.known().checked_at_ms).abs() < FRESH_MS {
            return Ok(());
        }
        let row = self.kernel.db.one(GENERATION, Vec::new()).await?;
        let generation = row.map_or(Ok(0), |row| row.int("value"))?;
        let changed = {
            let mut known = self.known();
            known.checked_at_ms = now_ms;
            let changed = known.generation != generation;
            if changed || told {
                *known = Known { generation, checked_at_ms: now_ms, ..Known::default() };
            }
            changed
        };
        if changed && let Some(dialer) = self.dialer.get() {
            dialer.reload_trunks().await;
        }
        Ok(())
    }

    /// Who has a number inside the organisation.
    async fn inside(&self, org: &str, number: &str) -> Result<Option<Destination>, DbError> {
        let key = (org.to_owned(), number.to_owned());
        if let Some(known) = self.known().inside.get(&key) {
            return Ok(known.clone());
        }
        let generation = self.known().generation;
        let destination = match self.kernel.db.one(INSIDE, args![org, number]).await? {
            None => None,
            Some(row) if row.text("kind")? == "team" => self.read_team(org, &row.text("target")?).await?,
            Some(row) => self.read_person(org, &row.text("target")?).await?,
        };
        self.known().keep(generation, |known| &mut known.inside, key, destination.clone());
        Ok(destination)
    }

    async fn read_person(&self, org: &str, id: &str) -> Result<Option<Destination>, DbError> {
        let Some(row) = self.kernel.db.one(EXTENSION, args![org, id]).await? else { return Ok(None) };
        let extension: Arc<str> = row.text("number")?.into();
        let own = self.kernel.db.one(NUMBER_OF_PERSON, args![org, &extension]).await?;
        Ok(Some(Destination::Person(PersonEntry {
            extension,
            person: row.text("person")?.into(),
            name: row.text("name")?,
            own_number: own.map(|row| row.text("e164")).transpose()?,
            voicemail: row.bool("voicemail")?,
        })))
    }

    async fn read_team(&self, org: &str, id: &str) -> Result<Option<Destination>, DbError> {
        let Some(row) = self.kernel.db.one(TEAM, args![org, id]).await? else { return Ok(None) };
        let members = self.kernel.db.all(TEAM_MEMBERS, args![org, id]).await?;
        let members = members.iter().map(|row| row.text("extension").map(Arc::from)).collect::<Result<_, _>>()?;
        Ok(Some(Destination::Team(TeamEntry {
            id: id.into(),
            number: row.text("number")?.into(),
            name: row.text("name")?,
            strategy: TeamStrategy::parse(&row.text("strategy")?).unwrap_or_default(),
            wrap_up_ms: row.int("wrap_up_s")? * 1000,
            ring_ms: row.int("ring_s")? * 1000,
            announces: row.bool("announce_position")?,
            members,
        })))
    }

    pub(crate) async fn plan(&self, org: &str) -> Result<Arc<OrgPlan>, ResolveError> {
        let now_ms = self.kernel.clock.now_ms();
        if let Some((read_at_ms, plan)) = self.known().orgs.get(org)
            && now_ms - read_at_ms < SETTINGS_FRESH_MS
        {
            return Ok(plan.clone());
        }
        let generation = self.known().generation;
        let found = self.kernel.org_by_id(org).await?;
        let found = found.ok_or_else(|| RecordError::NotFound { what: "organisation", name: org.to_owned() })?;
        let mut trunks = Vec::new();
        let mut trunk_ids: Vec<String> = Vec::new();
        for row in self.kernel.db.all(TRUNKS, args![org]).await? {
            trunks.push(row.text("id")?.into());
            trunk_ids.extend(row.json::<Vec<String>>("caller_ids")?);
        }
        let first = self.kernel.db.one(FIRST_NUMBER, args![org]).await?;
        let first = first.map(|row| row.text("e164")).transpose()?;
        let settings = found.settings;
        let verified: Vec<String> = settings.caller_ids.into_iter().chain(trunk_ids).collect();
        let plan = Arc::new(OrgPlan {
            dial_only: settings.dial_only,
            dial_premium: settings.dial_allow,
            dial_sip: settings.dial_sip,
            fallback: first.or_else(|| verified.first().cloned()),
            verified,
            trunks,
        });
        self.known().keep(generation, |known| &mut known.orgs, org.to_owned(), (now_ms, plan.clone()));
        Ok(plan)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bus's subject on which an organisation's extensions are named whose contacts have changed: look at
/// [`Directory::bindings`] then.
#[must_use]
pub fn registrations(org: &str) -> String {
    format!("registrations.{org}")
}

/// The write that belongs to every change of what the directory answers from.
pub(crate) fn bump() -> Write {
    Write::new(BUMP, Vec::new())
}

/// Tells this process's directory, after the commit.
pub(crate) fn changed(kernel: &Kernel) {
    kernel.bus.publish(SUBJECT, "");
}

pub(crate) fn bound(kind: &str, target: String) -> Option<Bound> {
    match kind {
        "flow" => Some(Bound::Flow(target)),
        "person" => Some(Bound::Person(target)),
        "team" => Some(Bound::Team(target)),
        "meetings" => Some(Bound::Meetings),
        _ => None,
    }
}
