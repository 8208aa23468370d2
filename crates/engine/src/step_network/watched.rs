//! A network that leads to a proxy and nowhere else.

use std::sync::Arc;

use kiln_executor::network::isolated_with_listener;
use kiln_executor::{ExecRequest, Network};
use kiln_proxy::{Authority, Proxy, Record, Rules, Upstream};
use kiln_registry::Client;
use tokio::sync::OnceCell;

use super::{BuildRules, StepNetwork};
use crate::bridge::Bridge;
use crate::engine::blocking;
use crate::error::{BuildError, Kind};
use crate::worker::Worker;

/// What all proxies of a worker have in common; made for the first one.
#[derive(Default)]
pub(crate) struct StepProxies(OnceCell<Shared>);

struct Shared {
    /// Whom steps trust.
    authority: Arc<Authority>,
    /// Whom proxies trust.
    upstream: Upstream,
}

impl StepProxies {
    async fn shared(&self) -> Result<&Shared, BuildError> {
        let make = || {
            Ok(Shared {
                authority: Arc::new(Authority::new().map_err(unavailable)?),
                upstream: Upstream::new(Client::web_trust().map_err(unavailable)?),
            })
        };
        self.0.get_or_try_init(|| blocking(make)).await
    }
}

/// The network of one container. It ends when this is dropped.
pub(crate) struct WatchedNetwork {
    proxy: Proxy,
}

impl WatchedNetwork {
    /// Gives the container of a frontend such a network, if its build wants that.
    pub(crate) async fn of_frontend(
        bridge: &Arc<Bridge>,
        request: &mut ExecRequest,
    ) -> Result<Option<Self>, BuildError> {
        let is_direct = bridge.surroundings.network == StepNetwork::Direct;
        if is_direct || request.network == Network::None {
            return Ok(None);
        }
        let rules = BuildRules::One(Arc::downgrade(bridge));
        let started = Self::start(&bridge.engine.worker, rules, request);
        started.await.map(Some)
    }

    /// Gives a request such a network, and makes its programs trust and use the proxy.
    pub(crate) async fn start(
        worker: &Worker,
        rules: impl Rules,
        request: &mut ExecRequest,
    ) -> Result<Self, BuildError> {
        let Shared {
            authority,
            upstream,
        } = worker.proxies.shared().await?;
        let make = || {
            let made = isolated_with_listener();
            made.map_err(|error| BuildError::wrap(Kind::Environment, error))
        };
        let (namespace, listener) = blocking(make).await?;
        let proxy = Proxy::start(listener, authority.clone(), upstream, Some(Arc::new(rules)));
        let watched = Self {
            proxy: proxy.map_err(unavailable)?,
        };
        watched.announce(&mut request.env);
        request.network = Network::Joined(namespace);
        request.trusted_authority = Some(authority.certificate_pem());
        Ok(watched)
    }

    /// Makes a process use the proxy, whatever it was told of others.
    pub(crate) fn announce(&self, env: &mut Vec<String>) {
        let variables = self.proxy.variables();
        let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
        let names: Vec<_> = variables.iter().map(|entry| name(entry)).collect();
        env.retain(|entry| !names.contains(&name(entry)));
        env.extend(variables);
    }

    /// Closes it: what went through.
    pub(crate) async fn stop(self) -> Record {
        self.proxy.stop().await
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> BuildError {
    BuildError::wrap(Kind::Environment, error).context("no proxy for the network of steps")
}
