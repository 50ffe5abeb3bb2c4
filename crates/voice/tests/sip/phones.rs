//! A real softphone: baresip registers, calls and is called, by UDP, TCP and TLS, plain and with SRTP.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use media::codec::CodecKind;
use voice::cause::Cause;
use voice::leg::{LegEvent, PlayMode, Playable};
use voice::{Target, TlsConfig};

use crate::harness::{MapPorts, Server, config};

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
        let tone = dir.path().join("tone.wav");
        // The file has the codec's own rate and channels: this baresip does not convert.
        let mut parts = codec.split('/').skip(1);
        let (rate, channels) = (parts.next().unwrap(), parts.next().unwrap());
        let made = Command::new("sox")
            .args(["-n", "-r", rate, "-b", "16", "-c", channels])
            .arg(&tone)
            .args(["synth", "20", "sine", "600", "gain", "-6"])
            .status()
            .expect("sox is installed");
        assert!(made.success());
        let config = format!(
            "sip_listen 127.0.0.1:0\nmodule_path {MODULES}\nmodule stdio.so\nmodule g711.so\nmodule g722.so\n\
             module opus.so\nmodule srtp.so\nmodule aufile.so\nmodule aubridge.so\nmodule sndfile.so\nmodule account.so\nmodule menu.so\n\
             audio_source aufile,{}\naudio_player aubridge,x\nsnd_path {}\n\
             audio_channels 1-2\nrtp_ports 50000-59999\nsip_verify_server no\n",
            tone.display(),
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
        for _ in 0..250 {
            let binding = server.ports.bindings.lock().unwrap().get("1001").and_then(|all| all.first().cloned());
            if let Some(binding) = binding {
                return binding;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("baresip did not register:\n{}", self.log());
    }

    /// What it heard in its last call.
    fn heard(&self) -> PathBuf {
        let files = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut dumps: Vec<_> = files.filter(|file| file.to_string_lossy().ends_with("-dec.wav")).collect();
        dumps.sort();
        dumps.pop().unwrap_or_else(|| panic!("baresip heard nothing:\n{}", self.log()))
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
    let tail = &samples[samples.len() / 2..];
    let power = |frequency: f64| {
        let step = std::f64::consts::TAU * frequency / f64::from(spec.sample_rate);
        let (sine, cosine) = tail.iter().enumerate().fold((0.0, 0.0), |(sine, cosine), (n, sample)| {
            let phase = step * n as f64;
            (sine + sample * phase.sin(), cosine + sample * phase.cos())
        });
        sine.hypot(cosine) / tail.len() as f64
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
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .stderr(Stdio::null())
        .status()
        .expect("openssl is installed");
    assert!(made.success());
    for (transport, srtp) in [("udp", true), ("tcp", false), ("tls", true), ("tls", false)] {
        let mut config = config();
        config.tls = Some(TlsConfig {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            cert_file: cert.clone(),
            key_file: key.clone(),
        });
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
        loop {
            match events.next().await {
                LegEvent::RecordingReady { .. } => break,
                LegEvent::RecordingFailed { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
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
