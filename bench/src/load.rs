//! The call generator: one thread, one socket, caller and callee at once. It offers calls at a
//! steady rate, holds each for a while, hangs up, and counts what came back.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use media::codec::CodecKind;

use crate::sip::{self, Dialog, Message};

/// First wait before a request is repeated (RFC 3261 timer T1).
const T1: Duration = Duration::from_millis(500);
/// A request without any answer is given up after this (64 x T1).
const GIVE_UP: Duration = Duration::from_secs(32);
/// Socket buffers large enough for a burst of 3,000 messages.
const SOCKET_BUFFER: usize = 8 << 20;

/// One run of the generator.
#[derive(Clone)]
pub(crate) struct Plan {
    /// Where the server listens.
    pub(crate) server: SocketAddr,
    /// User part that is dialled.
    pub(crate) number: String,
    /// Calls to offer in all.
    pub(crate) calls: usize,
    /// Calls a second.
    pub(crate) rate: f64,
    /// From the answer to our BYE.
    pub(crate) hold: Duration,
    /// Where our audio is, caller and callee side.
    pub(crate) audio: [SocketAddr; 2],
    /// Legs of each call: with 2, a call is up when our callee side has been rung too.
    pub(crate) legs: usize,
    /// What the callers speak, by turns.
    pub(crate) codecs: &'static [CodecKind],
}

impl Plan {
    /// What the call of this number, from 0, offers.
    fn offer(&self, index: usize) -> String {
        let codec = self.codecs.get(index % self.codecs.len().max(1)).copied().unwrap_or(CodecKind::Pcmu);
        sip::session_description(self.audio[0], codec)
    }
}

/// What came of a run.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Calls answered with 200 and ended by our BYE.
    pub(crate) completed: usize,
    /// Final statuses other than 200, and how often each.
    pub(crate) refused: BTreeMap<u16, usize>,
    /// Calls without a final answer, or whose BYE was not answered.
    pub(crate) lost: usize,
    /// Calls that the server ended before we did.
    pub(crate) dropped: usize,
    /// Requests of ours that had to be repeated.
    pub(crate) repeated: usize,
    /// INVITE to 200, microseconds, in the order of arrival.
    pub(crate) answer_us: Vec<u64>,
    /// INVITE to the final refusal, microseconds.
    pub(crate) refusal_us: Vec<u64>,
    /// Calls that reached our callee side.
    pub(crate) reached: usize,
    /// Audio addresses that the server named to the caller side and to the callee side.
    pub(crate) media: [Vec<SocketAddr>; 2],
    /// What the callers of those addresses speak.
    pub(crate) codecs: Vec<CodecKind>,
}

enum Phase {
    Inviting,
    Up,
    Closing,
}

struct Ours {
    /// Which call of the plan it is.
    index: usize,
    dialog: Dialog,
    branch: String,
    phase: Phase,
    offered: Instant,
    last_sent: Instant,
    wait: Duration,
    bye_at: Option<Instant>,
}

/// The generator and its socket; the socket outlives a run, so that one trunk serves all.
pub(crate) struct Generator {
    socket: UdpSocket,
    local: SocketAddr,
    serial: u64,
    calls: HashMap<String, Ours>,
    held: VecDeque<(Instant, String)>,
}

impl Generator {
    /// Binds the signalling socket.
    ///
    /// # Errors
    /// When the address is taken.
    pub(crate) fn bind(local: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(local), socket2::Type::DGRAM, None)?;
        socket.set_recv_buffer_size(SOCKET_BUFFER)?;
        socket.bind(&local.into())?;
        let socket: UdpSocket = socket.into();
        let local = socket.local_addr()?;
        Ok(Self { socket, local, serial: 0, calls: HashMap::new(), held: VecDeque::new() })
    }

    /// Offers the calls of `plan`; while they are held, `held` is called once, as soon as every
    /// offered call has been answered or refused. It returns when all calls are over.
    ///
    /// # Errors
    /// When the socket fails.
    pub(crate) fn run(&mut self, plan: &Plan, mut held: impl FnMut(&Outcome)) -> io::Result<Outcome> {
        let mut outcome = Outcome::default();
        let start = Instant::now();
        let mut offered = 0;
        let mut told = false;
        let mut buffer = [0_u8; 8192];
        let mut last_check = start;
        self.held.clear();
        loop {
            let now = Instant::now();
            let due = ((now - start).as_secs_f64() * plan.rate) as usize;
            while offered < plan.calls.min(due + 1) {
                self.offer(plan, offered)?;
                offered += 1;
            }
            self.hang_up_due(plan, now)?;
            if now - last_check > T1 / 5 {
                self.repeat_or_give_up(plan, now, &mut outcome)?;
                last_check = now;
            }
            let settled =
                offered == plan.calls && !self.calls.values().any(|call| matches!(call.phase, Phase::Inviting));
            let rung = plan.legs < 2 || outcome.reached >= outcome.answer_us.len();
            if settled && rung && !told {
                held(&outcome);
                told = true;
            }
            if settled && self.calls.is_empty() {
                return Ok(outcome);
            }
            let next_offer = if offered < plan.calls {
                start + Duration::from_secs_f64(offered as f64 / plan.rate)
            } else {
                now + T1 / 10
            };
            let wait = next_offer.saturating_duration_since(Instant::now()).clamp(Duration::from_micros(50), T1 / 10);
            self.socket.set_read_timeout(Some(wait))?;
            match self.socket.recv_from(&mut buffer) {
                Ok((length, from)) => {
                    self.receive(plan, buffer.get(..length).unwrap_or_default(), from, &mut outcome)?
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::ConnectionRefused
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn offer(&mut self, plan: &Plan, index: usize) -> io::Result<()> {
        self.serial += 1;
        let serial = self.serial;
        let local = self.local;
        let dialog = Dialog {
            call_id: format!("bench-{}-{serial}", local.port()),
            target: format!("sip:{}@{}", plan.number, plan.server),
            from: format!("<sip:+442071838000@{local}>;tag=b{serial}"),
            to: format!("<sip:{}@{}>", plan.number, plan.server),
            remote_target: None,
            routes: Vec::new(),
        };
        let branch = format!("z9hG4bKb{serial}");
        let invite = dialog.request("INVITE", 1, &branch, local, &plan.offer(index));
        self.socket.send_to(invite.as_bytes(), plan.server)?;
        let now = Instant::now();
        let call = Ours {
            index,
            branch,
            phase: Phase::Inviting,
            offered: now,
            last_sent: now,
            wait: T1,
            bye_at: None,
            dialog,
        };
        self.calls.insert(call.dialog.call_id.clone(), call);
        Ok(())
    }

    fn hang_up_due(&mut self, plan: &Plan, now: Instant) -> io::Result<()> {
        while self.held.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, id)) = self.held.pop_front() else {
                break;
            };
            let Some(call) = self.calls.get_mut(&id) else {
                continue;
            };
            if !matches!(call.phase, Phase::Up) {
                continue;
            }
            call.phase = Phase::Closing;
            call.last_sent = now;
            call.wait = T1;
            call.bye_at = Some(now);
            let bye = call.dialog.request("BYE", 2, &format!("{}bye", call.branch), self.local, "");
            self.socket.send_to(bye.as_bytes(), plan.server)?;
        }
        Ok(())
    }

    fn repeat_or_give_up(&mut self, plan: &Plan, now: Instant, outcome: &mut Outcome) -> io::Result<()> {
        let mut gone = Vec::new();
        for (id, call) in &mut self.calls {
            let since = call.bye_at.unwrap_or(call.offered);
            if matches!(call.phase, Phase::Up) || now - call.last_sent < call.wait {
                continue;
            }
            if now - since > GIVE_UP {
                gone.push(id.clone());
                continue;
            }
            let again = match call.phase {
                Phase::Inviting => call.dialog.request("INVITE", 1, &call.branch, self.local, &plan.offer(call.index)),
                _ => call.dialog.request("BYE", 2, &format!("{}bye", call.branch), self.local, ""),
            };
            self.socket.send_to(again.as_bytes(), plan.server)?;
            outcome.repeated += 1;
            call.last_sent = now;
            call.wait *= 2;
        }
        for id in gone {
            self.calls.remove(&id);
            outcome.lost += 1;
        }
        Ok(())
    }

    fn receive(&mut self, plan: &Plan, datagram: &[u8], from: SocketAddr, outcome: &mut Outcome) -> io::Result<()> {
        let Some(message) = Message::read(datagram) else {
            return Ok(());
        };
        match message.status() {
            Some(status) => self.response(plan, &message, status, outcome),
            None => self.request(plan, &message, from, outcome),
        }
    }

    fn response(&mut self, plan: &Plan, message: &Message<'_>, status: u16, outcome: &mut Outcome) -> io::Result<()> {
        let Some(id) = message.header("Call-ID") else {
            return Ok(());
        };
        let local = self.local;
        let Some(call) = self.calls.get_mut(id) else {
            return Ok(());
        };
        if message.method() == "BYE" && status >= 200 {
            self.calls.remove(id);
            outcome.completed += 1;
            return Ok(());
        }
        if message.method() != "INVITE" {
            return Ok(());
        }
        if status < 200 {
            call.wait = GIVE_UP; // a provisional answer ends the repeating (RFC 3261 17.1.1.2)
            return Ok(());
        }
        if let Some(to) = message.header("To") {
            to.clone_into(&mut call.dialog.to);
        }
        if status >= 300 {
            let ack = call.dialog.request("ACK", 1, &call.branch, local, "");
            self.socket.send_to(ack.as_bytes(), plan.server)?;
            if matches!(call.phase, Phase::Inviting) {
                *outcome.refused.entry(status).or_default() += 1;
                outcome.refusal_us.push(call.offered.elapsed().as_micros() as u64);
                self.calls.remove(id);
            }
            return Ok(());
        }
        let first = matches!(call.phase, Phase::Inviting);
        call.dialog.remote_target = message.contact().map(str::to_owned);
        call.dialog.routes = message.headers("Record-Route").map(str::to_owned).collect();
        call.dialog.routes.reverse();
        let ack = call.dialog.request("ACK", 1, &format!("{}ack", call.branch), local, "");
        self.socket.send_to(ack.as_bytes(), plan.server)?;
        if first {
            call.phase = Phase::Up;
            let now = Instant::now();
            outcome.answer_us.push((now - call.offered).as_micros() as u64);
            if let Some(media) = message.media() {
                outcome.media[0].push(media);
                outcome.codecs.extend(plan.codecs.get(call.index % plan.codecs.len().max(1)));
            }
            self.held.push_back((now + plan.hold, id.to_owned()));
        }
        Ok(())
    }

    fn request(
        &mut self,
        plan: &Plan,
        message: &Message<'_>,
        from: SocketAddr,
        outcome: &mut Outcome,
    ) -> io::Result<()> {
        let local = self.local;
        let tag = message.header("Call-ID").unwrap_or("");
        let reply = match message.method() {
            "ACK" => return Ok(()),
            "INVITE" => {
                outcome.reached += 1;
                if let Some(media) = message.media() {
                    outcome.media[1].push(media);
                }
                let description = sip::session_description(plan.audio[1], CodecKind::Pcmu);
                sip::answer(message, "200 OK", tag, local, &description)
            }
            "BYE" => {
                if let Some(call) = message.header("Call-ID").and_then(|id| self.calls.remove(id)) {
                    match call.phase {
                        Phase::Closing => outcome.completed += 1,
                        _ => outcome.dropped += 1,
                    }
                }
                sip::answer(message, "200 OK", tag, local, "")
            }
            _ => sip::answer(message, "200 OK", tag, local, ""),
        };
        self.socket.send_to(reply.as_bytes(), from)?;
        Ok(())
    }
}

/// The value below which `share` (0..1) of `values` lie; 0 when there are none.
pub(crate) fn quantile(values: &mut [u64], share: f64) -> u64 {
    values.sort_unstable();
    let at = ((values.len().saturating_sub(1)) as f64 * share).round() as usize;
    values.get(at).copied().unwrap_or(0)
}
