//! sipp's scenarios against a running voice (they stand with the binary's own tests).

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use voice::Target;
use voice::cause::Cause;
use voice::leg::LegEvent;
use voice::ports::{Secret, TrunkConfig, TrunkState};

use crate::harness::{Events, MapPorts, Server, config, udp_trunk};

/// A running sipp.
struct Sipp {
    child: Child,
    dir: tempfile::TempDir,
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sipp {
    /// Starts a scenario; `line` is its injection line.
    fn start(scenario: &str, args: &[&str], line: &str) -> Self {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../tandem/tests/it/sipp").join(format!("{scenario}.xml"));
        let file: PathBuf = fs::canonicalize(&file).unwrap_or_else(|_| panic!("{} is there", file.display()));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("line.csv"), format!("SEQUENTIAL\n{line}\n")).unwrap();
        let log = fs::File::create(dir.path().join("screen")).unwrap();
        let child = Command::new("sipp")
            .current_dir(dir.path())
            .arg("-sf")
            .arg(file)
            .args(["-inf", "line.csv", "-i", "127.0.0.1", "-m", "1", "-nostdin", "-timeout", "15", "-timeout_error"])
            .args(["-trace_msg", "-message_file", "messages", "-trace_err", "-error_file", "errors"])
            .args(args)
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("sipp is installed");
        Self { child, dir }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    /// Waits for its good end.
    async fn succeed(mut self) {
        for _ in 0..1_000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}\n{}\n{}", self.read("errors"), self.read("messages"));
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("sipp does not end:\n{}\n{}", self.read("errors"), self.read("messages"));
    }
}

/// A caller's scenario against the server, as phone 1001 calling 2000.
fn caller(server: &Server, scenario: &str) -> Sipp {
    let to = server.sip.to_string();
    // Without being told sipp signs the host alone, and such an answer could be sent on to any number.
    let signed = format!("2000@{to}");
    let args = [&to, "-s", "2000", "-d", "200", "-au", "1001", "-ap", "pw-1001", "-auth_uri", &signed];
    Sipp::start(scenario, &args, "1001;pw-1001")
}

/// The call that a scenario makes.
async fn call_of(server: &mut Server, sipp: &Sipp) -> (voice::Incoming, Events) {
    let Ok(incoming) = tokio::time::timeout(Duration::from_secs(4), server.incoming.recv()).await else {
        panic!("no call:\n{}\n{}", sipp.read("errors"), sipp.read("messages"));
    };
    let incoming = incoming.unwrap();
    let (sink, events) = Events::new();
    incoming.attach(sink);
    (incoming, events)
}

/// A callee's scenario on a port of its own.
async fn callee(scenario: &str) -> (Sipp, SocketAddr) {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = free.port().to_string();
    let sipp = Sipp::start(scenario, &["-p", &port], "acct;pw");
    for _ in 0..200 {
        if std::net::UdpSocket::bind(free).is_err() {
            return (sipp, free);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("sipp does not listen: {}", sipp.read("errors"));
}

fn trunk(targets: &[SocketAddr], register: bool) -> TrunkConfig {
    TrunkConfig { username: Some("acct".to_owned()), password: Some(Secret::new("pw")), register, ..udp_trunk(targets) }
}

async fn answered(events: &mut Events) {
    loop {
        match events.next().await {
            LegEvent::Answered { .. } => return,
            LegEvent::Ended(end) => panic!("{end:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn sipp_calls_and_hangs_up() {
    let mut server = Server::start().await;
    let sipp = caller(&server, "uac");
    let (incoming, mut events) = call_of(&mut server, &sipp).await;
    incoming.leg.ring();
    incoming.leg.answer();
    answered(&mut events).await;
    assert_eq!(events.end().await.cause, Cause::Normal);
    sipp.succeed().await;
    server.settle().await;
}

#[tokio::test]
async fn sipp_requires_reliable_progress() {
    let mut server = Server::start().await;
    let sipp = caller(&server, "uac_prack");
    let (incoming, mut events) = call_of(&mut server, &sipp).await;
    incoming.leg.early_media();
    incoming.leg.answer();
    answered(&mut events).await;
    events.end().await;
    sipp.succeed().await;
}

#[tokio::test]
async fn sipp_refreshes_its_session() {
    let mut server = Server::start().await;
    let sipp = caller(&server, "uac_session_timer");
    let (incoming, mut events) = call_of(&mut server, &sipp).await;
    incoming.leg.answer();
    answered(&mut events).await;
    events.end().await;
    sipp.succeed().await;
}

#[tokio::test]
async fn sipp_holds_and_resumes() {
    let mut server = Server::start().await;
    let sipp = caller(&server, "uac_hold");
    let (incoming, mut events) = call_of(&mut server, &sipp).await;
    incoming.leg.answer();
    answered(&mut events).await;
    let mut told = Vec::new();
    loop {
        match events.next().await {
            LegEvent::Held => told.push(true),
            LegEvent::Resumed => told.push(false),
            LegEvent::Ended(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, [true, false, true, false]);
    sipp.succeed().await;
}

#[tokio::test]
async fn sipp_refers_us_elsewhere() {
    let mut server = Server::start().await;
    let sipp = caller(&server, "uac_refer");
    let (incoming, mut events) = call_of(&mut server, &sipp).await;
    incoming.leg.answer();
    answered(&mut events).await;
    match events.next().await {
        LegEvent::TransferRequested { to, replaces: None } => assert!(to.starts_with("sip:1003@127.0.0.1:"), "{to}"),
        other => panic!("{other:?}"),
    }
    incoming.leg.accept_transfer(true);
    events.end().await;
    sipp.succeed().await;
}

#[tokio::test]
async fn sipp_answers_reliably_and_plainly_and_is_busy() {
    let server = Server::start().await;
    for scenario in ["uas", "uas_prack"] {
        let (sipp, addr) = callee(scenario).await;
        let (leg, mut events) = server.dial(Target::Uri(format!("sip:1001@{addr}")), 10_000);
        answered(&mut events).await;
        leg.hangup(Cause::Normal);
        events.end().await;
        sipp.succeed().await;
    }
    let (sipp, addr) = callee("uas_busy").await;
    let (_leg, mut events) = server.dial(Target::Uri(format!("sip:1001@{addr}")), 10_000);
    let end = events.end().await;
    assert_eq!((end.cause, end.q850), (Cause::Busy, Some(17)));
    sipp.succeed().await;
    server.settle().await;
}

#[tokio::test]
async fn sipp_is_a_carrier_that_registers_us_by_digest() {
    let (sipp, addr) = callee("uas_registrar").await;
    let ports = MapPorts::default();
    ports.trunks.lock().unwrap().push(trunk(&[addr], true));
    let server = Server::with(config(), ports).await;
    sipp.succeed().await;
    for _ in 0..100 {
        if server.ports.trunk_states.lock().unwrap().last() == Some(&TrunkState::Registered) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", server.ports.trunk_states.lock().unwrap());
}

#[tokio::test]
async fn sipp_is_the_target_that_takes_the_call_when_others_are_full_or_silent() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (full, full_addr) = callee("uas_503").await;
    let (good, good_addr) = callee("uas").await;
    let ports = MapPorts::default();
    ports.trunks.lock().unwrap().push(trunk(&[full_addr, silent.local_addr().unwrap(), good_addr], false));
    let server = Server::with(config(), ports).await;
    for _ in 0..100 {
        if !server.ports.trunk_states.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let target = Target::Trunk { trunk: "trunk_1".into(), number: "+442071838750".to_owned() };
    let (leg, mut events) = server.dial(target, 20_000);
    answered(&mut events).await;
    leg.hangup(Cause::Normal);
    events.end().await;
    full.succeed().await;
    good.succeed().await;
    server.settle().await;
}
