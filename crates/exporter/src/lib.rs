//! Build results to images, archives and directories.
//!
//! An [`ExportInput`] holds what a build made, one filesystem and image config per platform. An [`Output`] says what is
//! wanted of it, parsed from the keys of `--output`. [`Exporter::export`] writes it to a [`Target`]. Layer blobs are
//! made in one pass and once per store, whoever asks for them: several exports at once and cache exports share them.

mod error;
mod input;
mod progress;

pub mod compression;
pub mod options;

mod cancel;
mod files;
mod xattrs;

mod layers;

mod attestation;

mod archive;
mod image;
mod push;
mod stored;

mod containerd;

mod local;
mod opened;
mod tree_tar;

mod exporter;
mod outputs;

pub use attestation::{
    Attestation, AttestationContent, AttestationKind, AttestationSubject, INLINE_ONLY,
    MakePredicate, PackageKind, PredicateError, REASON, SBOM_CORE, SubjectKind, package_url,
};
pub use compression::{Algorithm, Compression};
pub use containerd::ImageStore;
pub use error::ExportError;
pub use exporter::{ExportRequest, Exported, Exporter, Settings};
pub use input::{BuildInfo, ExportInput, PlatformResult, Shape, Target};
pub use layers::{LayerBlob, LayerError, any_blob};
pub use options::{
    ArchiveOptions, ArchiveVariant, BuildInfoPlace, ImageOptions, LocalMode, LocalOptions,
    OptionError, Output, StoredImageOptions, TarOptions,
};
pub use progress::{Progress, ProgressEvent};
pub use push::{EarlyUploads, Push};
