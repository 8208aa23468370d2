//! What a frontend comes to, in the form in which frontends hand it to each
//! other and to exporters: results by name and metadata under agreed keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use kiln_frontend::metadata::Metadata;
use kiln_frontend::{Target, sbom};
use kiln_protocol::frontend;
use kiln_solver::Cache;

use super::lazy::LazyRef;
use crate::bridge::Bridge;
use crate::error::BuildError;
use crate::ops::Output;

pub(crate) use kiln_frontend::metadata::{
    BASE_CONFIG, EPOCH, IMAGE_CONFIG, NamedPlatform, PLATFORMS, Platforms,
};

/// Key of the image's name, for outputs that take it from the frontend.
pub(crate) const IMAGE_NAME: &str = "image.name";

/// What a frontend comes to.
#[derive(Clone, Default)]
pub(crate) struct FrontendResult {
    pub(crate) refs: Refs,
    pub(crate) metadata: BTreeMap<String, Bytes>,
    /// By the key of the result that they are about.
    pub(crate) attestations: BTreeMap<String, Vec<Attestation>>,
}

/// The results of a frontend; those that are `None` are empty trees.
#[derive(Clone)]
pub(crate) enum Refs {
    /// One.
    Single(Option<Arc<LazyRef>>),
    /// Several, by key: for images the platform's id.
    Keyed(BTreeMap<String, Option<Arc<LazyRef>>>),
}

impl Default for Refs {
    fn default() -> Self {
        Self::Single(None)
    }
}

/// A statement about a result.
#[derive(Clone)]
pub(crate) struct Attestation {
    /// Everything but the files.
    pub(crate) statement: frontend::Attestation,
    /// The files that the statement's path lies in.
    pub(crate) files: Option<Arc<LazyRef>>,
}

impl Attestation {
    /// The statements that a scan leaves.
    pub(crate) fn sbom(scan: LazyRef) -> Self {
        Self {
            statement: sbom::bundle(),
            files: Some(Arc::new(scan)),
        }
    }
}

impl FrontendResult {
    /// The answer to a request that is no build.
    pub(crate) fn answer(metadata: BTreeMap<String, Bytes>) -> Self {
        Self {
            metadata,
            ..Self::default()
        }
    }

    /// One result without metadata.
    pub(crate) fn single(reference: LazyRef) -> Self {
        let reference = (!reference.definition().is_scratch()).then(|| Arc::new(reference));
        Self {
            refs: Refs::Single(reference),
            ..Self::default()
        }
    }

    /// Whether this is an answer in text and no build.
    pub(crate) fn is_answer(&self) -> bool {
        let has_text = ["result.json", "result.txt"].map(|key| self.metadata.contains_key(key));
        matches!(self.refs, Refs::Single(None)) && has_text.contains(&true)
    }

    /// Every result and every file of a statement that is no empty tree.
    pub(crate) fn all_refs(&self) -> impl Iterator<Item = &Arc<LazyRef>> {
        let results: Vec<_> = match &self.refs {
            Refs::Single(reference) => reference.iter().collect(),
            Refs::Keyed(references) => references.values().flatten().collect(),
        };
        let statements = self.attestations.values().flatten();
        results
            .into_iter()
            .chain(statements.filter_map(|statement| statement.files.as_ref()))
    }

    /// Has those results computed anew whose files are lost.
    pub(crate) async fn forget_lost(&self) -> Result<(), BuildError> {
        try_join_all(self.all_refs().map(|it| it.forget_lost()))
            .await
            .map(drop)
    }

    /// What the frontend has to say to the client.
    pub(crate) fn response(&self) -> impl Iterator<Item = (String, String)> {
        let said = self.metadata.iter();
        said.filter(|(key, _)| key.starts_with("frontend."))
            .map(|(key, text)| (key.clone(), String::from_utf8_lossy(text).into_owned()))
    }

    /// Metadata about one of several platforms, or about all.
    pub(crate) fn about(&self, key: &str, id: &str) -> Option<&Bytes> {
        let own = self.metadata.get(&format!("{key}/{id}"));
        own.or_else(|| self.metadata.get(key))
    }
}

/// Puts together the result of a build for one platform or several.
pub(crate) struct ResultBuilder {
    bridge: Arc<Bridge>,
    refs: Refs,
    metadata: Metadata,
    attestations: BTreeMap<String, Vec<Attestation>>,
}

impl ResultBuilder {
    /// `multi_platform`: the result is several even if there is but one.
    pub(crate) fn new(bridge: Arc<Bridge>, multi_platform: bool) -> Self {
        let refs = if multi_platform {
            Refs::Keyed(BTreeMap::new())
        } else {
            Refs::default()
        };
        Self {
            bridge,
            refs,
            metadata: Metadata::new(multi_platform),
            attestations: BTreeMap::new(),
        }
    }

    /// Adds what a Dockerfile comes to for one platform.
    pub(crate) fn add(&mut self, target: Target, caches: &[Cache<Output>]) {
        let Target { lowered, sbom } = target;
        let id = self.metadata.add(&lowered);
        if let Some(scan) = sbom {
            let files = LazyRef::new(self.bridge.clone(), scan, Vec::new());
            let attestation = Attestation::sbom(files);
            self.attestations.insert(id.clone(), vec![attestation]);
        }
        let reference = LazyRef::new(self.bridge.clone(), lowered.definition, caches.to_vec());
        let reference = (!reference.definition().is_scratch()).then(|| Arc::new(reference));
        match &mut self.refs {
            Refs::Single(single) => *single = reference,
            Refs::Keyed(keyed) => {
                keyed.insert(id, reference);
            }
        }
    }

    pub(crate) fn finish(self) -> FrontendResult {
        FrontendResult {
            refs: self.refs,
            metadata: self.metadata.finish(),
            attestations: self.attestations,
        }
    }
}
