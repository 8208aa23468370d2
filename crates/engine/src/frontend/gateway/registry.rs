//! The conversations that clients may join, by the id of their build.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Gateway, LlbBridgeService};

/// How long a call waits for its build to appear: clients start the build and
/// talk to it at the same time.
const PATIENCE: Duration = Duration::from_secs(3);

/// Conversations by build.
#[derive(Clone, Default)]
pub(crate) struct Gateways(Arc<Shared>);

#[derive(Default)]
struct Shared {
    open: Mutex<HashMap<String, Arc<dyn Joining>>>,
    news: Notify,
}

/// A conversation that a client may join.
///
/// A trait, because a conversation leads to the engine, which leads to all conversations: the compiler would go round
/// that circle for every future that holds a part of it.
trait Joining: Send + Sync {
    fn join(self: Arc<Self>) -> LlbBridgeService;
}

impl Joining for Gateway {
    fn join(self: Arc<Self>) -> LlbBridgeService {
        LlbBridgeService::new(self)
    }
}

/// Keeps a conversation open to its client until dropped.
pub(crate) struct Joinable {
    gateways: Gateways,
    build: String,
}

impl Drop for Joinable {
    fn drop(&mut self) {
        self.gateways.lock().remove(&self.build);
    }
}

impl Gateways {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<dyn Joining>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the client of a build join.
    pub(crate) fn add(&self, build: &str, gateway: Arc<Gateway>) -> Joinable {
        self.lock().insert(build.to_owned(), gateway);
        self.0.news.notify_waiters();
        Joinable {
            gateways: self.clone(),
            build: build.to_owned(),
        }
    }

    /// The conversation of a build, which may still have to appear.
    pub(crate) async fn find(&self, build: &str) -> Option<LlbBridgeService> {
        let found = async {
            loop {
                let mut news = std::pin::pin!(self.0.news.notified());
                // From here on no news is missed.
                news.as_mut().enable();
                if let Some(gateway) = self.lock().get(build) {
                    return gateway.clone().join();
                }
                news.await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.ok()
    }
}
