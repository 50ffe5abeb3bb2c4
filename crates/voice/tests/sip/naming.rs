//! Carriers that are known by a domain (RFC 3263, trap 11): a name server of the test's own says
//! where they are, and voice goes through what it says in the order that it says.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use voice::Target;
use voice::leg::{Leg, LegEvent};
use voice::ports::{Transport, TrunkTarget};

use crate::harness::{Events, MapPorts, Phone, Server, config, sdp, trunk};

const A: u16 = 1;
const SRV: u16 = 33;
const NAPTR: u16 = 35;
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(5);

type Table = HashMap<(String, u16), Vec<Vec<u8>>>;

/// A name server that knows a few names, and no others.
struct Names {
    address: SocketAddr,
    table: Arc<Mutex<Table>>,
}

impl Names {
    /// Starts it; `truncates`: its datagrams have no room for answers, its streams have.
    async fn start(truncates: bool) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let table = Arc::new(Mutex::new(Table::new()));
        let (for_udp, for_tcp) = (Arc::clone(&table), Arc::clone(&table));
        let tasks = TaskTracker::new();
        tasks.spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let reply = reply(&buffer[..length], &for_udp.lock().unwrap(), truncates);
                socket.send_to(&reply, from).await.unwrap();
            }
        });
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let length = stream.read_u16().await.unwrap();
                let mut question = vec![0; usize::from(length)];
                stream.read_exact(&mut question).await.unwrap();
                let reply = reply(&question, &for_tcp.lock().unwrap(), false);
                stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        });
        Self { address, table }
    }

    fn add(&self, name: &str, kind: u16, data: Vec<u8>) {
        self.table.lock().unwrap().entry((name.to_owned(), kind)).or_default().push(data);
    }

    /// A host on loopback.
    fn host(&self, name: &str) {
        self.add(name, A, Ipv4Addr::LOCALHOST.octets().to_vec());
    }

    fn srv(&self, name: &str, [priority, weight, port]: [u16; 3], target: &str) {
        let numbers = [priority, weight, port].map(u16::to_be_bytes).concat();
        self.add(name, SRV, [numbers, labels(target)].concat());
    }

    fn naptr(&self, name: &str, [order, preference]: [u16; 2], service: &str, replacement: &str) {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        let numbers = [order, preference].map(u16::to_be_bytes).concat();
        self.add(name, NAPTR, [numbers, text("s"), text(service), text(""), labels(replacement)].concat());
    }
}

fn labels(name: &str) -> Vec<u8> {
    let label = |label: &str| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat();
    let mut bytes: Vec<u8> = name.split('.').flat_map(label).collect();
    bytes.push(0);
    bytes
}

fn reply(question: &[u8], table: &Table, truncates: bool) -> Vec<u8> {
    let mut name = Vec::new();
    let mut at = 12;
    while question[at] != 0 {
        let length = usize::from(question[at]);
        name.push(String::from_utf8_lossy(&question[at + 1..=at + length]).to_lowercase());
        at += length + 1;
    }
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let known = table.get(&(name.join("."), kind)).cloned().unwrap_or_default();
    let mut bytes = question.to_vec();
    bytes[2] |= 0x80;
    if truncates && !known.is_empty() {
        bytes[2] |= 0x02;
        return bytes;
    }
    bytes[7] = u8::try_from(known.len()).unwrap();
    for data in known {
        bytes.extend_from_slice(&[0xc0, 12]);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        bytes.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&data);
    }
    bytes
}

/// A server with one trunk, which is known by its domain alone.
async fn server(names: &Names, any_transport: bool) -> Server {
    let mut config = config();
    config.dns = Some(names.address);
    let ports = MapPorts::default();
    let target =
        TrunkTarget { host: "carrier.example".to_owned(), port: None, transport: Transport::Udp, any_transport };
    ports.trunks.lock().unwrap().push(trunk(vec![target]));
    let server = Server::with(config, ports).await;
    // The look-up takes a few round trips on loopback.
    tokio::time::sleep(Duration::from_millis(300)).await;
    server
}

#[tokio::test]
async fn whoever_asks_is_told_where_a_target_is() {
    let names = Names::start(false).await;
    names.srv("_sip._udp.carrier.example", [10, 0, 5070], "one.example");
    names.host("one.example");
    let target =
        |host: &str| TrunkTarget { host: host.to_owned(), port: None, transport: Transport::Udp, any_transport: true };
    let at = async |host| voice::addresses_of(&target(host), Some(names.address)).await;
    assert_eq!(at("carrier.example").await, ["127.0.0.1:5070".parse().unwrap()]);
    assert_eq!(at("nowhere.example").await, []);
}

fn dial(server: &Server) -> (Leg, Events) {
    server.dial(Target::Trunk { trunk: "trunk_1".into(), number: "+442071838750".to_owned() }, 20_000)
}

/// A carrier's host, on a port of its own.
async fn host(server: &Server) -> Phone {
    server.phone("c").await
}

async fn port() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn at(mut phone: Phone, socket: UdpSocket) -> Phone {
    phone.addr = socket.local_addr().unwrap();
    phone.socket = socket;
    phone
}

async fn goes_through_the_servers(truncates: bool) {
    let names = Names::start(truncates).await;
    let ((first, first_port), (second, second_port), (third, third_port)) = (port().await, port().await, port().await);
    names.srv("_sip._udp.carrier.example", [20, 0, third_port], "c.carrier.example");
    names.srv("_sip._udp.carrier.example", [5, 0, first_port], "a.carrier.example");
    names.srv("_sip._udp.carrier.example", [10, 0, second_port], "b.carrier.example");
    ["a.carrier.example", "b.carrier.example", "c.carrier.example"].into_iter().for_each(|name| names.host(name));
    let server = server(&names, false).await;
    let (first, second, third) =
        (at(host(&server).await, first), at(host(&server).await, second), at(host(&server).await, third));

    let (_leg, mut events) = dial(&server);
    let refused = first.expect_method("INVITE").await;
    assert_eq!(refused.uri(), "sip:+442071838750@carrier.example", "the domain stays in the request");
    first.send(&first.respond(&refused, "503 Full", "", "")).await;
    first.expect_method("ACK").await;
    // The second says nothing: it is left after three seconds.
    second.expect_method("INVITE").await;
    let invite = third.expect_method("INVITE").await;
    third.send(&third.respond(&invite, "200 OK", "", &sdp(40_010, ""))).await;
    third.expect_method("ACK").await;
    assert!(matches!(events.next().await, LegEvent::Answered { .. }));

    let (_leg, _events) = dial(&server);
    third.expect_method("INVITE").await;
}

#[tokio::test]
async fn sip_trap_11_srv_records_are_gone_through_by_priority_and_failures_remembered() {
    goes_through_the_servers(false).await;
}

#[tokio::test]
async fn sip_trap_11_an_answer_that_does_not_fit_is_asked_for_by_tcp() {
    goes_through_the_servers(true).await;
}

#[tokio::test]
async fn sip_trap_11_naptr_chooses_the_transport_unless_somebody_did() {
    let names = Names::start(false).await;
    let (udp, udp_port) = port().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    names.naptr("carrier.example", [20, 10], "SIP+D2U", "_sip._udp.carrier.example");
    names.naptr("carrier.example", [10, 10], "SIP+D2T", "_sip._tcp.carrier.example");
    names.srv("_sip._udp.carrier.example", [1, 0, udp_port], "a.carrier.example");
    let tcp_port = listener.local_addr().unwrap().port();
    names.srv("_sip._tcp.carrier.example", [50, 0, tcp_port], "a.carrier.example");
    names.host("a.carrier.example");

    let free = server(&names, true).await;
    let (_leg, _events) = dial(&free);
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    assert!(first_line(&mut stream).await.starts_with("INVITE sip:+442071838750@carrier.example"));

    let bound = server(&names, false).await;
    let udp = at(host(&bound).await, udp);
    let (_leg, _events) = dial(&bound);
    udp.expect_method("INVITE").await;
}

async fn first_line(stream: &mut TcpStream) -> String {
    let mut buffer = [0; 2_048];
    let length = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&buffer[..length]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn sip_trap_11_a_domain_without_records_is_called_at_its_address_and_known_by_it() {
    let names = Names::start(false).await;
    names.host("carrier.example");
    let mut server = server(&names, true).await;
    // The default port on loopback is not ours to take: being known by it shows where it would be called.
    let mut phone = host(&server).await;
    let invite = phone.request("INVITE", "sip:2000@127.0.0.1", "", &sdp(40_000, ""));
    let by_default_port = invite.replace(&format!("UDP {};", phone.addr), "UDP 127.0.0.1:5060;");
    phone.send(&by_default_port).await;
    let (incoming, _events) = server.next_call().await;
    assert!(matches!(&incoming.source, voice::Source::Trunk { trunk, .. } if &**trunk == "trunk_1"));
}
