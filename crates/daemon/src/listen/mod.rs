//! Sockets to listen on, made from addresses.

mod activation;
mod tcp;
mod tls;
mod unix;

use std::path::PathBuf;

use tokio::net::TcpListener;
use tonic::transport::ServerTlsConfig;

pub(crate) use unix::UnixSocket;

use crate::settings::{Address, SocketOwner, TlsFiles};

/// Why it is not possible to listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another daemon is there.
    #[error(
        "another daemon is listening at unix://{path}: stop it, or give this one an address of its own with --addr",
        path = path.display()
    )]
    Occupied {
        /// The socket.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("cannot listen at {address}: {action}: {source}")]
    System {
        /// The address.
        address: String,
        /// What was attempted.
        action: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The address makes no sense here.
    #[error("cannot listen at {address}: {reason}")]
    Address {
        /// The address.
        address: String,
        /// Why not.
        reason: String,
    },
    /// A certificate or key cannot be used.
    #[error("{what} {path}: {reason}", path = path.display())]
    Certificate {
        /// Which one.
        what: &'static str,
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl ListenError {
    fn system(address: &Address, action: &str) -> impl Fn(std::io::Error) -> Self + use<> {
        let (address, action) = (address.to_string(), action.to_owned());
        move |source| Self::System {
            address: address.clone(),
            action: action.clone(),
            source,
        }
    }
}

/// A socket that clients connect to.
pub(crate) enum Listener {
    /// In the file system.
    Unix(UnixSocket),
    /// On a network.
    Tcp(TcpListener, Option<Box<ServerTlsConfig>>),
}

impl Listener {
    /// Where it listens, for the log.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Unix(socket) => format!("unix://{}", socket.path().display()),
            Self::Tcp(listener, _) => match listener.local_addr() {
                Ok(address) => format!("tcp://{address}"),
                Err(_) => "tcp://?".into(),
            },
        }
    }
}

/// Listens at all addresses, or at none.
pub(crate) async fn listen(
    addresses: &[Address],
    owner: SocketOwner,
    tls: Option<&TlsFiles>,
) -> Result<Vec<Listener>, ListenError> {
    let tls = tls.map(tls::load).transpose()?;
    let mut listeners = Vec::new();
    for address in addresses {
        match address {
            Address::Unix(path) => {
                listeners.push(Listener::Unix(UnixSocket::bind(path, owner)?));
                if tls.is_some() {
                    tracing::warn!("TLS is disabled for {address}");
                }
            }
            Address::Tcp(host) => {
                listeners.push(Listener::Tcp(
                    tcp::bind(host).await?,
                    tls.clone().map(Box::new),
                ));
                if tls.is_none() {
                    tracing::warn!(
                        "TLS is not enabled for {address}: whoever can reach it can become root here; \
                         use --tlscert, --tlskey and --tlscacert"
                    );
                }
            }
            Address::Activated => listeners.extend(activation::take(tls.as_ref())?),
        }
    }
    Ok(listeners)
}

/// Listens without TLS, as the debug address does.
pub(crate) async fn listen_plain(
    address: &Address,
    owner: SocketOwner,
) -> Result<Listener, ListenError> {
    match address {
        Address::Unix(path) => Ok(Listener::Unix(UnixSocket::bind(path, owner)?)),
        Address::Tcp(host) => Ok(Listener::Tcp(tcp::bind(host).await?, None)),
        Address::Activated => Err(ListenError::Address {
            address: address.to_string(),
            reason: "the debug address cannot be passed by the service manager".into(),
        }),
    }
}
