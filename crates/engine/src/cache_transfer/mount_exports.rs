//! Cache mounts that go with exported caches.

use std::collections::BTreeSet;
use std::sync::Arc;

use kiln_remote_cache::mounts::{ExportedMounts, MountKeys, MountTree, MountsExport};
use kiln_remote_cache::{Destination, Place, mounts};
use kiln_store::cache_mount::KeptMount;

use super::export::way;
use super::mounts::{UsedMount, seed_digest};
use crate::bridge::Bridge;
use crate::engine::blocking;
use crate::error::{BuildError, Kind};
use crate::request::Attributes;
use crate::step::Step;
use crate::tree::store_error;
use crate::worker::Worker;

/// The caches that mounts are to be exported beside.
pub(crate) struct MountExports(pub(super) Vec<MountExport>);

/// One of them.
pub(super) struct MountExport {
    pub(super) destination: Destination,
    pub(super) keys: MountKeys,
    pub(super) ignore_error: bool,
}

/// Mounts of this machine. They stay while this lives.
#[derive(Default)]
struct Held {
    trees: Vec<MountTree>,
    _kept: Vec<KeptMount>,
}

impl MountExports {
    /// Writes the mounts that the build's steps have, beside each cache.
    pub(crate) async fn run(self, bridge: &Bridge) -> Result<Attributes, BuildError> {
        let mut response = Attributes::new();
        for export in self.0 {
            let title = format!("exporting cache mounts beside {}", export.destination);
            let step = Step::start(&bridge.progress, title);
            let exported = export.run(bridge, &step).await;
            match (step.finish(exported), export.ignore_error) {
                (Ok(exported), _) => response.extend(exported),
                (Err(_), true) => {}
                (Err(error), false) => return Err(error),
            }
        }
        Ok(response)
    }
}

impl MountExport {
    async fn run(&self, bridge: &Bridge, step: &Step) -> Result<Attributes, BuildError> {
        let used = bridge.mounts().used();
        if used.is_empty() {
            let warning = "skipping export of cache mounts: no step of this build has one";
            step.reporter.warn(warning);
            return Ok(Attributes::new());
        }
        let way = way(&bridge.engine, &bridge.session, &self.destination).await?;
        let held = hold(&bridge.engine.worker, &used).await?;
        self.write(step, used, held, way.as_ref()).await
    }

    async fn write(
        &self,
        step: &Step,
        used: BTreeSet<UsedMount>,
        held: Held,
        way: Option<&Place>,
    ) -> Result<Attributes, BuildError> {
        let activity = step.reporter.activity("writing cache mounts");
        let request = MountsExport {
            destination: &self.destination,
            keys: &self.keys,
            way,
            ids: used.into_iter().map(|mount| mount.id).collect(),
            trees: held.trees.clone(),
            progress: &|written| activity.progress(written, 0),
        };
        let exported = mounts::export_mounts(request).await;
        let ExportedMounts {
            response,
            warnings,
            written,
            size,
        } = exported.map_err(|error| BuildError::wrap(Kind::Environment, error))?;
        activity.clone().done(written, size);
        for warning in warnings {
            step.reporter.warn(&warning);
        }
        Ok(response)
    }
}

/// Finds the trees of mounts that are on this machine.
async fn hold(worker: &Arc<Worker>, used: &BTreeSet<UsedMount>) -> Result<Held, BuildError> {
    let mut held = Held::default();
    let mut known = BTreeSet::new();
    for mount in used {
        let (store, id) = (worker.store.clone(), mount.id.clone());
        let kept = blocking(move || store.kept_mounts(&id).map_err(store_error)).await?;
        for kept in kept {
            if kept.seed.is_some() != mount.is_seeded {
                continue;
            }
            let seed = match &kept.seed {
                Some(seed) => Some(seed_digest(worker, seed).await?),
                None => None,
            };
            // Trees that are alike have different directories if they came to be twice.
            if known.insert((mount.id.clone(), seed.clone())) {
                held.trees.push(MountTree {
                    id: mount.id.clone(),
                    seed,
                    dir: kept.dir().to_owned(),
                });
                held._kept.push(kept);
            }
        }
    }
    Ok(held)
}
