//! Ctrl-C and termination: the build is dropped, which stops its processes.

use kiln_engine::{BuildError, Kind};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Runs the build until it ends or the user stops it.
pub(super) async fn until_interrupted<T>(
    build: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let listen = |kind| {
        signal(kind).map_err(|error| Failure::usage(format!("cannot listen for signals: {error}")))
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    tokio::select! {
        outcome = build => outcome,
        _ = interrupt.recv() => Err(cancelled()),
        _ = terminate.recv() => Err(cancelled()),
    }
}

fn cancelled() -> Failure {
    BuildError::new(Kind::Cancelled, "context canceled").into()
}
