//! Our registration with a carrier (RFC 3261 §10.2): what is sent, what was granted, when it is sent again.
//!
//! Pure; the endpoint sends what is asked for and feeds the answers back.

use std::net::SocketAddr;

use bytes::Bytes;

use super::draft::Draft;
use super::flow::{Flow, Path};
use super::leg::Login;
use super::message::{Message, Method, Name};
use super::transaction::NEVER;
use super::uri::{self, NameAddr, Uri};
use crate::ports::{TrunkConfig, TrunkState};

/// What we ask the carrier to grant, seconds; longer when it insists (423).
const EXPIRES_S: u32 = 600;
/// The longest that a carrier may insist on, seconds.
const LONGEST_EXPIRES_S: u32 = 86_400;
/// Pauses between attempts to register, ms: doubled up to the longest.
const RETRY_MS: i64 = 5_000;
const LONGEST_RETRY_MS: i64 = 300_000;
/// Between two signs of life by a registration's way, which keep it open in the routers on it, ms: the
/// shortest that they forget is 30 s (RFC 5626 §4.4.1).
const ALIVE_MS: i64 = 25_000;
/// The sign of life (RFC 5626 §3.5.1).
const ALIVE: Bytes = Bytes::from_static(b"\r\n\r\n");

/// A registration with a carrier (RFC 3261 §10.2).
#[derive(Debug)]
pub(crate) struct Registration {
    call_id: String,
    tag: String,
    seq: u32,
    login: Option<Login>,
    /// Index of the target in use.
    pub(crate) target: usize,
    /// Where the REGISTER under way was sent.
    pub(crate) place: Option<SocketAddr>,
    /// When to register next; `NEVER` while a REGISTER is under way.
    pub(crate) next_at: i64,
    failures: u32,
    /// The way by which it went, once it was accepted: calls come in by it.
    pub(crate) flow: Option<Flow>,
    /// When the next sign of life goes by that way.
    pub(crate) alive_at: i64,
    /// What is asked for, seconds.
    expires_s: u32,
    /// Our Contact as it was sent last.
    contact: String,
}

/// What a response to a REGISTER of ours leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    /// Nothing new yet.
    Waiting,
    /// Send it again at once, signed or for longer.
    Again,
    /// The state to report.
    Now(TrunkState),
}

impl Registration {
    /// One that is due now.
    pub(super) fn new(call_id: String, tag: String, login: Option<Login>, now: i64) -> Self {
        Self {
            call_id,
            tag,
            seq: 0,
            login,
            target: 0,
            place: None,
            next_at: now,
            failures: 0,
            flow: None,
            alive_at: NEVER,
            expires_s: EXPIRES_S,
            contact: String::new(),
        }
    }

    /// The REGISTER to send along a path.
    pub(crate) fn request(
        &mut self,
        config: &TrunkConfig,
        domain: &str,
        path: &Path,
        branch: &str,
        agent: &str,
        cnonce: &str,
    ) -> Bytes {
        self.seq += 1;
        self.flow = Some(path.flow.clone());
        let user = config.username.clone().unwrap_or_default();
        let at = if user.is_empty() { "" } else { "@" };
        let address = format!("<sip:{}{at}{domain}>", uri::escape_user(&user));
        let uri = format!("sip:{domain}");
        self.contact = path.contact(&user);
        let mut draft = Draft::request(Method::Register, &uri)
            .field("Via", path.via(branch))
            .field("Max-Forwards", 70)
            .field("From", format_args!("{address};tag={}", self.tag))
            .field("To", &address)
            .field("Call-ID", &self.call_id)
            .field("CSeq", format_args!("{} REGISTER", self.seq))
            .field("Contact", &self.contact)
            .field("Expires", self.expires_s)
            .field("User-Agent", agent);
        if let Some(login) = self.login.as_mut() {
            draft = login.sign(draft, Method::Register, &uri, b"", cnonce);
        }
        self.next_at = NEVER;
        draft.finish()
    }

    /// Takes a response.
    pub(crate) fn response(&mut self, response: &Message, targets: usize, now: i64) -> Registered {
        let code = response.code();
        match code {
            ..200 => Registered::Waiting,
            200..300 => {
                if let Some(login) = self.login.as_mut() {
                    login.accepted();
                }
                self.failures = 0;
                let granted_s = self.granted(response).clamp(30, LONGEST_EXPIRES_S);
                // A little before the end, so that a lost round trip costs nothing.
                self.next_at = now + i64::from(granted_s) * 1_000 * 5 / 6;
                self.alive_at = now + ALIVE_MS;
                Registered::Now(TrunkState::Registered)
            }
            401 | 407 if self.login.as_mut().is_some_and(|login| login.challenged(response)) => Registered::Again,
            401 | 403 | 407 => {
                if let Some(login) = self.login.as_mut() {
                    login.accepted(); // a new round next time
                }
                self.next_at = now + LONGEST_RETRY_MS;
                self.alive_at = NEVER;
                Registered::Now(TrunkState::AuthFailed)
            }
            423 if self.stretched(response) => Registered::Again,
            _ => Registered::Now(self.unanswered(targets, now)),
        }
    }

    /// Asks for as long as a carrier that finds us too brief insists on (RFC 3261 §10.3); false when
    /// it names nothing longer.
    fn stretched(&mut self, response: &Message) -> bool {
        let least_s = response.number(Name::MinExpires).filter(|least_s| *least_s <= LONGEST_EXPIRES_S);
        let longer = least_s.filter(|least_s| *least_s > self.expires_s);
        self.expires_s = longer.unwrap_or(self.expires_s);
        longer.is_some()
    }

    /// What the registrar granted us: the parameter of our own Contact, of the only one when it was
    /// rewritten on the way; else Expires, else what we asked.
    fn granted(&self, response: &Message) -> u32 {
        let contacts: Vec<_> = response.elements(Name::Contact).filter_map(NameAddr::parse).collect();
        let own = NameAddr::parse(&self.contact).and_then(|contact| Uri::parse(contact.uri));
        let is_own = |contact: &&NameAddr<'_>| {
            own.zip(Uri::parse(contact.uri)).is_some_and(|(own, contact)| own.same_resource(&contact))
        };
        let ours = contacts.iter().find(is_own).or(if let [only] = &*contacts { Some(only) } else { None });
        ours.and_then(|contact| contact.param("expires")?.parse().ok())
            .or_else(|| response.number(Name::Expires))
            .unwrap_or(self.expires_s)
    }

    /// The target did not answer, or answered with a failure: the next one, after a pause.
    pub(crate) fn unanswered(&mut self, targets: usize, now: i64) -> TrunkState {
        self.target = (self.target + 1) % targets.max(1);
        // The first round over the other targets is at once.
        let round = self.failures / u32::try_from(targets.max(1)).unwrap_or(1);
        let first = self.target != 0;
        self.failures = self.failures.saturating_add(1);
        let pause = if first { 0 } else { (RETRY_MS << round.min(10)).min(LONGEST_RETRY_MS) };
        self.next_at = now + pause;
        self.alive_at = NEVER;
        TrunkState::Unreachable
    }

    /// Gives a sign of life when it is time. Nobody has to answer it; a way that is broken is found
    /// anew at once.
    pub(crate) fn stay_alive(&mut self, now: i64) {
        if self.alive_at > now {
            return;
        }
        self.alive_at = now + ALIVE_MS;
        if self.flow.as_ref().is_some_and(|flow| !flow.send(&ALIVE)) {
            (self.alive_at, self.next_at) = (NEVER, self.next_at.min(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Secret;

    fn registration() -> Registration {
        let login = Login::new("u".to_owned(), Secret::new("p"));
        Registration::new("call".to_owned(), "tag".to_owned(), Some(login), 0)
    }

    fn response(code: u16, fields: &str) -> Message {
        Message::parse(format!("SIP/2.0 {code} X\r\n{fields}\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn a_registration_is_signed_kept_and_moved_to_the_next_target() {
        let mut registration = registration();
        let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
        assert_eq!(registration.response(&response(401, challenge), 3, 0), Registered::Again);
        assert_eq!(registration.response(&response(401, challenge), 3, 0), Registered::Now(TrunkState::AuthFailed));
        assert_eq!(registration.next_at, LONGEST_RETRY_MS);
        let ok = response(200, "Contact: <sip:u@h>;expires=120\r\nExpires: 600\r\n");
        assert_eq!(registration.response(&ok, 3, 0), Registered::Now(TrunkState::Registered));
        assert_eq!(registration.next_at, 100_000);
        let mut attempts = Vec::new();
        for _ in 0..6 {
            registration.unanswered(3, 0);
            attempts.push((registration.target, registration.next_at));
        }
        assert_eq!(attempts, [(1, 0), (2, 0), (0, 5_000), (1, 0), (2, 0), (0, 10_000)]);
    }

    #[test]
    fn a_carrier_that_wants_longer_registrations_gets_them_at_once() {
        let mut registration = registration();
        let brief = response(423, "Min-Expires: 3600\r\n");
        assert_eq!(registration.response(&brief, 1, 0), Registered::Again);
        assert_eq!(registration.expires_s, 3_600);
        assert_eq!(registration.response(&brief, 1, 0), Registered::Now(TrunkState::Unreachable), "no endless round");
        let absurd = response(423, "Min-Expires: 4000000000\r\n");
        assert_eq!(registration.response(&absurd, 1, 0), Registered::Now(TrunkState::Unreachable));
        registration.response(&response(200, ""), 1, 0);
        assert_eq!(registration.next_at, 3_000_000, "granted as asked");
    }

    #[test]
    fn what_is_granted_is_read_from_our_own_contact() {
        let mut registration = registration();
        registration.contact = "<sip:u@203.0.113.5:5060>".to_owned();
        let others = "Contact: <sip:u@192.0.2.77:5060>;expires=3000, <sip:u@203.0.113.5:5060>;expires=120\r\n";
        registration.response(&response(200, others), 1, 0);
        assert_eq!(registration.next_at, 100_000);
        let none = "Contact: <sip:u@192.0.2.77>;expires=3000, <sip:u@192.0.2.78>;expires=60\r\nExpires: 240\r\n";
        registration.response(&response(200, none), 1, 0);
        assert_eq!(registration.next_at, 200_000);
        registration.response(&response(200, "Contact: <sip:u@198.51.100.4:40000>;expires=60\r\n"), 1, 0);
        assert_eq!(registration.next_at, 50_000, "the only one is ours, rewritten on the way");
    }
}
