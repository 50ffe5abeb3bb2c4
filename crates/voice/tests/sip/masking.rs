//! Nothing of one party reaches the other but the sound of it: every byte that either is sent is looked through.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use voice::cause::Cause;
use voice::leg::{LegEvent, LegId};
use voice::{CallerId, Originate, Target};

use crate::harness::{Events, MapPorts, Msg, Phone, Server, config, udp_trunk};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);
/// Each party's number as its carrier writes it, and the digits that are looked for.
const ANN: &str = "+14155550111";
const BOB: &str = "+14155550122";
const POOL: &str = "+442071838750";
/// What the two say: payloads that nothing else has.
const ANNS_SOUND: u8 = 0xd1;
const BOBS_SOUND: u8 = 0xd2;

/// A party behind a carrier of its own: a SIP phone, a socket for its sound, and everything that reached either.
struct Party {
    phone: Phone,
    number: &'static str,
    media: Arc<UdpSocket>,
    reached: Arc<Mutex<Vec<Vec<u8>>>>,
    listening: JoinHandle<()>,
}

impl Drop for Party {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Party {
    fn new(phone: Phone, number: &'static str, media: UdpSocket) -> Self {
        let (media, reached) = (Arc::new(media), Arc::new(Mutex::new(Vec::new())));
        let (socket, kept) = (media.clone(), reached.clone());
        let listening = TaskTracker::new().spawn(async move {
            let mut buffer = vec![0; 2_000];
            while let Ok(len) = socket.recv(&mut buffer).await {
                kept.lock().unwrap().push(buffer[..len].to_vec());
            }
        });
        Self { phone, number, media, reached, listening }
    }

    /// Fields in which carriers name who calls, or who is called.
    fn named(&self) -> String {
        let number = self.number;
        let uri = format!("<sip:{number}@carrier.example>");
        format!(
            "P-Asserted-Identity: \"{number}\" {uri}, <tel:{number}>\r\nP-Preferred-Identity: {uri}\r\n\
             Remote-Party-ID: \"{number}\" {uri};party=calling;privacy=off\r\n\
             Diversion: {uri};reason=unconditional\r\nHistory-Info: {uri};index=1, {uri};index=1.1\r\n\
             Subject: {number}\r\nCall-Info: {uri};purpose=info\r\nUser-Agent: {number}\r\nX-Caller: {number}\r\n"
        )
    }

    /// A description whose every free text is the number; reports go to the port of the sound.
    fn sdp(&self) -> String {
        let (number, port) = (self.number, self.media.local_addr().unwrap().port());
        format!(
            "v=0\r\no={number} 1 1 IN IP4 127.0.0.1\r\ns=Call of {number}\r\ni={number}\r\np={number}\r\n\
             c=IN IP4 127.0.0.1\r\nt=0 0\r\na=tool:{number}\r\nm=audio {port} RTP/AVP 8\r\ni={number}\r\n\
             a=rtpmap:8 PCMA/8000\r\na=rtcp:{port}\r\na=ssrc:7 cname:{number}\r\na=extmap:1 urn:{number}\r\n"
        )
    }

    /// The next message, which is kept.
    async fn message(&self) -> Msg {
        let message = self.phone.recv().await;
        self.reached.lock().unwrap().push(message.text.clone().into_bytes());
        message
    }

    async fn response(&self, code: u16) -> Msg {
        loop {
            let message = self.message().await;
            if message.code() >= 200 {
                assert_eq!(message.code(), code, "{}", message.text);
                return message;
            }
        }
    }

    async fn request(&self, method: &str) -> Msg {
        let message = self.message().await;
        assert_eq!(message.method(), method, "{}", message.text);
        message
    }

    /// Where the other side's description wants the sound.
    fn sound_goes_to(description: &str) -> SocketAddr {
        let port = description.split("m=audio ").nth(1).unwrap().split(' ').next().unwrap();
        format!("127.0.0.1:{port}").parse().unwrap()
    }

    /// Sends some sound, and reports, with the number wherever there is room for one.
    async fn speak(&self, to: SocketAddr, sound: u8) {
        let rtcp = SocketAddr::new(to.ip(), to.port() + 1);
        for n in 0..25_u16 {
            self.media.send_to(&packet(n, self.number, sound), to).await.unwrap();
            if n % 10 == 0 {
                self.media.send_to(&report(self.number), rtcp).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for something that reached it.
    async fn until(&self, fits: impl Fn(&[u8]) -> bool) {
        let waiting = async {
            while !self.reached.lock().unwrap().iter().any(|bytes| fits(bytes)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("it comes");
    }

    /// Nothing that reached it holds these digits.
    fn never_saw(&self, number: &str) {
        let digits = number.trim_start_matches('+').as_bytes();
        for bytes in self.reached.lock().unwrap().iter() {
            let found = bytes.windows(digits.len()).any(|window| window == digits);
            assert!(!found, "{number} in {}", String::from_utf8_lossy(bytes));
        }
    }
}

/// A packet with a contributing source, a header extension (as RFC 7941 has it) and padding; the extension and the padding
/// hold the number.
fn packet(n: u16, number: &str, sound: u8) -> Vec<u8> {
    let mut extension = vec![0x10 | u8::try_from(number.len() - 1).unwrap()];
    extension.extend(number.bytes());
    extension.resize(extension.len().div_ceil(4) * 4, 0);
    let mut bytes = vec![0x80 | 0x20 | 0x10 | 1, 8];
    bytes.extend((1_000 + n).to_be_bytes());
    bytes.extend((u32::from(n) * 160).to_be_bytes());
    bytes.extend(7_u32.to_be_bytes());
    bytes.extend(0x1415_5550_u32.to_be_bytes());
    bytes.extend([0xbe, 0xde]);
    bytes.extend(u16::try_from(extension.len() / 4).unwrap().to_be_bytes());
    bytes.extend(extension);
    bytes.extend([sound; 160]);
    bytes.extend(number.bytes());
    bytes.push(u8::try_from(number.len() + 1).unwrap());
    bytes
}

/// A receiver report and source descriptions: CNAME, NAME and PHONE are the number (RFC 3550, section 6.5).
fn report(number: &str) -> Vec<u8> {
    let mut bytes = vec![0x80, 201, 0, 1, 0, 0, 0, 7];
    let mut chunk = vec![0, 0, 0, 7];
    for kind in [1, 2, 4] {
        chunk.push(kind);
        chunk.push(u8::try_from(number.len()).unwrap());
        chunk.extend(number.bytes());
    }
    chunk.push(0);
    chunk.resize(chunk.len().div_ceil(4) * 4, 0);
    bytes.extend([0x81, 202]);
    bytes.extend(u16::try_from(chunk.len() / 4).unwrap().to_be_bytes());
    bytes.extend(chunk);
    bytes
}

fn is_rtcp(bytes: &[u8]) -> bool {
    bytes.len() > 8 && bytes[0] >> 6 == 2 && (200..=202).contains(&bytes[1])
}

fn is_sound(bytes: &[u8], sound: u8) -> bool {
    bytes.len() == 12 + 160 && bytes[0] == 0x80 && bytes[12..].iter().all(|byte| *byte == sound)
}

/// A server and two parties, each behind a carrier of its own.
async fn scene() -> (Server, Party, Party) {
    let sockets = [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
    let ports = MapPorts::default();
    for (n, socket) in sockets.iter().enumerate() {
        let mut config = udp_trunk(&[socket.local_addr().unwrap()]);
        config.id = format!("trunk_{}", n + 1).into();
        ports.trunks.lock().unwrap().push(config);
    }
    let server = Server::with(config(), ports).await;
    let mut parties = Vec::new();
    for (socket, number) in sockets.into_iter().zip([ANN, BOB]) {
        let mut phone = server.phone(number).await;
        (phone.addr, phone.socket) = (socket.local_addr().unwrap(), socket);
        parties.push(Party::new(phone, number, UdpSocket::bind("127.0.0.1:0").await.unwrap()));
    }
    let (bob, ann) = (parties.pop().unwrap(), parties.pop().unwrap());
    (server, ann, bob)
}

#[tokio::test]
async fn two_who_are_bridged_are_sent_nothing_of_each_other_but_the_sound() {
    let (mut server, mut ann, mut bob) = scene().await;
    let invite = ann.phone.request("INVITE", &format!("sip:{POOL}@127.0.0.1"), &ann.named(), &ann.sdp());
    let invite = invite.replacen("From: <", &format!("From: \"Ann {ANN}\" <"), 1);
    ann.phone.send(&invite).await;
    let (incoming, mut anns) = server.next_call().await;
    assert_eq!(incoming.from.number, ANN, "the server knows who it is");
    incoming.leg.answer();
    let anns_answer = ann.response(200).await;
    let ack = ann.phone.inside("ACK", &anns_answer, ann.phone.seq, &ann.named(), "");
    ann.phone.send(&ack).await;
    assert!(matches!(anns.next().await, LegEvent::Answered { .. }));

    let (sink, mut bobs) = Events::new();
    let leg: LegId = server.ids.new("leg", 0).into();
    let order = Originate {
        leg,
        target: Target::Trunk { trunk: "trunk_2".into(), number: BOB.to_owned() },
        from: CallerId { number: POOL.to_owned(), display: None, anonymous: false },
        to_user: BOB.to_owned(),
        near: Some(incoming.leg.clone()),
        prefer: None,
        max_forwards: incoming.hops_left,
        ring_timeout_ms: 20_000,
    };
    let leg = server.voice.originate(order, sink);
    let offer = bob.request("INVITE").await;
    for (field, is) in [("From", POOL), ("P-Asserted-Identity", POOL)] {
        assert!(offer.get(field).contains(&format!("sip:{is}@")), "{field}: {}", offer.get(field));
    }
    for field in ["Remote-Party-ID", "Diversion", "History-Info", "P-Preferred-Identity", "Call-Info", "Subject"] {
        assert_eq!(offer.get(field), "", "{field} is nobody's business");
    }
    assert!(offer.body().contains("\r\no=- ") && offer.body().contains("\r\ns=-\r\n"), "{}", offer.body());
    bob.phone.send(&bob.phone.respond(&offer, "180 Ringing", &bob.named(), "")).await;
    bob.phone.send(&bob.phone.respond(&offer, "200 OK", &bob.named(), &bob.sdp())).await;
    bob.request("ACK").await;
    while !matches!(bobs.next().await, LegEvent::Answered { .. }) {}
    incoming.leg.bridge(&leg);

    let (to_anns, to_bobs) = (Party::sound_goes_to(anns_answer.body()), Party::sound_goes_to(offer.body()));
    tokio::join!(ann.speak(to_anns, ANNS_SOUND), bob.speak(to_bobs, BOBS_SOUND));
    ann.until(|bytes| is_sound(bytes, BOBS_SOUND)).await;
    bob.until(|bytes| is_sound(bytes, ANNS_SOUND)).await;

    // What may be said inside a dialog, by either side.
    let text = "Content-Type: text/plain\r\n";
    let info = ann.phone.inside("INFO", &anns_answer, 100, &format!("{}{text}", ann.named()), ANN);
    ann.phone.send(&info).await;
    ann.message().await;
    let update = ann.phone.inside("UPDATE", &anns_answer, 101, &ann.named(), "");
    ann.phone.send(&update).await;
    ann.response(200).await;
    let held = bob.sdp().replace("a=rtpmap", "a=sendonly\r\na=rtpmap");
    let reinvite = bob.phone.inside_called("INVITE", &offer, 200, &bob.named(), &held);
    bob.phone.send(&reinvite).await;
    bob.response(200).await;
    let ack = bob.phone.inside_called("ACK", &offer, 200, "", "");
    bob.phone.send(&ack).await;
    assert!(matches!(bobs.next().await, LegEvent::Held));
    let refer = format!("Refer-To: <sip:{BOB}@carrier.example>\r\nReferred-By: <sip:{BOB}@carrier.example>\r\n");
    let refer = bob.phone.inside_called("REFER", &offer, 201, &refer, "");
    bob.phone.send(&refer).await;
    assert!(matches!(bobs.next().await, LegEvent::TransferRequested { .. }));
    leg.accept_transfer(false);
    bob.response(202).await;
    let declined = loop {
        let notify = bob.request("NOTIFY").await;
        bob.phone.send(&bob.phone.respond(&notify, "200 OK", &bob.named(), "")).await;
        if notify.get("Subscription-State").starts_with("terminated") {
            break notify;
        }
    };
    assert!(declined.body().starts_with("SIP/2.0 603"), "{}", declined.text);

    // Reports come within five seconds of the first sound.
    ann.until(is_rtcp).await;
    bob.until(is_rtcp).await;
    let why = format!("{}Reason: Q.850;cause=16;text=\"{ANN} has hung up\"\r\n", ann.named());
    let bye = ann.phone.inside("BYE", &anns_answer, 102, &why, "");
    ann.phone.send(&bye).await;
    anns.end().await;
    ann.response(200).await;
    leg.hangup(Cause::Normal);
    let bye = bob.request("BYE").await;
    bob.phone.send(&bob.phone.respond(&bye, "200 OK", &bob.named(), "")).await;
    bobs.end().await;
    server.settle().await;
    ann.never_saw(BOB);
    bob.never_saw(ANN);
}
