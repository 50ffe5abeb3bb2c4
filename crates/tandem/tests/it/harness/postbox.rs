//! A mail server that is not ours: aiosmtpd, with STARTTLS and a password. What it does with a recipient stands in
//! `stories/postbox.py`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::ear::python;
use super::phone::free_ports;
use super::server::self_signed;

/// The name and password that it takes.
pub(crate) const USER: &str = "tandem";
pub(crate) const PASSWORD: &str = "hunter2-of-the-postbox";
/// A mail is there within this time.
const SOON: Duration = Duration::from_secs(30);

/// The running mail server; it ends with its handle.
pub(crate) struct Postbox {
    /// host:port, as `mail.server` takes it.
    pub(crate) address: String,
    /// Whoever trusts this certificate trusts it.
    pub(crate) cert: PathBuf,
    said: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Postbox {
    /// Starts it, with a certificate that is made in this folder.
    pub(crate) async fn start(folder: &Path) -> Self {
        let (cert, key) = self_signed(folder).await;
        let port = free_ports();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(python())
            .arg(root.join("tests/it/stories/postbox.py"))
            .arg(port.to_string())
            .args([&cert, &key])
            .args([USER, PASSWORD])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("./test installs Python and aiosmtpd");
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut postbox = Self { address: format!("localhost:{port}"), cert, said, _child: child };
        postbox.next().await;
        postbox
    }

    /// The next mail that it has.
    pub(crate) async fn next(&mut self) -> Value {
        let line = timeout(SOON, self.said.next_line()).await.expect("no mail came").unwrap();
        serde_json::from_str(&line.expect("the mail server ended: is aiosmtpd installed?")).unwrap()
    }
}
