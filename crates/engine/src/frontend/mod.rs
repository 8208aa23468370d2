//! Frontends: what turns a build request into definitions and image configs.

mod attested;
mod built;
mod client;
mod dockerfile;
pub(crate) mod gateway;
mod lazy;
pub(crate) mod result;
mod scanned;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_llb::Definition;

use crate::bridge::Bridge;
use crate::engine::Engine;
use crate::error::{BuildError, Detail, Kind};
use crate::provenance::FrontendRequest;
use crate::request::{Attributes, Frontend};

pub(crate) use built::{Built, BuiltPlatform};
pub(crate) use lazy::LazyRef;
pub(crate) use result::FrontendResult;
pub(crate) use scanned::{sbom_options, with_sbom};

/// What a frontend is called with.
pub(crate) struct Call {
    pub(crate) frontend: Frontend,
    pub(crate) options: Attributes,
    /// Definitions to build on, by name.
    pub(crate) inputs: BTreeMap<String, Definition>,
}

/// Runs another frontend for the one that `bridge` belongs to.
pub(crate) async fn run_nested(bridge: &Bridge, call: Call) -> Result<FrontendResult, BuildError> {
    let call = call.simplified();
    match &call.frontend {
        Frontend::Dockerfile | Frontend::Gateway => {
            let request = call.request(&bridge.engine);
            run(&bridge.child(request), call).await
        }
        Frontend::Definition(_) | Frontend::Client => Err(invalid_frontend(call.frontend.name())),
    }
}

/// Runs the frontend that `bridge` belongs to.
pub(crate) fn run(
    bridge: &Arc<Bridge>,
    call: Call,
) -> BoxFuture<'_, Result<FrontendResult, BuildError>> {
    async move {
        let Call {
            frontend,
            options,
            inputs,
        } = call;
        check_available(bridge, &frontend)?;
        let name = frontend.name();
        let result = match frontend {
            Frontend::Definition(definition) => {
                let reference = LazyRef::new(bridge.clone(), definition, Vec::new());
                return Ok(FrontendResult::single(reference));
            }
            Frontend::Client => return client::run(bridge, inputs).await,
            Frontend::Dockerfile => dockerfile::run(bridge, &options, inputs).await,
            Frontend::Gateway => gateway::image::run(bridge, &options, inputs).await,
        };
        let results = result.iter().flat_map(FrontendResult::all_refs);
        results.for_each(|reference| reference.make_known(&bridge.engine.results));
        result.map_err(|error| {
            error.detail(Detail::Frontend {
                name: name.into(),
                source: options.get("source").cloned().unwrap_or_default(),
            })
        })
    }
    .boxed()
}

impl Call {
    /// The request as provenance has it.
    pub(crate) fn request(&self, engine: &Engine) -> FrontendRequest {
        FrontendRequest {
            frontend: self.frontend.name().into(),
            options: self.options.clone(),
            inputs: engine.results.makers(&self.inputs),
        }
    }

    /// The built-in frontend may also be named as if it were an image.
    pub(crate) fn simplified(mut self) -> Self {
        let built_in = "context:dockerfile.v0";
        let is_replaced = self.options.keys().any(|key| {
            let rest = key.strip_prefix(built_in);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        });
        let source = self.options.get("source").map(String::as_str);
        if matches!(self.frontend, Frontend::Gateway)
            && source == Some("dockerfile.v0")
            && !is_replaced
        {
            self.options.remove("source");
            self.frontend = Frontend::Dockerfile;
        }
        self
    }
}

/// A frontend that the daemon's settings switch off is not there.
pub(crate) fn check_available(bridge: &Bridge, frontend: &Frontend) -> Result<(), BuildError> {
    let settings = &bridge.engine.worker.frontends;
    let is_there = match frontend {
        Frontend::Dockerfile => settings.dockerfile,
        Frontend::Gateway => settings.gateway,
        Frontend::Definition(_) | Frontend::Client => return Ok(()),
    };
    match is_there {
        true => Ok(()),
        false => Err(invalid_frontend(frontend.name())),
    }
}

pub(crate) fn invalid_frontend(name: &str) -> BuildError {
    BuildError::new(Kind::Input, format!("invalid frontend: {name}"))
        .hint("use dockerfile.v0, or gateway.v0 with --opt source=IMAGE, unless the daemon's settings switch them off")
}
