//! Garbage on every port of telephony while somebody talks: torn, mutated and senseless datagrams and
//! streams on the SIP ports, and on the ports of the very call, from strangers and from the party
//! itself. The call goes on, the server stays well, its memory stays bounded.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::process::Command;
use tokio::time::sleep;

use crate::harness::chance::Chance;
use crate::harness::handset::{Handset, Manner};
use crate::harness::phone::need;
use crate::harness::server::{Plan, Server};

/// Datagrams to each port in one pass.
const DATAGRAMS: usize = 4_000;
/// Streams to each port in one pass.
const STREAMS: usize = 40;
/// What one pass may leave in memory, in bytes; it sends five times that.
const MAX_GROWTH: usize = 4 << 20;
/// The party hears something at least so often.
const MAX_GAP: Duration = Duration::from_secs(1);

/// Messages that mean something before they are torn.
fn corpus(server: SocketAddr) -> Vec<Vec<u8>> {
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\n\
               a=rtpmap:101 telephone-event/8000\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n";
    let padding = "x".repeat(600);
    ["INVITE", "REGISTER", "OPTIONS", "REFER", "PRACK", "BYE", "CANCEL", "ACK", "SUBSCRIBE"]
        .iter()
        .map(|method| {
            format!(
                "{method} sip:1001@{server} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKgarbage{method}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:x@127.0.0.1>;tag=g\r\nTo: <sip:1001@{server}>\r\nCall-ID: garbage\r\n\
                 CSeq: 1 {method}\r\nContact: <sip:x@127.0.0.1:9>\r\nAuthorization: Digest username=\"1001\", \
                 realm=\"tandem\", nonce=\"x\", uri=\"sip:x\", response=\"y\", nc=00000001, qop=auth, cnonce=\"z\"\r\n\
                 Subject: {padding}\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
                sdp.len()
            )
            .into_bytes()
        })
        .collect()
}

/// An RTP packet, an RTCP report, a key press and a STUN request, for tearing.
fn media_corpus() -> Vec<Vec<u8>> {
    let rtp = |kind: u8, payload: &[u8]| [&[0x80, kind, 0, 7, 0, 0, 1, 0, 0, 0, 0x12, 0x34][..], payload].concat();
    let report = [&[0x81, 200, 0, 12][..], &[0; 48]].concat();
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    vec![rtp(0, &[0xff; 160]), rtp(101, &[5, 0x8a, 3, 0x20]), rtp(0x90, &[1; 400]), report, stun]
}

async fn datagrams(to: SocketAddr, corpus: &[Vec<u8>], chance: &mut Chance) {
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for round in 0..DATAGRAMS {
        let datagram = if round % 4 == 0 { chance.bytes(0..1_400) } else { torn(corpus, chance) };
        // A port that was closed meanwhile is no failure of the sender.
        let _refused = stranger.send_to(&datagram, to).await;
        if round % 100 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

fn torn(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let message = chance.one(corpus).clone();
    chance.mutate(&message)
}

/// Streams that are cut at once, streams that say half a message and stay, streams of noise.
async fn streams(to: SocketAddr, corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for round in 0..STREAMS {
        let mut stream = TcpStream::connect(to).await.unwrap();
        let said = if round % 2 == 0 { torn(corpus, chance) } else { chance.bytes(0..20_000) };
        // The server may close while it is still being written to.
        let _closed = stream.write_all(&said).await;
        if round % 3 == 0 {
            open.push(stream);
        }
    }
    open
}

/// Garbage inside TLS, by a client that has shaken hands.
async fn inside_tls(to: SocketAddr, corpus: &[Vec<u8>], chance: &mut Chance) {
    need("openssl", "openssl");
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &to.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    for _ in 0..50 {
        let _closed = stdin.write_all(&torn(corpus, chance)).await;
    }
    sleep(Duration::from_millis(200)).await;
    client.kill().await.unwrap();
}

/// Memory of this process that is in use, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

/// One round of everything; the streams that stay open are closed at its end.
async fn pass(server: &Server, phone: &Handset, chance: &mut Chance) {
    let (sip, media) = (corpus(server.sip()), media_corpus());
    let audio = phone.until(0, "its audio", |taken| Some(taken.media)).await;
    let reports = SocketAddr::new(audio.ip(), audio.port() + 1);
    datagrams(server.sip(), &sip, chance).await;
    datagrams(audio, &media, chance).await;
    datagrams(reports, &media, chance).await;
    for _ in 0..DATAGRAMS {
        phone.send_audio(0, &torn(&media, chance)).await;
    }
    let open = (streams(server.sip(), &sip, chance).await, streams(server.sips(), &sip, chance).await);
    inside_tls(server.sips(), &sip, chance).await;
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_every_port_of_telephony_harms_nobody() {
    let mut chance = Chance::told();
    let server = Plan::new().with_tls().await.start().await;
    let dev = server.org("dev").await;
    dev.phone("1001").await;
    let phone = Handset::start(&[Manner { talks: true, ..Manner::default() }]).await;
    dev.trunk("carrier", &[&phone.address.to_string()], &["+442071838750"]).await;
    let flow = json!({"flow": [
        {"id": "call", "type": "call", "number": "+16468107000", "next_step": "pause"},
        {"id": "pause", "type": "pause", "seconds": 600},
    ]});
    let posted = dev.client().post("/api/v2/call/flow", &flow).await.expect(201);
    phone.until(0, "its audio", |taken| (taken.heard.len() > 2).then_some(())).await;

    pass(&server, &phone, &mut chance).await;
    let before = resident();
    pass(&server, &phone, &mut chance).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < MAX_GROWTH, "{grown} bytes more after the second pass");

    server.client().get("/healthz").await.expect(200);
    let path = format!("/v1/calls/{}", posted["call_id"].as_str().unwrap());
    assert_eq!(dev.client().get(&path).await.expect(200)["state"], "answered", "the call goes on");
    let heard = phone.until(0, "its audio", |taken| Some(taken.heard.len())).await;
    phone.until(0, "more audio", |taken| (taken.heard.len() > heard + 3).then_some(())).await;

    // Others are served too.
    let second = dev.client().post("/api/v2/call/flow", &flow).await.expect(201);
    phone.until(1, "audio of another call", |taken| (taken.heard.len() > 2).then_some(())).await;
    for id in [&posted["call_id"], &second["call_id"]] {
        let id = id.as_str().unwrap();
        dev.client().post(&format!("/api/v2/call/{id}/hangup"), &json!({})).await.expect(200);
        let over = |call: &serde_json::Value| call["state"] == "completed";
        let call = dev.client().until(&format!("/v1/calls/{id}"), "the call is over", over).await;
        assert_eq!((&call["cause"], &call["ended_by"]), (&json!("normal"), &json!("api")));
    }
    let gap = phone.longest_gap(0).await;
    assert!(gap < MAX_GAP, "{gap:?} without a packet");
    server.stop().await;
}
