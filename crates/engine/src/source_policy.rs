//! What the source policies of a build make of the sources that it names: each is judged before
//! anything asks for it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kiln_llb::pb::{SourceOp, op};
use kiln_llb::policy::{Outcome, Policies, PolicyError};
use kiln_llb::{Definition, Graph};
use kiln_protocol::sourcepolicy::Policy;
use kiln_registry::Reference;

use crate::bridge::Bridge;
use crate::error::{BuildError, Kind};

/// How identifiers of images begin.
const IMAGE: &str = "docker-image://";

/// Reads the policies of a request.
pub(crate) fn read<'a>(
    policies: impl IntoIterator<Item = &'a Policy>,
) -> Result<Policies, BuildError> {
    Policies::read(policies).map_err(refused)
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
        Ok(Arc::new(Self {
            policies: self.policies.followed_by(read(policies)?),
            ..Self::clone(self)
        }))
    }

    /// A definition with the sources that the policies want instead of those that it names.
    pub(crate) fn govern<'a>(
        &self,
        definition: &'a Definition,
    ) -> Result<Cow<'a, Definition>, BuildError> {
        if self.policies.is_empty() {
            return Ok(Cow::Borrowed(definition));
        }
        let graph =
            Graph::load(definition).map_err(|error| BuildError::wrap(Kind::Input, error))?;
        let mut replaced = HashMap::new();
        for vertex in &graph.vertices {
            let Some(op::Op::Source(source)) = &vertex.op.op else {
                continue;
            };
            let judged = self.judge(source.clone());
            let (source, outcome) =
                judged.map_err(|error| error.context("error evaluating the source policy"))?;
            if outcome == Outcome::Replaced {
                replaced.insert(vertex.digest.clone(), source);
            }
        }
        Ok(match replaced.is_empty() {
            true => Cow::Borrowed(definition),
            false => Cow::Owned(definition.with_sources(&graph, replaced)),
        })
    }

    /// The source to look up in place of `identifier`.
    pub(crate) fn govern_lookup(
        &self,
        identifier: String,
        attrs: BTreeMap<String, String>,
    ) -> Result<SourceOp, BuildError> {
        let judged = self.judge(SourceOp { identifier, attrs });
        let (source, _) =
            judged.map_err(|error| error.context("could not resolve image due to policy"))?;
        Ok(source)
    }

    /// The same for an image by its `name`, which has to stay an image: the name to look up.
    pub(crate) fn govern_image(
        &self,
        scheme: &str,
        name: &str,
        attributes: BTreeMap<String, String>,
    ) -> Result<(String, BTreeMap<String, String>), BuildError> {
        let source = self.govern_lookup(format!("{scheme}://{name}"), attributes)?;
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

    fn judge(&self, mut source: SourceOp) -> Result<(SourceOp, Outcome), BuildError> {
        let written = source.identifier.clone();
        source.identifier = in_full(&written);
        let outcome = self.policies.judge(&mut source).map_err(refused)?;
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

fn refused(error: PolicyError) -> BuildError {
    let hint = match &error {
        PolicyError::Denied(_) => Some(
            "the last rule of the policy that matches the source denies it: change the rule or the source",
        ),
        PolicyError::Circles => Some("rules convert the source to what other rules convert again"),
        _ => None,
    };
    let error = BuildError::wrap(Kind::Input, error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
