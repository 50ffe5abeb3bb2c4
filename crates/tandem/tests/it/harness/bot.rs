//! A bot of media streams: a Python program that tells line by line what it gets.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::ear::python;
use super::phone::PATIENCE;

/// A bot at work; dropped, it is killed.
pub(crate) struct Bot {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    lines: Lines<BufReader<ChildStdout>>,
    told: Vec<Value>,
    _child: Child,
}

impl Bot {
    /// Starts a program of tests/bots.
    pub(crate) async fn start(program: &str, arguments: &[&str]) -> Self {
        let python = python();
        assert!(python.is_file(), "{} is missing: ./test installs it", python.display());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bots").join(program);
        let mut child = Command::new(python)
            .arg(path)
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut bot = Self { address, lines, told: Vec::new(), _child: child };
        let port = bot.expect("listening").await["port"].as_u64().unwrap();
        bot.address.set_port(u16::try_from(port).unwrap());
        bot
    }

    /// Waits for the next thing of a kind that it tells.
    pub(crate) async fn expect(&mut self, event: &str) -> Value {
        let waited = timeout(PATIENCE * 3, async {
            loop {
                let line =
                    self.lines.next_line().await.unwrap().unwrap_or_else(|| panic!("the bot is gone: {:?}", self.told));
                let Ok(told) = serde_json::from_str::<Value>(&line) else { continue };
                self.told.push(told.clone());
                if told["event"] == event {
                    return told;
                }
            }
        });
        match waited.await {
            Ok(told) => told,
            Err(_) => panic!("no {event} of the bot; it told {:?}", self.told),
        }
    }
}
