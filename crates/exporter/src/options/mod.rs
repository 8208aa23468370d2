//! The keys of `--output`, as typed options.
//!
//! Every key is known or an error: a misspelt key is named together with the one that was probably meant.

mod annotations;
pub(crate) mod attrs;
mod directory;
mod error;
mod image;

use std::collections::BTreeMap;

pub use annotations::{AnnotationSet, Annotations};
pub use directory::{LocalMode, LocalOptions, TarOptions};
pub use error::OptionError;
pub use image::{ArchiveOptions, ArchiveVariant, BuildInfoPlace, ImageOptions, StoredImageOptions};

use attrs::Attributes;

/// What is wanted of a result: one `--output`.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// `type=image`: an image in the store, pushed if asked for.
    Image(StoredImageOptions),
    /// `type=oci` or `type=docker`: an archive or a layout directory.
    Archive(ArchiveOptions),
    /// `type=local`: the files, in a directory.
    Local(LocalOptions),
    /// `type=tar`: the files, in a tar stream.
    Tar(TarOptions),
}

impl Output {
    /// The types there are.
    pub const TYPES: [&str; 6] = ["image", "registry", "oci", "docker", "local", "tar"];

    /// Reads the keys of one output. `type` and `dest` are the caller's and must not be among them.
    pub fn parse(kind: &str, attributes: &BTreeMap<String, String>) -> Result<Self, OptionError> {
        let (output, unknown) = Self::parse_known(kind, attributes)?;
        match unknown.into_iter().next() {
            None => Ok(output),
            Some(error) => Err(error),
        }
    }

    /// The same, with all unknown keys as they are found; the rest counts.
    pub fn parse_known(
        kind: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<(Self, Vec<OptionError>), OptionError> {
        let mut attrs = Attributes::new(kind, attributes);
        let output = match kind {
            "image" => Self::Image(StoredImageOptions::take(&mut attrs)?),
            "registry" => Self::Image(StoredImageOptions::take_pushed(&mut attrs)?),
            "oci" => Self::Archive(ArchiveOptions::take(ArchiveVariant::Oci, &mut attrs)?),
            "docker" => Self::Archive(ArchiveOptions::take(ArchiveVariant::Docker, &mut attrs)?),
            "local" => Self::Local(LocalOptions::take(&mut attrs)?),
            "tar" => Self::Tar(TarOptions::take(&mut attrs)?),
            other => return Err(OptionError::unknown_type(other)),
        };
        Ok((output, attrs.unknown()))
    }

    /// What the export is called in progress displays.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Image(_) => "exporting to image",
            Self::Archive(archive) => match archive.variant {
                ArchiveVariant::Oci => "exporting to oci image format",
                ArchiveVariant::Docker => "exporting to docker image format",
            },
            Self::Local(_) => "exporting to client directory",
            Self::Tar(_) => "exporting to client tarball",
        }
    }

    /// The epoch this output sets by itself; see [`EpochOption`].
    pub fn epoch(&self) -> EpochOption {
        match self {
            Self::Image(options) => options.image.epoch,
            Self::Archive(options) => options.image.epoch,
            Self::Local(options) => options.epoch,
            Self::Tar(options) => options.epoch,
        }
    }
}

/// `source-date-epoch` of one output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EpochOption {
    /// Not given: the build's own epoch counts.
    #[default]
    Inherit,
    /// Given empty: no epoch, even if the build has one.
    Off,
    /// Given, in seconds.
    At(i64),
}

impl EpochOption {
    /// The epoch that counts, given the build's.
    pub fn resolve(self, build: Option<i64>) -> Option<i64> {
        match self {
            Self::Inherit => build,
            Self::Off => None,
            Self::At(seconds) => Some(seconds),
        }
    }
}
