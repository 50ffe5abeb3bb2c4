//! The `tandem` binary: a start that reads as a story.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use kernel::{Clock, Config, Ids, Kernel, telemetry};
use tandem::app::App;
use tandem::cli::{Answer, Cli, CliError, Demo, Order, first_link};
use tokio::signal::unix::{Signal, SignalKind, signal};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json();
    match run(cli) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(answer)) => {
            let text = if json { answer.json.to_string() } else { answer.text.clone() };
            // Whoever closed the pipe has read enough.
            let _closed = writeln!(std::io::stdout(), "{text}");
            if answer.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("tandem: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what the command line says; a verb answers, a server runs until it is told to stop.
fn run(cli: Cli) -> Result<Option<Answer>, CliError> {
    let order = cli.order()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::because)?;
    runtime.block_on(async {
        match order {
            Order::Serve(config) => serve(config).await.map(|()| None),
            Order::Demo(config) => demo(config).await.map(|()| None),
            Order::Verb(verb, config) => verb.run(config).await.map(Some),
        }
    })
}

/// Boots, serves, and ends in order.
async fn serve(config: Config) -> Result<(), CliError> {
    let mut signals = Signals::listen().map_err(CliError::because)?;
    let start = Box::pin(async { App::start(boot(config).await?).await.map_err(CliError::because) });
    let Some(app) = signals.unless_stopped(start).await? else { return Ok(()) };
    tracing::info!(
        http = %app.http(), https = ?app.https(), sip = ?app.sip(), sip_tls = ?app.sip_tls(), rtc = ?app.rtc(),
        "tandem is ready"
    );
    if let Some(link) = first_link(&app).await? {
        eprintln!("{link}");
    }
    run_until_stopped(app, signals).await
}

/// The same, with the tour's organisation and its test endpoint.
async fn demo(mut config: Config) -> Result<(), CliError> {
    let mut signals = Signals::listen().map_err(CliError::because)?;
    let start = Box::pin(async {
        let endpoint = Demo::open_endpoint(&mut config).await?;
        let kernel = boot(config).await?;
        let demo = Demo::prepare(&kernel, endpoint).await?;
        Ok((demo, App::start(kernel).await.map_err(CliError::because)?))
    });
    let Some((demo, app)) = signals.unless_stopped(start).await? else { return Ok(()) };
    demo.guide(&app).await?;
    run_until_stopped(app, signals).await
}

/// Sets up logs and opens the store, which brings its schema up to date.
async fn boot(config: Config) -> Result<Kernel, CliError> {
    telemetry::start(&config).map_err(CliError::because)?;
    Ok(Kernel::open(config, Clock::system(), Ids::os()).await?)
}

/// Waits for SIGTERM or Ctrl-C; then no new calls, the live ones finish, and everything ends. The
/// second one ends the calls, the third one everything at once. SIGHUP reads the certificates again.
async fn run_until_stopped(mut app: App, mut signals: Signals) -> Result<(), CliError> {
    loop {
        let told = tokio::select! {
            told = signals.next() => told,
            () = app.lost_store() => {
                return Err(CliError::because("another server has taken the store over: this one ends"));
            }
        };
        match told {
            Told::Reload => app.reload_certificates().await,
            Told::Stop => break,
        }
    }
    tracing::info!(calls = app.calls.live(), "stopping: live calls may finish; the next signal ends them at once");
    tokio::select! {
        () = app.drain() => {}
        () = signals.told_to_stop() => app.end_calls().await,
    }
    tokio::select! {
        () = app.stop() => tracing::info!("stopped"),
        () = signals.told_to_stop() => tracing::warn!("stopped at once"),
    }
    Ok(())
}

/// What the operator says by signal.
enum Told {
    Reload,
    Stop,
}

/// Listened for from before the start, so that whoever sees a server ready, or starting, may end it in order.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// What a start gives, or nothing when it is to stop before: what it did so far bears being cut off.
    async fn unless_stopped<T>(
        &mut self,
        start: impl Future<Output = Result<T, CliError>>,
    ) -> Result<Option<T>, CliError> {
        tokio::select! {
            biased;
            () = self.told_to_stop() => Ok(None),
            started = start => started.map(Some),
        }
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::Reload,
        }
    }

    async fn told_to_stop(&mut self) {
        while let Told::Reload = self.next().await {}
    }
}
