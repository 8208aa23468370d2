//! What a build came to, in the form of a record.

use std::collections::BTreeMap;

use kiln_protocol::control::{BuildResultInfo, Descriptor};
use kiln_protocol::rpc;
use kiln_store::Store;
use prost::Message as _;

use super::HistoryError;

/// The media type of errors; the misspelling is BuildKit's.
const ERROR_TYPE: &str = "application/vnd.googeapis.google.rpc.status+proto";

/// The media type of attestations.
pub(super) const ATTESTATION_TYPE: &str = "application/vnd.in-toto+json";

/// The annotation that tells what an attestation is about.
pub(super) const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// Writes a blob of a record.
pub(super) fn put(
    store: &Store,
    media_type: &str,
    bytes: &[u8],
) -> Result<Descriptor, HistoryError> {
    let blob = store.content().put(bytes)?;
    Ok(Descriptor {
        media_type: media_type.to_owned(),
        digest: blob.digest.to_string(),
        size: i64::try_from(blob.size).unwrap_or(i64::MAX),
        annotations: BTreeMap::new(),
    })
}

/// A failure: the short form for the record, and the whole as a blob.
pub(super) fn failure(
    store: &Store,
    mut status: rpc::Status,
) -> Result<(rpc::Status, Descriptor), HistoryError> {
    let whole = put(store, ERROR_TYPE, &status.encode_to_vec())?;
    status.details.clear();
    Ok((status, whole))
}

/// What outputs made, by the place of each in the request, with the blobs to
/// keep: manifests and configs, not layers.
pub(super) fn of_outputs(
    store: &Store,
    descriptors: &BTreeMap<usize, oci_spec::image::Descriptor>,
) -> (Option<BuildResultInfo>, Vec<String>) {
    let mut info = BuildResultInfo::default();
    let mut blobs = Vec::new();
    for (index, descriptor) in descriptors {
        let found = store.metadata_blobs(descriptor.digest());
        // What an output did not leave in the store cannot be looked at later.
        if found.is_empty() {
            continue;
        }
        blobs.extend(found);
        let descriptor = wire(descriptor);
        if info.results.is_empty() {
            deprecated(&mut info, &descriptor);
        }
        let index = i64::try_from(*index).unwrap_or(i64::MAX);
        info.results.insert(index, descriptor);
    }
    ((!info.results.is_empty()).then_some(info), blobs)
}

/// Old clients look for the first result in a field of its own.
#[allow(deprecated)]
fn deprecated(info: &mut BuildResultInfo, descriptor: &Descriptor) {
    info.result_deprecated = Some(descriptor.clone());
}

fn wire(descriptor: &oci_spec::image::Descriptor) -> Descriptor {
    let annotations = descriptor.annotations().clone().unwrap_or_default();
    Descriptor {
        media_type: descriptor.media_type().to_string(),
        digest: descriptor.digest().to_string(),
        size: i64::try_from(descriptor.size()).unwrap_or(i64::MAX),
        annotations: annotations.into_iter().collect(),
    }
}
