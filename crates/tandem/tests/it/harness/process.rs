//! The `tandem` binary as a process: what the command line prints, a server that can be killed, the
//! demo as a newcomer starts it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::client::Client;
use super::phone::free_ports;

/// From the start of a server to its first answer; a debug build on a busy machine.
const START: Duration = Duration::from_secs(30);

/// Lines of the log that a failing test shows.
const LAST_LINES: usize = 40;

/// The binary on one data directory.
#[derive(Clone, Debug)]
pub(crate) struct Tandem {
    data: PathBuf,
}

/// A `tandem serve` or `tandem demo` that runs; killed when dropped.
pub(crate) struct Running {
    pub(crate) http: SocketAddr,
    pub(crate) sip: SocketAddr,
    pub(crate) log: PathBuf,
    child: Child,
}

impl Tandem {
    pub(crate) fn on(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TANDEM_")) {
            command.env_remove(name);
        }
        command.kill_on_drop(true);
        command
    }

    /// Runs a verb with its words and gives everything it said.
    pub(crate) async fn output(&self, words: &[&str], stdin: &str) -> Output {
        let mut child = self
            .command()
            .args(words)
            .arg("--data")
            .arg(&self.data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(stdin.as_bytes()).await.unwrap();
        drop(input);
        timeout(START, child.wait_with_output()).await.expect("a verb ends").unwrap()
    }

    /// Runs a verb with `--json`, which must succeed with exactly one line on stdout.
    pub(crate) async fn json(&self, words: &[&str]) -> Value {
        let output = self.output(&[words, &["--json"]].concat(), "").await;
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
        assert!(output.status.success(), "{words:?}: {err}");
        assert!(out.ends_with('\n') && out.matches('\n').count() == 1, "{words:?}: not one line: {out:?}");
        serde_json::from_str(&out).unwrap()
    }

    /// Runs a verb that must fail, with nothing on stdout, and gives what it said on stderr.
    pub(crate) async fn refusal(&self, words: &[&str]) -> String {
        let output = self.output(words, "").await;
        assert!(!output.status.success(), "{words:?} succeeded");
        assert!(output.stdout.is_empty(), "{words:?} wrote to stdout");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Starts `tandem serve` or `tandem demo` on free ports and waits until it is healthy.
    pub(crate) async fn start(&self, verb: &str, more: &[&str]) -> Running {
        let http = SocketAddr::from(([127, 0, 0, 1], free_ports()));
        let sip = SocketAddr::from(([127, 0, 0, 1], free_ports()));
        self.start_at(verb, http, sip, more).await
    }

    /// The same at known addresses: a server that comes back where it was.
    pub(crate) async fn start_at(&self, verb: &str, http: SocketAddr, sip: SocketAddr, more: &[&str]) -> Running {
        let log = self.data.with_extension(format!("{}.log", http.port()));
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let child = self
            .command()
            .arg(verb)
            .arg("--data")
            .arg(&self.data)
            .args([
                "--http",
                &http.to_string(),
                "--sip",
                &sip.to_string(),
                "--rtp-ports",
                "20000-29999",
                "--rtc",
                "127.0.0.1:0",
            ])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut running = Running { http, sip, log, child };
        running.wait_until_healthy().await;
        running
    }
}

impl Running {
    async fn wait_until_healthy(&mut self) {
        let url = format!("http://{}/healthz", self.http);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let came = timeout(START, async {
            loop {
                if let Ok(response) = client.get(&url).send().await
                    && response.status() == 200
                {
                    break;
                }
                let ended = self.child.try_wait().unwrap();
                assert!(ended.is_none(), "it ended: {}", std::fs::read_to_string(&self.log).unwrap());
                sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(came.await.is_ok(), "not healthy: {}", self.log());
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.http)
    }

    /// What it wrote to stderr.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has written a text to stderr.
    pub(crate) async fn until_it_says(&self, text: &str) {
        self.until_it_has_said(text, 1).await;
    }

    /// Waits until a text stands in the log so many times, those of an earlier start at the same address included.
    pub(crate) async fn until_it_has_said(&self, text: &str, times: usize) {
        let said = timeout(START, async {
            while self.log().matches(text).count() < times {
                sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(said.await.is_ok(), "it did not say {text:?} {times} times: {}", self.log());
    }

    /// The last of it, without what is usual: for the message of a test that fails.
    pub(crate) fn warnings(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains(" INFO ")).collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it still runs")
    }

    /// Sends a signal by its name: TERM, HUP, KILL.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().await.unwrap();
        assert!(sent.success(), "kill -{name} {pid}");
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self, within: Duration) -> std::process::ExitStatus {
        timeout(within, self.child.wait()).await.unwrap_or_else(|_| panic!("still running after {within:?}")).unwrap()
    }

    /// kill -9.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}
