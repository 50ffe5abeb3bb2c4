//! Chromium, driven by a script of tests/web: tasks and commands go in, what happens comes out, as
//! lines of JSON.
//!
//! What the page's console complains about is an event like others; [`Browser::expect_no_complaints`] looks for it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::phone::need;

/// How long a script may take for a step; a browser starts slowly beside other tests.
const PATIENCE: Duration = Duration::from_secs(45);

/// A script at work.
pub(crate) struct Browser {
    script: &'static str,
    commands: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// What was told and nobody has asked for yet.
    events: VecDeque<Value>,
    next_id: u64,
    child: Child,
}

/// Where the scripts and their packages are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web")
}

impl Browser {
    /// Starts `tests/web/SCRIPT.mjs` with a task.
    pub(crate) fn start(script: &'static str, task: &Value) -> Self {
        need("node", "nodejs");
        need("chromium", "chromium");
        assert!(folder().join("node_modules").is_dir(), "npm packages are missing: ./test installs them");
        // Killed, node closes the pipe by which it holds the browser, and the browser ends too.
        let mut child = Command::new("node")
            .arg(format!("{script}.mjs"))
            .arg(task.to_string())
            .current_dir(folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let commands = child.stdin.take().unwrap();
        Self { script, commands, lines, events: VecDeque::new(), next_id: 0, child }
    }

    /// Carries a command out and gives what it returns.
    pub(crate) async fn ask(&mut self, command: &str, more: Value) -> Value {
        self.try_ask(command, more).await.unwrap_or_else(|message| panic!("{}: {command}: {message}", self.script))
    }

    /// The same for one that may fail.
    pub(crate) async fn try_ask(&mut self, command: &str, more: Value) -> Result<Value, String> {
        self.next_id += 1;
        let id = self.next_id;
        let mut line = more;
        line["id"] = json!(id);
        line["do"] = json!(command);
        self.commands.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let is_answer =
            |event: &Value| ["done", "failed"].contains(&event["event"].as_str().unwrap_or("")) && event["id"] == id;
        let mut answer = self.expect(&format!("the end of {command}"), is_answer).await;
        match answer["event"].as_str() {
            Some("done") => Ok(answer["value"].take()),
            _ => Err(answer["message"].as_str().unwrap_or_default().to_owned()),
        }
    }

    /// The next event that is as it should be; others stay for later questions.
    pub(crate) async fn expect(&mut self, what: &str, good: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.events.iter().position(&good) {
            return self.events.remove(at).unwrap();
        }
        let next = async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| panic!("{}: ended before {what}", self.script));
                let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{}: {line}", self.script));
                if good(&event) {
                    return event;
                }
                self.events.push_back(event);
            }
        };
        match timeout(PATIENCE, next).await {
            Ok(event) => event,
            Err(_) => panic!("{}: {what} did not come; last: {:#?}", self.script, self.events.back()),
        }
    }

    /// Fails when the page's console has complained, but for what is expected.
    pub(crate) fn expect_no_complaints(&self, but: &[&str]) {
        let text = |event: &Value| event["text"].as_str().unwrap_or_default().to_owned();
        let expected = |text: &String| but.iter().any(|part| text.contains(part));
        let complaints: Vec<String> = self
            .events
            .iter()
            .filter(|event| event["event"] == "console")
            .map(text)
            .filter(|text| !expected(text))
            .collect();
        assert!(complaints.is_empty(), "{}: {complaints:#?}", self.script);
    }

    /// Ends the script, and the browser with it; it must end well.
    pub(crate) async fn finish(mut self) {
        drop(self.commands);
        let ended = timeout(PATIENCE, self.child.wait()).await.expect("the script ends").unwrap();
        assert!(ended.success(), "{}: {ended}", self.script);
    }
}
