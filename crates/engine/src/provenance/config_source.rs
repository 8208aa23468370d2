//! Where a frontend's own file is from.

use kiln_llb::git_url::GitRef;
use kiln_llb::redact;
use serde::Serialize;

use super::capture::Capture;
use super::predicate::{DigestSet, of_commit, of_digest};
use crate::request::Attributes;

/// Where a frontend's own file is from.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ConfigSource {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) uri: String,
    /// By algorithm, if it is known.
    #[serde(skip_serializing_if = "DigestSet::is_empty")]
    pub(super) digest: DigestSet,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) path: String,
}

impl ConfigSource {
    /// Takes what names the frontend's file out of the arguments.
    pub(super) fn take(args: &mut Attributes) -> Self {
        let given = |key: &str| args.get(key).filter(|value| !value.is_empty());
        let key = match (given("contextkey"), given("input:context")) {
            (Some(key), _) => key.clone(),
            (None, Some(_)) => "input:context".into(),
            (None, None) => "context".into(),
        };
        let mut take = |key: &str| {
            let is_given = args.get(key).is_some_and(|value| !value.is_empty());
            is_given
                .then(|| args.remove(key))
                .flatten()
                .unwrap_or_default()
        };
        Self {
            uri: redact::credentials(&take(&key)),
            digest: DigestSet::new(),
            path: take("filename"),
        }
    }

    /// With the digest of what the build took from there.
    pub(super) fn found_in(self, capture: &Capture) -> Self {
        let git = GitRef::parse(&self.uri).ok();
        let fragment = |git: &GitRef, subdir: &str| match (git.reference.as_str(), subdir) {
            ("", "") => git.remote.clone(),
            (reference, "") => format!("{}#{reference}", git.remote),
            (reference, subdir) => format!("{}#{reference}:{subdir}", git.remote),
        };
        let url = git
            .as_ref()
            .map_or(self.uri.clone(), |git| fragment(git, ""));
        if let Some(commit) = capture.repositories.get(&url) {
            return Self {
                uri: git.map_or(url, |git| fragment(&git, &git.subdir)),
                digest: of_commit(commit),
                ..self
            };
        }
        match capture.files.get(&url) {
            Some(digest) => Self {
                uri: url,
                digest: of_digest(digest),
                ..self
            },
            None => self,
        }
    }
}
