//! Unpacks an image in containerd, so that it can be run at once.

use kiln_containerd::UnpackLayer;
use kiln_llb::platform;

use super::blobs::DiffIds;
use super::{Under, to_oci};
use crate::ExportError;
use crate::image::Assembled;

/// Refers from a config to the snapshot of its layers; the snapshotter's name follows.
const SNAPSHOT: &str = "containerd.io/gc.ref.snapshot.";

impl Under<'_> {
    /// Unpacks the layers for this machine's platform. An image that is for others only stays packed.
    pub(super) async fn unpack(
        &self,
        image: &Assembled,
        configs: &[DiffIds],
        name: &str,
    ) -> Result<(), ExportError> {
        let host = platform::host();
        let fit = image.manifests.iter().zip(configs);
        let fit = fit.filter_map(|(manifest, diff_ids)| {
            let rank = platform::preference(&host, &manifest.platform)?;
            Some((rank, manifest, diff_ids))
        });
        let Some((_, manifest, diff_ids)) = fit.min_by_key(|(rank, _, _)| *rank) else {
            return Ok(());
        };
        if manifest.layers.len() != diff_ids.len() {
            return Err(ExportError::Config(format!(
                "it speaks of {} layers, but the image has {}",
                diff_ids.len(),
                manifest.layers.len()
            )));
        }
        let layers = manifest.layers.iter().zip(diff_ids).map(|(blob, diff_id)| {
            Ok(UnpackLayer {
                blob: to_oci(blob)?,
                diff_id: diff_id.clone(),
            })
        });
        let layers = layers.collect::<Result<Vec<_>, ExportError>>()?;
        let step = self.progress.start(format!("unpacking to {name}"));
        let unpacked = async {
            let snapshotter = self.containerd.snapshotter(&self.store.snapshotter)?;
            let total = layers.len() as u64;
            let progress = |done: usize| step.advance(done as u64, Some(total));
            let top = snapshotter.unpack(&layers, &self.lease, &progress).await?;
            let Some(top) = top else {
                return Ok(());
            };
            let label = format!("{SNAPSHOT}{}", snapshotter.name());
            let config = to_oci(&manifest.config)?;
            let labels = [(label, top)].into();
            let content = self.containerd.content();
            Ok(content.set_labels(config.digest(), &labels).await?)
        };
        let outcome: Result<(), ExportError> = unpacked.await;
        step.end(outcome)
    }
}
