//! Requests outside any leg: who sends them, whether he may, and what becomes of them.
//!
//! INVITE becomes a leg, REGISTER a binding, OPTIONS an answer. A phone proves its password first;
//! a carrier is known by its address. Whatever has to be asked of the floors above is asked in a job,
//! and the request waits here meanwhile.

use std::sync::Arc;

use tracing::{debug, warn};

use super::dialog::Dialog;
use super::digest::Claim;
use super::domains::Known;
use super::draft::Draft;
use super::endpoint::{Endpoint, Outcome, leg_of_tag, tag_of_leg};
use super::flow::{Flow, Path};
use super::leg::{ALLOW, SDP, SUPPORTED, SipLeg, unknown_extensions};
use super::legs::{Held, Ties};
use super::message::{Message, Method, Name};
use super::proof::claim;
use super::registrar::Applied;
use super::sdp::{self, IceSide, Protection, Session};
use super::session_timer::MIN_INTERVAL_S;
use super::uri::{NameAddr, Uri};
use crate::leg::{Leg, LegEvents, LegId};
use crate::ports::{Credential, PortResult, Ports, TrunkId};
use crate::rtc::CODECS;
use crate::rtc::candidates::candidates;
use crate::voice::{CallerId, Incoming, MAX_FORWARDS, Source};
use media::codec::CodecKind;

/// Most digits of a number inside an organisation.
const MAX_INSIDE_DIGITS: usize = 7;
/// Calls that the floors above have not touched yet; past it new ones are refused.
const MAX_UNTOUCHED: usize = 256;
/// What a refused caller is told to wait, seconds.
pub(super) const RETRY_AFTER_S: u32 = 2;

/// A request that waits for an answer of the floors above, or for its turn.
#[derive(Clone)]
pub(crate) struct Waiting {
    pub(crate) request: Arc<Message>,
    /// Its server transaction.
    pub(crate) tx: Arc<str>,
    /// The way it came.
    pub(crate) flow: Flow,
}

/// What a job found out about a waiting request.
#[expect(clippy::large_enum_variant, reason = "it only lives in a box, from the job to the endpoint")]
pub(crate) enum Answer {
    /// A call from a trunk's address: which of the trunks makes it, or that a phone does.
    Sender(Waiting, Vec<TrunkSource>, PortResult<Sender>),
    /// What the hosts that it names stand for; its nonce was no good when it had one.
    Domain(Waiting, PortResult<Vec<(String, Option<String>)>>, bool),
    /// The credential that it claims, with its domain.
    Credential(Waiting, Claim, PortResult<Option<(String, Option<Credential>)>>),
    /// The bindings it would change.
    Bindings(Waiting, Box<Credential>, PortResult<Vec<crate::ports::Binding>>),
    /// Its change is stored, or not.
    Stored(Waiting, PortResult<Applied>),
}

/// Who makes a call from an address that trunks have.
pub(crate) enum Sender {
    /// A phone beside the trunk, in this domain of ours.
    Phone(String),
    /// The trunk of the organisation that has the called number; of any when none has.
    Carrier(Option<Arc<str>>),
}

impl Endpoint {
    /// A request without a To tag.
    pub(crate) fn admit(&mut self, method: Method, waiting: Waiting) {
        let Waiting { request, flow, .. } = &waiting;
        if request.number(Name::MaxForwards) == Some(0) && method != Method::Register {
            return self.refuse(request, flow, 483, |draft| draft);
        }
        let unknown = unknown_extensions(request);
        if !unknown.is_empty() {
            return self.refuse(request, flow, 420, |draft| draft.field("Unsupported", unknown));
        }
        match method {
            Method::Invite => self.invited(waiting),
            Method::Register => {
                if self.edge.gate.may_register(flow.remote.ip(), self.now) {
                    self.prove(waiting, Method::Register);
                } else {
                    self.refuse(request, flow, 503, |draft| draft.field("Retry-After", 30));
                }
            }
            Method::Options => self.refuse(request, flow, 200, |draft| {
                draft.field("Allow", ALLOW).field("Accept", SDP).field("Supported", SUPPORTED.join(", "))
            }),
            Method::Bye | Method::Prack | Method::Update | Method::Info | Method::Refer | Method::Notify => {
                self.refuse(request, flow, 481, |draft| draft);
            }
            Method::Subscribe | Method::Publish => {
                self.refuse(request, flow, 489, |draft| draft.field("Allow-Events", "refer"))
            }
            Method::Message => self.refuse(request, flow, 405, |draft| draft.field("Allow", ALLOW)),
            Method::Unknown | Method::Ack | Method::Cancel => {
                self.refuse(request, flow, 501, |draft| draft.field("Allow", ALLOW));
            }
        }
    }

    /// An INVITE that opens a call.
    fn invited(&mut self, waiting: Waiting) {
        let Waiting { request, flow, .. } = &waiting;
        if self.are_too_many_untouched() {
            metrics::counter!("sip_refused_calls").increment(1);
            return self.refuse(request, flow, 503, |draft| draft.field("Retry-After", RETRY_AFTER_S));
        }
        let inside = match self.own_call(request) {
            Some(Ties { inside: Some(inside), .. }) => Some(inside.clone()),
            // It went out to somebody else and has come back.
            Some(_) => return self.refuse(request, flow, 482, |draft| draft),
            None => None,
        };
        if SipLeg::interval_too_small(request) {
            return self.refuse(request, flow, 422, |draft| draft.field("Min-SE", MIN_INTERVAL_S));
        }
        if !request.body.is_empty() && !request.body_is(SDP) {
            return self.refuse(request, flow, 415, |draft| draft.field("Accept", SDP));
        }
        if request.contact().is_none_or(|contact| Uri::parse(contact.uri).is_none()) {
            return self.refuse(request, flow, 400, |draft| draft.field("Warning", "399 tandem \"Bad Contact\""));
        }
        if let Some(inside) = inside {
            if !self.may_call() {
                return self.refuse(request, flow, 503, |draft| draft.field("Retry-After", RETRY_AFTER_S));
            }
            self.serve(request, &waiting.tx, flow, Method::Invite, None);
            return self.accept(waiting, Source::Inside(inside), Protection::AsOffered);
        }
        let via_port = request.top_via().and_then(|via| via.port).unwrap_or(5060);
        let user = Uri::parse(request.request_uri()).map(|uri| uri.user_text()).unwrap_or_default();
        let trunks = self.carriers.sources(flow.remote.ip(), [flow.remote.port(), via_port], &user);
        let answers = |claim: Claim| self.nonces.recognises(&claim, flow.remote.ip(), self.now);
        if trunks.is_empty() || claim(request).is_some_and(answers) {
            return self.prove(waiting, Method::Invite);
        }
        if !self.may_call() {
            return self.refuse(request, flow, 503, |draft| draft.field("Retry-After", RETRY_AFTER_S));
        }
        self.serve(request, &waiting.tx, flow, Method::Invite, None);
        match (&*trunks, self.phone_like(request)) {
            ([(trunk, org)], None) => {
                let source = Source::Trunk { trunk: trunk.clone(), org: org.clone() };
                self.accept(waiting, source, Protection::AsOffered);
            }
            (_, phone) => self.find_sender(waiting, trunks, phone),
        }
    }

    /// Host and user of From, when they may be a phone's beside a trunk, behind one address: a number
    /// such as we give, at a host that is not known to be a stranger's.
    fn phone_like(&self, request: &Message) -> Option<(String, String)> {
        let from = request.from().and_then(|from| Uri::parse(from.uri))?;
        let is_number =
            (1..=MAX_INSIDE_DIGITS).contains(&from.user.len()) && from.user.bytes().all(|b| b.is_ascii_digit());
        let host = from.host.to_ascii_lowercase();
        let is_near = is_number && self.domains.of(std::slice::from_ref(&host), self.now) != Known::Strangers;
        is_near.then(|| (host, from.user.to_owned()))
    }

    /// Asks which of several trunks, or which phone beside them, an INVITE comes from.
    fn find_sender(&mut self, waiting: Waiting, trunks: Vec<TrunkSource>, phone: Option<(String, String)>) {
        let uris = [Uri::parse(waiting.request.request_uri()), waiting.request.to().and_then(|to| Uri::parse(to.uri))];
        let numbers: Vec<String> = uris.into_iter().flatten().map(|uri| uri.user_text()).collect();
        let orgs: Vec<Arc<str>> = trunks.iter().map(|(_, org)| org.clone()).collect();
        let refused = waiting.clone();
        let ports = Arc::clone(&self.ports);
        let started = self.start(Box::pin(async move {
            let found = sender(&*ports, phone, &orgs, &numbers).await;
            Outcome::Admission(Box::new(Answer::Sender(waiting, trunks, found)))
        }));
        if !started {
            self.fail(&refused, 503);
        }
    }

    /// Who makes a call from an address that trunks have is known now.
    fn sender_found(&mut self, waiting: Waiting, trunks: &[TrunkSource], found: PortResult<Sender>) {
        if self.servers.get(&waiting.tx).is_some_and(|entry| entry.cancelled) {
            return self.fail(&waiting, 487);
        }
        let owner = match found {
            Ok(Sender::Phone(domain)) => return self.challenge(&waiting, &domain, false),
            Ok(Sender::Carrier(owner)) => owner,
            Err(error) => {
                warn!(%error, "a call's sender could not be looked up");
                return self.fail(&waiting, 500);
            }
        };
        match trunks.iter().find(|(_, org)| Some(org) == owner.as_ref()).or(trunks.first()) {
            Some((trunk, org)) => {
                let source = Source::Trunk { trunk: trunk.clone(), org: org.clone() };
                self.accept(waiting, source, Protection::AsOffered);
            }
            None => self.fail(&waiting, 403),
        }
    }

    /// Whether the floors above lag: they have not taken many of the last calls yet.
    fn are_too_many_untouched(&mut self) -> bool {
        if self.untouched.len() >= MAX_UNTOUCHED {
            let legs = &self.legs;
            self.untouched.retain(|key| legs.get(key).is_some_and(Held::is_untouched));
        }
        self.untouched.len() >= MAX_UNTOUCHED
    }

    /// Counts a call against the server's own limit, once it is known who makes it: a stranger's
    /// flood takes nobody's turn.
    pub(super) fn may_call(&mut self) -> bool {
        let per_second = i64::from(self.config.limits.calls_per_second);
        let may = self.new_calls.take(per_second, (per_second / 2).max(1), self.now);
        if !may {
            metrics::counter!("sip_refused_calls").increment(1);
        }
        may
    }

    /// The leg of ours that sent this INVITE, by what nobody else can guess: its tag and Call-ID.
    fn own_call(&self, request: &Message) -> Option<&Ties> {
        let held = self.legs.get(&leg_of_tag(request.from_tag())?)?;
        let dialog = &held.leg.dialog;
        let is_ours = dialog.call_id == request.call_id() && dialog.local_tag == request.from_tag();
        is_ours.then_some(&held.ties)
    }

    /// A job about a waiting request is done.
    pub(crate) fn admission_answered(&mut self, answer: Answer) {
        match answer {
            Answer::Sender(waiting, trunks, found) => self.sender_found(waiting, &trunks, found),
            Answer::Domain(waiting, found, stale) => self.domain_found(&waiting, found, stale),
            Answer::Credential(waiting, claim, found) => match found {
                Ok(Some((domain, credential))) => self.judge(waiting, &claim, &domain, credential),
                Ok(None) => self.fail(&waiting, 403),
                Err(error) => {
                    warn!(%error, "a credential could not be looked up");
                    self.fail(&waiting, 500);
                }
            },
            Answer::Bindings(waiting, credential, found) => match found {
                Ok(bindings) => self.register(waiting, &credential, &bindings),
                Err(error) => {
                    warn!(%error, "bindings could not be read");
                    self.fail(&waiting, 500);
                }
            },
            Answer::Stored(waiting, stored) => match stored {
                Ok(applied) => self.registered_phone(&waiting, &applied),
                Err(error) => {
                    warn!(%error, "bindings could not be stored");
                    self.fail(&waiting, 500);
                }
            },
        }
    }

    /// Answers a waiting request with a failure, in its transaction.
    pub(super) fn fail(&mut self, waiting: &Waiting, code: u16) {
        self.finish(waiting, code, |draft| if code == 503 { draft.field("Retry-After", RETRY_AFTER_S) } else { draft });
    }

    pub(super) fn finish(&mut self, waiting: &Waiting, code: u16, fields: impl FnOnce(Draft) -> Draft) {
        let tag = format!("{:016x}", u64::from_le_bytes(self.ids.bytes()));
        let draft = Draft::response(&waiting.request, waiting.flow.remote, code, Some(&tag))
            .field("Server", &self.config.user_agent);
        self.respond(&waiting.tx, code, &fields(draft).finish());
    }

    // --- INVITE

    /// Makes a leg of an INVITE whose sender is known.
    pub(super) fn accept(&mut self, waiting: Waiting, source: Source, protection: Protection) {
        let Waiting { request, tx, flow } = &waiting;
        let replaces = match (self.replaced_by(request), &source) {
            (Ok(None), _) => None,
            (Ok(replaces), Source::Line(_)) => replaces,
            // Who takes a phone's place must be a phone.
            (Ok(_), _) => return self.fail(&waiting, 481),
            (Err(code), _) => return self.fail(&waiting, code),
        };
        let id: LegId = self.ids.new("leg", self.now).into();
        let events = LegEvents::new(id, None);
        // A phone in a page that speaks SIP by WebSocket has a browser's media.
        let browsers = match &source {
            Source::Line(line) if request.body_is(SDP) && sdp::is_browsers(&request.body) => Some(line.org.clone()),
            _ => None,
        };
        let browsers = browsers.filter(|org| !self.threads.browsers_call_at(org).is_empty());
        let media = match &browsers {
            Some(org) => self.threads.browser_leg(events.clone(), org),
            None => self.threads.leg(events.clone(), None),
        };
        let path = match source {
            Source::Inside(_) => Path { flow: flow.clone(), own: flow.remote },
            _ => self.path(flow.clone()),
        };
        let key = self.next_key;
        self.next_key += 1;
        let tag = tag_of_leg(key, u64::from_le_bytes(self.ids.bytes()));
        let pinned = matches!(source, Source::Line(_));
        let session = match &browsers {
            Some(org) => self.browser_session(org, flow.remote.ip(), CODECS.to_vec()),
            None => match media.open(super::ways::any_address(path.own.ip())) {
                Ok(local) => {
                    let local = std::net::SocketAddr::new(path.own.ip(), local.port());
                    self.session(local, CodecKind::ALL.to_vec(), protection)
                }
                Err(error) => {
                    warn!(%error, "an incoming call finds no media port");
                    media.close();
                    return self.fail(&waiting, 503);
                }
            },
        };
        let dialog = Dialog::answering(request, path, tag, pinned);
        let way = super::traffic::way_back(request, flow);
        let leg = match SipLeg::called(request.clone(), tx.clone(), way, dialog, session, self.now) {
            Ok(leg) => leg,
            Err(error) => {
                debug!(%error, "an offer cannot be met");
                media.close();
                return self
                    .finish(&waiting, 488, |draft| draft.field("Warning", format_args!("304 tandem \"{error}\"")));
            }
        };
        let (handle, signals) = Leg::new(media.clone(), events.clone());
        let line = match &source {
            Source::Line(line) => Some(line.clone()),
            Source::Trunk { .. } | Source::Inside(_) => None,
        };
        let incoming = Incoming { replaces, ..self.describe(request, handle, source) };
        if self.incoming.try_send(incoming).is_err() {
            // The signals' end would be told to nobody: refuse here.
            media.close();
            return self.fail(&waiting, 503);
        }
        if let Some(entry) = self.servers.get_mut(tx) {
            entry.leg = Some(key);
        }
        self.hold(key, leg, media, events, signals, Ties { line, ..Ties::default() });
    }

    /// The call, as the floors above see it.
    fn describe(&self, request: &Message, leg: Leg, source: Source) -> Incoming {
        let target = Uri::parse(request.request_uri());
        let mut to_user = target.map(|uri| uri.user_text()).unwrap_or_default();
        // A carrier that rings our registration's Contact names the number in To.
        let is_account = matches!(&source, Source::Trunk { trunk, .. } if self.carriers.is_account(trunk, &to_user));
        if to_user.is_empty() || is_account {
            let to = request.to().and_then(|to| Uri::parse(to.uri).map(|uri| uri.user_text()));
            to_user = to.filter(|to| !to.is_empty()).unwrap_or(to_user);
        }
        Incoming {
            leg,
            from: caller(request, matches!(source, Source::Trunk { .. })),
            to_user,
            to_domain: target.map(|uri| uri.host.to_owned()).unwrap_or_default(),
            source,
            call_id: request.call_id().to_owned(),
            replaces: None,
            hops_left: request
                .number(Name::MaxForwards)
                .map_or(MAX_FORWARDS, |left| left.min(MAX_FORWARDS))
                .saturating_sub(1),
        }
    }

    /// The same with a browser at `peer`, which finds us where its organisation's browsers do.
    pub(crate) fn browser_session(&self, org: &str, peer: std::net::IpAddr, codecs: Vec<CodecKind>) -> Session {
        let bound = self.threads.browsers_call_at(org);
        let found = candidates(bound, self.config.public_ip, peer, super::ways::route_to);
        let ice = IceSide::new(found, self.threads.fingerprint().clone(), &self.ids);
        let id = u64::from_le_bytes(self.ids.bytes()) >> 2;
        Session::with_browser(ice, id, codecs, self.ids.clone())
    }

    /// A new side of offer and answer.
    pub(crate) fn session(
        &self,
        local: std::net::SocketAddr,
        codecs: Vec<CodecKind>,
        protection: Protection,
    ) -> Session {
        let id = u64::from_le_bytes(self.ids.bytes()) >> 2;
        Session::new(local, id, codecs, protection, self.ids.clone())
    }
}

/// Who sends a call from an address that trunks of these organisations have.
async fn sender(
    ports: &dyn Ports,
    phone: Option<(String, String)>,
    orgs: &[Arc<str>],
    numbers: &[String],
) -> PortResult<Sender> {
    if let Some((host, user)) = phone
        && let Some(domain) = ports.domain(&host).await?
        && ports.credential(&domain, &user).await?.is_some()
    {
        return Ok(Sender::Phone(domain));
    }
    if orgs.len() > 1 {
        for number in numbers {
            if let Some(owner) = ports.number_owner(orgs, number).await? {
                return Ok(Sender::Carrier(Some(owner)));
            }
        }
    }
    Ok(Sender::Carrier(None))
}

/// Who calls, by From; a carrier's word on whom it has verified goes before that (RFC 3325).
fn caller(request: &Message, trusted: bool) -> CallerId {
    let privacy = request.field(Name::Privacy).unwrap_or_default();
    let anonymous = privacy.split(';').any(|item| item.trim().eq_ignore_ascii_case("id"));
    let mut asserted = request.elements(Name::PAssertedIdentity).filter_map(NameAddr::parse);
    let asserted = asserted.find(|name| trusted && Uri::parse(name.uri).is_some());
    let from = asserted.or_else(|| request.from());
    let uri = from.and_then(|from| Uri::parse(from.uri));
    let hidden = anonymous || uri.is_some_and(|uri| uri.host.ends_with(".invalid"));
    CallerId {
        number: uri.map(|uri| uri.user_text()).unwrap_or_default(),
        display: from.and_then(|from| from.display()),
        anonymous: hidden,
    }
}

/// A trunk and its organisation.
pub(crate) type TrunkSource = (TrunkId, Arc<str>);
