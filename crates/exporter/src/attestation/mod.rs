//! Attestations: what is said of a build's result, beside the result itself.

mod files;
mod gather;
mod purl;
mod statement;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use kiln_store::Ref;
use oci_spec::image::Digest;

pub(crate) use files::{StatementDirectory, StatementFiles, write_files};
pub(crate) use gather::{Chosen, choose, gather};
pub use purl::{PackageKind, package_url};
pub(crate) use statement::{Said, default_subjects};

/// Key of [`Attestation::metadata`]: why the attestation was made.
pub const REASON: &str = "reason";
/// Key of [`Attestation::metadata`]: `true` on what belongs into images only.
pub const INLINE_ONLY: &str = "inline-only";
/// Key of [`Attestation::metadata`]: name of the SBOM that describes the result itself.
pub const SBOM_CORE: &str = "sbom-core";

/// One attestation of one platform's result, as frontends and the engine hand it over.
#[derive(Clone, Debug)]
pub struct Attestation {
    /// What its content is.
    pub kind: AttestationKind,
    /// The file with the content; its last part is the statement's file name in a directory.
    pub path: String,
    /// Where the content comes from.
    pub content: AttestationContent,
    /// Type of the predicate; in a bundle the type that all statements must have, if it is not empty.
    pub predicate_type: String,
    /// What it is about; nothing means the result.
    pub subjects: Vec<AttestationSubject>,
    /// Facts for exporters, by the names above.
    pub metadata: BTreeMap<String, Bytes>,
}

/// What an attestation's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttestationKind {
    /// A predicate.
    InToto,
    /// A directory of whole statements.
    Bundle,
}

/// Where an attestation's content comes from.
#[derive(Clone)]
pub enum AttestationContent {
    /// The file or directory at the attestation's path in this tree; `None` is an empty tree.
    Tree(Option<Ref>),
    /// Made when an exporter wants it, once the layers of the image it goes into are there.
    Predicate(MakePredicate),
}

/// Makes a predicate: one JSON value.
pub type MakePredicate =
    Arc<dyn Fn() -> BoxFuture<'static, Result<Bytes, PredicateError>> + Send + Sync>;

/// Why a predicate could not be made.
pub type PredicateError = Box<dyn std::error::Error + Send + Sync>;

impl fmt::Debug for AttestationContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree(reference) => f
                .debug_tuple("Tree")
                .field(&reference.as_ref().map(Ref::id))
                .finish(),
            Self::Predicate(_) => f.write_str("Predicate"),
        }
    }
}

/// Something an attestation is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationSubject {
    /// Whether it is the result or something else.
    pub kind: SubjectKind,
    /// Its name; a further name of the result.
    pub name: String,
    /// Its digests, one per algorithm; none for the result.
    pub digests: Vec<Digest>,
}

/// Whether a subject is the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKind {
    /// The result itself, whose digests the exporter knows.
    Result,
    /// Something with digests of its own.
    Other,
}

impl Attestation {
    /// Whether it belongs into images only.
    pub(crate) fn is_inline_only(&self) -> bool {
        self.metadata
            .get(INLINE_ONLY)
            .is_some_and(|value| value == "true")
    }

    /// Whether this is the SBOM of the result itself, which comes before all others.
    fn is_core(&self) -> bool {
        let name = self.path.split('.').next().unwrap_or_default();
        self.metadata
            .get(SBOM_CORE)
            .is_some_and(|core| core == name)
    }
}
