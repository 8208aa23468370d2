//! Logs for operators, on standard error.

use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, LogSettings};

/// Starts logging. Libraries are as talkative as we are only from `debug` on.
pub(crate) fn start(settings: LogSettings) {
    let level = settings.level.to_string().to_lowercase();
    let filter = EnvFilter::try_from_env("KILN_LOG").unwrap_or_else(|_| match settings.level {
        tracing::Level::TRACE => EnvFilter::new(level),
        tracing::Level::DEBUG => EnvFilter::new(format!("{level},h2=info,hyper=info,rustls=info")),
        _ => EnvFilter::new(level),
    });
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // Fails if somebody else in this process logs already.
    let _ = match settings.format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}
