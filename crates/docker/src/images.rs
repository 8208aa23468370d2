//! Which chains of layers an engine with graph drivers has: those of its images.

use std::collections::HashSet;
use std::str::FromStr as _;

use futures::{StreamExt as _, TryStreamExt as _};
use oci_spec::image::Digest;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::DockerError;
use crate::connection::Connector;

/// Images that are asked about at the same time.
const PARALLEL: usize = 8;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Details {
    #[serde(rename = "RootFS")]
    root_fs: RootFs,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// The chain ids of all layers of all images.
pub(crate) async fn chains(connector: &Connector) -> Result<HashSet<Digest>, DockerError> {
    let images: Vec<Image> = connector.get("list its images", "/images/json").await?;
    let asked = images.into_iter().map(|image| async move {
        let path = format!("/images/{}/json", image.id);
        match connector.get::<Details>("show an image", &path).await {
            Ok(details) => Ok(Some(details)),
            // It may have been removed since.
            Err(DockerError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    });
    let found: Vec<_> = futures::stream::iter(asked)
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    let layers = found
        .into_iter()
        .flatten()
        .filter_map(|details| details.root_fs.layers);
    Ok(layers.flat_map(|layers| chain(&layers)).collect())
}

/// The chain ids of an image, given the digests of its layers' tars. What cannot be read ends them.
fn chain(layers: &[String]) -> Vec<Digest> {
    let mut chain: Option<String> = None;
    let ids = layers.iter().map_while(|layer| {
        let id = match &chain {
            None => layer.clone(),
            Some(below) => {
                let hash = Sha256::digest(format!("{below} {layer}"));
                format!("sha256:{}", hex::encode(hash))
            }
        };
        chain = Some(id.clone());
        Digest::from_str(&id).ok()
    });
    ids.collect()
}
