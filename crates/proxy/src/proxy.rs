//! A proxy's life.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::exchange::Exchanges;
use crate::ledger::Ledger;
use crate::{Authority, ProxyError, Record, Rules, Upstream, connection};

/// Connections at the same time; further ones wait. Each costs this process two descriptors.
const MOST_CONNECTIONS: usize = 256;
/// How long to wait after the kernel could give us no connection.
const PAUSE: Duration = Duration::from_millis(100);

/// A proxy that runs until it is stopped or dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) authority: Arc<Authority>,
    pub(crate) exchanges: Exchanges,
    tasks: TaskTracker,
    ends: CancellationToken,
}

impl Proxy {
    /// Serves `listener`, wherever it was made, on the tokio runtime that this is called in. Without rules
    /// everything is allowed.
    pub fn start(
        listener: std::net::TcpListener,
        authority: Arc<Authority>,
        upstream: &Upstream,
        rules: Option<Arc<dyn Rules>>,
    ) -> Result<Proxy, ProxyError> {
        listener
            .set_nonblocking(true)
            .map_err(ProxyError::Listener)?;
        let listener = TcpListener::from_std(listener).map_err(ProxyError::Listener)?;
        let address = listener.local_addr().map_err(ProxyError::Listener)?;
        let exchanges = Exchanges {
            client: upstream.client()?,
            rules,
            ledger: Arc::new(Ledger::default()),
        };
        let shared = Arc::new(Shared {
            authority,
            exchanges,
            tasks: TaskTracker::new(),
            ends: CancellationToken::new(),
        });
        shared.spawn(accept(Arc::clone(&shared), listener));
        Ok(Proxy { address, shared })
    }

    /// `NAME=value` entries that make programs use the proxy, in BuildKit's order.
    pub fn variables(&self) -> Vec<String> {
        let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
        let proxies = proxies.map(|name| format!("{name}=http://{}", self.address));
        let without = ["NO_PROXY", "no_proxy"];
        let without = without.map(|name| format!("{name}=127.0.0.1,localhost,::1"));
        proxies.into_iter().chain(without).collect()
    }

    /// Closes every connection, waits for all tasks to be gone and returns what has been recorded. What was
    /// still being fetched is recorded as incomplete.
    pub async fn stop(self) -> Record {
        self.shared.ends.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.exchanges.ledger.close()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ends.cancel();
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Runs something that ends with the proxy.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ends = self.ends.clone();
        self.tasks.spawn(async move {
            ends.run_until_cancelled(task).await;
        });
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                shared.spawn(connection::serve(Arc::clone(&shared), stream, place));
            }
            Err(error) => {
                tracing::debug!(%error, "a step's proxy accepted no connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
