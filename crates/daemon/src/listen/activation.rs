//! Sockets that the service manager opened for us (`LISTEN_FDS`).

use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};
use tonic::transport::ServerTlsConfig;

use super::{ListenError, Listener, UnixSocket};
use crate::settings::Address;

/// All sockets that were passed; those on networks get TLS if there is any.
pub(super) fn take(tls: Option<&ServerTlsConfig>) -> Result<Vec<Listener>, ListenError> {
    let mut passed = ListenFd::from_env();
    if passed.len() == 0 {
        return Err(ListenError::Address {
            address: Address::Activated.to_string(),
            reason: "no sockets found via socket activation: \
                     make sure the service was started by systemd"
                .into(),
        });
    }
    (0..passed.len())
        .map(|index| take_one(&mut passed, index, tls))
        .collect()
}

fn take_one(
    passed: &mut ListenFd,
    index: usize,
    tls: Option<&ServerTlsConfig>,
) -> Result<Listener, ListenError> {
    let failed = ListenError::system(&Address::Activated, "take over");
    if let Ok(Some(listener)) = passed.take_unix_listener(index) {
        listener.set_nonblocking(true).map_err(&failed)?;
        let listener = UnixListener::from_std(listener).map_err(&failed)?;
        return Ok(Listener::Unix(UnixSocket::passed(listener)));
    }
    match passed.take_tcp_listener(index).map_err(&failed)? {
        Some(listener) => {
            listener.set_nonblocking(true).map_err(&failed)?;
            let listener = TcpListener::from_std(listener).map_err(&failed)?;
            Ok(Listener::Tcp(listener, tls.cloned().map(Box::new)))
        }
        None => Err(ListenError::Address {
            address: Address::Activated.to_string(),
            reason: format!("passed socket {index} is gone"),
        }),
    }
}
