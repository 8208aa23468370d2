//! The debug address: metrics and a few switches over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::json;

use crate::control::Control;
use crate::listen::Listener;
use crate::metrics::{self, Metrics};

/// What upstream offers here and we do not.
const MISSING: &[(&str, &str)] = &[
    ("/debug/pprof", "profiles of a Go program"),
    ("/debug/requests", "traces of requests"),
    ("/debug/events", "event logs"),
    ("/debug/cache", "the store of cache keys"),
    ("/debug/flight", "the flight recorder"),
];

#[derive(Clone)]
struct Site {
    control: Arc<Control>,
    metrics: Arc<Metrics>,
}

/// Serves the debug address for as long as the process lives.
pub(crate) fn spawn(listener: Listener, control: Arc<Control>, metrics: Arc<Metrics>) {
    tracing::info!("debug handlers listening at {}", listener.address());
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/debug/vars", get(variables))
        .route("/debug/gc", any(collect))
        .fallback(missing)
        .with_state(Site { control, metrics });
    tokio::spawn(async move {
        let served = match listener {
            Listener::Tcp(listener, _) => axum::serve(listener, router).await,
            Listener::Unix(socket) => {
                let (listener, _file) = socket.into_parts();
                axum::serve(listener, router).await
            }
        };
        if let Err(error) = served {
            tracing::error!(%error, "stopped serving the debug address");
        }
    });
}

async fn show_metrics(State(site): State<Site>) -> Response {
    const FORM: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match site.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, FORM)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn variables(State(site): State<Site>) -> Response {
    let variables = json!({
        "cmdline": std::env::args().collect::<Vec<_>>(),
        "builds": site.control.life.builds(),
        "memory": { "resident": metrics::resident_memory() },
        "files": { "open": metrics::open_files() },
    });
    let text = format!("{variables:#}\n");
    (
        [(header::CONTENT_TYPE, "application/json; charset=utf-8")],
        text,
    )
        .into_response()
}

/// Collects garbage in the store now. (Upstream's collects its memory, which
/// here needs no collector.)
async fn collect(State(site): State<Site>) -> Response {
    match site.control.collect_garbage().await {
        Ok(records) => format!("{records} records removed\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn missing(uri: Uri) -> Response {
    let path = uri.path();
    let known = MISSING.iter().find(|(prefix, _)| path.starts_with(prefix));
    match known {
        Some((_, what)) => {
            let text = format!("{path} is not supported: this daemon does not offer {what}\n");
            (StatusCode::NOT_IMPLEMENTED, text).into_response()
        }
        None => {
            let text = format!("{path} not found; there are /metrics, /debug/vars and /debug/gc\n");
            (StatusCode::NOT_FOUND, text).into_response()
        }
    }
}
