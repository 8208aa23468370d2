//! From an image's layers to snapshots under the names that containerd looks for.

use oci_spec::image::{Descriptor, Digest};
use sha2::{Digest as _, Sha256};

use crate::lease::random;
use crate::{ContainerdError, Lease, SnapshotKind, Snapshotter};

/// A layer: a blob that containerd has, and the digest of the tar in it.
#[derive(Clone, Debug)]
pub struct UnpackLayer {
    /// The blob.
    pub blob: Descriptor,
    /// The tar's digest.
    pub diff_id: Digest,
}

/// What the snapshot of layers, given by the digests of their tars, is called; `None` for no layers.
pub fn chain_id<'a>(diff_ids: impl IntoIterator<Item = &'a Digest>) -> Option<String> {
    diff_ids.into_iter().fold(None, |below, diff_id| {
        Some(match below {
            None => diff_id.to_string(),
            Some(below) => {
                let hash = Sha256::digest(format!("{below} {diff_id}"));
                format!("sha256:{}", hex::encode(hash))
            }
        })
    })
}

impl Snapshotter {
    /// Unpacks layers, lowest first, where that was not done before; all of them are held by the lease. Answers the
    /// name of the topmost snapshot, `None` if there is no layer. `progress` is told how many layers are done.
    pub async fn unpack(
        &self,
        layers: &[UnpackLayer],
        lease: &Lease,
        progress: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<Option<String>, ContainerdError> {
        let mut below = String::new();
        for (index, layer) in layers.iter().enumerate() {
            let diff_ids = layers[..=index].iter().map(|layer| &layer.diff_id);
            let Some(name) = chain_id(diff_ids) else {
                continue;
            };
            // Held first: a snapshot that is found must not go before it is used.
            lease.hold_snapshot(self.name(), &name).await?;
            if !self.is_there(&name).await? {
                self.unpack_one(layer, &below, &name).await?;
            }
            progress(index + 1);
            below = name;
        }
        Ok(Some(below).filter(|name| !name.is_empty()))
    }

    async fn is_there(&self, name: &str) -> Result<bool, ContainerdError> {
        let found = self.stat(name).await?;
        Ok(found.is_some_and(|info| info.kind == SnapshotKind::Committed))
    }

    async fn unpack_one(
        &self,
        layer: &UnpackLayer,
        below: &str,
        name: &str,
    ) -> Result<(), ContainerdError> {
        let key = format!("kiln-{} {name}", random());
        let mounts = self.prepare(&key, below).await?;
        let outcome = async {
            let applied = self.apply(&layer.blob, mounts).await?;
            if applied != layer.diff_id.to_string() {
                let what = format!("unpack layer {}", layer.blob.digest());
                let reason = format!("its tar is {applied}, not {}", layer.diff_id);
                return Err(self.containerd.malformed(&what, reason));
            }
            self.commit(name, &key).await
        };
        match outcome.await {
            Ok(()) => Ok(()),
            Err(error) => {
                if let Err(removal) = self.remove(&key).await {
                    tracing::debug!(error = %removal, "an unfinished snapshot is left to the garbage collector");
                }
                // Somebody else was faster.
                if error.is_already_exists() {
                    return Ok(());
                }
                Err(error)
            }
        }
    }
}
