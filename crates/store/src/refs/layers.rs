//! The layers a ref is exported as, and the blobs known for each.

use std::path::PathBuf;
use std::time::SystemTime;

use oci_spec::image::{Descriptor, Digest};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use super::Ref;
use super::record::{Kind, LayerFacts};
use crate::store::{Store, StoreError};

/// One layer of a ref.
#[derive(Debug, Clone)]
pub struct LayerInfo {
    /// The ref that owns the layer: hand it to [`Store::set_layer_blob`]. Holding it holds the layer.
    pub owner: Ref,
    /// The overlay upper directory (whiteouts as 0:0 devices, opaque directories by xattr), or `None` while the
    /// layer is lazy.
    pub dir: Option<PathBuf>,
    /// The directories it was made on top of, bottom first: what its opaque directories hide. Empty for a base
    /// layer and for lazy ones.
    pub below: Vec<PathBuf>,
    /// The digest of its uncompressed tar, if known.
    pub diff_id: Option<Digest>,
    /// Blobs of this layer known so far, the oldest first; they may be absent from the content store.
    pub blobs: Vec<Descriptor>,
    /// When it was made.
    pub created: SystemTime,
    /// The description of its ref.
    pub description: String,
}

/// A layer's blob that somebody made or found.
#[derive(Debug, Clone)]
pub struct LayerBlob {
    /// The blob: media type, digest, size, annotations.
    pub descriptor: Descriptor,
    /// The digest of its uncompressed tar.
    pub diff_id: Digest,
}

impl Ref {
    /// The layers, bottom first, as they are exported.
    pub fn layers(&self) -> Result<Vec<LayerInfo>, StoreError> {
        LayerInfo::of(self.stack(), &self.inner.store)
    }
}

impl LayerInfo {
    /// What is known of layers, given bottom first.
    pub(super) fn of(owners: Vec<Ref>, store: &Store) -> Result<Vec<LayerInfo>, StoreError> {
        let facts = store.database().query(|connection| {
            let find = |owner: &Ref| LayerFacts::find(connection, owner.row());
            owners
                .iter()
                .map(find)
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let mut layers: Vec<LayerInfo> = Vec::with_capacity(owners.len());
        for (owner, facts) in owners.into_iter().zip(facts) {
            let dir = owner
                .has_files()?
                .then(|| store.snapshots().tree(owner.row()));
            let below = match dir {
                Some(_) => owner.dirs_below(layers.last())?,
                None => Vec::new(),
            };
            layers.push(LayerInfo {
                dir,
                below,
                diff_id: facts.diff_id,
                blobs: facts.blobs,
                created: owner.created(),
                description: owner.description().to_owned(),
                owner,
            });
        }
        Ok(layers)
    }
}

impl Ref {
    /// What the layer was made on, bottom first; nothing while that is lazy. `previous` is the layer that lies below
    /// it here.
    fn dirs_below(&self, previous: Option<&LayerInfo>) -> Result<Vec<PathBuf>, StoreError> {
        let Some(parent) = self.parents().first() else {
            return Ok(Vec::new());
        };
        if let Some(LayerInfo {
            owner,
            dir: Some(dir),
            below,
            ..
        }) = previous
            && owner.row() == parent.row()
            && owner.inner.record.kind == Kind::Layer
            && (!below.is_empty() || owner.parents().is_empty())
        {
            return Ok(below.iter().chain([dir]).cloned().collect());
        }
        if parent.is_lazy()? {
            return Ok(Vec::new());
        }
        let mut below = parent.mount_dirs()?;
        below.reverse();
        Ok(below)
    }
}

impl Store {
    /// Records a blob of the layer that `owner` (from [`LayerInfo::owner`]) stands for.
    pub fn set_layer_blob(&self, owner: &Ref, blob: LayerBlob) -> Result<(), StoreError> {
        let below = owner.layers_below();
        self.database().transact(|transaction| {
            LayerFacts::add_blob(transaction, owner.row(), &blob.descriptor)?;
            let chain_id = match &below {
                Some(below) => chain_id_of(transaction, below, &blob.diff_id)?,
                None => None,
            };
            transaction
                .prepare_cached(
                    "UPDATE refs SET diff_id = ifnull(diff_id, ?2), chain_id = ifnull(chain_id, ?3) WHERE row = ?1",
                )?
                .execute((owner.row(), blob.diff_id.as_ref(), chain_id))
        })?;
        Ok(())
    }

    /// Records that a blob belongs to `owner` without being one of its usual layer blobs (a form made on special
    /// request): it is kept and counted with the ref.
    pub fn attach_blob(&self, owner: &Ref, digest: &Digest) -> Result<(), StoreError> {
        self.database().transact(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT OR IGNORE INTO ref_attachments (owner, digest) VALUES (?1, ?2)",
                )?
                .execute((owner.row(), digest.as_ref()))
        })?;
        Ok(())
    }
}

impl Ref {
    /// The layers below the own one, or `None` if it is not a plain layer.
    fn layers_below(&self) -> Option<Vec<Ref>> {
        let below = || self.parents().first().map(Ref::stack).unwrap_or_default();
        (self.inner.record.kind == Kind::Layer).then(below)
    }
}

/// The chain id (OCI image spec) of a layer with `diff_id` on top of `below`, if all diff ids are known.
pub(super) fn chain_id_of(
    connection: &Connection,
    below: &[Ref],
    diff_id: &Digest,
) -> rusqlite::Result<Option<String>> {
    let mut chain: Option<String> = None;
    for layer in below {
        let Some(layer_diff_id) = LayerFacts::find(connection, layer.row())?.diff_id else {
            return Ok(None);
        };
        chain = Some(next_chain_id(chain, &layer_diff_id));
    }
    Ok(Some(next_chain_id(chain, diff_id)))
}

fn next_chain_id(chain: Option<String>, diff_id: &Digest) -> String {
    match chain {
        None => diff_id.to_string(),
        Some(chain) => format!(
            "sha256:{}",
            hex::encode(Sha256::digest(format!("{chain} {diff_id}")))
        ),
    }
}
