//! In-toto statements: a predicate with what it is about.

use std::collections::BTreeMap;

use kiln_registry::Reference;
use oci_spec::image::{Digest, Platform};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{AttestationSubject, PackageKind, SubjectKind, package_url};

/// Type of all statements.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";

/// An attestation whose content is here.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Where the content was.
    pub(crate) path: String,
    pub(crate) predicate_type: String,
    pub(crate) predicate: Box<RawValue>,
    pub(super) subjects: Vec<AttestationSubject>,
}

/// A statement as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Statement {
    #[serde(rename = "_type", default)]
    kind: String,
    #[serde(rename = "predicateType", default)]
    pub(super) predicate_type: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) subject: Vec<Subject>,
    pub(super) predicate: Box<RawValue>,
}

/// A name with digests by algorithm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subject {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) digest: BTreeMap<String, String>,
}

/// Takes `null` for nothing.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Subject {
    pub(crate) fn new(name: impl Into<String>, digests: &[Digest]) -> Self {
        let by_algorithm = digests.iter().map(|digest| {
            let algorithm = digest.algorithm().to_string();
            (algorithm, digest.digest().to_owned())
        });
        Self {
            name: name.into(),
            digest: by_algorithm.collect(),
        }
    }

    /// The subject as an attestation has it; digests that are none are left out.
    pub(super) fn into_other(self) -> AttestationSubject {
        let digests = self.digest.into_iter();
        let digests =
            digests.filter_map(|(algorithm, hex)| format!("{algorithm}:{hex}").parse().ok());
        AttestationSubject {
            kind: SubjectKind::Other,
            name: self.name,
            digests: digests.collect(),
        }
    }
}

/// An image under each of its names.
pub(crate) fn default_subjects(
    names: &[Reference],
    platform: &Platform,
    digest: &Digest,
) -> Vec<Subject> {
    let url = |name| package_url(PackageKind::Docker, name, Some(platform), &[]);
    names
        .iter()
        .map(|name| Subject::new(url(name), std::slice::from_ref(digest)))
        .collect()
}

impl Said {
    /// The statement, about the result where it says nothing else.
    pub(crate) fn statement(&self, result: &[Subject]) -> Statement {
        let itself = [AttestationSubject {
            kind: SubjectKind::Result,
            name: String::new(),
            digests: Vec::new(),
        }];
        let given = match self.subjects.as_slice() {
            [] => &itself[..],
            given => given,
        };
        let mut subject = Vec::new();
        for one in given {
            match one.kind {
                SubjectKind::Other => {
                    let name = if one.name.is_empty() { "_" } else { &one.name };
                    subject.push(Subject::new(name, &one.digests));
                }
                SubjectKind::Result => {
                    for known in result {
                        subject.push(known.clone());
                        if !matches!(one.name.as_str(), "" | "_") {
                            subject.push(Subject {
                                name: one.name.clone(),
                                ..known.clone()
                            });
                        }
                    }
                }
            }
        }
        Statement {
            kind: STATEMENT.to_owned(),
            predicate_type: self.predicate_type.clone(),
            subject,
            predicate: self.predicate.clone(),
        }
    }
}
