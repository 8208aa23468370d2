//! What the source policies of a build make of the sources that it names: each is judged before
//! anything asks for it, by the rules first and then by the client.

mod client;
mod error;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::future::try_join_all;
use kiln_llb::pb::{Platform, SourceOp, op};
use kiln_llb::policy::{Outcome, Policies};
use kiln_llb::{Definition, Graph, Vertex};
use kiln_protocol::sourcepolicy::Policy;
use kiln_registry::Reference;
use kiln_session::JudgeSources;
use oci_spec::image::Digest;

use crate::bridge::Bridge;
use crate::error::{BuildError, Kind};
use crate::request::BuildRequest;
use error::refused;

/// How identifiers of images begin.
const IMAGE: &str = "docker-image://";

/// Which sources a build may use.
#[derive(Clone)]
pub(crate) struct SourcePolicies {
    rules: Policies,
    /// Whom else to ask.
    client: Option<Arc<dyn JudgeSources>>,
}

impl SourcePolicies {
    /// Reads the policies of a request.
    pub(crate) fn of(request: &BuildRequest) -> Result<Self, BuildError> {
        Ok(Self {
            rules: Policies::read(&request.source_policy).map_err(refused)?,
            client: request.session_policy.clone(),
        })
    }

    fn are_none(&self) -> bool {
        self.rules.is_empty() && self.client.is_none()
    }
}

impl Bridge {
    /// The same door, with further policies behind those of the build.
    pub(crate) fn governed_by(
        self: &Arc<Self>,
        policies: &[Policy],
    ) -> Result<Arc<Self>, BuildError> {
        if policies.is_empty() {
            return Ok(self.clone());
        }
        let further = Policies::read(policies).map_err(refused)?;
        Ok(Arc::new(Self {
            policies: SourcePolicies {
                rules: self.policies.rules.followed_by(further),
                client: self.policies.client.clone(),
            },
            ..Self::clone(self)
        }))
    }

    /// A definition with the sources that the policies want instead of those that it names.
    pub(crate) async fn govern<'a>(
        &self,
        definition: &'a Definition,
    ) -> Result<Cow<'a, Definition>, BuildError> {
        if self.policies.are_none() {
            return Ok(Cow::Borrowed(definition));
        }
        let graph =
            Graph::load(definition).map_err(|error| BuildError::wrap(Kind::Input, error))?;
        let mut judged = Vec::new();
        for vertex in &graph.vertices {
            judged.push(self.replacement(vertex));
        }
        let judged = try_join_all(judged).await;
        let judged = judged.map_err(|error| error.context("error evaluating the source policy"))?;
        let replaced: HashMap<_, _> = judged.into_iter().flatten().collect();
        Ok(match replaced.is_empty() {
            true => Cow::Borrowed(definition),
            false => Cow::Owned(definition.with_sources(&graph, replaced)),
        })
    }

    /// What a step has to be instead, if it is a source.
    async fn replacement(&self, vertex: &Vertex) -> Result<Option<(Digest, SourceOp)>, BuildError> {
        let Some(op::Op::Source(source)) = &vertex.op.op else {
            return Ok(None);
        };
        let platform = vertex.op.platform.clone();
        let (source, outcome) = self.judge(source.clone(), platform).await?;
        Ok(match outcome {
            Outcome::Kept => None,
            Outcome::Replaced => Some((vertex.digest.clone(), source)),
        })
    }

    /// The source to look up in place of `source`.
    pub(crate) async fn govern_lookup(
        &self,
        source: SourceOp,
        platform: Option<Platform>,
    ) -> Result<SourceOp, BuildError> {
        let judged = self.judge(source, platform).await;
        let (source, _) =
            judged.map_err(|error| error.context("could not resolve image due to policy"))?;
        Ok(source)
    }

    /// The same for an image by its `name`, which has to stay an image: the name to look up.
    pub(crate) async fn govern_image(
        &self,
        (scheme, name): (&str, &str),
        attrs: BTreeMap<String, String>,
        platform: Option<Platform>,
    ) -> Result<(String, BTreeMap<String, String>), BuildError> {
        let identifier = format!("{scheme}://{name}");
        let source = SourceOp { identifier, attrs };
        let source = self.govern_lookup(source, platform).await?;
        match source.identifier.split_once("://") {
            Some((kept, name)) if kept == scheme => Ok((name.to_owned(), source.attrs)),
            _ => Err(BuildError::new(
                Kind::Input,
                format!(
                    "a source policy converts {scheme}://{name} to {}, but a base has to stay {scheme}://…",
                    source.identifier
                ),
            )),
        }
    }

    /// The URL to be fetched in place of the one that a process asks for, `None` if that one may be.
    pub(crate) async fn govern_request(&self, url: &str) -> Result<Option<String>, BuildError> {
        if self.policies.are_none() {
            return Ok(None);
        }
        let source = SourceOp {
            identifier: url.to_owned(),
            ..SourceOp::default()
        };
        match self.judge(source, None).await? {
            (_, Outcome::Kept) => Ok(None),
            (source, Outcome::Replaced) if source.attrs.is_empty() => Ok(Some(source.identifier)),
            (source, Outcome::Replaced) => Err(BuildError::new(
                Kind::Input,
                format!(
                    "a source policy gives {} attributes, but of a request only the URL can be replaced",
                    source.identifier
                ),
            )),
        }
    }

    async fn judge(
        &self,
        mut source: SourceOp,
        platform: Option<Platform>,
    ) -> Result<(SourceOp, Outcome), BuildError> {
        let written = source.identifier.clone();
        source.identifier = in_full(&written);
        let rules = &self.policies.rules;
        let mut outcome = rules.judge(&mut source).map_err(refused)?;
        if let Some(client) = &self.policies.client
            && self.ask(client.as_ref(), &mut source, platform).await? == Outcome::Replaced
        {
            outcome = Outcome::Replaced;
        }
        if outcome == Outcome::Kept {
            source.identifier = written;
        }
        Ok((source, outcome))
    }
}

/// The identifier that rules are written for: images with their registry and tag.
fn in_full(identifier: &str) -> String {
    let name = identifier.strip_prefix(IMAGE);
    match name.map(Reference::parse) {
        Some(Ok(reference)) => format!("{IMAGE}{reference}"),
        _ => identifier.to_owned(),
    }
}
