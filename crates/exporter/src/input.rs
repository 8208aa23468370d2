//! What a build hands to its exporters.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use kiln_session::transfer::RemoteTarget;
use kiln_session::{ImageReceiver, RemoteContent};
use kiln_store::Ref;
use oci_spec::image::Platform;

use crate::Attestation;

/// Everything an exporter needs to know of a build's result.
#[derive(Clone)]
pub struct ExportInput {
    /// One result per platform, in the order they are listed in an index. Never empty.
    pub platforms: Vec<PlatformResult>,
    /// Whether the result is one image or a set of them.
    pub shape: Shape,
    /// The name the frontend gives the image (`image.name`), used where the output asks for `name=*`.
    pub image_name: Option<String>,
    /// SOURCE_DATE_EPOCH of the build, in seconds. An output's own `source-date-epoch` wins.
    pub epoch: Option<i64>,
}

/// Whether a result is one image or a set of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One image: its manifest is the root, a local export has no folder per platform.
    Single,
    /// An index over one manifest per platform, also where there is one platform only.
    Index,
}

/// The result for one platform.
#[derive(Clone)]
pub struct PlatformResult {
    /// The platform, normalised.
    pub platform: Platform,
    /// The filesystem; `None` is an empty one.
    pub reference: Option<Ref>,
    /// The image config as the frontend made it; without one a minimal config is made up.
    pub image_config: Option<Bytes>,
    /// The config of the base image, whose history and layers keep their times.
    pub base_config: Option<Bytes>,
    /// Records of an inline cache export, put into the image config.
    pub inline_cache: Option<Bytes>,
    /// What the result was made from, for outputs that ask for it (`buildinfo`).
    pub build_info: Option<BuildInfo>,
    /// What is said of the result.
    pub attestations: Vec<Attestation>,
}

/// What a result was made from, as BuildKit told it before there was provenance: JSON in the form of its version 0.10.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// For the image config, where everybody reads it: without the options of the build.
    pub public: Bytes,
    /// For the client.
    pub whole: Bytes,
}

/// Where an export goes.
pub enum Target {
    /// A directory: `local`, and `oci` or `docker` with `tar=false`. Created if it is missing.
    Directory(PathBuf),
    /// A directory of a client elsewhere: `local`.
    RemoteDirectory(Arc<dyn RemoteTarget>),
    /// A stream: `tar`, `oci`, `docker`. Written from start to end on a blocking thread.
    Stream(Box<dyn std::io::Write + Send>),
    /// Somebody who may have parts of the image already: `oci`, `docker`.
    Receiver(Arc<dyn ImageReceiver>),
    /// A store of a client elsewhere: `oci` or `docker` with `tar=false`. Its index is left to the client.
    Client(Arc<dyn RemoteContent>),
    /// The store itself: `image`.
    Store,
}
