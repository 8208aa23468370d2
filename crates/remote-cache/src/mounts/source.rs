//! Mounts that were kept beside a cache, for steps that need them.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use kiln_store::ContentStore;
use tokio::sync::{Mutex, OnceCell};

use super::artifact::{MountError, doing};
use super::find::Spot;
use super::index::{Index, LARGEST_TREE, Mount};
use super::keys::{MountKeys, MountsWanted};
use super::rejoin::KeptTree;
use crate::options::ImportOptions;
use crate::place::Place;

/// How many packs are fetched at once.
const FETCHES: usize = 4;

/// The mounts beside one cache. Nothing is read before a step asks.
pub struct MountSource {
    spot: Spot,
    wanted: MountsWanted,
    content: ContentStore,
    index: OnceCell<Option<Arc<Index>>>,
    reading: Mutex<()>,
}

impl MountSource {
    /// The mounts beside a cache that is imported; `None` if there can be none, or they are not wanted. `way` is that of
    /// [`import`](crate::import()); packs go by `content` unless the cache is a directory on this machine.
    pub fn new(
        options: &ImportOptions,
        keys: &MountKeys,
        way: Option<Place>,
        content: &ContentStore,
    ) -> Result<Option<Self>, MountError> {
        if keys.wanted == MountsWanted::No {
            return Ok(None);
        }
        let spot = Spot::of_import(options, keys, way).map_err(doing("import cache mounts"))?;
        Ok(spot.map(|spot| Self {
            spot,
            wanted: keys.wanted,
            content: content.clone(),
            index: OnceCell::new(),
            reading: Mutex::new(()),
        }))
    }

    /// The seeds of the mounts of this id that are here. That the index cannot be read is told once.
    pub async fn seeds(&self, id: &str) -> Result<Vec<Option<String>>, MountError> {
        let index = self.index().await?;
        let mounts = index.iter().flat_map(|index| &index.mounts);
        let mounts = mounts.filter(|mount| mount.id == id);
        Ok(mounts.map(|mount| mount.seed.clone()).collect())
    }

    /// Brings a mount near; `None` if it is not here.
    pub async fn fetch(
        &self,
        id: &str,
        seed: Option<&str>,
    ) -> Result<Option<KeptTree>, MountError> {
        let Some(index) = self.index().await? else {
            return Ok(None);
        };
        let is_wanted = |mount: &&Mount| mount.id == id && mount.seed.as_deref() == seed;
        let Some(mount) = index.mounts.iter().find(is_wanted).cloned() else {
            return Ok(None);
        };
        let (place, tree) = (self.spot.place(), mount.tree.tree());
        let tree = place.read(&tree, LARGEST_TREE).await;
        let tree = tree.map_err(doing(format!("fetch the tree of cache mount {id}")))?;
        let packs = self.packs(&index, &mount).await?;
        Ok(Some(KeptTree {
            index,
            mount,
            tree,
            packs,
        }))
    }

    /// The packs that a mount needs, in the places they have in the index.
    async fn packs(&self, index: &Index, mount: &Mount) -> Result<Vec<Option<File>>, MountError> {
        let chunks = mount.chunks.iter().filter_map(|at| index.chunks.get(*at));
        let needed: BTreeSet<usize> = chunks.map(|chunk| chunk.pack).collect();
        let fetches = needed.into_iter().filter_map(|at| {
            let pack = index.packs.get(at)?;
            Some(async move {
                let fetched = self.spot.fetch(pack, &self.content).await;
                let file = fetched.map_err(doing(format!("fetch pack {}", pack.digest)))?;
                Ok::<_, MountError>((at, file))
            })
        });
        let fetched = stream::iter(fetches).buffer_unordered(FETCHES);
        let fetched: Vec<(usize, File)> = fetched.try_collect().await?;
        let mut packs: Vec<Option<File>> = std::iter::repeat_with(|| None)
            .take(index.packs.len())
            .collect();
        for (at, file) in fetched {
            packs[at] = Some(file);
        }
        Ok(packs)
    }

    async fn index(&self) -> Result<Option<Arc<Index>>, MountError> {
        let _reading = self.reading.lock().await;
        if let Some(known) = self.index.get() {
            return Ok(known.clone());
        }
        let found = self.spot.index().await;
        let index = found.as_ref().ok().cloned().flatten().map(Arc::new);
        let is_missing = found.is_ok() && index.is_none();
        self.index.set(index.clone()).ok();
        found.map_err(doing("read the index of cache mounts"))?;
        match is_missing && self.wanted == MountsWanted::Yes {
            true => Err(doing("import cache mounts")(
                "there are none beside the cache; export them with mounts=true",
            )),
            false => Ok(index),
        }
    }
}
