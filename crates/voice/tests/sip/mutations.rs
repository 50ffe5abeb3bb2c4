//! Messages that are almost right, and bytes that are no SIP at all: nothing breaks, and calls go on.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use voice::leg::LegEvent;

use crate::harness::{Server, options, sdp};

/// A small generator for mutations: the same ones each time.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

fn mutate(message: &str, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = message.as_bytes().to_vec();
    for _ in 0..1 + rng.below(6) {
        let (at, length) = (rng.below(bytes.len()), rng.below(40));
        match rng.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, u8::try_from(rng.below(256)).unwrap()),
            2 => drop(bytes.drain(at..(at + length).min(bytes.len()))),
            3 => {
                let copy = bytes[at..(at + length).min(bytes.len())].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let odd: [&[u8]; 8] =
                    [b"\r\n", b"\0", b"\xff\xfe", b";;;", b"<<>>", b"\"", b"%00%", b"99999999999999999999"];
                bytes.splice(at..at, odd[rng.below(odd.len())].iter().copied());
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = byte.wrapping_add(u8::try_from(rng.below(255)).unwrap());
                }
            }
        }
        if bytes.is_empty() {
            bytes.push(b'X');
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_datagrams_and_streams_break_nothing() {
    let mut server = Server::start().await;
    let mut phone = server.phone("1001").await;
    let mut corpus = vec![
        options(phone.addr, 1, "UDP"),
        phone.request(
            "INVITE",
            "sip:2000@127.0.0.1",
            "Supported: 100rel, timer\r\nSession-Expires: 1800;refresher=uac\r\n",
            &sdp(4, ""),
        ),
        phone.request("REGISTER", "sip:127.0.0.1", "Expires: 60\r\nPath: <sip:p;lr>\r\n", ""),
        phone.request("REFER", "sip:127.0.0.1", "Refer-To: <sip:x@y?Replaces=a%3Bb>\r\n", ""),
        phone.request("PRACK", "sip:127.0.0.1", "RAck: 1 1 INVITE\r\n", ""),
    ];
    // A call that is up: what belongs to it is mutated too.
    phone.authorised("INVITE", "sip:2000@127.0.0.1", "", &sdp(40_000, "")).await;
    let seq = phone.seq;
    let (incoming, mut events) = server.next_call().await;
    incoming.leg.answer();
    let ok = phone.expect(200).await;
    let ack = phone.inside("ACK", &ok, seq, "", "");
    phone.send(&ack).await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));
    for (n, method) in (0_u32..).zip(["INVITE", "UPDATE", "INFO", "ACK"]) {
        corpus.push(phone.inside(
            method,
            &ok,
            100 + n,
            "Session-Expires: 90\r\n",
            &sdp(40_000, "a=sendonly\r\na=crypto:1 X inline:y\r\n"),
        ));
    }
    corpus.push(ok.text.clone());
    let mut rng = Rng(0x5eed_1234_5678_9abc);
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for round in 0..6_000 {
        let bytes = mutate(&corpus[rng.below(corpus.len())], &mut rng);
        stranger.send_to(&bytes, server.sip).await.unwrap();
        if round % 200 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    for _ in 0..150 {
        let mut stream = TcpStream::connect(server.sip).await.unwrap();
        let bytes = mutate(&corpus[rng.below(corpus.len())], &mut rng);
        let _ = stream.write_all(&bytes).await;
    }
    let fresh = server.phone("1002").await;
    fresh.send(&options(fresh.addr, 77, "UDP")).await;
    fresh.expect(200).await;
    drop(incoming);
}

#[tokio::test]
async fn a_stream_that_speaks_no_sip_is_closed() {
    let server = Server::start().await;
    for garbage in [&b"\x16\x03\x01\x02\x00"[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[b'A'; 70_000]] {
        let mut stream = TcpStream::connect(server.sip).await.unwrap();
        let _ = stream.write_all(garbage).await;
        let mut rest = Vec::new();
        let closed = timeout(Duration::from_secs(3), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "{} bytes of garbage", garbage.len());
    }
}
