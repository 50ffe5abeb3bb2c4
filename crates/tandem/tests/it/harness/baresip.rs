//! baresip as a phone: driven by its control socket, heard by the WAV files that it dumps.
//!
//! Control is JSON in netstrings; what it tells by itself (a call comes, a digit arrives) is kept
//! until a test asks for it, so that nothing is missed between two lines of a test.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::ear::{Heard, silence_file};
use super::phone::{Account, PATIENCE, free_ports, need};

/// A running baresip with one account.
pub(crate) struct Baresip {
    account: Account,
    /// Where it listens for SIP, by UDP and TCP.
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
    control: TcpStream,
    unread: Vec<u8>,
    events: VecDeque<Value>,
    /// Whether it has answered any command.
    answered: bool,
    child: Child,
}

impl Baresip {
    /// Starts it and, when it has a registrar, waits until it is registered.
    pub(crate) async fn start(account: Account) -> Self {
        let phone = Self::launch(account).await;
        if phone.account.registers {
            phone.is_registered().await;
        }
        phone
    }

    /// Starts it without waiting for anything but its control socket.
    pub(crate) async fn launch(account: Account) -> Self {
        need("baresip", "baresip-core");
        let folder = tempfile::tempdir().unwrap();
        let port = free_ports();
        let control_port = free_ports();
        std::fs::write(folder.path().join("config"), config(&account, &folder, port, control_port)).unwrap();
        std::fs::write(folder.path().join("accounts"), accounts(&account)).unwrap();
        std::fs::write(folder.path().join("contacts"), "").unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("baresip")
            .args(["-4", "-s", "-f"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let control = timeout(PATIENCE, async {
            loop {
                match TcpStream::connect(("127.0.0.1", control_port)).await {
                    Ok(stream) => break stream,
                    Err(_) => sleep(std::time::Duration::from_millis(30)).await,
                }
            }
        })
        .await
        .expect("baresip opens its control socket");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut phone = Self {
            account,
            address,
            folder,
            control,
            unread: Vec::new(),
            events: VecDeque::new(),
            answered: false,
            child,
        };
        phone.listens().await;
        phone
    }

    /// An open socket may be nobody's: only when it has answered does it tell what happens.
    async fn listens(&mut self) {
        self.say("reginfo", "").await;
        let answered = timeout(PATIENCE, async {
            while !self.answered {
                self.read_control().await;
            }
        });
        assert!(
            answered.await.is_ok(),
            "{}: a control socket without an answer\n{}",
            self.account.user,
            self.log_tail()
        );
    }

    /// Its first registration may be over before the control socket is open: the log tells of each.
    async fn is_registered(&self) {
        let registered = timeout(PATIENCE, async {
            while !self.log().contains(" binding]") {
                sleep(std::time::Duration::from_millis(20)).await;
            }
        });
        assert!(registered.await.is_ok(), "{} is not registered\n{}", self.account.user, self.log_tail());
    }

    /// Says one command of baresip's menu, such as `dial` or `hold`.
    pub(crate) async fn say(&mut self, command: &str, argument: &str) {
        let message = json!({"command": command, "params": argument}).to_string();
        self.control.write_all(format!("{}:{message},", message.len()).as_bytes()).await.unwrap();
    }

    /// Dials a number of its own domain.
    pub(crate) async fn dial(&mut self, number: &str) {
        let target = format!("sip:{number}@{}", self.account.domain);
        self.say("dial", &target).await;
    }

    pub(crate) async fn accept(&mut self) {
        self.say("accept", "").await;
    }

    /// Ends the process, which says no word to anybody and closes its sockets.
    pub(crate) async fn vanish(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) async fn hang_up(&mut self) {
        self.say("hangup", "").await;
    }

    /// Where it listens for SIP over TLS, when it has a certificate.
    pub(crate) fn tls_address(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip(), self.address.port() + 1)
    }

    /// Presses keys one after the other, as a person would.
    pub(crate) async fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            self.say("sndcode", &key.to_string()).await;
            sleep(std::time::Duration::from_millis(260)).await;
        }
    }

    /// Waits for the next event of a kind; earlier ones of other kinds stay for later questions.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        match timeout(PATIENCE, self.next_of(kind)).await {
            Ok(event) => event,
            Err(_) => panic!(
                "{}: no {kind} within {PATIENCE:?}; it told {:?}\n{}",
                self.account.user,
                self.events,
                self.log_tail()
            ),
        }
    }

    /// The keys that it was sent, in the order of their coming, once there are as many.
    pub(crate) async fn keys(&mut self, count: usize) -> String {
        let mut keys = String::new();
        while keys.chars().count() < count {
            let event = self.expect("CALL_DTMF_START").await;
            keys += event["param"].as_str().unwrap();
        }
        keys
    }

    async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            if let Some(at) = self.events.iter().position(|event| event["type"] == kind) {
                return self.events.remove(at).unwrap();
            }
            self.read_control().await;
        }
    }

    async fn read_control(&mut self) {
        let mut buffer = [0; 8192];
        let read = self.control.read(&mut buffer).await.unwrap();
        assert!(read > 0, "{}: baresip ended\n{}", self.account.user, self.log_tail());
        self.unread.extend_from_slice(&buffer[..read]);
        self.split_messages();
    }

    fn split_messages(&mut self) {
        while let Some(colon) = self.unread.iter().position(|byte| *byte == b':') {
            let length: usize = std::str::from_utf8(&self.unread[..colon]).unwrap().parse().unwrap();
            let end = colon + 1 + length;
            if self.unread.len() <= end {
                return;
            }
            let message: Value = serde_json::from_slice(&self.unread[colon + 1..end]).unwrap();
            self.unread.drain(..=end);
            self.answered |= message["response"] == true;
            if message["event"] == true {
                self.events.push_back(message);
            }
        }
    }

    /// What arrived in its last call; read it after the call's end, or it may be cut short.
    pub(crate) fn heard(&self) -> Heard {
        let mut dumps: Vec<_> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
            .collect();
        dumps.sort();
        Heard::read(dumps.last().unwrap_or_else(|| panic!("{} heard nothing\n{}", self.account.user, self.log_tail())))
    }

    /// All that it wrote, SIP messages included.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// What it wrote lately, SIP messages included.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("(bit/s)")).collect();
        lines[lines.len().saturating_sub(120)..].join("\n")
    }
}

fn config(account: &Account, folder: &tempfile::TempDir, port: u16, control_port: u16) -> String {
    // Without a source it sends no RTP at all, not even digits: a phone that says nothing says silence.
    let wav = account.speaks.clone().unwrap_or_else(|| silence_file(folder.path()));
    let (wav, folder) = (wav.display(), folder.path().display());
    let certificate = account.certificate.iter().map(|file| format!("sip_certificate {}\n", file.display()));
    let certificate: String = certificate.collect();
    format!(
        "poll_method epoll\n\
         sip_listen 127.0.0.1:{port}\n\
         {certificate}\
         net_interface 127.0.0.1\n\
         rtp_ports 30000-39998\n\
         audio_source aufile,{wav}\n\
         audio_player aubridge,sink\n\
         audio_alert aubridge,alert\n\
         audio_buffer 20-160\n\
         ausrc_srate 8000\n\
         ausrc_channels 1\n\
         snd_path {folder}\n\
         ctrl_tcp_listen 127.0.0.1:{control_port}\n\
         module_path /usr/lib/baresip/modules\n\
         module g711.so\nmodule g722.so\nmodule opus.so\n\
         module aufile.so\nmodule aubridge.so\nmodule sndfile.so\nmodule srtp.so\n\
         module_app account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n"
    )
}

fn accounts(account: &Account) -> String {
    let Account { user, password, domain, server, transport, .. } = account;
    let registration = if account.registers { "regint=120" } else { "regint=0" };
    let answer = if account.answers { "auto" } else { "manual" };
    let srtp = if account.srtp { ";mediaenc=srtp-mand" } else { "" };
    let codecs = account.codecs.join(",");
    format!(
        "<sip:{user}@{domain};transport={transport}>;auth_user={user};auth_pass={password};{registration};\
         outbound=\"sip:{server};transport={transport}\";answermode={answer};audio_codecs={codecs}{srtp}\n"
    )
}
