//! The connected client.

use std::time::Duration;

use kiln_protocol::content::content_client::ContentClient;
use kiln_protocol::control::InfoRequest;
use kiln_protocol::control::control_client::ControlClient;
use tonic::Code;
use tonic::transport::Channel;

use crate::command::LastWords;
use crate::error::DaemonError;
use crate::{Address, ClientError, Tls, connect};

/// The largest message either side sends.
pub(crate) const MESSAGE_LIMIT: usize = 16 << 20;

/// How long to wait between two attempts to reach a daemon.
const RETRY: Duration = Duration::from_millis(200);

/// How to connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// TLS, for `tcp://` addresses.
    pub tls: Option<Tls>,
    /// Gives up after this time; never if absent.
    pub timeout: Option<Duration>,
    /// Keeps trying until the daemon answers, for as long as `timeout` allows.
    pub wait: bool,
}

/// A connection to a daemon. Clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    words: LastWords,
    address: Address,
}

impl Client {
    /// Connects to a daemon.
    pub async fn connect(address: &Address, options: &ConnectOptions) -> Result<Self, ClientError> {
        let attempt = async {
            match options.wait {
                true => Self::connect_when_ready(address, options.tls.as_ref()).await,
                false => Self::connect_once(address, options.tls.as_ref()).await,
            }
        };
        let Some(limit) = options.timeout else {
            return attempt.await;
        };
        let outcome = tokio::time::timeout(limit, attempt).await;
        outcome.unwrap_or_else(|_| {
            Err(ClientError::Connect {
                address: address.to_string(),
                reason: format!("no answer within {limit:?}"),
            })
        })
    }

    async fn connect_once(address: &Address, tls: Option<&Tls>) -> Result<Self, ClientError> {
        let loaded = match (tls, address.host()) {
            (None, _) => None,
            (Some(tls), Some(host)) => Some(tls.load(host)?),
            (Some(_), None) => {
                return Err(ClientError::TlsUnused {
                    address: address.to_string(),
                });
            }
        };
        let words = LastWords::default();
        let channel = connect::channel(address, loaded, &words).await?;
        Ok(Self {
            channel,
            words,
            address: address.clone(),
        })
    }

    async fn connect_when_ready(address: &Address, tls: Option<&Tls>) -> Result<Self, ClientError> {
        loop {
            match Self::connect_once(address, tls).await {
                Ok(client) => {
                    client.wait().await?;
                    return Ok(client);
                }
                Err(ClientError::Connect { reason, .. }) => {
                    tracing::debug!(%address, reason, "the daemon is not there yet");
                    tokio::time::sleep(RETRY).await;
                }
                Err(other) => return Err(other),
            }
        }
    }

    /// Waits until the daemon answers calls.
    pub async fn wait(&self) -> Result<(), ClientError> {
        loop {
            match self.control().info(InfoRequest {}).await {
                Ok(_) => return Ok(()),
                Err(status) if status.code() == Code::Unavailable => {
                    tokio::time::sleep(RETRY).await;
                }
                // Daemons older than the call still answered.
                Err(status) if status.code() == Code::Unimplemented => return Ok(()),
                Err(status) => return Err(self.failed("failed to call info", status)),
            }
        }
    }

    /// The address that was connected to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    pub(crate) fn content_service(&self) -> ContentClient<Channel> {
        ContentClient::new(self.channel()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// What the daemon said about a call that failed.
    pub(crate) fn failed(&self, what: &'static str, status: tonic::Status) -> ClientError {
        let mut error = DaemonError::from_status(&status);
        let is_broken = std::error::Error::source(&status).is_some();
        if let Some(words) = self.words.get().filter(|_| is_broken) {
            error.message = words;
        }
        ClientError::Daemon {
            what,
            error: Box::new(error),
        }
    }
}
