//! Which attestations an export carries, and their content.

use std::path::Path;

use bytes::Bytes;
use futures::future::try_join_all;
use kiln_store::tree::{FileKind, Root};
use kiln_store::{Ref, Store};
use serde_json::value::RawValue;

use super::statement::{Said, Statement};
use super::{Attestation, AttestationContent, AttestationKind};
use crate::exporter::blocking;
use crate::opened;
use crate::{ExportError, ExportInput, Shape};

/// Larger files with attestations are refused.
const LIMIT: u64 = 40 << 20;
/// More statements in one bundle are refused.
const MAX_STATEMENTS: usize = 1000;
/// Predicates of this kind are the engine's alone to make.
const PROVENANCE: &str = "https://slsa.dev/provenance/";

/// What an image export carries.
pub(crate) struct Chosen<'a> {
    /// Whether there is an index: attestations cannot stand without one.
    pub(crate) shape: Shape,
    /// Attestations by platform, in the order of the platforms.
    pub(crate) attestations: Vec<&'a [Attestation]>,
}

/// Decides what an image export carries. Attestations that are for images only do not by themselves turn one image
/// into an index, unless the output asks for it.
pub(crate) fn choose(input: &ExportInput, inline: bool) -> Chosen<'_> {
    let wanted = |attestation: &Attestation| inline || !attestation.is_inline_only();
    let all = || {
        input
            .platforms
            .iter()
            .map(|result| result.attestations.as_slice())
    };
    let is_index = input.shape == Shape::Index || all().flatten().any(wanted);
    match is_index {
        true => Chosen {
            shape: Shape::Index,
            attestations: all().collect(),
        },
        false => Chosen {
            shape: Shape::Single,
            attestations: vec![&[]; input.platforms.len()],
        },
    }
}

/// Reads or makes the content of one platform's attestations, taking bundles apart.
pub(crate) async fn gather(
    store: &Store,
    attestations: impl IntoIterator<Item = &Attestation>,
) -> Result<Vec<Said>, ExportError> {
    let mut ordered: Vec<_> = attestations.into_iter().collect();
    ordered.sort_by_key(|attestation| !attestation.is_core());
    let each = ordered
        .into_iter()
        .map(|attestation| content(store, attestation));
    Ok(try_join_all(each).await?.into_iter().flatten().collect())
}

async fn content(store: &Store, attestation: &Attestation) -> Result<Vec<Said>, ExportError> {
    let one = |predicate: &[u8]| {
        Ok(vec![Said {
            path: attestation.path.clone(),
            predicate_type: attestation.predicate_type.clone(),
            predicate: predicate_of(predicate, &attestation.path)?,
            subjects: attestation.subjects.clone(),
        }])
    };
    match (attestation.kind, &attestation.content) {
        (AttestationKind::InToto, _) if attestation.path.is_empty() => {
            Err(refused("attestation does not have set path"))
        }
        (AttestationKind::InToto, AttestationContent::Predicate(make)) => {
            let made: Bytes = make().await.map_err(ExportError::Predicate)?;
            one(&made)
        }
        (AttestationKind::InToto, AttestationContent::Tree(_))
            if attestation.predicate_type.starts_with(PROVENANCE) =>
        {
            Err(refused("frontend may not set provenance attestations"))
        }
        (AttestationKind::InToto, AttestationContent::Tree(tree)) => {
            let path = attestation.path.clone();
            let read = move |root: &Root| root.read_file(&path, LIMIT);
            let bytes = in_tree(
                store,
                tree.as_ref(),
                "cannot read in-toto attestation",
                read,
            )
            .await?;
            one(&bytes)
        }
        (AttestationKind::Bundle, AttestationContent::Tree(tree)) => {
            let path = attestation.path.clone();
            let read = move |root: &Root| read_directory(root, &path);
            let files =
                in_tree(store, tree.as_ref(), "cannot read attestation bundle", read).await?;
            unbundle(attestation, files)
        }
        (AttestationKind::Bundle, AttestationContent::Predicate(_)) => {
            Err(refused("attestation bundle cannot have callback"))
        }
    }
}

/// Reads something of a tree, on a thread that may block.
async fn in_tree<T: Send + 'static>(
    store: &Store,
    tree: Option<&Ref>,
    action: &'static str,
    read: impl FnOnce(&Root) -> Result<T, kiln_store::tree::TreeError> + Send + 'static,
) -> Result<T, ExportError> {
    let Some(tree) = tree.cloned() else {
        return Err(refused(&format!("{action}: the tree is empty")));
    };
    let failed = |error: kiln_store::StoreError| ExportError::Store(error.into());
    tree.materialize().await.map_err(failed)?;
    let store = store.clone();
    blocking(move || {
        let (fd, _mounted) = opened::open_ref(&store, &tree)?;
        read(&Root::from(fd)).map_err(|error| refused(&format!("{action}: {error}")))
    })
    .await
}

type File = (String, Vec<u8>);

fn read_directory(root: &Root, path: &str) -> Result<Vec<File>, kiln_store::tree::TreeError> {
    let entries = root.read_dir(path)?.into_iter().take(MAX_STATEMENTS + 1);
    let files = entries
        .filter(|entry| entry.metadata.kind != FileKind::Directory)
        .map(|entry| {
            let path = Path::new(path)
                .join(&entry.name)
                .to_string_lossy()
                .into_owned();
            let bytes = root.read_file(&path, LIMIT)?;
            Ok((path, bytes))
        });
    files.collect()
}

/// The statements of a bundle, each with the subjects it names.
fn unbundle(bundle: &Attestation, files: Vec<File>) -> Result<Vec<Said>, ExportError> {
    if files.len() > MAX_STATEMENTS {
        return Err(refused(&format!(
            "attestation bundle {} has more than {MAX_STATEMENTS} files",
            bundle.path
        )));
    }
    let statements = files.into_iter().map(|(path, bytes)| {
        let statement: Statement = serde_json::from_slice(&bytes).map_err(|error| {
            refused(&format!("cannot decode in-toto statement {path}: {error}"))
        })?;
        let found = &statement.predicate_type;
        if !bundle.predicate_type.is_empty() && *found != bundle.predicate_type {
            let expected = &bundle.predicate_type;
            return Err(refused(&format!(
                "bundle entry {found} does not match required predicate type {expected}"
            )));
        }
        if found.starts_with(PROVENANCE) {
            return Err(refused("frontend may not bundle provenance attestations"));
        }
        Ok(Said {
            path,
            predicate_type: statement.predicate_type,
            predicate: statement.predicate,
            subjects: statement
                .subject
                .into_iter()
                .map(super::statement::Subject::into_other)
                .collect(),
        })
    });
    statements.collect()
}

fn predicate_of(bytes: &[u8], path: &str) -> Result<Box<RawValue>, ExportError> {
    let bytes = if bytes.is_empty() { b"null" } else { bytes };
    serde_json::from_slice(bytes)
        .map_err(|error| refused(&format!("attestation {path} is not JSON: {error}")))
}

fn refused(reason: &str) -> ExportError {
    ExportError::Result(reason.to_owned())
}
