//! Transactions (RFC 3261 §17, RFC 6026): who answers a repeated message, who repeats ours, and when
//! a transaction is over.
//!
//! Pure: time comes in as milliseconds, what is to be sent goes out as bytes. One deviation, kept on
//! purpose: the repetition of a 2xx to INVITE until its ACK, which RFC 6026 leaves to the user of the
//! transaction, is done here, where the timers are.

use std::sync::Arc;

use bytes::Bytes;

use super::draft::Draft;
use super::message::{Message, Method, Name};

/// Estimate of a round trip, ms (RFC 3261 §17.1.1.1).
pub(crate) const T1_MS: i64 = 500;
/// Longest pause between repetitions, ms.
pub(crate) const T2_MS: i64 = 4_000;
/// Longest life of a message in the network, ms.
pub(crate) const T4_MS: i64 = 5_000;
/// Transaction time-out, ms: timers B, F, H, J, L and M.
pub(crate) const TIMEOUT_MS: i64 = 64 * T1_MS;
/// No deadline.
pub(crate) const NEVER: i64 = i64::MAX;

const MAGIC_COOKIE: &str = "z9hG4bK";

/// Names a server transaction (RFC 3261 §17.2.3). ACK and CANCEL name the INVITE's when asked with
/// `Method::Invite`.
pub(crate) fn server_key(request: &Message, method: Method) -> Option<Arc<str>> {
    let via = request.top_via()?;
    match via.branch() {
        Some(branch) if branch.starts_with(MAGIC_COOKIE) => {
            Some(format!("{branch} {}:{} {}", via.host, via.port.unwrap_or(0), method.as_str()).into())
        }
        // RFC 2543 peers: everything that identifies the request.
        _ => Some(
            format!(
                "{} {} {} {} {}",
                request.call_id(),
                request.from_tag(),
                request.cseq()?.0,
                via.text,
                method.as_str()
            )
            .into(),
        ),
    }
}

/// Names a client transaction: our branch and the method (RFC 3261 §17.1.3).
pub(crate) fn client_key(branch: &str, method: Method) -> Arc<str> {
    format!("{branch} {}", method.as_str()).into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerState {
    /// No final response yet.
    Proceeding,
    /// A 2xx to INVITE is repeated until its ACK comes.
    Accepted,
    /// A final response other than that was sent; for INVITE it is repeated until its ACK comes.
    Completed,
    /// Nothing is left to send; repetitions of the request are swallowed.
    Confirmed,
}

/// What a timer of a transaction leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Not yet; ask again at [`Server::next`] or [`Client::next`].
    Later,
    /// Send this again.
    Resend(Bytes),
    /// The peer never answered (client) or never acknowledged our 2xx (server). The transaction is over.
    TimedOut,
    /// Over; forget it.
    Over,
}

/// A server transaction: a request that came in.
#[derive(Debug)]
pub(crate) struct Server {
    invite: bool,
    reliable: bool,
    state: ServerState,
    last: Option<Bytes>,
    interval_ms: i64,
    resend_at: i64,
    end_at: i64,
}

impl Server {
    /// A request arrived. Without a final response within `TIMEOUT_MS` a non-INVITE transaction is
    /// forgotten; an INVITE waits for its leg.
    pub(crate) fn new(method: Method, reliable: bool, now_ms: i64) -> Self {
        let invite = method == Method::Invite;
        Self {
            invite,
            reliable,
            state: ServerState::Proceeding,
            last: None,
            interval_ms: T1_MS,
            resend_at: NEVER,
            end_at: if invite { NEVER } else { now_ms + TIMEOUT_MS },
        }
    }

    /// Whether a final response is still owed.
    pub(crate) fn is_open(&self) -> bool {
        self.state == ServerState::Proceeding
    }

    /// Whether a failure was sent to an INVITE, so that its ACK belongs here.
    pub(crate) fn has_failed(&self) -> bool {
        self.invite && self.state == ServerState::Completed
    }

    /// What to send when the request arrives again; `None` swallows it.
    pub(crate) fn repeated(&self) -> Option<Bytes> {
        match self.state {
            ServerState::Proceeding | ServerState::Completed => self.last.clone(),
            ServerState::Accepted | ServerState::Confirmed => None,
        }
    }

    /// A response goes out. False when a final one went before: then it must not be sent.
    pub(crate) fn respond(&mut self, code: u16, bytes: &Bytes, now_ms: i64) -> bool {
        if !self.is_open() {
            return false;
        }
        self.last = Some(bytes.clone());
        if code < 200 {
            return true;
        }
        self.end_at = now_ms + TIMEOUT_MS;
        self.interval_ms = T1_MS;
        let success = code < 300;
        self.state = if self.invite && success { ServerState::Accepted } else { ServerState::Completed };
        if self.invite && (success || !self.reliable) {
            self.resend_at = now_ms + T1_MS;
        }
        if !self.invite && self.reliable {
            self.end_at = now_ms;
        }
        true
    }

    /// The ACK came: for a failure by this transaction, for a 2xx by its dialog.
    pub(crate) fn acknowledged(&mut self, now_ms: i64) {
        if !self.invite || self.is_open() || self.state == ServerState::Confirmed {
            return;
        }
        // After a failure late ACKs are swallowed for T4; after a 2xx late INVITEs for the rest of
        // timer L (RFC 6026 §8.7).
        if self.state == ServerState::Completed {
            self.end_at = if self.reliable { now_ms } else { now_ms + T4_MS };
        }
        self.state = ServerState::Confirmed;
        self.resend_at = NEVER;
        self.last = None;
    }

    /// When to call [`Server::due`].
    pub(crate) fn next(&self) -> i64 {
        self.resend_at.min(self.end_at)
    }

    /// Fires what is due.
    pub(crate) fn due(&mut self, now_ms: i64) -> Due {
        if now_ms >= self.end_at {
            return if self.state == ServerState::Accepted { Due::TimedOut } else { Due::Over };
        }
        if now_ms < self.resend_at {
            return Due::Later;
        }
        self.interval_ms = (self.interval_ms * 2).min(T2_MS);
        self.resend_at = now_ms + self.interval_ms;
        match &self.last {
            Some(bytes) => Due::Resend(bytes.clone()),
            None => Due::Later,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientState {
    Calling,
    Proceeding,
    /// A 2xx to our INVITE came: others may follow from forks.
    Accepted,
    /// A failure to our INVITE came: its repetitions get the same ACK.
    Completed,
    Done,
}

/// What a response means for the user of a client transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Hand it up.
    Pass,
    /// Send this ACK, then hand the response up.
    AckAndPass(Bytes),
    /// A repetition: send the ACK again.
    AckAgain(Bytes),
    /// Swallow it.
    Nothing,
}

/// A client transaction: a request of ours.
#[derive(Debug)]
pub(crate) struct Client {
    method: Method,
    reliable: bool,
    state: ClientState,
    /// The request as sent.
    request: Bytes,
    ack: Option<Bytes>,
    interval_ms: i64,
    resend_at: i64,
    end_at: i64,
}

impl Client {
    /// A request goes out now.
    pub(crate) fn new(method: Method, request: Bytes, reliable: bool, now_ms: i64) -> Self {
        Self {
            method,
            reliable,
            state: ClientState::Calling,
            request,
            ack: None,
            interval_ms: T1_MS,
            resend_at: if reliable { NEVER } else { now_ms + T1_MS },
            end_at: now_ms + TIMEOUT_MS,
        }
    }

    /// The request as sent: a CANCEL and an ACK repeat parts of it.
    pub(crate) fn request(&self) -> &Bytes {
        &self.request
    }

    /// A response came.
    pub(crate) fn received(&mut self, response: &Message, now_ms: i64) -> Received {
        let invite = self.method == Method::Invite;
        match (self.state, response.code()) {
            (ClientState::Calling | ClientState::Proceeding, ..200) => {
                self.state = ClientState::Proceeding;
                if invite {
                    // How long it may ring is the caller's business, not a timer's (§17.1.1.2).
                    (self.resend_at, self.end_at) = (NEVER, NEVER);
                } else if !self.reliable {
                    self.interval_ms = T2_MS;
                }
                Received::Pass
            }
            (ClientState::Calling | ClientState::Proceeding, _) if !invite => {
                self.state = ClientState::Done;
                self.resend_at = NEVER;
                self.end_at = if self.reliable { now_ms } else { now_ms + T4_MS };
                self.request = Bytes::new();
                Received::Pass
            }
            (ClientState::Calling | ClientState::Proceeding, 200..300) => {
                self.state = ClientState::Accepted;
                (self.resend_at, self.end_at) = (NEVER, now_ms + TIMEOUT_MS);
                Received::Pass
            }
            (ClientState::Accepted, 200..300) => Received::Pass,
            (ClientState::Calling | ClientState::Proceeding, _) => {
                self.state = ClientState::Completed;
                (self.resend_at, self.end_at) = (NEVER, if self.reliable { now_ms } else { now_ms + TIMEOUT_MS });
                match failure_ack(&self.request, response) {
                    Some(ack) => {
                        self.ack = Some(ack.clone());
                        self.request = Bytes::new();
                        Received::AckAndPass(ack)
                    }
                    None => Received::Pass,
                }
            }
            (ClientState::Completed, 300..) => self.ack.clone().map_or(Received::Nothing, Received::AckAgain),
            _ => Received::Nothing,
        }
    }

    /// A CANCEL was sent: a peer that never answers it is given up (§9.1).
    pub(crate) fn cancelled(&mut self, now_ms: i64) {
        if matches!(self.state, ClientState::Calling | ClientState::Proceeding) {
            self.end_at = self.end_at.min(now_ms + TIMEOUT_MS);
        }
    }

    /// Nobody waits for it any more; late answers are still taken for a while.
    pub(crate) fn abandoned(&mut self, now_ms: i64) {
        self.resend_at = NEVER;
        self.end_at = self.end_at.min(now_ms + TIMEOUT_MS);
    }

    /// When to call [`Client::due`].
    pub(crate) fn next(&self) -> i64 {
        self.resend_at.min(self.end_at)
    }

    /// Fires what is due.
    pub(crate) fn due(&mut self, now_ms: i64) -> Due {
        if now_ms >= self.end_at {
            let open = matches!(self.state, ClientState::Calling | ClientState::Proceeding);
            return if open { Due::TimedOut } else { Due::Over };
        }
        if now_ms < self.resend_at {
            return Due::Later;
        }
        let longest = if self.method == Method::Invite { TIMEOUT_MS } else { T2_MS };
        self.interval_ms = (self.interval_ms * 2).min(longest);
        self.resend_at = now_ms + self.interval_ms;
        Due::Resend(self.request.clone())
    }
}

/// The ACK of a failure: the INVITE's own Via, Route and Request-URI (RFC 3261 §17.1.1.3).
fn failure_ack(invite: &[u8], response: &Message) -> Option<Bytes> {
    let invite = Message::parse(invite).ok()?;
    Some(hop_by_hop(&invite, Method::Ack, response.field(Name::To)?))
}

/// The CANCEL of a request that is still open (RFC 3261 §9.1).
pub(crate) fn cancel(invite: &[u8]) -> Option<Bytes> {
    let invite = Message::parse(invite).ok()?;
    let to = invite.field(Name::To)?;
    Some(hop_by_hop(&invite, Method::Cancel, to))
}

/// A request that follows an INVITE hop by hop, on the INVITE's branch.
fn hop_by_hop(invite: &Message, method: Method, to: &str) -> Bytes {
    let mut draft = Draft::request(method, invite.request_uri())
        .field("Via", invite.elements(Name::Via).next().unwrap_or_default());
    for route in invite.fields(Name::Route) {
        draft = draft.field("Route", route);
    }
    draft
        .field("Max-Forwards", 70)
        .field("From", invite.field(Name::From).unwrap_or_default())
        .field("To", to)
        .field("Call-ID", invite.call_id())
        .field("CSeq", format_args!("{} {}", invite.cseq().map_or(0, |(number, _)| number), method.as_str()))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str) -> Bytes {
        format!(
            "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nRoute: <sip:p;lr>\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 7 {method}\r\n\r\n"
        )
        .into()
    }

    fn response(code: u16) -> Message {
        let text = format!(
            "SIP/2.0 {code} X\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nTo: <sip:b@h>;tag=9\r\nCSeq: 7 INVITE\r\n\r\n"
        );
        Message::parse(text.as_bytes()).unwrap()
    }

    /// Runs a client until it ends; returns the times of repetition and of the end.
    fn run(client: &mut Client) -> (Vec<i64>, Due, i64) {
        let mut resent = Vec::new();
        loop {
            let now = client.next();
            match client.due(now) {
                Due::Resend(_) => resent.push(now),
                Due::Later => {}
                end => return (resent, end, now),
            }
        }
    }

    #[test]
    fn an_unanswered_invite_doubles_its_pauses_and_gives_up_after_32_seconds() {
        let mut client = Client::new(Method::Invite, request("INVITE"), false, 0);
        assert_eq!(run(&mut client), (vec![500, 1_500, 3_500, 7_500, 15_500, 31_500], Due::TimedOut, 32_000));
        let mut stream = Client::new(Method::Invite, request("INVITE"), true, 0);
        assert_eq!(run(&mut stream), (vec![], Due::TimedOut, 32_000));
    }

    #[test]
    fn a_non_invite_repeats_at_most_every_four_seconds() {
        let mut client = Client::new(Method::Bye, request("BYE"), false, 0);
        let (resent, end, at) = run(&mut client);
        assert_eq!(&resent[..6], [500, 1_500, 3_500, 7_500, 11_500, 15_500]);
        assert_eq!((end, at), (Due::TimedOut, 32_000));
    }

    #[test]
    fn a_ringing_invite_waits_without_timers_until_it_is_cancelled() {
        let mut client = Client::new(Method::Invite, request("INVITE"), false, 0);
        assert_eq!(client.received(&response(180), 100), Received::Pass);
        assert_eq!(client.next(), NEVER);
        client.cancelled(60_000);
        assert_eq!(run(&mut client), (vec![], Due::TimedOut, 92_000));
    }

    #[test]
    fn a_failure_is_acknowledged_on_the_same_branch_as_often_as_it_comes() {
        let mut client = Client::new(Method::Invite, request("INVITE"), false, 0);
        let Received::AckAndPass(ack) = client.received(&response(486), 10) else { panic!("no ACK") };
        let ack_message = Message::parse(&ack).unwrap();
        assert_eq!(ack_message.method(), Some(Method::Ack));
        assert_eq!((ack_message.to_tag(), ack_message.cseq()), (Some("9"), Some((7, Method::Ack))));
        assert_eq!(ack_message.top_via().unwrap().branch(), Some("z9hG4bKx"));
        assert_eq!(ack_message.field(Name::Route), Some("<sip:p;lr>"));
        assert_eq!(client.received(&response(486), 600), Received::AckAgain(ack));
        assert_eq!(run(&mut client), (vec![], Due::Over, 32_010));
    }

    #[test]
    fn every_2xx_of_a_fork_is_handed_up() {
        let mut client = Client::new(Method::Invite, request("INVITE"), false, 0);
        for _ in 0..3 {
            assert_eq!(client.received(&response(200), 10), Received::Pass);
        }
        assert_eq!(client.received(&response(486), 11), Received::Nothing);
        assert_eq!(run(&mut client), (vec![], Due::Over, 32_010));
    }

    #[test]
    fn a_2xx_to_invite_is_repeated_until_its_ack() {
        let mut server = Server::new(Method::Invite, false, 0);
        assert_eq!(server.next(), NEVER);
        assert!(server.respond(180, &Bytes::from_static(b"180"), 5));
        assert_eq!(server.repeated(), Some(Bytes::from_static(b"180")));
        assert!(server.respond(200, &Bytes::from_static(b"200"), 10));
        assert!(!server.respond(486, &Bytes::from_static(b"486"), 11), "one final response only");
        assert_eq!(server.next(), 510);
        assert_eq!(server.due(510), Due::Resend(Bytes::from_static(b"200")));
        assert_eq!(server.next(), 1_510);
        server.acknowledged(1_000);
        assert_eq!((server.next(), server.repeated()), (32_010, None));
        assert_eq!(server.due(32_010), Due::Over);

        let mut lost = Server::new(Method::Invite, true, 0);
        assert!(lost.respond(200, &Bytes::from_static(b"200"), 0));
        assert_eq!(lost.due(500), Due::Resend(Bytes::from_static(b"200")), "on streams too (§13.3.1.4)");
        assert_eq!(lost.due(32_000), Due::TimedOut);
    }

    #[test]
    fn a_failure_to_invite_is_repeated_on_datagrams_only() {
        let mut server = Server::new(Method::Invite, false, 0);
        assert!(server.respond(486, &Bytes::from_static(b"486"), 0));
        assert_eq!(server.due(500), Due::Resend(Bytes::from_static(b"486")));
        server.acknowledged(600);
        assert_eq!((server.next(), server.due(5_600)), (5_600, Due::Over));

        let mut stream = Server::new(Method::Invite, true, 0);
        assert!(stream.respond(486, &Bytes::from_static(b"486"), 0));
        assert_eq!(stream.next(), 32_000);
    }

    #[test]
    fn keys_follow_the_branch_and_old_peers_the_whole_request() {
        let invite = Message::parse(&request("INVITE")).unwrap();
        assert_eq!(&*server_key(&invite, Method::Invite).unwrap(), "z9hG4bKx h:0 INVITE");
        let old = String::from_utf8(request("INVITE").to_vec()).unwrap().replace("z9hG4bKx", "1");
        let old = Message::parse(old.as_bytes()).unwrap();
        assert!(server_key(&old, Method::Invite).unwrap().starts_with("c 1 7 "));
        let cancel = Message::parse(&cancel(&request("INVITE")).unwrap()).unwrap();
        assert_eq!(server_key(&cancel, Method::Invite), server_key(&invite, Method::Invite));
    }
}
