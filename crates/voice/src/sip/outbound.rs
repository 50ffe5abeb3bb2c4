//! Placing legs: where they go, by which way, and who they say is calling.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use media::codec::CodecKind;
use tracing::warn;

use super::dialog::Dialog;
use super::dns::Place;
use super::endpoint::{Endpoint, LegKey, Outcome, tag_of_leg};
use super::flow::{Flow, Path};
use super::leg::{Caller, Hop, HopAddress, Login, SipLeg};
use super::legs::Ties;
use super::sdp::Protection;
use super::uri::{self, Uri};
use super::ways::any_address;
use crate::cause::Cause;
use crate::leg::{EndedBy, LegEnd, LegEvent, LegEvents, Signals};
use crate::ports::{Binding, LineIdentity, Transport, TrunkId};
use crate::rtc::CODECS;
use crate::runner::MediaLeg;
use crate::voice::{CallerId, Inside, Originate, Target};

/// What carriers are offered first: every one of them speaks it.
const TRUNK_CODECS: [CodecKind; 4] = [CodecKind::Pcmu, CodecKind::Pcma, CodecKind::G722, CodecKind::Opus];

/// A leg to place, with what its handle talks to.
pub(crate) struct Order {
    pub(crate) order: Originate,
    pub(crate) signals: Signals,
    pub(crate) media: MediaLeg,
    pub(crate) events: LegEvents,
}

impl Order {
    /// The leg cannot be placed at all.
    pub(crate) fn refuse(self, cause: Cause) {
        self.media.close();
        let end = LegEnd { cause, by: EndedBy::Local, sip_code: None, q850: None };
        // A sink that is full now finds the end when the signals are dropped.
        let _ = self.events.offer(LegEvent::Ended(end));
    }
}

/// A target, worked out.
struct Plan {
    hops: Vec<Hop>,
    /// Host of From.
    from_host: String,
    /// Host of To.
    to_host: String,
    to_user: String,
    login: Option<Login>,
    codecs: Vec<CodecKind>,
    protection: Protection,
    contact_user: String,
    pinned: bool,
    trunk: Option<TrunkId>,
    inside: Option<Inside>,
}

impl Endpoint {
    /// Places a leg; over a trunk that is not known yet, once the trunks have been read anew.
    pub(crate) fn originate(&mut self, order: Order) {
        match &order.order.target {
            Target::Trunk { trunk, .. } if self.carriers.get(trunk).is_none() => self.await_trunk(order),
            _ => self.originate_known(order),
        }
    }

    /// Places a leg, or refuses it.
    pub(crate) fn originate_known(&mut self, order: Order) {
        let plan = match &order.order.target {
            Target::Binding(binding) => Ok(self.plan_binding(binding, &order.order.to_user)),
            Target::Trunk { trunk, number } => self.plan_trunk(trunk, number),
            Target::Uri(uri) => self.plan_uri(uri),
            Target::Own { number, inside } => self.plan_own(number, inside),
            // Voice::originate sends these to the phone itself.
            Target::Browser { .. } => Err(Cause::NoRoute),
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(cause) => return order.refuse(cause),
        };
        let Some(nowhere) = self.nowhere() else {
            return order.refuse(Cause::Unreachable);
        };
        let key = self.next_key;
        self.next_key += 1;
        let Order { order, signals, media, events } = order;
        let (name, fields) = introduce(&order.from, &plan.from_host, plan.trunk.is_some());
        let dialog = Dialog {
            call_id: self.ids.token(),
            local_tag: tag_of_leg(key, u64::from_le_bytes(self.ids.bytes())),
            remote_tag: String::new(),
            local_name: name,
            remote_name: format!("<sip:{}@{}>", uri::escape_user(&plan.to_user), plan.to_host),
            local_seq: 0,
            remote_seq: None,
            target: String::new(),
            routes: Vec::new(),
            path: nowhere,
            contact_user: plan.contact_user,
            max_forwards: order.max_forwards,
            pinned: plan.pinned,
        };
        let mut codecs = plan.codecs;
        if let Some(prefer) = order.prefer {
            codecs.sort_by_key(|codec| *codec != prefer);
        }
        let session = match &order.target {
            Target::Binding(binding) if binding.is_in_browser() => {
                codecs.retain(|codec| CODECS.contains(codec));
                self.browser_session(&binding.org, binding.source.ip(), codecs)
            }
            _ => self.session(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0), codecs, plan.protection),
        };
        let ring_until = self.now + i64::from(order.ring_timeout_ms);
        let caller = Caller::new(plan.hops, fields, ring_until);
        let leg = SipLeg::calling(dialog, session, caller, plan.login);
        let line = match &order.target {
            Target::Binding(binding) => Some(LineIdentity {
                org: binding.org.clone(),
                extension: binding.extension.clone(),
                person: None,
                line: binding.line.clone(),
            }),
            _ => None,
        };
        self.hold(key, leg, media, events, signals, Ties { trunk: plan.trunk, inside: plan.inside, line });
        self.step(key, SipLeg::start);
    }

    fn plan_binding(&mut self, binding: &Binding, to_user: &str) -> Plan {
        let own = self.own_ip(any_address(binding.source.ip()), binding.source.ip());
        let host = uri::host_text(own);
        let to = HopAddress::Registered { transport: binding.transport, source: binding.source, local: binding.local };
        Plan {
            hops: vec![Hop { uri: binding.contact.clone(), routes: binding.path.clone(), to }],
            from_host: host.clone(),
            to_host: host,
            to_user: to_user.to_owned(),
            login: None,
            codecs: CodecKind::ALL.to_vec(),
            protection: if binding.srtp { Protection::Required } else { Protection::AsNeeded },
            contact_user: String::new(),
            pinned: true,
            trunk: None,
            inside: None,
        }
    }

    fn plan_trunk(&mut self, id: &TrunkId, number: &str) -> Result<Plan, Cause> {
        let trunk = self.carriers.get(id).ok_or(Cause::NoRoute)?;
        let config = Arc::clone(&trunk.config);
        let domain = trunk.domain().ok_or(Cause::NoRoute)?;
        let hops = trunk.hops(number, self.now, |bound| self.ids.below(bound));
        let login =
            config.username.clone().zip(config.password.clone()).map(|(user, password)| Login::new(user, password));
        Ok(Plan {
            hops,
            from_host: domain.clone(),
            to_host: domain,
            to_user: number.to_owned(),
            login,
            codecs: TRUNK_CODECS.to_vec(),
            protection: if config.srtp { Protection::Required } else { Protection::AsOffered },
            contact_user: config.username.clone().unwrap_or_default(),
            pinned: false,
            trunk: Some(id.clone()),
            inside: None,
        })
    }

    fn plan_uri(&mut self, text: &str) -> Result<Plan, Cause> {
        let uri = Uri::parse(text).filter(|uri| !uri.host.is_empty()).ok_or(Cause::InvalidNumber)?;
        let remote = uri.ip().unwrap_or(Ipv4Addr::new(192, 0, 2, 1).into());
        let own = self.own_ip(any_address(remote), remote);
        let to = HopAddress::Open { host: uri.host.to_owned(), port: uri.port, transport: uri.transport() };
        let to_host = uri.ip().map_or_else(|| uri.host.to_owned(), uri::host_text);
        Ok(Plan {
            hops: vec![Hop { uri: text.to_owned(), routes: Vec::new(), to }],
            from_host: uri::host_text(own),
            to_host,
            to_user: uri.user_text(),
            login: None,
            codecs: CodecKind::ALL.to_vec(),
            protection: Protection::AsNeeded,
            contact_user: String::new(),
            pinned: false,
            trunk: None,
            inside: None,
        })
    }

    /// A call to ourselves, by our own socket: what answers there is a call like any other.
    fn plan_own(&self, number: &str, inside: &Inside) -> Result<Plan, Cause> {
        let host = self.own_path().ok_or(Cause::NoRoute)?.authority();
        Ok(Plan {
            hops: vec![Hop {
                uri: format!("sip:{}@{host}", uri::escape_user(number)),
                routes: Vec::new(),
                to: HopAddress::Own,
            }],
            from_host: host.clone(),
            to_host: host,
            to_user: number.to_owned(),
            login: None,
            codecs: CodecKind::ALL.to_vec(),
            protection: Protection::AsOffered,
            contact_user: String::new(),
            pinned: false,
            trunk: None,
            inside: Some(inside.clone()),
        })
    }

    /// Finds the way to a hop: at once when it is an address or an open stream, else in a job.
    pub(crate) fn dial(&mut self, key: LegKey, hop: Hop) {
        match hop.to {
            HopAddress::Registered { transport: Transport::Udp, source, local } => {
                let flow = self.datagrams(source, Some(local));
                self.dialled(key, flow);
            }
            HopAddress::Registered { transport, source, .. } => match self.stream(transport, source) {
                Some(flow) => self.dialled(key, Some(flow)),
                // The connection is gone; a phone that listens where it came from can be called back
                // (RFC 3261 §18.1.1), and nobody else by its word.
                None => match Uri::parse(&hop.uri).and_then(|uri| uri.address()) {
                    Some(address) if transport == Transport::Tcp && address.ip() == source.ip() => {
                        let host = address.ip().to_string();
                        self.connect(key, transport, host, Some(address.port()), |_, _| true);
                    }
                    _ => self.dialled(key, None),
                },
            },
            HopAddress::Place { place, name } => match self.way_to(place) {
                Some(flow) => self.dialled(key, Some(flow)),
                None => {
                    let reach = self.reach_at(place.transport, name, vec![place.address]);
                    self.dial_by(key, reach);
                }
            },
            HopAddress::Own => {
                let path = self.own_path();
                self.dialled_by(key, path);
            }
            HopAddress::Open { host, port, transport } => {
                let ports = Arc::clone(&self.ports);
                self.connect(key, transport, host, port, move |host, address| ports.may_reach(host, address));
            }
            HopAddress::Host { host, port, transport } => {
                let ip: Option<IpAddr> = host.parse().ok();
                let address = ip.map(|ip| SocketAddr::new(ip, port.unwrap_or_else(|| transport.default_port())));
                match address.and_then(|address| self.way_to(Place { transport, address })) {
                    Some(flow) => self.dialled(key, Some(flow)),
                    None => self.connect(key, transport, host, port, |_, _| true),
                }
            }
        }
    }

    /// Looks a name up and connects, for a leg.
    fn connect(
        &mut self,
        key: LegKey,
        transport: Transport,
        host: String,
        port: Option<u16>,
        may: impl Fn(&str, SocketAddr) -> bool + Send + 'static,
    ) {
        let reach = self.reach(transport, host, port, may);
        self.dial_by(key, reach);
    }

    /// Dials once a way is found.
    fn dial_by(&mut self, key: LegKey, reach: impl Future<Output = Option<Flow>> + Send + 'static) {
        let started = self.start(Box::pin(async move { Outcome::Dialled(key, reach.await) }));
        if !started {
            self.dialled(key, None);
        }
    }

    /// The way to a leg's hop was found, or there is none.
    pub(crate) fn dialled(&mut self, key: LegKey, flow: Option<Flow>) {
        let path = flow.map(|flow| self.path(flow));
        self.dialled_by(key, path);
    }

    fn dialled_by(&mut self, key: LegKey, path: Option<Path>) {
        let media = path.as_ref().and_then(|path| self.open_media(key, path.own.ip()));
        match (path, media) {
            (Some(path), Some(media)) => self.step(key, |leg, cx| leg.dial(path, media, cx)),
            _ => self.step(key, SipLeg::undialable),
        }
    }

    /// Where a leg receives media when its peer knows us by `own`.
    fn open_media(&mut self, key: LegKey, own: IpAddr) -> Option<SocketAddr> {
        let held = self.legs.get(&key)?;
        if held.media.is_browsers() {
            // Its description names the port that browsers share.
            return Some(SocketAddr::new(own, 0));
        }
        let local = match held.media.local() {
            Some(local) => local,
            None => match held.media.open(any_address(own)) {
                Ok(local) => local,
                Err(error) => {
                    warn!(%error, "a leg finds no media port");
                    return None;
                }
            },
        };
        (local.is_ipv4() == own.is_ipv4()).then(|| SocketAddr::new(own, local.port()))
    }
}

/// From, and the fields beside it (RFC 3323, RFC 3325): a carrier is told who calls even when the
/// called party is not.
fn introduce(from: &CallerId, host: &str, to_trunk: bool) -> (String, Vec<(&'static str, String)>) {
    let user = uri::escape_user(&from.number);
    let identity = if from.number.is_empty() { format!("<sip:{host}>") } else { format!("<sip:{user}@{host}>") };
    let mut fields = Vec::new();
    if to_trunk && !from.number.is_empty() {
        fields.push(("P-Asserted-Identity", identity.clone()));
    }
    if from.anonymous || from.number.is_empty() {
        fields.push(("Privacy", "id".to_owned()));
        return ("\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned(), fields);
    }
    let name = match &from.display {
        Some(display) => {
            let quoted: String = display.chars().filter(|c| !c.is_control()).collect();
            format!("\"{}\" {identity}", quoted.replace('\\', "\\\\").replace('"', "\\\""))
        }
        None => identity,
    };
    (name, fields)
}
