//! How much of an archive its image uses.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;

use serde::Deserialize;

use super::scan::Members;

/// Longer indexes and manifests are not followed.
const LIMIT: u64 = 16 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

/// The bytes of all blobs that the index leads to.
pub(super) fn bytes(file: &File, members: &Members) -> io::Result<u64> {
    let mut seen = BTreeSet::new();
    let mut used = 0;
    let mut left = vec![members.index];
    while let Some(data) = left.pop() {
        let bytes = data.read(file, LIMIT)?.unwrap_or_default();
        let Ok(node) = serde_json::from_slice::<Node>(&bytes) else {
            continue;
        };
        let blobs = node.layers.into_iter().flatten().chain(node.config);
        let blobs = blobs.map(|blob| (blob.digest, false));
        let manifests = node.manifests.into_iter().flatten();
        for (digest, is_node) in blobs.chain(manifests.map(|node| (node.digest, true))) {
            let hex = digest.strip_prefix("sha256:").unwrap_or_default();
            let Some(data) = members.blobs.get(hex) else {
                continue;
            };
            if seen.insert(digest) {
                used += data.size;
                left.extend(is_node.then_some(*data));
            }
        }
    }
    Ok(used)
}
