//! containerd as the place where images are kept: their blobs, names, and unpacked layers.

mod blobs;
mod unpack;

use std::time::Duration;

use kiln_containerd::{Containerd, Image, Lease};
use kiln_store::ContentStore;

use crate::ExportError;
use crate::exporter::blocking;
use crate::image::Assembled;
use crate::image::model::Descriptor;
use crate::progress::Progress;

/// How long containerd keeps what was begun if this process dies.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A containerd that keeps images.
#[derive(Clone, Debug)]
pub struct ImageStore {
    /// The namespace of the images.
    pub containerd: Containerd,
    /// The snapshotter that images are unpacked into.
    pub snapshotter: String,
}

/// What is to become of an image in containerd.
pub(crate) struct Delivery<'a> {
    pub(crate) image: &'a Assembled,
    /// Names of the image, all that containerd is to know it by. Without one it would be garbage at once.
    pub(crate) names: &'a [String],
    pub(crate) unpack: bool,
    /// When the names are said to have been given.
    pub(crate) epoch: Option<i64>,
}

/// Gives an image to containerd. Its names come last: they stand for something that is complete.
pub(crate) async fn deliver(
    store: &ImageStore,
    content: &ContentStore,
    delivery: Delivery<'_>,
    progress: &Progress,
) -> Result<(), ExportError> {
    let Some(first) = delivery.names.first() else {
        progress.warn(
            "the image has no name, so it is not kept in containerd: set name= or dangling-name-prefix=",
        );
        return Ok(());
    };
    let lease = store.containerd.lease(LONGEST).await?;
    let under = Under {
        store,
        content,
        containerd: store.containerd.under(&lease),
        lease,
        progress,
    };
    let configs = under.configs(delivery.image).await?;
    under.send_blobs(delivery.image, &configs).await?;
    if delivery.unpack {
        under.unpack(delivery.image, &configs, first).await?;
    }
    for name in delivery.names {
        let step = progress.start(format!("naming to {name}"));
        let named = under.name(name, delivery.image, delivery.epoch).await;
        step.end(named)?;
    }
    // The names hold everything from here on.
    if let Err(error) = under.lease.release().await {
        progress.warn(format!("a lease is left to expire: {error}"));
    }
    Ok(())
}

/// A delivery under way: nothing that it puts into containerd is garbage before it ends.
struct Under<'a> {
    store: &'a ImageStore,
    content: &'a ContentStore,
    /// Holds what is made through it.
    containerd: Containerd,
    lease: Lease,
    progress: &'a Progress,
}

impl Under<'_> {
    async fn name(
        &self,
        name: &str,
        image: &Assembled,
        epoch: Option<i64>,
    ) -> Result<(), ExportError> {
        let target = to_oci(&image.root)?;
        let image = Image {
            name: name.to_owned(),
            labels: Default::default(),
            target,
        };
        Ok(self.containerd.images().put(&image, epoch).await?)
    }

    /// What each platform's config says of its layers.
    async fn configs(&self, image: &Assembled) -> Result<Vec<blobs::DiffIds>, ExportError> {
        let configs = image.manifests.iter().map(|it| it.config.clone());
        let (content, configs) = (self.content.clone(), configs.collect::<Vec<_>>());
        blocking(move || {
            let read = configs
                .iter()
                .map(|config| blobs::diff_ids(&content, config));
            read.collect()
        })
        .await
    }
}

fn to_oci(descriptor: &Descriptor) -> Result<oci_spec::image::Descriptor, ExportError> {
    descriptor
        .to_oci()
        .map_err(|error| ExportError::Store(error.into()))
}
