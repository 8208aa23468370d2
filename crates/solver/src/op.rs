//! What an op has to tell the solver, and what the solver asks of it.

use std::any::Any;

use async_trait::async_trait;
use oci_spec::image::Digest;

use crate::context::OpContext;

/// How the result of an op may be cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMap {
    /// Covers everything the result depends on, apart from the inputs.
    pub digest: Digest,
    /// One entry for each input of the vertex.
    pub deps: Vec<CacheDep>,
    /// Whether asking for the next index gives another map. Only ops without
    /// inputs may answer with several maps.
    pub more: bool,
}

/// How one input takes part in the cache key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheDep {
    /// The part of the input that the op looks at; only keys made with the
    /// same selector match.
    pub selector: Option<Digest>,
    /// Whether the op can also be keyed by what this input contains, through
    /// [`Op::content_digest`].
    pub content: bool,
}

/// Something held while an op executes, such as a slot of a limit.
pub type Permit = Box<dyn Any + Send>;

/// One kind of work. Calls for one vertex are never repeated while their
/// answer stands, whatever number of jobs and outputs want it.
///
/// When nobody wants the answer any more, [`OpContext::cancelled`] fires. The
/// call should then clean up and end soon, with any answer: an error is not
/// taken for a failure of the vertex. A call that still runs after ten seconds
/// is dropped. [`CancellationToken::run_until_cancelled`] suits whatever needs
/// no cleaning up. If the vertex is wanted again, it waits for that end.
///
/// [`CancellationToken::run_until_cancelled`]:
///     tokio_util::sync::CancellationToken::run_until_cancelled
#[async_trait]
pub trait Op: Send + Sync + 'static {
    /// A result; cloning must be cheap.
    type Output: Clone + Send + Sync + 'static;
    /// Why the op failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The cache map number `index`; the first is asked for before anything
    /// else, the next only while [`CacheMap::more`] is set and nothing matched.
    async fn cache_map(&self, cx: &OpContext, index: usize) -> Result<CacheMap, Self::Error>;

    /// Digest of what `output`, the result of input number `input`, contains,
    /// as far as this op looks at it. Called only if the map says `content`.
    /// `None` means that there is no such key for this output.
    async fn content_digest(
        &self,
        cx: &OpContext,
        input: usize,
        output: &Self::Output,
    ) -> Result<Option<Digest>, Self::Error>;

    /// Brings an input into the form execution needs, such as downloading it,
    /// while other inputs are still being computed. Called at most once for
    /// each input without `content`, and only when the op is likely to execute.
    async fn prepare(
        &self,
        cx: &OpContext,
        input: usize,
        output: &Self::Output,
    ) -> Result<(), Self::Error> {
        let _ = (cx, input, output);
        Ok(())
    }

    /// Waits for what must be held during execution, before it counts as
    /// started. Dropped at once when cancelled.
    async fn acquire(&self, cx: &OpContext) -> Result<Option<Permit>, Self::Error> {
        let _ = cx;
        Ok(None)
    }

    /// Does the work; answers all outputs of the vertex.
    async fn execute(
        &self,
        cx: &OpContext,
        inputs: Vec<Self::Output>,
    ) -> Result<Vec<Self::Output>, Self::Error>;
}
