//! linphonec as a phone: driven by the lines one would type, heard by the WAV file it records.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

use super::ear::Heard;
use super::phone::{Account, PATIENCE, free_ports, need};

/// A running linphonec with one account.
pub(crate) struct Linphone {
    account: Account,
    folder: tempfile::TempDir,
    lines: ChildStdin,
    /// Bytes of the log that earlier questions have used up.
    read: usize,
    _child: Child,
}

impl Linphone {
    /// Starts it and, when it has a registrar, waits until it is registered.
    pub(crate) async fn start(account: Account) -> Self {
        need("linphonec", "linphone-cli");
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join(".local/share/linphone")).unwrap();
        std::fs::write(folder.path().join("rc"), config(&account)).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("linphonec");
        if account.answers {
            command.arg("-a");
        }
        let mut child = command
            .arg("-c")
            .arg(folder.path().join("rc"))
            .env("HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = child.stdin.take().unwrap();
        let mut phone = Self { account, folder, lines, read: 0, _child: child };
        phone.say("soundcard use files").await;
        phone.expect("Using wav files").await;
        if let Some(wav) = phone.account.speaks.clone() {
            phone.say(&format!("play {}", wav.display())).await;
        }
        phone.say(&format!("record {}", phone.folder.path().join("heard.wav").display())).await;
        if phone.account.registers {
            phone.is_registered().await;
        }
        phone
    }

    /// It tells of its registration when it is asked.
    async fn is_registered(&mut self) {
        let registered = timeout(PATIENCE, async {
            while !self.log().contains("registered: yes") {
                self.say("proxy list").await;
                sleep(Duration::from_millis(200)).await;
            }
        });
        assert!(registered.await.is_ok(), "{} is not registered\n{}", self.account.user, self.log());
        self.read = self.log().len();
    }

    /// Types one line.
    pub(crate) async fn say(&mut self, line: &str) {
        self.lines.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    pub(crate) async fn dial(&mut self, number: &str) {
        let line = format!("call sip:{number}@{}", self.account.domain);
        self.say(&line).await;
    }

    /// Presses keys one after the other, as a person would.
    pub(crate) async fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            self.say(&key.to_string()).await;
            sleep(Duration::from_millis(260)).await;
        }
    }

    /// Waits until it writes this text, after what earlier questions found.
    pub(crate) async fn expect(&mut self, text: &str) {
        let found = timeout(PATIENCE, async {
            loop {
                let log = self.log();
                if let Some(at) = log[self.read..].find(text) {
                    break self.read + at + text.len();
                }
                sleep(Duration::from_millis(30)).await;
            }
        })
        .await;
        match found {
            Ok(at) => self.read = at,
            Err(_) => panic!("{}: linphonec did not write {text:?}\n{}", self.account.user, self.log()),
        }
    }

    /// What arrived in its last call; read it after the call's end.
    pub(crate) fn heard(&self) -> Heard {
        Heard::read(&self.folder.path().join("heard.wav"))
    }

    fn log(&self) -> String {
        let log = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

/// Its codecs by name and rate of linphone's list.
const KNOWN_CODECS: &[(&str, u32)] = &[("opus", 48_000), ("PCMU", 8_000), ("PCMA", 8_000), ("G722", 8_000)];

fn config(account: &Account) -> String {
    let Account { user, password, domain, server, transport, .. } = account;
    let port = free_ports();
    let ports = match *transport {
        "udp" => format!("sip_port={port}\nsip_tcp_port=-2\nsip_tls_port=-2"),
        "tcp" => "sip_port=-2\nsip_tcp_port=-2\nsip_tls_port=-2".replacen(
            "sip_tcp_port=-2",
            &format!("sip_tcp_port={port}"),
            1,
        ),
        _ => "sip_port=-2\nsip_tcp_port=-2\nsip_tls_port=-2".replacen(
            "sip_tls_port=-2",
            &format!("sip_tls_port={port}"),
            1,
        ),
    };
    let encryption =
        if account.srtp { "media_encryption=srtp\nmedia_encryption_mandatory=1" } else { "media_encryption=none" };
    let mut text = format!(
        "[sip]\n{ports}\nguess_hostname=0\ncontact=sip:{user}@127.0.0.1\nuse_ipv6=0\nbind_address=127.0.0.1\n\
         verify_server_certs=0\nverify_server_cn=0\n{encryption}\n"
    );
    if account.registers {
        text += "default_proxy=0\n";
    }
    text += "[rtp]\nbind_address=127.0.0.1\naudio_rtp_port=40000-49998\n\
             [sound]\nechocancellation=0\n\
             [video]\ncapture=0\ndisplay=0\nautomatically_initiate=0\nautomatically_accept=0\n";
    for (index, (name, rate)) in KNOWN_CODECS.iter().enumerate() {
        let enabled = u8::from(account.codecs.iter().any(|codec| codec.eq_ignore_ascii_case(name)));
        text += &format!("[audio_codec_{index}]\nmime={name}\nrate={rate}\nchannels=1\nenabled={enabled}\n");
    }
    if account.registers {
        text += &format!(
            "[proxy_0]\nreg_proxy=<sip:{server};transport={transport}>\nreg_route=<sip:{server};transport={transport};lr>\n\
             reg_identity=sip:{user}@{domain}\nreg_expires=120\nreg_sendregister=1\npublish=0\n\
             [auth_info_0]\nusername={user}\nuserid={user}\npasswd={password}\n"
        );
    }
    text
}
