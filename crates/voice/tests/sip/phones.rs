//! A real softphone: baresip registers, calls and is called, by UDP, TCP and TLS, plain and with SRTP.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use media::codec::CodecKind;
use voice::Target;
use voice::cause::Cause;
use voice::leg::{LegEvent, PlayMode, Playable};

use crate::harness::{MapPorts, Server, certificate, config};

/// Modules of Debian's baresip.
const MODULES: &str = "/usr/lib/baresip/modules";

/// A running baresip; ends with its handle.
struct Baresip {
    child: Child,
    dir: tempfile::TempDir,
}

impl Drop for Baresip {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Baresip {
    /// Starts it with one account that answers by itself. It plays a tone and writes down what it hears.
    fn start(server: SocketAddr, transport: &str, codec: &str, extra: &str, dial: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The file has the codec's own rate and channels: this baresip does not convert.
        let file = dir.path().join("tone.wav");
        let mut parts = codec.split('/').skip(1);
        tone(&file, parts.next().unwrap(), parts.next().unwrap());
        let config = format!(
            "sip_listen 127.0.0.1:0\nmodule_path {MODULES}\nmodule stdio.so\nmodule g711.so\nmodule g722.so\n\
             module opus.so\nmodule srtp.so\nmodule aufile.so\nmodule aubridge.so\nmodule sndfile.so\nmodule account.so\nmodule menu.so\n\
             audio_source aufile,{}\naudio_player aubridge,x\nsnd_path {}\n\
             audio_channels 1-2\nrtp_ports 50000-59999\nsip_verify_server no\n",
            file.display(),
            dir.path().display(),
        );
        fs::write(dir.path().join("config"), config).unwrap();
        let account = format!(
            "<sip:1001@{server};transport={transport}>;auth_pass=pw-1001;answermode=auto;audio_codecs={codec};regint=120{extra}\n"
        );
        fs::write(dir.path().join("accounts"), account).unwrap();
        fs::write(dir.path().join("contacts"), "").unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new("baresip");
        command.arg("-f").arg(dir.path()).args(["-v", "-s"]);
        if let Some(uri) = dial {
            command.args(["-e", &format!("/dial {uri}")]);
        }
        let child = command
            .stdin(Stdio::piped())
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .expect("baresip is installed");
        Self { child, dir }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Waits for the registration.
    async fn registered(&self, server: &Server) -> voice::ports::Binding {
        registration(server, || self.log()).await
    }

    /// What it heard in its last call.
    fn heard(&self) -> PathBuf {
        let files = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut dumps: Vec<_> = files.filter(|file| file.to_string_lossy().ends_with("-dec.wav")).collect();
        dumps.sort();
        dumps.pop().unwrap_or_else(|| panic!("baresip heard nothing:\n{}", self.log()))
    }
}

/// A tone of 600 Hz that is long enough for any test.
fn tone(file: &Path, rate: &str, channels: &str) {
    let made = Command::new("sox")
        .args(["-n", "-r", rate, "-b", "16", "-c", channels])
        .arg(file)
        .args(["synth", "20", "sine", "600", "gain", "-6"])
        .status()
        .expect("sox is installed");
    assert!(made.success());
}

/// Waits for the phone's registration.
async fn registration(server: &Server, log: impl Fn() -> String) -> voice::ports::Binding {
    for _ in 0..250 {
        let binding = server.ports.bindings.lock().unwrap().get("1001").and_then(|all| all.first().cloned());
        if let Some(binding) = binding {
            return binding;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the phone did not register:\n{}", log());
}

/// Waits for a recording.
async fn ready(events: &mut crate::harness::Events) {
    loop {
        match events.next().await {
            LegEvent::RecordingReady { .. } => return,
            LegEvent::RecordingFailed { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
}

/// Waits for the leg's answer and gives its codec.
async fn answered(events: &mut crate::harness::Events) -> CodecKind {
    loop {
        match events.next().await {
            LegEvent::Answered { codec } => return codec,
            LegEvent::Ended(end) => panic!("{end:?}"),
            _ => {}
        }
    }
}

/// The loudest of a few frequencies in a recording.
fn loudest(file: &Path, candidates: &[f64]) -> (f64, f64) {
    let mut reader = hound::WavReader::open(file).unwrap();
    let spec = reader.spec();
    let samples: Vec<f64> =
        reader.samples::<i16>().filter_map(Result::ok).step_by(usize::from(spec.channels)).map(f64::from).collect();
    assert!(samples.len() > 4_000, "{} samples in {}", samples.len(), file.display());
    // Piece by piece: a phone that slips by a few samples changes the phase, not what a listener hears.
    let heard = &samples[samples.len() / 8..];
    let piece = (spec.sample_rate / 10) as usize;
    let power = |frequency: f64| {
        let step = std::f64::consts::TAU * frequency / f64::from(spec.sample_rate);
        let pieces: Vec<f64> = heard
            .chunks_exact(piece)
            .map(|samples| {
                let (sine, cosine) = samples.iter().enumerate().fold((0.0, 0.0), |(sine, cosine), (n, sample)| {
                    let phase = step * n as f64;
                    (sine + sample * phase.sin(), cosine + sample * phase.cos())
                });
                sine.hypot(cosine) / piece as f64
            })
            .collect();
        pieces.iter().sum::<f64>() / pieces.len() as f64
    };
    candidates.iter().map(|frequency| (*frequency, power(*frequency))).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_is_called_in_each_codec() {
    for (name, kind) in [
        ("PCMU/8000/1", CodecKind::Pcmu),
        ("PCMA/8000/1", CodecKind::Pcma),
        ("G722/16000/1", CodecKind::G722),
        ("opus/48000/2", CodecKind::Opus),
    ] {
        let server = Server::start().await;
        let phone = Baresip::start(server.sip, "udp", name, "", None);
        let binding = phone.registered(&server).await;
        let (leg, mut events) = server.dial(Target::Binding(binding), 10_000);
        assert_eq!(answered(&mut events).await, kind, "{}", phone.log());
        leg.play(1, Playable::Ringback, PlayMode::FOREVER);
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        leg.hangup(Cause::Normal);
        assert_eq!(events.end().await.cause, Cause::Normal);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (frequency, power) = loudest(&phone.heard(), &[425.0, 440.0, 480.0, 400.0, 450.0, 1_000.0]);
        assert!(power > 100.0 && frequency < 500.0, "{name}: {frequency} Hz at {power}\n{}", phone.log());
        server.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_calls_by_each_transport_with_and_without_srtp() {
    let dir = tempfile::tempdir().unwrap();
    let tls = certificate(dir.path());
    for (transport, srtp) in [("udp", true), ("tcp", false), ("tls", true), ("tls", false)] {
        let mut config = config();
        config.tls = Some(tls.clone());
        let ports = MapPorts::default();
        *ports.srtp.lock().unwrap() = srtp;
        let mut server = Server::with(config, ports).await;
        let addr = if transport == "tls" { server.voice.local_tls()[0] } else { server.sip };
        let extra = if srtp { ";mediaenc=srtp-mand" } else { "" };
        let uri = format!("sip:2000@{addr};transport={transport}");
        let phone = Baresip::start(addr, transport, "PCMA/8000/1", extra, Some(&uri));
        let binding = phone.registered(&server).await;
        assert_eq!(binding.transport.as_str(), transport);
        let (incoming, mut events) = server.next_call().await;
        let recording = phone.dir.path().join("ours.wav");
        incoming.leg.answer();
        assert_eq!(answered(&mut events).await, CodecKind::Pcma, "{transport} {}", phone.log());
        incoming.leg.record(voice::leg::RecordCommand::Start {
            id: "rec_1".into(),
            path: recording.clone(),
            rate: 8_000,
        });
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        incoming.leg.hangup(Cause::Normal);
        ready(&mut events).await;
        let (frequency, power) = loudest(&recording, &[600.0, 300.0, 1_200.0]);
        assert!(
            power > 100.0 && frequency == 600.0,
            "{transport} srtp={srtp}: {frequency} Hz at {power}\n{}",
            phone.log()
        );
        // The same phone is called back on the flow it registered by.
        let (leg, mut events) = server.dial(Target::Binding(phone.registered(&server).await), 10_000);
        answered(&mut events).await;
        leg.hangup(Cause::Normal);
        events.end().await;
        drop(incoming);
        server.settle().await;
    }
}

/// A running linphonec; ends with its handle.
struct Linphone {
    child: Child,
    dir: tempfile::TempDir,
}

impl Drop for Linphone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Linphone {
    /// Starts it with one account that answers by itself, speaking one codec. It plays a tone and writes
    /// down what it hears.
    fn start(server: SocketAddr, transport: &str, codec: (&str, u32), srtp: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".local/share/linphone")).unwrap();
        tone(&dir.path().join("tone.wav"), "16000", "1");
        let codecs: String = (0..)
            .zip([
                ("opus", 48_000, 2),
                ("G722", 8_000, 1),
                ("PCMU", 8_000, 1),
                ("PCMA", 8_000, 1),
                ("speex", 8_000, 1),
                ("speex", 16_000, 1),
            ])
            .map(|(n, (mime, rate, channels))| {
                let enabled = u8::from((mime, rate) == codec);
                format!("[audio_codec_{n}]\nmime={mime}\nrate={rate}\nchannels={channels}\nenabled={enabled}\n")
            })
            .collect();
        let encryption = if srtp { "srtp" } else { "none" };
        let rc = format!(
            "[sip]\nsip_port=-1\nsip_tcp_port=-1\nsip_tls_port=-1\ndefault_proxy=0\nverify_server_certs=0\nverify_server_cn=0\n\
             media_encryption={encryption}\nmedia_encryption_mandatory={}\n[rtp]\naudio_rtp_port=-1\n\
             [proxy_0]\nreg_proxy=<sip:{server};transport={transport}>\nreg_identity=sip:1001@127.0.0.1\nreg_expires=120\n\
             reg_sendregister=1\npublish=0\n[auth_info_0]\nusername=1001\npasswd=pw-1001\nrealm=tandem\n{codecs}",
            u8::from(srtp)
        );
        fs::write(dir.path().join("rc"), rc).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let mut child = Command::new("linphonec")
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .args(["-c", "rc", "-a", "-d", "6", "-l", "detail"])
            .stdin(Stdio::piped())
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .expect("linphonec is installed");
        let stdin = child.stdin.as_mut().unwrap();
        stdin.write_all(b"soundcard use files\nplay tone.wav\nrecord heard.wav\n").unwrap();
        stdin.flush().unwrap();
        Self { child, dir }
    }

    fn say(&mut self, command: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{command}\n").as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        let detail = read("detail");
        let end = detail.len().saturating_sub(20_000);
        format!("{}\n{}", read("log"), detail.get(end..).unwrap_or_default())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linphone_registers_calls_and_is_called() {
    let dir = tempfile::tempdir().unwrap();
    let tls = certificate(dir.path());
    for (transport, codec, kind, srtp) in [
        ("udp", ("opus", 48_000), CodecKind::Opus, false),
        ("tcp", ("G722", 8_000), CodecKind::G722, true),
        ("tls", ("PCMA", 8_000), CodecKind::Pcma, true),
        ("udp", ("PCMU", 8_000), CodecKind::Pcmu, false),
    ] {
        let ports = MapPorts::default();
        *ports.srtp.lock().unwrap() = srtp;
        let mut config = config();
        config.tls = Some(tls.clone());
        let mut server = Server::with(config, ports).await;
        let addr = if transport == "tls" { server.voice.local_tls()[0] } else { server.sip };
        let mut phone = Linphone::start(addr, transport, codec, srtp);
        let binding = registration(&server, || phone.log()).await;
        assert_eq!(binding.transport.as_str(), transport);
        let (leg, mut events) = server.dial(Target::Binding(binding), 10_000);
        assert_eq!(answered(&mut events).await, kind, "{}", phone.log());
        let recording = phone.dir.path().join("ours.wav");
        leg.play(1, Playable::Ringback, PlayMode::FOREVER);
        leg.record(voice::leg::RecordCommand::Start { id: "rec_1".into(), path: recording.clone(), rate: 8_000 });
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        leg.hangup(Cause::Normal);
        ready(&mut events).await;
        let (frequency, power) = loudest(&recording, &[600.0, 300.0, 1_200.0]);
        assert!(
            power > 100.0 && frequency == 600.0,
            "{transport} {codec:?}: {frequency} Hz at {power}\n{}",
            phone.log()
        );
        let heard = phone.dir.path().join("heard.wav");
        for _ in 0..100 {
            // Its header is written when the call's streams are closed.
            if hound::WavReader::open(&heard).is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (frequency, power) = loudest(&heard, &[425.0, 440.0, 480.0, 400.0, 450.0, 1_000.0]);
        assert!(
            power > 100.0 && frequency < 500.0,
            "{transport} {codec:?}: {frequency} Hz at {power}\n{}",
            phone.log()
        );

        phone.say(&format!("call sip:2000@{addr};transport={transport}"));
        let (incoming, mut events) = server.next_call().await;
        incoming.leg.answer();
        assert_eq!(answered(&mut events).await, kind, "{}", phone.log());
        phone.say("terminate all");
        assert_eq!(events.end().await.cause, Cause::Normal);
        drop(incoming);
        server.settle().await;
    }
}
