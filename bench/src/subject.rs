//! The servers under test: how each is started on one pinned core, set up to take a number on one
//! leg or on two, and stopped. A subject ends when it is dropped.

use std::fs;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process;

/// The core that the server gets; the generator takes the others.
const SERVER_CORE: &str = "0";
/// How long a server may take to answer for the first time.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A number whose call stays on one leg.
pub(crate) const ONE_LEG: &str = "+442071838001";
/// A number that is connected to the generator's callee side.
pub(crate) const TWO_LEGS: &str = "+442071838002";
/// A number that plays a prompt of about five seconds.
pub(crate) const PROMPT: &str = "+442071838003";
/// A number that leads into a conference.
pub(crate) const MEETING: &str = "+442071838004";
/// The callee of [`TWO_LEGS`].
const CALLEE: &str = "+442071838999";
/// About five seconds when spoken.
const SENTENCE: &str =
    "Welcome. Your call is important to us, and this sentence takes about five seconds to say from start to end.";

/// A running server.
pub(crate) struct Subject {
    /// Name in the table.
    pub(crate) name: &'static str,
    /// Where it takes calls.
    pub(crate) sip: SocketAddr,
    /// Where its API is; a proxy has none.
    pub(crate) http: Option<SocketAddr>,
    /// From exec to the first answered OPTIONS.
    pub(crate) start_up: Duration,
    binary: PathBuf,
    children: Vec<Child>,
    directory: PathBuf,
}

impl Subject {
    /// CPU time of all its processes.
    pub(crate) fn cpu(&self) -> Duration {
        process::cpu(&self.pids())
    }

    /// Resident memory of all its processes, bytes.
    pub(crate) fn memory(&self) -> u64 {
        process::memory(&self.pids())
    }

    /// Makes a person with an extension; its token.
    ///
    /// # Errors
    /// A sentence that says what went wrong.
    pub(crate) fn person(&self, extension: &str) -> Result<String, String> {
        let name = format!("Person {extension}");
        let words = ["user", "create", name.as_str(), "--org", "bench", "--extension", extension];
        let made = self.verb(&words)?;
        let token = made.get("auth_token").and_then(serde_json::Value::as_str);
        token.map(str::to_owned).ok_or_else(|| "user create printed no auth_token".to_owned())
    }

    /// Runs a verb beside it; what it prints as JSON.
    ///
    /// # Errors
    /// A sentence that says what went wrong.
    pub(crate) fn verb(&self, words: &[&str]) -> Result<serde_json::Value, String> {
        verb(&self.binary, &self.directory, words)
    }

    /// A server that is reached by HTTP alone; returns once it answers there.
    ///
    /// # Errors
    /// A sentence that says what went wrong.
    pub(crate) fn on_http(
        name: &'static str,
        binary: PathBuf,
        directory: PathBuf,
        mut command: Command,
        server: SocketAddr,
    ) -> Result<Self, String> {
        let begun = Instant::now();
        let said = fs::File::create(directory.join("said")).map_err(|error| error.to_string())?;
        let child = command.stderr(said).spawn().map_err(|error| format!("{name}: {error}"))?;
        let mut subject = Self {
            name,
            sip: server,
            http: Some(server),
            start_up: Duration::ZERO,
            binary,
            children: vec![child],
            directory,
        };
        await_http(server.port())?;
        subject.start_up = begun.elapsed();
        Ok(subject)
    }

    fn pids(&self) -> Vec<u32> {
        self.children.iter().flat_map(|child| process::family(child.id())).collect()
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        for child in &mut self.children {
            // SIGTERM first, so that a proxy ends the workers it forked.
            let _asked = Command::new("kill").arg(child.id().to_string()).status();
            let until = Instant::now() + Duration::from_secs(12);
            while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(50));
            }
            let _killed = child.kill();
            let _reaped = child.wait();
        }
        let _removed = fs::remove_dir_all(&self.directory);
    }
}

/// A port of loopback that was free a moment ago, for TCP and UDP.
pub(crate) fn free_port() -> Result<u16, String> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    Ok(socket.local_addr().map_err(|error| error.to_string())?.port())
}

/// A new folder for a server.
pub(crate) fn directory(name: &str) -> Result<PathBuf, String> {
    let path = std::env::temp_dir().join(format!("tandem-bench-{name}-{}", std::process::id()));
    let _old = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// A program on the core of the servers.
pub(crate) fn pinned(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CORE]).arg(program).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Runs a verb of Tandem's on the data in `data`; what it prints as JSON.
fn verb(binary: &Path, data: &Path, words: &[&str]) -> Result<serde_json::Value, String> {
    let done = Command::new(binary)
        .args(words)
        .arg("--data")
        .arg(data)
        .arg("--json")
        .output()
        .map_err(|error| format!("{}: {error}", binary.display()))?;
    if !done.status.success() {
        return Err(format!("tandem {}: {}", words.join(" "), String::from_utf8_lossy(&done.stderr).trim()));
    }
    serde_json::from_slice(&done.stdout).map_err(|error| format!("tandem {}: {error}", words.join(" ")))
}

/// Starts Tandem from `binary` with one trunk, the generator at `trunk`.
///
/// # Errors
/// A sentence that says which step failed.
pub(crate) fn tandem(binary: &Path, trunk: SocketAddr) -> Result<Subject, String> {
    let data = directory("tandem")?;
    let (http, sip) = (free_port()?, free_port()?);
    let limits = "[limits]\ncalls_per_second = 100000\nconcurrent_calls = 100000\n\
                  requests_per_minute_per_ip = 0\nrequests_per_minute_per_token = 0\n";
    fs::write(data.join("tandem.toml"), limits).map_err(|error| error.to_string())?;
    let verb = |words: &[&str]| verb(binary, &data, words);
    verb(&["org", "create", "Bench", "--slug", "bench"])?;
    verb(&[
        "trunk",
        "add",
        "generator",
        "--org",
        "bench",
        "--target",
        &trunk.to_string(),
        "--caller-id",
        "+442071838000",
    ])?;
    let flows = [
        (ONE_LEG, serde_json::json!([{"id": "1", "type": "pause", "seconds": 600}])),
        (TWO_LEGS, serde_json::json!([{"id": "1", "type": "connect", "number": CALLEE}])),
        (MEETING, serde_json::json!([{"id": "1", "type": "conference", "room": "bench", "max": 100}])),
        (
            PROMPT,
            serde_json::json!([{"id": "1", "type": "play", "text": SENTENCE, "next_step": "2"}, {"id": "2", "type": "hangup"}]),
        ),
    ];
    for (number, flow) in flows {
        let file = data.join(format!("{number}.json"));
        fs::write(&file, serde_json::json!({ "flow": flow }).to_string()).map_err(|error| error.to_string())?;
        let saved = verb(&["flow", "save", &file.to_string_lossy(), "--org", "bench", "--name", number])?;
        let id = saved.get("id").and_then(serde_json::Value::as_str).ok_or("flow save printed no id")?.to_owned();
        verb(&["number", "add", number, "--org", "bench", "--to", &format!("flow:{id}")])?;
    }
    let sip: SocketAddr = ([127, 0, 0, 1], sip).into();
    let begun = Instant::now();
    let child = pinned(binary)
        .args([
            "serve",
            "--http",
            &format!("127.0.0.1:{http}"),
            "--sip",
            &sip.to_string(),
            "--rtp-ports",
            "20000-29999",
            "--rtc",
            "127.0.0.1:0",
        ])
        .arg("--data")
        .arg(&data)
        .stderr(fs::File::create(data.join("log")).map_err(|error| error.to_string())?)
        .spawn()
        .map_err(|error| format!("tandem serve: {error}"))?;
    let mut subject = Subject {
        name: "Tandem",
        sip,
        http: Some(([127, 0, 0, 1], http).into()),
        start_up: Duration::ZERO,
        binary: binary.to_owned(),
        children: vec![child],
        directory: data,
    };
    subject.start_up = await_options(sip, begun)?;
    await_http(http)?;
    Ok(subject)
}

/// Starts kamailio as a stateful proxy with rtpengine in user space, both on the pinned core.
/// `Ok(None)` when one of them is not installed.
///
/// # Errors
/// A sentence that says which step failed.
pub(crate) fn kamailio(callee: SocketAddr, media: bool) -> Result<Option<Subject>, String> {
    let (Some(kamailio), Some(rtpengine)) = (find("kamailio"), find("rtpengine")) else {
        return Ok(None);
    };
    let directory = directory("kamailio")?;
    let (sip, control) = (free_port()?, free_port()?);
    let sip: SocketAddr = ([127, 0, 0, 1], sip).into();
    let config = directory.join("kamailio.cfg");
    fs::write(&config, kamailio_config(sip, callee, media.then_some(control))).map_err(|error| error.to_string())?;
    let mut children = Vec::new();
    if media {
        let engine = pinned(&rtpengine)
            .args([
                "--interface=127.0.0.1",
                &format!("--listen-ng=127.0.0.1:{control}"),
                "--table=-1",
                "--foreground",
                "--log-level=3",
            ])
            .args(["--port-min=30000", "--port-max=39999", "--num-threads=1", "--pidfile"])
            .arg(directory.join("rtpengine.pid"))
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("rtpengine: {error}"))?;
        children.push(engine);
        await_ping(control)?;
    }
    let begun = Instant::now();
    // -x fm: Debian's default allocator is 2.4 times slower; the fast one is the fair peer.
    let proxy = pinned(&kamailio)
        .args(["-DD", "-E", "-x", "fm", "-m", "512", "-M", "32", "-f"])
        .arg(&config)
        .arg("-Y")
        .arg(&directory)
        .stderr(fs::File::create(directory.join("log")).map_err(|error| error.to_string())?)
        .spawn()
        .map_err(|error| format!("kamailio: {error}"))?;
    children.insert(0, proxy);
    let name = if media { "kamailio+rtpengine" } else { "kamailio" };
    let mut subject =
        Subject { name, sip, http: None, start_up: Duration::ZERO, binary: kamailio, children, directory };
    subject.start_up = await_options(sip, begun)?;
    Ok(Some(subject))
}

fn kamailio_config(sip: SocketAddr, callee: SocketAddr, control: Option<u16>) -> String {
    let (load, offer, answer, end) = match control {
        None => (String::new(), "", "", ""),
        Some(port) => (
            format!(
                "loadmodule \"rtpengine.so\"\nmodparam(\"rtpengine\", \"rtpengine_sock\", \"udp:127.0.0.1:{port}\")\n"
            ),
            "rtpengine_offer(\"replace-origin ICE=remove\");",
            "if (has_body(\"application/sdp\")) rtpengine_answer(\"replace-origin ICE=remove\");",
            "if (is_method(\"BYE\")) rtpengine_delete();",
        ),
    };
    format!(
        "debug=0\nlog_stderror=yes\nchildren=2\nlisten=udp:{sip}\nauto_aliases=no\ndns=no\nrev_dns=no\n\
         loadmodule \"kex.so\"\nloadmodule \"tm.so\"\nloadmodule \"sl.so\"\nloadmodule \"rr.so\"\nloadmodule \"pv.so\"\nloadmodule \"textops.so\"\nloadmodule \"siputils.so\"\n{load}\
         request_route {{\n\
           if (is_method(\"OPTIONS\")) {{ sl_send_reply(\"200\", \"OK\"); exit; }}\n\
           if (has_totag()) {{ loose_route(); {end} t_relay(); exit; }}\n\
           if (!is_method(\"INVITE\")) {{ sl_send_reply(\"405\", \"No\"); exit; }}\n\
           record_route(); {offer} $du = \"sip:{callee}\"; t_on_reply(\"1\");\n\
           if (!t_relay()) sl_reply_error();\n\
         }}\n\
         onreply_route[1] {{ {answer} return; }}\n"
    )
}

/// The program of that name on PATH or among the system's daemons.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|place| place.join(program))
        .find(|file| file.is_file())
}

fn await_options(sip: SocketAddr, begun: Instant) -> Result<Duration, String> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    socket.set_read_timeout(Some(Duration::from_millis(5))).map_err(|error| error.to_string())?;
    let local = socket.local_addr().map_err(|error| error.to_string())?;
    let mut buffer = [0; 4096];
    for attempt in 0.. {
        let options = format!(
            "OPTIONS sip:{sip} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKo{attempt};rport\r\nMax-Forwards: 70\r\nFrom: <sip:bench@{local}>;tag=o\r\n\
             To: <sip:{sip}>\r\nCall-ID: options-{attempt}\r\nCSeq: 1 OPTIONS\r\nContact: <sip:bench@{local}>\r\nContent-Length: 0\r\n\r\n"
        );
        let _sent = socket.send_to(options.as_bytes(), sip);
        if socket.recv(&mut buffer).is_ok() {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > START_LIMIT {
            return Err(format!("nothing answers SIP on {sip}"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Err("out of attempts".to_owned())
}

/// Waits for the relay's control port: a proxy that starts before it goes on without it.
fn await_ping(control: u16) -> Result<(), String> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    socket.set_read_timeout(Some(Duration::from_millis(50))).map_err(|error| error.to_string())?;
    let until = Instant::now() + START_LIMIT;
    while Instant::now() < until {
        let _sent = socket.send_to(b"1 d7:command4:pinge", ("127.0.0.1", control));
        if socket.recv(&mut [0; 64]).is_ok() {
            return Ok(());
        }
    }
    Err(format!("rtpengine does not answer on port {control}"))
}

fn await_http(port: u16) -> Result<(), String> {
    let until = Instant::now() + START_LIMIT;
    while Instant::now() < until {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(format!("nothing answers HTTP on port {port}"))
}
