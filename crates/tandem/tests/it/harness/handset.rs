//! A plain phone in a few lines: it rings, answers, says silence or nothing, and can vanish at any
//! moment. Its ear is a stopwatch: when each packet of audio came.
//!
//! It stands where a carrier would: bind it as the target of a trunk, and every outside number leads
//! to it. Each call that it takes has a socket of its own for RTP.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::message::{self, Dialog, FRAME, FRAME_TIME, Message, response, session_description};
use super::phone::PATIENCE;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// Silence in mu-law.
const SILENCE: [u8; FRAME] = [0xff; FRAME];
/// The source of its RTP.
const SOURCE: u32 = 0x1234;
/// The tag of its side of every call.
const TAG: &str = "handset";

/// Where nobody hears audio (discard).
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

/// How a handset behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// It rings so long before it answers.
    pub(crate) rings: Duration,
    /// It sends silence, packet by packet; else it sends no packet at all.
    pub(crate) talks: bool,
}

/// One call, as the handset saw it.
#[derive(Debug)]
pub(crate) struct Taken {
    /// When each RTP packet came, from the answer on.
    pub(crate) heard: Vec<Instant>,
    pub(crate) answered_at: Option<Instant>,
    pub(crate) ended_at: Option<Instant>,
    /// The methods of the requests that came, in their order.
    pub(crate) asked: Vec<String>,
    /// Where the server receives its audio.
    pub(crate) media: SocketAddr,
    rtp: Arc<UdpSocket>,
    /// The audio, from the first ring on.
    audio: Option<AbortHandle>,
    /// It has vanished: nothing is answered in it any more.
    gone: bool,
}

impl Taken {
    /// The longest time without a packet, from the answer to the end of the call.
    pub(crate) fn longest_gap(&self) -> Duration {
        let (from, to) = (self.answered_at.expect("an answered call"), self.ended_at.expect("a call that is over"));
        let inside = self.heard.iter().copied().filter(|at| *at < to);
        let marks: Vec<Instant> = std::iter::once(from).chain(inside).chain([to]).collect();
        marks.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<Taken>>,
    news: Notify,
}

impl Shared {
    fn note(&self, call: usize, note: impl FnOnce(&mut Taken)) {
        note(&mut self.calls.lock().unwrap()[call]);
        self.news.notify_waiters();
    }
}

/// A running handset; dropped, it has vanished: its sockets are closed and it says no word.
pub(crate) struct Handset {
    pub(crate) address: SocketAddr,
    socket: Arc<UdpSocket>,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Handset {
    /// Its first call is taken in the first of these manners, and so on; the last one stays.
    pub(crate) async fn start(manners: &[Manner]) -> Self {
        let socket = Arc::new(UdpSocket::bind(LOOPBACK).await.unwrap());
        let address = socket.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let manners = manners.to_vec();
        let line =
            Line { socket: Arc::clone(&socket), address, manners, shared: Arc::clone(&shared), open: HashMap::new() };
        Self { address, socket, shared, task: tokio::spawn(line.run()) }
    }

    /// Waits until a call is as it should be, and looks at it.
    pub(crate) async fn until<T>(&self, call: usize, what: &str, look: impl Fn(&Taken) -> Option<T>) -> T {
        let waited = timeout(PATIENCE * 2, async {
            loop {
                let news = self.shared.news.notified();
                if let Some(seen) = self.shared.calls.lock().unwrap().get(call).and_then(&look) {
                    break seen;
                }
                news.await;
            }
        });
        match waited.await {
            Ok(seen) => seen,
            Err(_) => panic!("call {call}: {what} did not come; {:?}", self.shared.calls.lock().unwrap()),
        }
    }

    /// Waits for the end of a call and gives its longest gap.
    pub(crate) async fn longest_gap(&self, call: usize) -> Duration {
        self.until(call, "its end", |taken| taken.ended_at.map(|_| taken.longest_gap())).await
    }

    /// Loses a call as a phone does whose battery is taken out: no packet leaves it, and none is answered.
    pub(crate) fn vanish(&self, call: usize) {
        self.shared.note(call, |taken| {
            taken.gone = true;
            taken.audio.iter().for_each(AbortHandle::abort);
        });
    }

    /// Sends a datagram where a call's audio goes, from where it comes.
    pub(crate) async fn send_audio(&self, call: usize, datagram: &[u8]) {
        let (rtp, media) = {
            let calls = self.shared.calls.lock().unwrap();
            (Arc::clone(&calls[call].rtp), calls[call].media)
        };
        rtp.send_to(datagram, media).await.unwrap();
    }

    /// Calls a number of the server and never says another word: no ACK, no audio, no BYE.
    pub(crate) async fn call_and_vanish(&self, server: SocketAddr, number: &str) {
        let dialog = Dialog {
            call_id: "vanishing".to_owned(),
            from: format!("<sip:+16468107000@{}>;tag={TAG}", self.address),
            to: format!("<sip:{number}@{server}>"),
            target: format!("sip:{number}@{server}"),
            local: self.address,
        };
        let invite = dialog.request("INVITE", 1, "vanishing", "application/sdp", &session_description(NOWHERE));
        self.socket.send_to(invite.as_bytes(), server).await.unwrap();
    }
}

impl Drop for Handset {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The handset's signalling: one task, and one more for each call's audio.
struct Line {
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    manners: Vec<Manner>,
    shared: Arc<Shared>,
    /// Calls by Call-ID.
    open: HashMap<String, usize>,
}

impl Line {
    async fn run(mut self) {
        let mut audio = JoinSet::new();
        let mut buffer = vec![0; 65_535];
        loop {
            let (length, from) = self.socket.recv_from(&mut buffer).await.unwrap();
            if let Some(request) = Message::read(&buffer[..length]).filter(|message| message.status().is_none()) {
                self.request(&request, from, &mut audio).await;
            }
        }
    }

    async fn request(&mut self, request: &Message, from: SocketAddr, audio: &mut JoinSet<()>) {
        let method = request.method().to_owned();
        let known = self.open.get(request.call_id()).copied();
        if let Some(call) = known {
            self.shared.note(call, |taken| taken.asked.push(method.clone()));
            if self.shared.calls.lock().unwrap()[call].gone {
                return;
            }
        }
        match (method.as_str(), known) {
            ("ACK", _) => {}
            // Its first INVITE again: the answer is on its way.
            ("INVITE", Some(_)) => {}
            ("INVITE", None) => self.take(request, from, audio).await,
            ("CANCEL" | "BYE", Some(call)) => {
                self.shared.note(call, |taken| {
                    taken.audio.iter().for_each(AbortHandle::abort);
                    taken.ended_at = Some(Instant::now());
                });
                self.answer(request, "200 OK", from).await;
            }
            _ => self.answer(request, "200 OK", from).await,
        }
    }

    async fn answer(&self, request: &Message, status: &str, to: SocketAddr) {
        let answer = response(request, status, TAG, self.address, "");
        self.socket.send_to(answer.as_bytes(), to).await.unwrap();
    }

    async fn take(&mut self, request: &Message, from: SocketAddr, audio: &mut JoinSet<()>) {
        let media = request.media().expect("an offer");
        let rtp = Arc::new(UdpSocket::bind(LOOPBACK).await.unwrap());
        let call = {
            let mut calls = self.shared.calls.lock().unwrap();
            calls.push(Taken {
                heard: Vec::new(),
                answered_at: None,
                ended_at: None,
                asked: vec!["INVITE".to_owned()],
                media,
                rtp: Arc::clone(&rtp),
                audio: None,
                gone: false,
            });
            calls.len() - 1
        };
        self.shared.news.notify_waiters();
        self.answer(request, "180 Ringing", from).await;
        let offered = session_description(rtp.local_addr().unwrap());
        let answer = response(request, "200 OK", TAG, self.address, &offered);
        let manner = self.manners.get(call).or(self.manners.last()).copied().unwrap_or_default();
        let (socket, shared) = (Arc::clone(&self.socket), Arc::clone(&self.shared));
        let task = audio.spawn(async move {
            tokio::time::sleep(manner.rings).await;
            socket.send_to(answer.as_bytes(), from).await.unwrap();
            shared.note(call, |taken| taken.answered_at = Some(Instant::now()));
            listen(rtp, media, manner.talks, |at| shared.note(call, |taken| taken.heard.push(at))).await;
        });
        self.shared.note(call, |taken| taken.audio = Some(task));
        self.open.insert(request.call_id().to_owned(), call);
    }
}

/// Notes each RTP packet, and sends silence when it talks.
async fn listen(rtp: Arc<UdpSocket>, media: SocketAddr, talks: bool, heard: impl Fn(Instant)) {
    let mut frame = tokio::time::interval(FRAME_TIME);
    let mut buffer = [0; 2048];
    let mut sequence = 0_u16;
    loop {
        tokio::select! {
            received = rtp.recv_from(&mut buffer) => {
                received.unwrap();
                heard(Instant::now());
            }
            _ = frame.tick(), if talks => {
                sequence = sequence.wrapping_add(1);
                let packet = message::rtp(sequence, SOURCE, &SILENCE);
                rtp.send_to(&packet, media).await.unwrap();
            }
        }
    }
}
