//! One daemon from its start to its end.

use std::sync::Arc;
use std::time::Duration;

use kiln_containerd::ContainerdError;
use kiln_engine::rootless::{self, Entered};
use kiln_engine::{BuildError, Engine};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tonic::service::Routes;

use crate::arguments::Arguments;
use crate::control::Control;
use crate::life::Life;
use crate::listen::{self, ListenError};
use crate::metrics::Metrics;
use crate::settings::{Environment, Settings, SettingsError};
use crate::{containerd, content, debug, gateway, health, logging, notify, serve, traces, worker};

/// How long connections get to take their last messages.
const LAST_MESSAGES: Duration = Duration::from_secs(2);

/// Why the daemon did not start, or ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// It cannot do what it was told.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The containerd that it is to use is not there.
    #[error(transparent)]
    Containerd(#[from] ContainerdError),
    /// Its engine does not start.
    #[error(transparent)]
    Engine(#[from] BuildError),
    /// It has no privileges and cannot get any.
    #[error("{0}")]
    Rootless(String),
    /// The operating system refuses something.
    #[error("{action}: {source}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A second signal came while builds were ending.
    #[error("stopped at once; builds in flight were not waited for")]
    Forced,
}

/// Runs a daemon until it is told to stop. To be called before any thread is
/// started.
pub fn run(arguments: &Arguments, environment: &Environment) -> Result<(), DaemonError> {
    let mut settings = Settings::load(arguments, environment)?;
    logging::start(settings.log);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    enter(settings.rootless)?;
    settings.engine.open_files = Some(kiln_engine::raise_open_files());
    // Fails only if it was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(system("cannot start threads"))?;
    let outcome = runtime.block_on(serve_until_told(&settings));
    // What still blocks a thread must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}

fn system(action: &'static str) -> impl Fn(std::io::Error) -> DaemonError {
    move |source| DaemonError::System { action, source }
}

/// Becomes root of a user namespace if the process is not root.
fn enter(rootless: Option<bool>) -> Result<(), DaemonError> {
    match (rootless, rootless::enter()) {
        (_, Err(error)) => Err(DaemonError::Rootless(error.to_string())),
        (Some(false), Ok(Entered::Ranges | Entered::SingleId)) => Err(DaemonError::Rootless(
            "--rootless=false needs root: leave it out to run as an ordinary user".into(),
        )),
        (_, Ok(Entered::SingleId)) => {
            tracing::warn!(
                "no ranges of ids are given to this user in /etc/subuid and /etc/subgid; \
                 images with files of several owners cannot be unpacked"
            );
            Ok(())
        }
        (_, Ok(_)) => Ok(()),
    }
}

async fn serve_until_told(settings: &Settings) -> Result<(), DaemonError> {
    let mut signals = Signals::listen()?;
    let life = Life::default();
    // First, so that clients may connect already and another daemon is noticed.
    let listeners =
        listen::listen(&settings.addresses, settings.owner, settings.tls.as_ref()).await?;
    let containerd = containerd::find(settings).await?;
    let mut engine = Engine::open(settings.engine.clone())?;
    let workers = worker::describe(&engine, settings, containerd.as_ref())?;
    if let Some(first) = workers.first() {
        engine = engine.presented_as(first.info());
    }
    for worker in &workers {
        tracing::info!(
            worker = %worker.id,
            root = %settings.engine.root.display(),
            platforms = %worker.platform_names(),
            "found worker"
        );
    }
    for problem in engine.devices().await?.problems {
        tracing::warn!("{problem}");
    }
    let metrics = Arc::new(Metrics::new(life.clone()));
    let control = Arc::new(Control::new(
        engine,
        settings,
        workers,
        life.clone(),
        metrics.clone(),
    ));
    if let Some(address) = &settings.debug_address {
        let listener = listen::listen_plain(address, settings.owner).await?;
        debug::spawn(listener, control.clone(), metrics);
    }
    let routes = routes(&control);
    let mut servers = Vec::new();
    for listener in listeners {
        tracing::info!("running server on {}", listener.address());
        servers.push(serve::spawn(listener, routes.clone(), &life)?);
    }
    notify::ready();
    signals.next().await;
    tracing::info!("stopping server");
    // Before anybody is told: who knows of it must not get another build in.
    life.stop();
    notify::stopping();
    tokio::select! {
        () = stop(&control, settings.stop_timeout, servers) => Ok(()),
        () = signals.next() => Err(DaemonError::Forced),
    }
}

/// Everything a client can call, but calls that do not exist: those are
/// answered with `UNIMPLEMENTED`.
fn routes(control: &Arc<Control>) -> Routes {
    let mut routes = Routes::builder();
    routes
        .add_service(Control::service(control))
        .add_service(Control::planner(control))
        .add_service(gateway::service(control))
        .add_service(traces::service(control))
        .add_service(content::service(control))
        .add_service(health::service());
    routes.routes()
}

async fn stop(control: &Control, patience: Duration, servers: Vec<JoinHandle<()>>) {
    control.life.finish_builds(patience).await;
    control.engine.history().close().await;
    control.sessions.close_all();
    control.life.end();
    let aborts = servers
        .iter()
        .map(JoinHandle::abort_handle)
        .collect::<Vec<_>>();
    let all = futures::future::join_all(servers);
    if tokio::time::timeout(LAST_MESSAGES, all).await.is_err() {
        tracing::debug!("some clients did not leave");
        aborts.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

/// Ctrl-C and termination.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, DaemonError> {
        let listen = |kind| signal(kind).map_err(system("cannot listen for signals"));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
