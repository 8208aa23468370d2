//! Keys made from what an input contains ("slow" cache keys).

use std::sync::Arc;

use kiln_llb::digest_of;
use kiln_store::Ref;
use kiln_store::checksum::ChecksumOptions;
use oci_spec::image::Digest;

use crate::checksums::Selector;
use crate::error::{BuildError, Kind};
use crate::tree::store_error;
use crate::worker::Worker;

/// One digest over the content that `selectors` name in a ref; no selectors
/// mean the whole tree.
pub(super) async fn digest(
    worker: &Arc<Worker>,
    reference: Option<&Ref>,
    mut selectors: Vec<Selector>,
) -> Result<Option<Digest>, BuildError> {
    if selectors.is_empty() {
        selectors.push(Selector {
            path: "/".into(),
            options: ChecksumOptions::default(),
        });
    }
    let Some(reference) = reference else {
        return empty_tree(&selectors).map(Some);
    };
    if let Some(known) = worker.checksums.known(reference, &selectors)? {
        return Ok(Some(join(&known)));
    }
    reference.materialize().await.map_err(store_error)?;
    let (worker, reference) = (worker.clone(), reference.clone());
    let task = tokio::task::spawn_blocking(move || {
        worker
            .checksums
            .checksums(&worker.store, &reference, &selectors)
    });
    let digests = task
        .await
        .map_err(|error| BuildError::wrap(Kind::Internal, error))??;
    Ok(Some(join(&digests)))
}

/// Only the root of an empty tree exists.
fn empty_tree(selectors: &[Selector]) -> Result<Digest, BuildError> {
    if let Some(missing) = selectors.iter().find(|selector| selector.path != "/") {
        let message = format!("{}: no such file or directory", missing.path);
        return Err(BuildError::new(Kind::Input, message));
    }
    Ok(join(&vec![digest_of(b""); selectors.len()]))
}

fn join(digests: &[Digest]) -> Digest {
    let texts = digests.iter().map(AsRef::as_ref).collect::<Vec<&str>>();
    digest_of(texts.join("\0"))
}

/// Removes paths that lie below others, and sorts: looking at a directory
/// covers all it holds.
pub(super) fn dedupe_paths(paths: &[String]) -> Vec<String> {
    let mut kept = paths
        .iter()
        .filter(|path| {
            !paths.iter().any(|other| {
                other != *path
                    && path
                        .strip_prefix(other.as_str())
                        .is_some_and(|rest| other.ends_with('/') || rest.starts_with('/'))
            })
        })
        .cloned()
        .collect::<Vec<_>>();
    kept.sort();
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use super::dedupe_paths;

    #[test]
    fn paths_below_others_are_covered_by_them() {
        let check = |input: &[&str], expected: &[&str]| {
            let input = input.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!(dedupe_paths(&input), expected);
        };
        check(&["/foo", "/foobar", "/foo/bar"], &["/foo", "/foobar"]);
        check(&["/b", "/a", "/b"], &["/a", "/b"]);
        check(&["/", "/a"], &["/"]);
    }
}
