//! What is measured, one function a unit of work. Every figure is CPU time of the whole server
//! process (children included) over the units of work done, on one pinned core.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use media::codec::CodecKind;

use crate::Options;
use crate::audio::{self, Heard, Side};
use crate::browser::Browsers;
use crate::chat;
use crate::load::{Generator, Outcome, Plan, quantile};
use crate::meetings;
use crate::process;
use crate::report::Row;
use crate::subject::{self, MEETING, ONE_LEG, PROMPT, Subject, TWO_LEGS};

/// How long finished transactions linger (RFC 3261 timers: 32 s) before memory is read again.
const LINGER: Duration = Duration::from_secs(40);
type Scenario = fn(&Options) -> Done<Vec<Row>>;
type Done<T = ()> = Result<T, String>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A generator with its two audio sides.
struct Bench {
    generator: Generator,
    trunk: SocketAddr,
    sides: [Side; 2],
}

impl Bench {
    fn new() -> Done<Self> {
        let ip = std::net::IpAddr::from([127, 0, 0, 1]);
        let trunk: SocketAddr = (ip, subject::free_port()?).into();
        let generator = Generator::bind(trunk).map_err(text)?;
        Ok(Self { generator, trunk, sides: [Side::bind(ip).map_err(text)?, Side::bind(ip).map_err(text)?] })
    }

    fn plan(&self, subject: &Subject, number: &str, calls: usize, rate: f64, hold: Duration) -> Plan {
        let audio = [self.sides[0].address, self.sides[1].address];
        let (number, codecs) = (number.to_owned(), &[CodecKind::Pcmu]);
        Plan { server: subject.sip, number, calls, rate, hold, audio, legs: 1, codecs }
    }

    fn run(&mut self, plan: &Plan) -> Done<Outcome> {
        self.generator.run(plan, |_| {}).map_err(text)
    }
}

/// CPU milliseconds a call: a warm-up, then `calls` at `rate`, all of which must complete.
fn cost_per_call(bench: &mut Bench, subject: &Subject, number: &str, calls: usize, rate: f64) -> Done<(f64, Outcome)> {
    bench.run(&bench.plan(subject, number, calls / 10, rate, Duration::ZERO))?;
    let before = subject.cpu();
    let outcome = bench.run(&bench.plan(subject, number, calls, rate, Duration::ZERO))?;
    std::thread::sleep(Duration::from_millis(500));
    let spent = subject.cpu() - before;
    if outcome.completed != calls {
        return Err(format!(
            "{}: of {calls} calls to {number} {} completed, refused {:?}, lost {}, dropped {}",
            subject.name, outcome.completed, outcome.refused, outcome.lost, outcome.dropped
        ));
    }
    Ok((spent.as_secs_f64() * 1000.0 / calls as f64, outcome))
}

/// What a bridged run showed.
struct Bridged {
    cpu_ms_per_call_second: f64,
    sent: u64,
    heard: Heard,
    kilobytes_per_call: f64,
}

/// `calls` calls on two legs with audio both ways for `duration`.
fn bridged(bench: &mut Bench, subject: &Subject, calls: usize, duration: Duration, talk: bool) -> Done<Bridged> {
    let plan = Plan { legs: 2, ..bench.plan(subject, TWO_LEGS, calls, 100.0, duration + Duration::from_secs(4)) };
    let memory_before = subject.memory();
    let Bench { generator, sides, .. } = bench;
    let mut measured = Err("the calls were never all up".to_owned());
    let outcome = generator
        .run(&plan, |up| {
            // The audio runs in threads of its own while this thread waits: the signalling of held
            // calls needs no attention until the first BYE is due.
            measured = measure_audio(subject, sides, up, calls, duration, talk, memory_before);
        })
        .map_err(text)?;
    let bridged = measured?;
    if outcome.completed + outcome.dropped != calls {
        return Err(format!(
            "{}: of {calls} bridged calls {} completed, refused {:?}, lost {}",
            subject.name, outcome.completed, outcome.refused, outcome.lost
        ));
    }
    Ok(bridged)
}

fn measure_audio(
    subject: &Subject,
    sides: &[Side; 2],
    up: &Outcome,
    calls: usize,
    duration: Duration,
    talk: bool,
    memory_before: u64,
) -> Done<Bridged> {
    let media = up.media.clone();
    if media.iter().any(|side| side.len() != calls) {
        return Err(format!(
            "{}: {} callers and {} callees of {calls} have audio; refused {:?}",
            subject.name,
            media[0].len(),
            media[1].len(),
            up.refused
        ));
    }
    let kilobytes_per_call = subject.memory().saturating_sub(memory_before) as f64 / 1000.0 / calls as f64;
    if !talk {
        return Ok(Bridged { cpu_ms_per_call_second: 0.0, sent: 0, heard: Heard::default(), kilobytes_per_call });
    }
    let [callers, callees] = media;
    // A first second locks the sources on both legs; it is not counted.
    let lead = Instant::now();
    for (side, peers) in [(&sides[0], callers.clone()), (&sides[1], callees.clone())] {
        side.talk(peers, lead, Duration::from_secs(1))
            .map_err(text)?
            .join()
            .map_err(|_| "a sender panicked".to_owned())?;
    }
    let epoch = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::sleep(Duration::from_millis(200));
    drain(sides)?;
    let ears =
        [sides[0].listen(epoch, calls, &stop).map_err(text)?, sides[1].listen(epoch, calls, &stop).map_err(text)?];
    let before = subject.cpu();
    let mouths = [
        sides[0].talk(callers, epoch, duration).map_err(text)?,
        sides[1].talk(callees, epoch, duration).map_err(text)?,
    ];
    let sent = mouths.into_iter().map(|mouth| mouth.join().unwrap_or(0)).sum();
    let spent = subject.cpu() - before;
    std::thread::sleep(Duration::from_millis(300));
    stop.store(true, Ordering::Relaxed);
    let mut heard = Heard::default();
    for ear in ears {
        let side = ear.join().map_err(|_| "a listener panicked".to_owned())?;
        heard.received += side.received;
        heard.foreign += side.foreign;
        heard.delay_us.extend(side.delay_us);
        heard.jitter_us.extend(side.jitter_us);
    }
    let call_seconds = calls as f64 * duration.as_secs_f64();
    Ok(Bridged { cpu_ms_per_call_second: spent.as_secs_f64() * 1000.0 / call_seconds, sent, heard, kilobytes_per_call })
}

/// Throws away what arrived before the measurement.
fn drain(sides: &[Side; 2]) -> Done {
    let stop = Arc::new(AtomicBool::new(false));
    let ears = [
        sides[0].listen(Instant::now(), 0, &stop).map_err(text)?,
        sides[1].listen(Instant::now(), 0, &stop).map_err(text)?,
    ];
    std::thread::sleep(Duration::from_millis(100));
    stop.store(true, Ordering::Relaxed);
    for ear in ears {
        let _heard = ear.join();
    }
    Ok(())
}

/// The loss check of `./test`: a few bridged calls for a few seconds, nothing may be lost.
///
/// # Errors
/// What went wrong, or how many packets were lost.
pub(crate) fn smoke(options: &Options) -> Done {
    const CALLS: usize = 20;
    let mut bench = Bench::new()?;
    let tandem = subject::tandem(&options.tandem, bench.trunk)?;
    let run = bridged(&mut bench, &tandem, CALLS, Duration::from_secs(5), true)?;
    let lost = run.sent.saturating_sub(run.heard.received);
    println!("{CALLS} bridged calls for 5 s: {} packets sent, {lost} lost", run.sent);
    if lost == 0 { Ok(()) } else { Err(format!("{lost} packets lost")) }
}

/// Every scenario that `options` does not leave out, as a table.
///
/// # Errors
/// The first scenario that did not work.
pub(crate) fn all(options: &Options) -> Done {
    println!(
        "peers: kamailio {}, rtpengine {}, Asterisk {}, FreeSWITCH {}, socket.io {}, prosody {}",
        found("kamailio"),
        found("rtpengine"),
        found("asterisk"),
        found("freeswitch"),
        if chat::has_socketio() { "found" } else { "not installed" },
        found("prosody")
    );
    let scenarios: [(&str, Scenario); 14] = [
        ("start", start),
        ("calls", calls),
        ("bridged", relayed),
        ("prompt", prompt),
        ("conference", conference),
        ("browsers", browsers),
        ("held", held),
        ("memory", memory),
        ("overload", overload),
        ("meetings", meetings::opened),
        ("chat calls", chat::documented),
        ("chat resume", chat::resume),
        ("chat fan-out", chat::fan_out),
        ("chat messages", chat::talk),
    ];
    let mut failed = Vec::new();
    for (name, scenario) in scenarios {
        if options.only.as_deref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        match scenario(options) {
            Ok(rows) => rows.iter().for_each(|row| println!("{}", row.line())),
            Err(error) => {
                println!("{name}: FAILED: {error}");
                failed.push(name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("scenarios that failed: {}", failed.join(", "))) }
}

fn found(program: &str) -> &'static str {
    if subject::find(program).is_some() { "found" } else { "not installed" }
}

fn size(options: &Options, full: usize) -> usize {
    if options.quick { (full / 10).max(20) } else { full }
}

fn fresh(options: &Options) -> Done<(Bench, Subject)> {
    let bench = Bench::new()?;
    let tandem = subject::tandem(&options.tandem, bench.trunk)?;
    Ok((bench, tandem))
}

fn start(options: &Options) -> Done<Vec<Row>> {
    let (mut bench, tandem) = fresh(options)?;
    let begun = Instant::now();
    bench.run(&bench.plan(&tandem, ONE_LEG, 1, 1.0, Duration::ZERO))?;
    let first = tandem.start_up + begun.elapsed();
    std::thread::sleep(Duration::from_secs(1));
    Ok(vec![
        Row::cost("start to first answered call, s", Some(0.3)).with("Tandem", first.as_secs_f64()),
        Row::cost("idle process, MB", Some(37.0)).with("Tandem", tandem.memory() as f64 / 1e6),
    ])
}

fn calls(options: &Options) -> Done<Vec<Row>> {
    let (mut bench, tandem) = fresh(options)?;
    let (one, _) = cost_per_call(&mut bench, &tandem, ONE_LEG, size(options, 4000), 200.0)?;
    let (two, mut outcome) = cost_per_call(&mut bench, &tandem, TWO_LEGS, size(options, 2000), 100.0)?;
    let slow = bench.run(&bench.plan(&tandem, TWO_LEGS, 50, 10.0, Duration::ZERO))?;
    let mut idle = slow.answer_us;
    let mut rows = vec![
        Row::cost("one-leg call at 200/s, ms CPU", Some(0.35)).with("Tandem", one),
        Row::cost("two-leg call at 100/s, ms CPU", Some(0.8)).with("Tandem", two),
        Row::cost("two-leg call, INVITE to 200, idle server, median ms", Some(2.0))
            .with("Tandem", quantile(&mut idle, 0.5) as f64 / 1000.0),
        Row::cost("two-leg call, INVITE to 200, 100/s, p99 ms", None)
            .with("Tandem", quantile(&mut outcome.answer_us, 0.99) as f64 / 1000.0),
    ];
    drop(tandem);
    if let Some(proxy) = subject::kamailio(bench.trunk, false)? {
        let (cost, _) = cost_per_call(&mut bench, &proxy, TWO_LEGS, size(options, 2000), 100.0)?;
        if let Some(row) = rows.get_mut(1) {
            row.figures.push((proxy.name, cost));
        }
    }
    Ok(rows)
}

fn relayed(options: &Options) -> Done<Vec<Row>> {
    let seconds = if options.quick { 5 } else { 60 };
    let duration = Duration::from_secs(seconds);
    let (mut bench, tandem) = fresh(options)?;
    let mut direct = audio::direct(size(options, 200), Duration::from_secs(5)).map_err(text)?;
    let base = quantile(&mut direct.delay_us, 0.5) as f64;
    let base_jitter = quantile(&mut direct.jitter_us, 0.99) as f64;
    let count = size(options, 200);
    let mut rows = vec![
        Row::cost(&format!("{count} bridged G.711 calls for {seconds} s, ms CPU a call-second"), Some(0.6)),
        Row::cost("  packets lost", Some(0.0)),
        Row::cost("  added delay, median us", Some(60.0)),
        Row::cost("  added delay, p99 us", None),
        Row::cost("  added jitter, p99 us", None),
        Row::cost("  the generator itself, percent of a core", None),
    ];
    println!("without a server between: delay {base} us in the median, jitter p99 {base_jitter} us");
    let mut measure = |bench: &mut Bench, subject: &Subject| -> Done {
        let own = process::cpu(&[std::process::id()]);
        let mut run = bridged(bench, subject, count, duration, true)?;
        let own = (process::cpu(&[std::process::id()]) - own).as_secs_f64() / seconds as f64 * 100.0;
        let lost = run.sent as f64 - run.heard.received as f64;
        let delay = quantile(&mut run.heard.delay_us, 0.5) as f64 - base;
        let late = quantile(&mut run.heard.delay_us, 0.99) as f64 - base;
        let jitter = quantile(&mut run.heard.jitter_us, 0.99) as f64 - base_jitter;
        for (row, figure) in rows.iter_mut().zip([run.cpu_ms_per_call_second, lost, delay, late, jitter, own]) {
            row.figures.push((subject.name, figure));
        }
        Ok(())
    };
    measure(&mut bench, &tandem)?;
    let before = tandem.cpu();
    std::thread::sleep(Duration::from_secs(5));
    let idle = (tandem.cpu() - before).as_secs_f64() / 5.0 * 100.0;
    drop(tandem);
    if let Some(proxy) = subject::kamailio(bench.trunk, true)? {
        measure(&mut bench, &proxy)?;
    }
    rows.push(Row::cost("  CPU afterwards, idle, percent of a core", None).with("Tandem", idle));
    Ok(rows)
}

fn prompt(options: &Options) -> Done<Vec<Row>> {
    const HOLD: Duration = Duration::from_secs(8);
    let (mut bench, tandem) = fresh(options)?;
    let count = size(options, 100);
    bench.run(&bench.plan(&tandem, PROMPT, 1, 1.0, HOLD))?; // renders the sentence once
    let before = tandem.cpu();
    let plan = bench.plan(&tandem, PROMPT, count, 50.0, HOLD);
    let Bench { generator, sides, .. } = &mut bench;
    let mut mouth = None;
    let outcome = generator
        .run(&plan, |up| {
            // It talks in a thread of its own: the server hangs up first, and its BYE wants an answer.
            let peers = up.media.first().cloned().unwrap_or_default();
            mouth = Some(sides[0].talk(peers, Instant::now(), Duration::from_secs(5)));
        })
        .map_err(text)?;
    let spent = tandem.cpu() - before;
    let sent = match mouth {
        Some(mouth) => mouth.map_err(text)?.join().unwrap_or(0),
        None => 0,
    };
    if sent < 200 * count as u64 {
        return Err(format!("the callers sent {sent} packets only"));
    }
    if outcome.completed + outcome.dropped != count {
        return Err(format!(
            "of {count} calls {} ended; refused {:?}",
            outcome.completed + outcome.dropped,
            outcome.refused
        ));
    }
    Ok(vec![
        Row::cost("call with a 5 s prompt, caller sends audio, ms CPU", Some(3.0))
            .with("Tandem", spent.as_secs_f64() * 1000.0 / count as f64),
    ])
}

/// What a leg of a conference costs: of all codecs, and of one.
fn conference(options: &Options) -> Done<Vec<Row>> {
    const LEGS: usize = 20;
    let duration = Duration::from_secs(if options.quick { 5 } else { 30 });
    let mut rows = Vec::new();
    for (what, codecs) in [("mixed codecs", &CodecKind::ALL[..]), ("G.711 alone", &[CodecKind::Pcmu])] {
        let (mut bench, tandem) = fresh(options)?;
        let hold = duration + Duration::from_secs(4);
        let plan = Plan { codecs, ..bench.plan(&tandem, MEETING, LEGS, 50.0, hold) };
        let Bench { generator, sides, .. } = &mut bench;
        let mut met = Err("the legs were never all up".to_owned());
        let outcome = generator.run(&plan, |up| met = meet(&tandem, &sides[0], up, LEGS, duration)).map_err(text)?;
        if outcome.completed != LEGS {
            return Err(format!("of {LEGS} legs {} completed, refused {:?}", outcome.completed, outcome.refused));
        }
        let name = format!("conference of {LEGS} legs, {what}, ms CPU a second of a leg");
        rows.push(Row::cost(&name, None).with("Tandem", met?));
    }
    Ok(rows)
}

/// CPU milliseconds a second of a leg, while all of a conference talk.
fn meet(subject: &Subject, side: &Side, up: &Outcome, legs: usize, duration: Duration) -> Done<f64> {
    let speakers: Vec<_> = up.media[0].iter().copied().zip(up.codecs.iter().copied()).collect();
    if speakers.len() != legs {
        return Err(format!("{} of {legs} legs have audio; refused {:?}", speakers.len(), up.refused));
    }
    side.meet(&speakers, Duration::from_secs(1))?; // codecs and mixer are set up
    let before = subject.cpu();
    let heard = side.meet(&speakers, duration)?;
    let spent = subject.cpu() - before;
    let leg_seconds = legs as f64 * duration.as_secs_f64();
    // A leg that is mixed for hears 50 packets a second.
    if (heard as f64) < 48.0 * leg_seconds {
        return Err(format!("{heard} packets were heard in {leg_seconds} seconds of legs: there is no conference"));
    }
    Ok(spent.as_secs_f64() * 1000.0 / leg_seconds)
}

/// What a browser's leg costs, and beside it one of a SIP phone, both relayed to another of their kind.
fn browsers(options: &Options) -> Done<Vec<Row>> {
    const LEGS: usize = 40;
    let duration = Duration::from_secs(if options.quick { 5 } else { 30 });
    let (mut bench, tandem) = fresh(options)?;
    let phones = bridged(&mut bench, &tandem, LEGS / 2, duration, true)?;
    let mut browsers = Browsers::open(&tandem, LEGS)?;
    browsers.call_in_pairs()?;
    browsers.talk(Duration::from_secs(1))?;
    let before = tandem.cpu();
    let (sent, heard) = browsers.talk(duration)?;
    let spent = tandem.cpu() - before;
    let leg_seconds = LEGS as f64 * duration.as_secs_f64();
    Ok(vec![
        Row::cost(&format!("{LEGS} browsers bridged in pairs, ms CPU a second of a leg"), None)
            .with("Tandem", spent.as_secs_f64() * 1000.0 / leg_seconds),
        Row::cost("  packets lost", Some(0.0)).with("Tandem", sent.saturating_sub(heard) as f64),
        Row::cost(&format!("  {LEGS} SIP phones likewise, without encryption"), None)
            .with("Tandem", phones.cpu_ms_per_call_second / 2.0),
    ])
}

/// Always many calls: what a few take is lost in what the allocator takes at once.
fn held(options: &Options) -> Done<Vec<Row>> {
    const CALLS: usize = 500;
    let (mut bench, tandem) = fresh(options)?;
    bridged(&mut bench, &tandem, CALLS / 25, Duration::ZERO, false)?; // what the first calls set up for all
    let held = bridged(&mut bench, &tandem, CALLS, Duration::from_secs(1), false)?;
    Ok(vec![Row::cost("held bridged call, kB", Some(60.0)).with("Tandem", held.kilobytes_per_call)])
}

fn memory(options: &Options) -> Done<Vec<Row>> {
    let (mut bench, tandem) = fresh(options)?;
    let calls = size(options, 2000);
    std::thread::sleep(Duration::from_secs(2));
    let idle = tandem.memory();
    let mut after = Vec::new();
    for _ in 0..2 {
        bench.run(&bench.plan(&tandem, ONE_LEG, calls, 200.0, Duration::ZERO))?;
        std::thread::sleep(LINGER);
        after.push(tandem.memory());
    }
    let grown = |from: u64, to: u64| (to as f64 - from as f64) / 1e6;
    let first = after.first().copied().unwrap_or(0);
    let second = after.get(1).copied().unwrap_or(0);
    Ok(vec![
        Row::cost(&format!("memory 40 s after {calls} calls, MB over idle"), Some(5.0))
            .with("Tandem", grown(idle, first)),
        Row::cost(&format!("memory after {calls} more calls, MB on top"), Some(0.5))
            .with("Tandem", grown(first, second)),
    ])
}

fn overload(options: &Options) -> Done<Vec<Row>> {
    let seconds = if options.quick { 2 } else { 10 };
    let (mut bench, tandem) = fresh(options)?;
    let mut clean = bench.run(&bench.plan(&tandem, ONE_LEG, 1600 * seconds, 1600.0, Duration::ZERO))?;
    std::thread::sleep(Duration::from_secs(2));
    let mut over = bench.run(&bench.plan(&tandem, ONE_LEG, 3200 * seconds, 3200.0, Duration::ZERO))?;
    let share = clean.completed as f64 / (1600 * seconds) as f64;
    Ok(vec![
        Row::rate("1,600 one-leg calls/s offered: share that completes", Some(1.0)).with("Tandem", share),
        Row::cost("  INVITE to 200, p99 ms", None).with("Tandem", quantile(&mut clean.answer_us, 0.99) as f64 / 1000.0),
        Row::rate("3,200/s offered: calls/s that complete", Some(1440.0))
            .with("Tandem", over.completed as f64 / seconds as f64),
        Row::cost("  neither completed nor refused", Some(0.0)).with("Tandem", over.lost as f64 + over.dropped as f64),
        Row::cost("  INVITE to 503, p99 ms", None).with("Tandem", quantile(&mut over.refusal_us, 0.99) as f64 / 1000.0),
    ])
}
