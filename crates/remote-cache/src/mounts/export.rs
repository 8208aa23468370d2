//! Writing the mounts of a build beside its cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tokio::sync::mpsc;

use super::artifact::{MountError, doing};
use super::collect::{self, Collected};
use super::find::Spot;
use super::index::{Blob, Index, LARGEST_PACK, LARGEST_TREE, LIMIT, Mount};
use super::keys::MountKeys;
use super::pack::{Pack, Packer};
use crate::build::describe;
use crate::directory;
use crate::model::{self, Descriptor};
use crate::options::Destination;
use crate::place::Place;

/// What the client is told: the manifest's descriptor in JSON, how many bytes the mounts take there, and how many of
/// them this export has written.
const MANIFEST_KEY: &str = "cache.mounts.manifest";
const SIZE_KEY: &str = "cache.mounts.size";
const WRITTEN_KEY: &str = "cache.mounts.written";

/// A mount's tree on this machine.
#[derive(Clone, Debug)]
pub struct MountTree {
    /// The id of the mount, with its namespace.
    pub id: String,
    /// Checksum of the tree that it started with.
    pub seed: Option<String>,
    /// Where it is.
    pub dir: PathBuf,
}

/// Which mounts to export, and where to.
pub struct MountsExport<'a> {
    /// Where the cache is exported to.
    pub destination: &'a Destination,
    /// What its keys say about mounts.
    pub keys: &'a MountKeys,
    /// As for [`export`](crate::export()).
    pub way: Option<&'a Place>,
    /// The ids of all mounts that the build's steps have. Those without a tree here stay as they were exported before.
    pub ids: BTreeSet<String>,
    /// The trees that are here.
    pub trees: Vec<MountTree>,
    /// Told how many bytes were written so far.
    pub progress: &'a (dyn Fn(u64) + Send + Sync),
}

/// Mounts that were exported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExportedMounts {
    /// Keys for the client, which begin with `cache.mounts.`. Empty if there was nothing to export.
    pub response: BTreeMap<String, String>,
    /// What the user should know and that did not fail the export.
    pub warnings: Vec<String>,
    /// How many bytes were written.
    pub written: u64,
    /// How many bytes the mounts take where they are now.
    pub size: u64,
}

/// Writes mounts beside a cache: what of them is there already, from an export before, is not written again.
pub async fn export_mounts(request: MountsExport<'_>) -> Result<ExportedMounts, MountError> {
    let spot = Spot::of_export(request.destination, request.keys, request.way);
    let failed = || "export cache mounts";
    let spot = spot.map_err(doing(failed()))?;
    spot.prepare().await.map_err(doing(failed()))?;
    let mut warnings = Vec::new();
    let old = spot.index().await.unwrap_or_else(|error| {
        warnings.push(format!(
            "cache mounts exported before are not used: {error}"
        ));
        None
    });
    let old = old.unwrap_or_default();
    let there = spot.present(&old.packs).await.map_err(doing(failed()))?;
    let mut export = Export {
        spot: &spot,
        request: &request,
        written: 0,
    };
    let mounts = export.collect(old, there, &mut warnings).await?;
    let Some(index) = mounts else {
        return Ok(ExportedMounts {
            warnings,
            ..ExportedMounts::default()
        });
    };
    let mut exported = export.publish(index).await?;
    exported.warnings = warnings;
    if let (Destination::Directory { path, reset, .. }, Spot::Directory { .. }) =
        (request.destination, &spot)
        && *reset
    {
        let path = path.clone();
        let cleared = tokio::task::spawn_blocking(move || directory::reset(&path)).await;
        if let Ok(Err(error)) = cleared {
            let warning = format!("failed to reset cache store: {error}");
            exported.warnings.push(warning);
        }
    }
    Ok(exported)
}

struct Export<'a> {
    spot: &'a Spot,
    request: &'a MountsExport<'a>,
    written: u64,
}

impl Export<'_> {
    async fn put(&mut self, blob: &Descriptor, bytes: Vec<u8>) -> Result<(), MountError> {
        let put = self.spot.put(blob, bytes).await;
        self.written += put.map_err(doing("write cache mounts"))?;
        (self.request.progress)(self.written);
        Ok(())
    }

    async fn put_pack(&mut self, pack: Pack) -> Result<(), MountError> {
        self.put(&pack.blob.pack(), pack.bytes).await
    }

    /// Writes all trees and chunks; `None` if there are no mounts.
    async fn collect(
        &mut self,
        old: Index,
        there: Vec<bool>,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Index>, MountError> {
        let left = left_as_they_were(self.request, &old);
        let trees: Vec<Blob> = left.iter().map(|mount| mount.tree.clone()).collect();
        let trees = self.spot.present(&trees).await;
        let trees = trees.map_err(doing("look for cache mounts"))?;
        let packer = Packer::new(old, &there).map_err(doing("compress cache mounts"))?;
        let (mut packer, collected) = self.collect_trees(packer).await?;
        let mut mounts = Vec::new();
        for (tree, collected) in self.request.trees.iter().zip(collected) {
            if collected.left_out > 0 {
                let (id, count) = (&tree.id, collected.left_out);
                warnings.push(format!(
                    "cache mount {id}: {count} files left out, which changed while they were read or cannot be kept"
                ));
            }
            mounts.push(self.put_tree(tree, collected).await?);
        }
        for (mount, has_tree) in left.into_iter().zip(trees) {
            match has_tree.then(|| packer.take_over(&mount.chunks)).flatten() {
                Some(chunks) => mounts.push(Mount { chunks, ..mount }),
                None => warnings.push(format!(
                    "cache mount {} is lost: it is not on this machine, and what was exported of it is damaged",
                    mount.id
                )),
            }
        }
        if mounts.is_empty() {
            return Ok(None);
        }
        self.move_sparse(&mut packer).await?;
        let (chunks, packs, last) = packer.finish();
        if let Some(pack) = last {
            self.put_pack(pack).await?;
        }
        mounts.sort_by(|one, other| (&one.id, &one.seed).cmp(&(&other.id, &other.seed)));
        Ok(Some(Index {
            mounts,
            chunks,
            packs,
        }))
    }

    /// Reads all trees on a thread of its own, and writes packs as they fill up.
    async fn collect_trees(
        &mut self,
        mut packer: Packer,
    ) -> Result<(Packer, Vec<Collected>), MountError> {
        let (sender, mut filled) = mpsc::channel::<Pack>(1);
        let dirs: Vec<_> = self.request.trees.iter().map(|it| it.dir.clone()).collect();
        let work = tokio::task::spawn_blocking(move || {
            let mut send = |pack| {
                let sent = sender.blocking_send(pack);
                sent.map_err(|_| doing("write cache mounts")("it was stopped"))
            };
            let trees = dirs
                .iter()
                .map(|dir| collect::collect(dir, &mut packer, &mut send));
            let trees: Vec<Collected> = trees.collect::<Result<_, _>>()?;
            Ok((packer, trees))
        });
        while let Some(pack) = filled.recv().await {
            self.put_pack(pack).await?;
        }
        work.await.map_err(doing("read cache mounts"))?
    }

    async fn put_tree(&mut self, tree: &MountTree, of: Collected) -> Result<Mount, MountError> {
        let described = describe(super::artifact::TREE, &of.tree);
        if described.size > LARGEST_TREE {
            return Err(doing(format!("export cache mount {}", tree.id))(
                "it has too many files",
            ));
        }
        let blob = Blob {
            digest: described.digest.clone(),
            size: described.size,
        };
        self.put(&described, of.tree).await?;
        Ok(Mount {
            id: tree.id.clone(),
            seed: tree.seed.clone(),
            tree: blob,
            entries: of.entries,
            chunks: of.chunks,
        })
    }

    /// Writes what is used of packs that mostly are not.
    async fn move_sparse(&mut self, packer: &mut Packer) -> Result<(), MountError> {
        for (at, pack) in packer.sparse() {
            let bytes = self.spot.place().read(&pack.pack(), LARGEST_PACK).await;
            // One that cannot be read stays as it is. So does what is wrong with it: whoever imports it will see.
            let Ok(bytes) = bytes else { continue };
            for filled in packer.move_from(at, &bytes) {
                self.put_pack(filled).await?;
            }
        }
        Ok(())
    }

    /// Writes the index last of all.
    async fn publish(self, index: Index) -> Result<ExportedMounts, MountError> {
        let failed = || "write the index of cache mounts";
        let bytes = model::encode(&index).map_err(doing(failed()))?;
        if bytes.len() as u64 > LIMIT {
            return Err(doing(failed())("there are too many files"));
        }
        let mut layers: Vec<_> = index.mounts.iter().map(|it| it.tree.tree()).collect();
        layers.extend(index.packs.iter().map(Blob::pack));
        let size: u64 = layers.iter().map(|layer| layer.size).sum();
        let published = self.spot.publish(bytes, layers).await;
        let published = published.map_err(doing(failed()))?;
        let (written, size) = (self.written + published.written, size + published.size);
        let mut response = BTreeMap::from([
            (SIZE_KEY.into(), size.to_string()),
            (WRITTEN_KEY.into(), written.to_string()),
        ]);
        if let Some(manifest) = published.manifest {
            let told = model::encode(&manifest).map_err(doing(failed()))?;
            response.insert(MANIFEST_KEY.into(), String::from_utf8_lossy(&told).into());
        }
        Ok(ExportedMounts {
            response,
            warnings: Vec::new(),
            written,
            size,
        })
    }
}

/// Mounts of steps that were exported before and are not on this machine, because all their steps were cached.
fn left_as_they_were(request: &MountsExport<'_>, old: &Index) -> Vec<Mount> {
    let here: BTreeSet<_> = request.trees.iter().map(|tree| &tree.id).collect();
    let mounts = old.mounts.iter();
    let left = mounts.filter(|it| request.ids.contains(&it.id) && !here.contains(&it.id));
    left.cloned().collect()
}
