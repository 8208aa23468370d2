//! Looks whether there is a containerd, when the daemon starts.

use std::time::Duration;

use kiln_containerd::ContainerdError;

use crate::settings::{ContainerdSettings, Presence, Settings};

/// How long a containerd that nobody asked for may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same for one that somebody asked for.
const LONG_PATIENCE: Duration = Duration::from_secs(60);

/// A containerd that answers.
pub(crate) struct Found<'a> {
    pub(crate) settings: &'a ContainerdSettings,
    pub(crate) uuid: String,
}

/// The configured containerd, if it is there; an error if it has to be and is not.
pub(crate) async fn find(settings: &Settings) -> Result<Option<Found<'_>>, ContainerdError> {
    let Some(settings) = &settings.containerd else {
        return Ok(None);
    };
    let address = settings.images.address.path();
    if settings.presence == Presence::IfThere && !address.exists() {
        tracing::debug!(
            "skipping containerd worker: {} does not exist",
            address.display()
        );
        return Ok(None);
    }
    let server = async {
        let containerd = settings.images.open()?;
        let asked = containerd.server();
        let patience = match settings.presence {
            Presence::Required => LONG_PATIENCE,
            Presence::IfThere => PATIENCE,
        };
        match tokio::time::timeout(patience, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(ContainerdError::Unreachable {
                address: address.to_owned(),
                what: "ask for its version".into(),
                reason: format!("no answer for {} seconds", patience.as_secs()),
            }),
        }
    };
    match (server.await, settings.presence) {
        (Ok(server), _) => {
            let namespace = &settings.images.namespace;
            tracing::info!(version = %server.version, %namespace, "found containerd");
            Ok(Some(Found {
                settings,
                uuid: server.uuid,
            }))
        }
        (Err(error), Presence::IfThere) => {
            tracing::warn!("skipping containerd worker: {error}");
            Ok(None)
        }
        (Err(error), Presence::Required) => Err(error),
    }
}
