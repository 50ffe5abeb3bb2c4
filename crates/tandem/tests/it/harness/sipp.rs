//! sipp: one scenario file, one run, judged by its exit status; on failure its messages are shown.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::phone::{free_ports, need};

/// The longest scenario.
const LIMIT: Duration = Duration::from_secs(60);

/// A running scenario of tests/it/sipp/.
pub(crate) struct Sipp {
    scenario: String,
    /// Where it listens, for SIP by UDP and TCP.
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
    child: Child,
}

impl Sipp {
    /// Starts `NAME.xml` against the server. `keys` are the scenario's `[name]` words.
    pub(crate) fn start(scenario: &str, server: SocketAddr, transport: &str, keys: &[(&str, &str)]) -> Self {
        Self::start_at(free_ports(), scenario, server, transport, keys)
    }

    /// The same at a port of [`free_ports`] that the server was told before: whoever calls does so at once.
    pub(crate) fn start_at(
        port: u16,
        scenario: &str,
        server: SocketAddr,
        transport: &str,
        keys: &[(&str, &str)],
    ) -> Self {
        need("sipp", "sip-tester");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sipp").join(format!("{scenario}.xml"));
        assert!(file.is_file(), "{} is missing", file.display());
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sipp");
        command
            .arg(server.to_string())
            .arg("-sf")
            .arg(file)
            .args(["-m", "1", "-nostdin", "-i", "127.0.0.1", "-p", &port.to_string()])
            .args(["-t", if transport == "tcp" { "t1" } else { "u1" }])
            .args(["-mp", &free_ports().to_string()])
            .args(["-timeout", &LIMIT.as_secs().to_string(), "-timeout_error"])
            .args(["-trace_err", "-error_file", "errors", "-trace_msg", "-message_file", "messages"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(folder.path().join("screen")).unwrap())
            .stderr(std::fs::File::create(folder.path().join("stderr")).unwrap())
            .kill_on_drop(true);
        for (name, value) in keys {
            match *name {
                "user" => command.args(["-s", value, "-au", value]),
                "password" => command.args(["-ap", value]),
                _ => command.args(["-key", name, value]),
            };
        }
        let child = command.spawn().unwrap();
        await_listening(port, transport);
        Self { scenario: scenario.to_owned(), address: SocketAddr::from(([127, 0, 0, 1], port)), folder, child }
    }

    /// Waits for the end of the scenario, which must be a good one.
    pub(crate) async fn succeeds(mut self) -> String {
        let status = timeout(LIMIT + Duration::from_secs(5), self.child.wait()).await;
        let messages = self.read("messages");
        match status {
            Ok(Ok(status)) if status.success() => messages,
            other => {
                panic!("sipp {}: {other:?}\n{}{}\n{messages}", self.scenario, self.read("stderr"), self.read("errors"))
            }
        }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

/// Waits until the kernel lists the port: an INVITE before that would meet nobody.
fn await_listening(port: u16, transport: &str) {
    let table = format!("/proc/net/{transport}");
    let wanted = format!(":{port:04X} ");
    for _ in 0..1_000 {
        if std::fs::read_to_string(&table).is_ok_and(|table| table.contains(&wanted)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("sipp does not listen on port {port}");
}
