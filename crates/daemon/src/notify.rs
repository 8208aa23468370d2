//! Tells the service manager how it goes (`NOTIFY_SOCKET`).

use sd_notify::NotifyState;

/// The daemon answers its clients.
pub(crate) fn ready() {
    send(NotifyState::Ready);
}

/// The daemon takes no more clients.
pub(crate) fn stopping() {
    send(NotifyState::Stopping);
}

fn send(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
