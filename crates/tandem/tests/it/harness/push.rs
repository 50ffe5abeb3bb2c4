//! A push service with a browser behind it that are not ours; what they do stands in `stories/push_service.py`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::client::{Client, Reply};
use super::ear::python;
use super::server::self_signed;

/// A message is there within this time.
const SOON: Duration = Duration::from_secs(30);
/// So long nothing comes when there is nothing to tell: longer than a page is given to come back.
const QUIET: Duration = Duration::from_secs(4);

/// The running push service; it ends with its handle.
pub(crate) struct PushService {
    pub(crate) address: SocketAddr,
    /// Whoever trusts this certificate trusts it.
    pub(crate) cert: PathBuf,
    keys: Value,
    said: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl PushService {
    /// Starts it, with a certificate that is made in this folder.
    pub(crate) async fn start(folder: &Path) -> Self {
        let (cert, key) = self_signed(folder).await;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(python())
            .arg(root.join("tests/it/stories/push_service.py"))
            .args([&cert, &key])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("./test installs Python, http_ece and PyJWT");
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut service = Self { address, cert, keys: Value::Null, said, _child: child };
        let begun = service.next().await;
        service.address.set_port(u16::try_from(begun["port"].as_u64().unwrap()).unwrap());
        service.keys = json!({"p256dh": begun["p256dh"], "auth": begun["auth"]});
        service
    }

    /// An address of its browser; each message there is answered so, the last one again and again.
    pub(crate) fn endpoint(&self, answers: &str, name: &str) -> String {
        format!("https://{}/{answers}/{name}", self.address)
    }

    /// What a browser gives the server.
    pub(crate) fn subscription(&self, answers: &str, name: &str) -> Value {
        json!({"endpoint": self.endpoint(answers, name), "keys": self.keys, "expirationTime": null})
    }

    /// Subscribes a browser.
    pub(crate) async fn subscribe(&self, client: &Client, answers: &str, name: &str) {
        client.post("/v1/chat/push", &self.subscription(answers, name)).await.expect(204);
    }

    /// Ends a browser's subscription.
    pub(crate) async fn unsubscribe(&self, client: &Client, answers: &str, name: &str) -> Reply {
        let body = json!({"endpoint": self.endpoint(answers, name)});
        client.send(client.request(reqwest::Method::DELETE, "/v1/chat/push").json(&body)).await
    }

    /// The next message that came.
    pub(crate) async fn next(&mut self) -> Value {
        let line = timeout(SOON, self.said.next_line()).await.expect("nothing was pushed").unwrap();
        serde_json::from_str(&line.expect("the push service ended: are http_ece and PyJWT installed?")).unwrap()
    }

    /// Makes sure that nothing comes.
    pub(crate) async fn stays_quiet(&mut self) {
        if let Ok(line) = timeout(QUIET, self.said.next_line()).await {
            panic!("something was pushed: {line:?}");
        }
    }
}
