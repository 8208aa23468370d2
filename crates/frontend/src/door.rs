//! What the frontend wants of those who build.

use async_trait::async_trait;
use bytes::Bytes;
use kiln_dockerfile::ResolvedConfig;
use kiln_dockerfile::known::{ImageQuestion, OciLayoutQuestion};
use kiln_llb::{Definition, pb};

use crate::failure::{Failure, Place};

/// Why something of a build cannot be had.
pub trait DoorError: From<Failure> + std::fmt::Display + Send {
    /// The same error in the words and at the place that the frontend gives it: who has to act and what to try
    /// stays as it was.
    fn told_as(self, failure: Failure) -> Self;
}

/// The way to those who build.
#[async_trait]
pub trait Door: Send + Sync {
    /// A result.
    type Ref: Send + Sync;
    /// Why something cannot be had.
    type Error: DoorError;

    /// Looks up an image in a registry.
    async fn image_config(&self, question: &ImageQuestion) -> Result<ResolvedConfig, Self::Error>;

    /// Looks up an image in an OCI layout of the client.
    async fn layout_config(
        &self,
        question: &OciLayoutQuestion,
    ) -> Result<ResolvedConfig, Self::Error>;

    /// Looks up what a git repository or a file of a web server is; for a repository, its commit is wanted.
    async fn source_meta(
        &self,
        source: &pb::SourceOp,
        log_name: &str,
    ) -> Result<SourceMeta, Self::Error>;

    /// Computes what a definition describes.
    async fn solve(&self, definition: &Definition) -> Result<Self::Ref, Self::Error>;

    /// Reads a file of a result: `None` if there is none, at most `limit` bytes of it if that is given.
    async fn read_file(
        &self,
        result: &Self::Ref,
        path: &str,
        limit: Option<usize>,
    ) -> Result<Option<Bytes>, Self::Error>;

    /// Shows the client what should be written otherwise.
    async fn warn(&self, notices: Vec<Notice>);
}

/// What is known of a source that has a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceMeta {
    /// A repository's commit, as git stores it; empty for anything else.
    pub commit: Bytes,
    /// When a server says that its file was changed last, in seconds since the epoch.
    pub modified: Option<i64>,
}

/// Something to show with a step.
#[derive(Debug, Clone)]
pub struct Notice {
    /// Digest of the step.
    pub vertex: String,
    /// In one line.
    pub short: String,
    /// Explained.
    pub detail: &'static str,
    /// Where to read more.
    pub url: &'static str,
    /// What it is about.
    pub place: Place,
}
