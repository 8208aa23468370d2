//! An image's blobs, each with labels that say what it refers to: containerd's garbage collector follows them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt as _, TryStreamExt as _};
use kiln_containerd::BlobToWrite;
use kiln_store::ContentStore;
use oci_spec::image::Digest;
use serde::Deserialize;

use super::{Under, to_oci};
use crate::ExportError;
use crate::exporter::blocking;
use crate::image::Assembled;
use crate::image::model::Descriptor;

/// Blobs on their way at the same time.
const PARALLEL: usize = 4;
const MAX_CONFIG: u64 = 8 << 20;

/// Refers from one blob to another. What follows is as containerd itself has it: `ctr content prune references`, which
/// gives up the layers of unpacked images, goes by it.
const CONTENT: &str = "containerd.io/gc.ref.content.";
/// The digest of the tar in a layer.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// Digests of the tars in an image's layers, lowest first.
pub(super) type DiffIds = Vec<Digest>;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<DiffIds>,
}

/// Reads what a config says of the layers.
pub(super) fn diff_ids(
    content: &ContentStore,
    config: &Descriptor,
) -> Result<DiffIds, ExportError> {
    let bytes = content.read(to_oci(config)?.digest(), MAX_CONFIG);
    let bytes = bytes.map_err(|error| ExportError::Store(error.into()))?;
    let config: Config =
        serde_json::from_slice(&bytes).map_err(|error| ExportError::Config(error.to_string()))?;
    Ok(config.rootfs.diff_ids.unwrap_or_default())
}

/// A blob and what is said of it.
struct Blob {
    size: u64,
    labels: BTreeMap<String, String>,
}

/// Every blob of an image once.
struct Blobs(BTreeMap<String, Blob>);

impl Blobs {
    fn of(image: &Assembled, configs: &[DiffIds]) -> Self {
        let mut all = Self(BTreeMap::new());
        for image in &image.manifests {
            all.refer(&image.descriptor, "config", [&image.config]);
            all.refer(&image.descriptor, "l.", &image.layers);
        }
        for said in &image.attestations {
            all.refer(&said.descriptor, "config", [&said.config]);
            all.refer(&said.descriptor, "s.", &said.statements);
        }
        let is_index = image
            .parts()
            .all(|(it, _, _)| it.digest != image.root.digest);
        if is_index {
            all.refer(&image.root, "m.", image.parts().map(|(it, _, _)| it));
        }
        for (image, diff_ids) in image.manifests.iter().zip(configs) {
            for (layer, diff_id) in image.layers.iter().zip(diff_ids) {
                let labels = &mut all.add(layer).labels;
                labels.insert(UNCOMPRESSED.into(), diff_id.to_string());
            }
        }
        all
    }

    fn add(&mut self, descriptor: &Descriptor) -> &mut Blob {
        let blob = self.0.entry(descriptor.digest.clone());
        blob.or_insert_with(|| Blob {
            size: descriptor.size,
            labels: BTreeMap::new(),
        })
    }

    /// Labels one blob with others that belong to it; they are numbered where the kind ends with a dot.
    fn refer<'a>(
        &mut self,
        from: &Descriptor,
        kind: &str,
        to: impl IntoIterator<Item = &'a Descriptor>,
    ) {
        for (number, child) in to.into_iter().enumerate() {
            self.add(child);
            let label = match kind.ends_with('.') {
                true => format!("{CONTENT}{kind}{number}"),
                false => format!("{CONTENT}{kind}"),
            };
            let labels = &mut self.add(from).labels;
            labels.insert(label, child.digest.clone());
        }
    }
}

impl Under<'_> {
    /// Gives containerd those of an image's blobs that it lacks.
    pub(super) async fn send_blobs(
        &self,
        image: &Assembled,
        configs: &[DiffIds],
    ) -> Result<(), ExportError> {
        let blobs = Blobs::of(image, configs);
        let total = blobs.0.values().map(|blob| blob.size).sum();
        let step = self.progress.start("sending blobs to containerd");
        let done = AtomicU64::new(0);
        let sent = blobs.0.into_iter().map(async |(digest, blob)| {
            let before = AtomicU64::new(0);
            let progress = |now: u64| {
                let new = now.saturating_sub(before.fetch_max(now, Ordering::Relaxed));
                let all = done.fetch_add(new, Ordering::Relaxed) + new;
                step.advance(all, Some(total));
            };
            self.send_blob(digest, blob, &progress).await
        });
        let all = futures::stream::iter(sent).buffer_unordered(PARALLEL);
        let outcome = all.try_collect::<()>().await;
        step.end(outcome)
    }

    async fn send_blob(
        &self,
        digest: String,
        blob: Blob,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), ExportError> {
        let digest: Digest = digest
            .parse()
            .map_err(|error: oci_spec::OciSpecError| ExportError::Store(error.into()))?;
        // Held first: a blob that is found must not go before something refers to it.
        self.lease.hold_blob(&digest).await?;
        let (content, name) = (self.content.clone(), digest.clone());
        let file = blocking(move || {
            let opened = content.open(&name);
            opened.map_err(|error| ExportError::Store(error.into()))
        });
        let blob = BlobToWrite {
            file: Arc::new(file.await?),
            digest,
            size: blob.size,
            labels: blob.labels,
        };
        Ok(self.containerd.content().write(&blob, progress).await?)
    }
}
