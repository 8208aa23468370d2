//! What of an image its receiver lacks.

use std::collections::BTreeSet;
use std::str::FromStr;

use futures::{StreamExt as _, TryStreamExt as _};
use kiln_session::{ImageReceiver, LayerNames, SessionError};
use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};

use crate::ExportError;
use crate::archive;
use crate::image::model::Descriptor;
use crate::image::{Assembled, AssembledManifest};

/// Layers that are asked about at the same time.
const PARALLEL: usize = 16;

/// The part of an image that an archive holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// All but the blobs with these paths.
    Without(BTreeSet<String>),
    /// What `docker load` reads of this machine's image, but the blobs with these paths.
    HostWithout(BTreeSet<String>),
}

impl Part {
    /// Whether an archive of this part has a member.
    pub(crate) fn has(&self, path: &str, host: Option<&AssembledManifest>) -> bool {
        match self {
            Self::Whole => true,
            Self::Without(absent) => !absent.contains(path),
            Self::HostWithout(absent) => {
                let is = |blob: &Descriptor| archive::path(blob) == path;
                let is_read =
                    host.is_some_and(|host| is(&host.config) || host.layers.iter().any(is));
                !absent.contains(path) && (is_read || !path.starts_with("blobs/sha256/"))
            }
        }
    }

    /// The paths of what is left out because it is there.
    pub(crate) fn absent(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::Whole => None,
            Self::Without(absent) | Self::HostWithout(absent) => Some(absent),
        }
    }
}

/// A layer and the name by which its receiver knows it.
struct Named {
    name: Digest,
    path: String,
}

/// Asks a receiver for all layers of an image.
pub(crate) async fn lacking(
    image: &Assembled,
    receiver: &dyn ImageReceiver,
) -> Result<Part, ExportError> {
    let names = receiver.layer_names();
    let layers = match names {
        LayerNames::Chains => chains(archive::host_manifest(image)),
        LayerNames::Blobs => blobs(image),
    };
    let layers = layers.map_err(|error| ExportError::Store(error.into()))?;
    let asked = layers.into_iter().map(|layer| async move {
        let is_there = receiver.has_layer(&layer.name).await?;
        Ok::<_, SessionError>((layer.path, is_there))
    });
    let answers: Vec<_> = futures::stream::iter(asked)
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await
        .map_err(ExportError::Client)?;
    // Equal blobs in several places are one file in the archive.
    let lacking = answers.iter().filter(|(_, is_there)| !is_there);
    let lacking: BTreeSet<_> = lacking.map(|(path, _)| path.clone()).collect();
    let absent = answers
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| !lacking.contains(path))
        .collect();
    Ok(match names {
        LayerNames::Chains => Part::HostWithout(absent),
        LayerNames::Blobs => Part::Without(absent),
    })
}

/// The layers of an image by what each holds with all below it.
fn chains(image: Option<&AssembledManifest>) -> Result<Vec<Named>, oci_spec::OciSpecError> {
    let mut chain: Option<Digest> = None;
    let layers = image.into_iter().flat_map(|image| {
        let paths = image.layers.iter().map(archive::path);
        paths.zip(&image.diff_ids)
    });
    let named = layers.map(|(path, diff_id)| {
        let name = match &chain {
            None => diff_id.clone(),
            Some(below) => {
                let hash = Sha256::digest(format!("{below} {diff_id}"));
                Digest::from_str(&format!("sha256:{}", hex::encode(hash)))?
            }
        };
        chain = Some(name.clone());
        Ok(Named { name, path })
    });
    named.collect()
}

/// The layers of all images.
fn blobs(image: &Assembled) -> Result<Vec<Named>, oci_spec::OciSpecError> {
    let layers = image.manifests.iter().flat_map(|image| &image.layers);
    let named = layers.map(|layer| {
        Ok(Named {
            name: Digest::from_str(&layer.digest)?,
            path: archive::path(layer),
        })
    });
    named.collect()
}
