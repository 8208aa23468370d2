//! containerd's images: names of blobs.

use std::collections::BTreeMap;

use kiln_protocol::containerd_images::images_client::ImagesClient;
use kiln_protocol::containerd_images::{
    self as wire, CreateImageRequest, DeleteImageRequest, GetImageRequest, ListImagesRequest,
    UpdateImageRequest,
};
use kiln_protocol::containerd_types;
use oci_spec::image::{Descriptor, MediaType};
use prost_types::{FieldMask, Timestamp};
use tonic::transport::Channel;

use crate::connection::MESSAGE_LIMIT;
use crate::{Containerd, ContainerdError};

/// A name and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The name.
    pub name: String,
    /// What is said of it.
    pub labels: BTreeMap<String, String>,
    /// What it stands for: a manifest or an index.
    pub target: Descriptor,
}

/// The images of a namespace.
#[derive(Clone, Debug)]
pub struct Images(Containerd);

impl Images {
    pub(crate) fn new(containerd: Containerd) -> Self {
        Self(containerd)
    }

    fn client(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.0.channel.clone()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// The image of a name; `None` if there is none.
    pub async fn get(&self, name: &str) -> Result<Option<Image>, ContainerdError> {
        let what = format!("look up image {name}");
        let request = self.0.request(GetImageRequest { name: name.into() });
        match self.0.ask(&what, self.client().get(request)).await {
            Ok(answer) => self.read(&what, answer.image).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The images that match any of the filters (`name==…`); all if there is none.
    pub async fn list(&self, filters: &[&str]) -> Result<Vec<Image>, ContainerdError> {
        const WHAT: &str = "list images";
        let request = self.0.request(ListImagesRequest {
            filters: filters.iter().map(|&filter| filter.to_owned()).collect(),
        });
        let answer = self.0.ask(WHAT, self.client().list(request)).await?;
        let images = answer.images.into_iter();
        images.map(|image| self.read(WHAT, Some(image))).collect()
    }

    /// Makes an image whose name is not taken. With an epoch it is said to be as old as that, by containerds that
    /// know of it.
    pub async fn create(&self, image: &Image, epoch: Option<i64>) -> Result<(), ContainerdError> {
        let request = self.0.request(CreateImageRequest {
            image: Some(write(image)),
            source_date_epoch: epoch.map(timestamp),
        });
        let what = format!("create image {}", image.name);
        self.0.ask(&what, self.client().create(request)).await?;
        Ok(())
    }

    /// Lets a name that is taken stand for something else; its labels stay.
    pub async fn update(&self, image: &Image, epoch: Option<i64>) -> Result<(), ContainerdError> {
        let request = self.0.request(UpdateImageRequest {
            image: Some(write(image)),
            update_mask: Some(FieldMask {
                paths: vec!["target".into()],
            }),
            source_date_epoch: epoch.map(timestamp),
        });
        let what = format!("update image {}", image.name);
        self.0.ask(&what, self.client().update(request)).await?;
        Ok(())
    }

    /// Lets a name stand for something, whether or not it is taken.
    pub async fn put(&self, image: &Image, epoch: Option<i64>) -> Result<(), ContainerdError> {
        loop {
            match self.update(image, epoch).await {
                Err(error) if error.is_not_found() => {}
                outcome => return outcome,
            }
            match self.create(image, epoch).await {
                // Somebody else was faster.
                Err(error) if error.is_already_exists() => {}
                outcome => return outcome,
            }
        }
    }

    /// Takes a name away. What it stood for goes when containerd collects garbage: before this returns, or later.
    pub async fn delete(&self, name: &str, wait: Collection) -> Result<(), ContainerdError> {
        let request = self.0.request(DeleteImageRequest {
            name: name.into(),
            sync: wait == Collection::Now,
        });
        let what = format!("delete image {name}");
        self.0.ask(&what, self.client().delete(request)).await
    }

    fn read(&self, what: &str, image: Option<wire::Image>) -> Result<Image, ContainerdError> {
        let image = image.unwrap_or_default();
        let target = image.target.unwrap_or_default();
        let digest: oci_spec::image::Digest = target.digest.parse().map_err(|_| {
            self.0
                .malformed(what, format!("digest {:?}", target.digest))
        })?;
        let size = u64::try_from(target.size)
            .map_err(|_| self.0.malformed(what, format!("size {}", target.size)))?;
        let media_type = MediaType::from(target.media_type.as_str());
        let mut descriptor = Descriptor::new(media_type, size, digest);
        if !target.annotations.is_empty() {
            descriptor.set_annotations(Some(target.annotations.into_iter().collect()));
        }
        Ok(Image {
            name: image.name,
            labels: image.labels,
            target: descriptor,
        })
    }
}

/// When garbage is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collection {
    /// Before the call returns.
    Now,
    /// When containerd sees fit.
    Later,
}

fn write(image: &Image) -> wire::Image {
    wire::Image {
        name: image.name.clone(),
        labels: image.labels.clone(),
        target: Some(descriptor(&image.target)),
        ..wire::Image::default()
    }
}

pub(crate) fn descriptor(from: &Descriptor) -> containerd_types::Descriptor {
    containerd_types::Descriptor {
        media_type: from.media_type().to_string(),
        digest: from.digest().to_string(),
        size: i64::try_from(from.size()).unwrap_or(i64::MAX),
        annotations: from
            .annotations()
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect(),
    }
}

fn timestamp(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}
