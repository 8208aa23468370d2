//! Keys of the outputs that make an image.

use std::collections::BTreeMap;

use super::attrs::Attributes;
use super::{Annotations, EpochOption, OptionError};
use crate::compression::Compression;
use crate::image::names::{normalized, requested};
use crate::layers::Foreign;

/// Keys that `image`, `oci` and `docker` share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageOptions {
    /// `name`: one or several names, or `*` for the frontend's.
    pub names: Vec<String>,
    /// `oci-mediatypes`; without it OCI types are used.
    pub oci_types: Option<bool>,
    /// `oci-artifact`: attestation manifests are artifacts about the image; without it they are if the types are OCI's.
    pub oci_artifact: Option<bool>,
    /// `attestation-inline`: attestations that are for images only make an index of one image; `image` does so without it.
    pub attestation_inline: Option<bool>,
    /// `compression`, `compression-level`, `force-compression`.
    pub compression: Compression,
    /// `rewrite-timestamp`: file times in new layers are brought down to the epoch.
    pub rewrite_timestamp: bool,
    /// `source-date-epoch`.
    pub epoch: EpochOption,
    /// `buildinfo`.
    pub build_info: BuildInfoPlace,
    /// `prefer-nondist-layers`: layers with an address of their own stay there.
    pub prefer_foreign: bool,
    /// `annotation…`.
    pub annotations: Annotations,
    /// `containerimage.config` and the like: values that take the place of the frontend's.
    pub overrides: BTreeMap<String, String>,
}

/// Where an image's build information goes (`buildinfo`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BuildInfoPlace {
    /// Nowhere.
    #[default]
    None,
    /// Into the image config.
    Config,
    /// Into the answer to the client.
    Answer,
    /// Into both.
    All,
}

impl BuildInfoPlace {
    fn parse(text: &str) -> Result<Self, OptionError> {
        match text {
            "none" => Ok(Self::None),
            "imageconfig" => Ok(Self::Config),
            "metadata" => Ok(Self::Answer),
            "all" => Ok(Self::All),
            other => Err(OptionError::BuildInfo(other.to_owned())),
        }
    }

    pub(crate) fn in_config(self) -> bool {
        matches!(self, Self::Config | Self::All)
    }

    pub(crate) fn in_answer(self) -> bool {
        matches!(self, Self::Answer | Self::All)
    }
}

/// Keys of `type=image`.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredImageOptions {
    /// What all images have.
    pub image: ImageOptions,
    /// `push`.
    pub push: bool,
    /// `push-by-digest`: push without a tag.
    pub push_by_digest: bool,
    /// `registry.insecure`: plain HTTP or an unverified certificate will do.
    pub insecure: bool,
    /// `store`: whether the image gets its names in the store.
    pub store: bool,
    /// `unpack`: whether a containerd that keeps the image also unpacks it.
    pub unpack: bool,
    /// `dangling-name-prefix`: also name the image `PREFIX@DIGEST`.
    pub dangling_prefix: Option<String>,
    /// `danging-name-empty-only`, also in its right spelling: do so only if there is no other name.
    pub dangling_empty_only: bool,
    /// `name-canonical`: also name the image `NAME@DIGEST`.
    pub name_canonical: bool,
}

/// Which of the two archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveVariant {
    /// An OCI layout.
    Oci,
    /// The same with a `manifest.json` for `docker load`.
    Docker,
}

/// Keys of `type=oci` and `type=docker`.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchiveOptions {
    /// Which of the two.
    pub variant: ArchiveVariant,
    /// What all images have.
    pub image: ImageOptions,
    /// `tar`: one file; else a layout directory.
    pub tar: bool,
}

/// Keys whose values take the place of what the frontend says, alone or with `/PLATFORM` behind them.
const OVERRIDES: [&str; 2] = ["containerimage.config", "containerimage.base.config"];

impl ImageOptions {
    pub(crate) fn take(attrs: &mut Attributes) -> Result<Self, OptionError> {
        let compression = Compression::from_attrs(attrs.remaining())?;
        attrs.discard(&Compression::KEYS);
        let oci_types = attrs.switch("oci-mediatypes")?;
        if compression.algorithm.needs_oci_types() && oci_types == Some(false) {
            return Err(OptionError::Conflict(
                format!("compression={}", compression.algorithm.name()),
                "oci-mediatypes=false".into(),
            ));
        }
        let oci_artifact = attrs.switch("oci-artifact")?;
        if (oci_artifact, oci_types) == (Some(true), Some(false)) {
            return Err(OptionError::Conflict(
                "oci-artifact=true".into(),
                "oci-mediatypes=false".into(),
            ));
        }
        let build_info = match attrs.text("buildinfo") {
            None => BuildInfoPlace::None,
            Some(text) => BuildInfoPlace::parse(&text)?,
        };
        let overrides = attrs.drain(|key| {
            let base = key.split_once('/').map_or(key, |(base, _)| base);
            OVERRIDES.contains(&base).then(|| key.to_owned())
        });
        Ok(Self {
            names: names(attrs.text("name"))?,
            oci_types,
            oci_artifact,
            attestation_inline: attrs.switch("attestation-inline")?,
            compression,
            rewrite_timestamp: attrs.switch("rewrite-timestamp")?.unwrap_or(false),
            epoch: attrs.epoch()?,
            build_info,
            prefer_foreign: attrs.switch("prefer-nondist-layers")?.unwrap_or(false),
            annotations: Annotations::take(attrs)?,
            overrides: overrides.into_iter().collect(),
        })
    }

    /// What becomes of layers that have an address of their own.
    pub(crate) fn foreign(&self) -> Foreign {
        match self.prefer_foreign {
            true => Foreign::Keep,
            false => Foreign::Adopt,
        }
    }

    /// Whether attestation manifests are OCI artifacts.
    pub fn use_oci_artifacts(&self) -> bool {
        self.oci_artifact.unwrap_or(true) && self.use_oci_types()
    }

    /// Whether OCI media types are used.
    pub fn use_oci_types(&self) -> bool {
        self.oci_types.unwrap_or(true)
    }
}

impl StoredImageOptions {
    pub(crate) fn take(attrs: &mut Attributes) -> Result<Self, OptionError> {
        let image = ImageOptions::take(attrs)?;
        let unpack = attrs.switch("unpack")?.unwrap_or(false);
        if unpack && image.rewrite_timestamp {
            return Err(OptionError::Conflict(
                "rewrite-timestamp".into(),
                "unpack".into(),
            ));
        }
        attrs.refuse_unless("unsafe-internal-store-allow-incomplete", false)?;
        let misspelt = attrs.switch("danging-name-empty-only")?;
        let dangling_empty_only = attrs
            .switch("dangling-name-empty-only")?
            .or(misspelt)
            .unwrap_or(false);
        Ok(Self {
            image,
            push: attrs.switch("push")?.unwrap_or(false),
            push_by_digest: attrs.switch("push-by-digest")?.unwrap_or(false),
            insecure: attrs.switch("registry.insecure")?.unwrap_or(false),
            store: attrs.switch("store")?.unwrap_or(true),
            unpack,
            dangling_prefix: attrs
                .text("dangling-name-prefix")
                .filter(|prefix| !prefix.is_empty()),
            dangling_empty_only,
            name_canonical: attrs.switch("name-canonical")?.unwrap_or(false),
        })
    }
}

impl StoredImageOptions {
    /// The keys of `type=registry`: an image that is pushed.
    pub(crate) fn take_pushed(attrs: &mut Attributes) -> Result<Self, OptionError> {
        if attrs.switch("push")? == Some(false) {
            return Err(OptionError::Conflict(
                "type=registry".into(),
                "push=false".into(),
            ));
        }
        Ok(Self {
            push: true,
            ..Self::take(attrs)?
        })
    }
}

impl StoredImageOptions {
    /// Where the image is pushed to under the names asked for, of which the frontend's may take the place. Empty if it is
    /// not pushed, or not to these.
    pub fn destinations(&self, from_frontend: Option<&str>) -> Vec<kiln_registry::Reference> {
        match self.push {
            true => normalized(&requested(&self.image, from_frontend)).unwrap_or_default(),
            false => Vec::new(),
        }
    }
}

impl ArchiveOptions {
    pub(crate) fn take(
        variant: ArchiveVariant,
        attrs: &mut Attributes,
    ) -> Result<Self, OptionError> {
        Ok(Self {
            variant,
            image: ImageOptions::take(attrs)?,
            tar: attrs.switch("tar")?.unwrap_or(true),
        })
    }
}

/// Names are separated by commas. What is wrong with them is said before anything is built.
fn names(text: Option<String>) -> Result<Vec<String>, OptionError> {
    let names: Vec<_> = text
        .iter()
        .flat_map(|text| text.split(','))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names != ["*"] {
        normalized(&names)?;
    }
    Ok(names)
}
