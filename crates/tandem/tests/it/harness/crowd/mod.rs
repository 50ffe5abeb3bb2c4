//! A crowd of phones behind one SIP socket: the server knows it as a trunk, or as the phones of
//! extensions that registered. As many calls at once as a test wants; each goes by the manner of the
//! number that was dialled: an order of acts that reads as a story.

mod naming;
mod party;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use md5::{Digest, Md5};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::message::{self, Dialog, FRAME, FRAME_TIME, Message};
use super::phone::Account;
use party::Party;

/// Messages that wait for one phone.
const INBOX: usize = 64;
/// Room for datagrams of a burst, in bytes.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Mu-law of a square wave of 500 Hz: what speaking phones say.
const HIGH: u8 = 0x90;
const LOW: u8 = 0x10;

/// One thing that a phone does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Lets time pass, as a polite phone.
    Wait(Duration),
    /// 100.
    Trying,
    /// 180.
    Ring,
    /// 183 with a session description.
    EarlyMedia,
    /// 200.
    Answer,
    /// A final refusal.
    Refuse(u16),
    /// Waits until the call stands.
    Established,
    /// Sends audio from now on: a tone of 500 Hz.
    Speak,
    /// Presses a key, by INFO.
    Key(char),
    /// REFER to a number.
    Refer(String),
    /// CANCEL, 603 or BYE, as the call stands.
    Hangup,
    /// Says and hears nothing any more.
    Vanish,
}

impl Act {
    /// Lets so many milliseconds pass.
    pub(crate) fn wait(ms: u64) -> Self {
        Self::Wait(Duration::from_millis(ms))
    }
}

/// What became of calls; counted for all phones together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Took {
    /// It was answered, by us or by the server.
    Answered,
    /// We refused it.
    Refused,
    /// The server cancelled it.
    Cancelled,
    /// We hung up.
    HungUp,
    /// The server hung up, or refused our call.
    EndedByServer,
    /// We fell silent.
    Vanished,
}

type Manner = dyn Fn(&str) -> Vec<Act> + Send + Sync;

/// What the phones share.
struct Shared {
    socket: UdpSocket,
    address: SocketAddr,
    voice: UdpSocket,
    rtp: SocketAddr,
    server: Mutex<Option<SocketAddr>>,
    phones: Mutex<HashMap<String, mpsc::Sender<Message>>>,
    speaking: Mutex<HashMap<String, (SocketAddr, u16)>>,
    rung: Mutex<Vec<String>>,
    took: Mutex<HashMap<Took, usize>>,
    /// What was said in each call that is not over, for the message of a test that fails.
    said: Mutex<HashMap<String, Vec<String>>>,
    words: AtomicU64,
    /// Each phone tells its number wherever a carrier could.
    tells_numbers: AtomicBool,
    /// What came, when it is kept.
    kept: Mutex<Option<Vec<Message>>>,
    /// The calls that are not over.
    here: Mutex<HashSet<String>>,
    news: Notify,
}

impl Shared {
    /// A name that is used once.
    fn word(&self, prefix: &str) -> String {
        format!("{prefix}{}x{}", self.address.port(), self.words.fetch_add(1, Ordering::Relaxed))
    }

    fn server(&self) -> SocketAddr {
        self.server.lock().unwrap().expect("the crowd knows its server")
    }

    fn send(&self, text: &str) {
        // A full buffer loses a datagram, as networks do: both sides repeat what matters.
        let _lost = self.socket.try_send_to(text.as_bytes(), self.server());
    }

    fn note(&self, what: Took) {
        *self.took.lock().unwrap().entry(what).or_default() += 1;
        self.news.notify_waiters();
    }

    fn remember(&self, call: &str, line: String) {
        self.said.lock().unwrap().entry(call.to_owned()).or_default().push(line);
    }

    fn speak(&self, call: &str, to: SocketAddr) {
        self.speaking.lock().unwrap().insert(call.to_owned(), (to, 0));
    }

    fn hush(&self, call: &str) {
        self.speaking.lock().unwrap().remove(call);
    }

    fn enter(&self, call: &str) -> mpsc::Receiver<Message> {
        let (sender, inbox) = mpsc::channel(INBOX);
        self.phones.lock().unwrap().insert(call.to_owned(), sender);
        self.here.lock().unwrap().insert(call.to_owned());
        inbox
    }

    fn leave(&self, call: &str) {
        self.phones.lock().unwrap().remove(call);
        self.said.lock().unwrap().remove(call);
        self.count_out(call);
    }

    /// Nothing more is to be expected of a call.
    fn count_out(&self, call: &str) {
        self.here.lock().unwrap().remove(call);
        self.news.notify_waiters();
    }
}

/// The phones; they end with their handle.
pub(crate) struct Crowd {
    /// Where they are: a trunk's target, a phone's contact.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// Phones that go by `manner`, which is asked by the number that was dialled.
    pub(crate) async fn start(manner: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let bound = UdpSocket::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
        socket2::SockRef::from(&bound).set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
        let socket = UdpSocket::from_std(bound).unwrap();
        let voice = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, rtp) = (socket.local_addr().unwrap(), voice.local_addr().unwrap());
        let shared = Arc::new(Shared {
            socket,
            address,
            voice,
            rtp,
            server: Mutex::default(),
            phones: Mutex::default(),
            speaking: Mutex::default(),
            rung: Mutex::default(),
            took: Mutex::default(),
            said: Mutex::default(),
            words: AtomicU64::new(1),
            tells_numbers: AtomicBool::new(false),
            kept: Mutex::default(),
            here: Mutex::default(),
            news: Notify::new(),
        });
        let manner: Arc<Manner> = Arc::new(manner);
        let tasks = vec![tokio::spawn(listen(Arc::clone(&shared), manner)), tokio::spawn(speak(Arc::clone(&shared)))];
        Self { address, shared, tasks }
    }

    /// Says where the server's SIP is.
    pub(crate) fn meet(&self, server: SocketAddr) {
        *self.shared.server.lock().unwrap() = Some(server);
    }

    /// From now on each phone tells its own number wherever a carrier could.
    pub(crate) fn tell_numbers(&self) {
        self.shared.tells_numbers.store(true, Ordering::Relaxed);
    }

    /// From now on what the server sends is kept.
    pub(crate) fn keep(&self) {
        self.shared.kept.lock().unwrap().get_or_insert_default();
    }

    /// What was kept of the calls of a number's phone, in its order.
    pub(crate) fn sent_to(&self, number: &str) -> Vec<String> {
        let kept = self.shared.kept.lock().unwrap();
        let kept = kept.as_deref().expect("a crowd that keeps");
        let own = format!("<sip:{number}@");
        let is_own = |message: &&Message| match message.status() {
            Some(_) => message.header("From").contains(&own),
            None => message.method() == "INVITE" && message.number() == number,
        };
        let calls: HashSet<&str> = kept.iter().filter(is_own).map(Message::call_id).collect();
        kept.iter()
            .filter(|message| calls.contains(message.call_id()))
            .map(|message| message.text().to_owned())
            .collect()
    }

    /// Calls a number at the server, in a manner of its own.
    pub(crate) fn dial(&self, from: &str, number: &str, manner: Vec<Act>) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let party = Party::calling(Arc::clone(&self.shared), from, number, inbox);
        self.shared.phones.lock().unwrap().insert(party.call_id().to_owned(), sender);
        self.shared.here.lock().unwrap().insert(party.call_id().to_owned());
        tokio::spawn(party.live(manner));
    }

    /// How often something happened.
    pub(crate) fn took(&self, what: Took) -> usize {
        self.shared.took.lock().unwrap().get(&what).copied().unwrap_or_default()
    }

    /// How often a number was rung.
    pub(crate) fn rung(&self, number: &str) -> usize {
        self.shared.rung.lock().unwrap().iter().filter(|rung| *rung == number).count()
    }

    /// Waits until something holds of the crowd.
    pub(crate) async fn until(&self, what: &str, within: Duration, good: impl Fn(&Self) -> bool) {
        let waited = timeout(within, async {
            loop {
                let news = self.shared.news.notified();
                if good(self) {
                    break;
                }
                let _tick = timeout(Duration::from_millis(100), news).await;
            }
        });
        if waited.await.is_err() {
            let (took, said) = (self.shared.took.lock().unwrap(), self.shared.said.lock().unwrap());
            panic!("not within {within:?}: {what}; {took:?}, and there are {said:#?}");
        }
    }

    /// Waits until every call of theirs is over.
    pub(crate) async fn quiet(&self, within: Duration) {
        self.until("the last call is over", within, |crowd| crowd.shared.here.lock().unwrap().is_empty()).await;
    }

    /// Registers the phone of an account, which is reached here (RFC 3261 10, RFC 2617 by MD5).
    pub(crate) async fn register(&self, account: &Account) {
        let uri = format!("sip:{}", account.domain);
        let who = format!("<sip:{}@{}>", account.user, account.domain);
        let call_id = self.shared.word("r");
        let mut inbox = self.shared.enter(&call_id);
        let dialog = Dialog {
            call_id: call_id.clone(),
            from: format!("{who};tag={call_id}"),
            to: who,
            target: uri.clone(),
            local: self.address,
        };
        let contact = format!("Contact: <sip:{}@{}>\r\nExpires: 3600\r\n", account.user, self.address);
        let mut authorization = String::new();
        for cseq in 1..=2 {
            let text = dialog.request("REGISTER", cseq, &self.shared.word("b"), "", "");
            let ours = format!("Contact: <sip:phone@{}>\r\n", self.address);
            self.shared.send(&text.replace(&ours, &format!("{contact}{authorization}")));
            let answer = timeout(Duration::from_secs(10), inbox.recv()).await.expect("an answer to REGISTER").unwrap();
            match answer.status() {
                Some(401) if cseq == 1 => authorization = authorize(&answer, account, &uri),
                Some(200) => return self.shared.leave(&call_id),
                other => panic!("REGISTER of {}: {other:?}", account.user),
            }
        }
        panic!("REGISTER of {} was challenged twice", account.user);
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The answer to the MD5 challenge of a REGISTER.
fn authorize(challenge: &Message, account: &Account, uri: &str) -> String {
    let md5 = |text: String| Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let line = challenge.headers("WWW-Authenticate").find(|line| !line.contains("SHA-256")).expect("an MD5 challenge");
    let part = |name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\"")).expect("a part of the challenge");
        rest.split('"').next().unwrap_or_default().to_owned()
    };
    let (realm, nonce, user) = (part("realm"), part("nonce"), &account.user);
    let ha1 = md5(format!("{user}:{realm}:{}", account.password));
    let ha2 = md5(format!("REGISTER:{uri}"));
    let answer = md5(format!("{ha1}:{nonce}:00000001:crowd:auth:{ha2}"));
    format!(
        "Authorization: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{answer}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"crowd\"\r\n"
    )
}

/// Hands what comes to the phone it is for; a new call gets a phone.
async fn listen(shared: Arc<Shared>, manner: Arc<Manner>) {
    let mut buffer = vec![0; 65_535];
    loop {
        let Ok((length, from)) = shared.socket.recv_from(&mut buffer).await else { continue };
        let Some(message) = Message::read(&buffer[..length]) else { continue };
        if let Some(kept) = shared.kept.lock().unwrap().as_mut() {
            kept.push(message.clone());
        }
        let known = shared.phones.lock().unwrap().get(message.call_id()).cloned();
        match known {
            // A phone that does not listen loses messages, as one behind a bad line.
            Some(phone) => drop(phone.try_send(message)),
            None if message.method() == "INVITE" && message.status().is_none() && !message.is_inside() => {
                let number = message.number().to_owned();
                shared.rung.lock().unwrap().push(number.clone());
                let inbox = shared.enter(message.call_id());
                let party = Party::called(Arc::clone(&shared), message, inbox);
                tokio::spawn(party.live(manner(&number)));
            }
            // A ping of the trunk; whatever else belongs to a call that is long over.
            None if message.status().is_none() && message.method() != "ACK" => {
                let status = if message.method() == "OPTIONS" { "200 OK" } else { "481 Gone" };
                let text = message::response(&message, status, "crowd", shared.address, "");
                let _lost = shared.socket.try_send_to(text.as_bytes(), from);
            }
            None => {}
        }
    }
}

/// Sends the tone of every phone that speaks.
async fn speak(shared: Arc<Shared>) {
    let mut every = tokio::time::interval(FRAME_TIME);
    let tone: [u8; FRAME] = std::array::from_fn(|at| if at / 8 % 2 == 0 { HIGH } else { LOW });
    loop {
        every.tick().await;
        let mut speaking = shared.speaking.lock().unwrap();
        for (to, sequence) in speaking.values_mut() {
            *sequence = sequence.wrapping_add(1);
            // The port of the other side is as good as any random source.
            let packet = message::rtp(*sequence, to.port().into(), &tone);
            let _lost = shared.voice.try_send_to(&packet, *to);
        }
    }
}
