//! What the real phones of the tests have in common: who they are, where their ports come from, and
//! that a missing program fails loudly with the way to install it.
//!
//! Each phone is a child process that is ended by its own id when its handle is dropped.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// How long a phone may take for anything that it does by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Who a phone is and how it speaks.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) password: String,
    /// The host part of its address of record.
    pub(crate) domain: String,
    /// Where it sends what it says.
    pub(crate) server: SocketAddr,
    /// `udp`, `tcp` or `tls`.
    pub(crate) transport: &'static str,
    /// Codecs that it offers, best first, by the names of SDP.
    pub(crate) codecs: Vec<&'static str>,
    /// SDES-SRTP, and nothing else.
    pub(crate) srtp: bool,
    /// With it, it can be called by TLS: a PEM file of certificate and key.
    pub(crate) certificate: Option<PathBuf>,
    /// Answers by itself.
    pub(crate) answers: bool,
    /// What it says all the time: a WAV file of 8 kHz mono.
    pub(crate) speaks: Option<PathBuf>,
    /// Registers at the server; without it, it is a stranger with an address.
    pub(crate) registers: bool,
}

impl Account {
    /// A phone of `user` that registers by UDP, speaks PCMU, and is answered by hand.
    pub(crate) fn new(server: SocketAddr, user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            domain: server.ip().to_string(),
            server,
            transport: "udp",
            codecs: vec!["PCMU"],
            srtp: false,
            certificate: None,
            answers: false,
            speaks: None,
            registers: true,
        }
    }

    pub(crate) fn by(mut self, transport: &'static str, server: SocketAddr) -> Self {
        self.transport = transport;
        self.server = server;
        self
    }

    pub(crate) fn at_domain(mut self, domain: &str) -> Self {
        self.domain = domain.to_owned();
        self
    }

    pub(crate) fn codecs(mut self, codecs: &[&'static str]) -> Self {
        self.codecs = codecs.to_vec();
        self
    }

    pub(crate) fn srtp(mut self) -> Self {
        self.srtp = true;
        self
    }

    /// Can be called by TLS.
    pub(crate) fn certified(mut self, certificate: PathBuf) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// A phone, or a carrier, that waits at its own address and registers nowhere.
    pub(crate) fn unregistered(mut self) -> Self {
        self.registers = false;
        self
    }

    pub(crate) fn answering(mut self) -> Self {
        self.answers = true;
        self
    }

    pub(crate) fn speaking(mut self, wav: PathBuf) -> Self {
        self.speaks = Some(wav);
        self
    }
}

/// Ports given to programs that are started with one: below those that the kernel gives out by itself
/// (from 32768), and beside those of RTP (from 20000).
const GIVEN_PORTS: std::ops::Range<u16> = 10_000..19_999;

/// A port on loopback that is free for UDP and TCP, and so is the next one. It stays this test's as long
/// as its process lives: a locked file says so to the tests that run beside it.
pub(crate) fn free_ports() -> u16 {
    static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = std::env::temp_dir().join("tandem-test-ports");
    std::fs::create_dir_all(&folder).unwrap();
    // Neighbours among the processes begin far apart.
    let begin = std::process::id().wrapping_mul(977);
    for step in 0..1_000 {
        let pairs = u32::from(GIVEN_PORTS.end - GIVEN_PORTS.start) / 2;
        let port = GIVEN_PORTS.start + u16::try_from(begin.wrapping_add(step) % pairs).unwrap() * 2;
        let claim = File::create(folder.join(port.to_string())).unwrap();
        let free = claim.try_lock().is_ok()
            && [port, port + 1].iter().all(|port| {
                UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
                    && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
            });
        if free {
            HELD.lock().unwrap().push(claim);
            return port;
        }
    }
    panic!("no two free ports in a row on loopback");
}

/// Fails the test, and says how to install it, when a program is missing.
pub(crate) fn need(program: &str, debian_package: &str) {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    assert!(found, "{program} is missing: ./test installs it, or `apt install {debian_package}`");
}
