//! Uploads of layers that begin while the layers are made.
//!
//! They only save time: whatever goes wrong with one ends it, and the push sends the layer as if it had never been. So
//! nothing here is an error, and nothing is tried again.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use kiln_registry::{Authority, Client, Reference, RegistryError, Repository};
use kiln_store::{Blob, Ref};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Place;
use crate::layers::{BlobObserver, GrowingBlob};

/// Smaller layers are pushed so soon that it is not worth the risk of sending what the registry has.
const LEAST: u64 = 8 << 20;
/// So many at a time for each registry: they wait for layers to be made, and others want to use the way as well.
const PARALLEL: usize = 2;
/// How long an upload that was stopped may take to say goodbye to the registry.
const GOODBYE: Duration = Duration::from_secs(5);

/// The way to the registries that layers may be sent to while they are made.
#[derive(Clone)]
pub struct EarlyUploads {
    /// Set up as for [`Push::run`](crate::Push::run).
    pub client: Client,
    /// The user's credentials.
    pub authority: Arc<dyn Authority>,
    /// Layers of fewer compressed bytes are left to the push.
    pub least: u64,
}

impl EarlyUploads {
    /// Of layers for which it is worth it.
    pub fn new(client: Client, authority: Arc<dyn Authority>) -> Self {
        Self {
            client,
            authority,
            least: LEAST,
        }
    }

    /// Ready for the layers of an image that goes to these names.
    pub(crate) fn begin(self, names: &[Reference]) -> Early {
        let registries = super::registries(names, &self.client, &self.authority);
        let firsts = registries.into_iter().filter_map(|places| {
            let Place { repository, .. } = places.into_iter().next()?;
            Some(Arc::new(Target {
                repository,
                limit: Semaphore::new(PARALLEL),
                failed: AtomicBool::new(false),
            }))
        });
        let stopped = CancellationToken::new();
        Early {
            targets: firsts.collect(),
            least: self.least,
            uploads: Mutex::default(),
            closed: stopped.child_token(),
            stopped,
            tasks: TaskTracker::new(),
        }
    }
}

/// The early uploads of one image. They stop when this is dropped.
pub(crate) struct Early {
    /// The first repository of each registry: the others take blobs from there.
    targets: Vec<Arc<Target>>,
    least: u64,
    uploads: Mutex<Vec<Upload>>,
    /// None begins from here on.
    closed: CancellationToken,
    /// None goes on, either.
    stopped: CancellationToken,
    tasks: TaskTracker,
}

struct Target {
    repository: Repository,
    limit: Semaphore,
    /// One upload went wrong: the others of this image are left to the push.
    failed: AtomicBool,
}

/// What is known of an upload from outside.
#[derive(Clone)]
struct Upload {
    to: Reference,
    blob: GrowingBlob,
    state: watch::Receiver<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes are on their way.
    Sending(u64),
    /// The registry has the blob.
    Done,
    Failed,
}

impl BlobObserver for Early {
    fn begun(&self, layer: &Ref, blob: GrowingBlob) {
        // A layer that was in the registry before may still be there, or in another of its repositories.
        let origins = layer.origins().unwrap_or_default();
        let origins: Vec<_> = origins
            .iter()
            .filter_map(|name| Reference::parse(name).ok())
            .collect();
        for target in &self.targets {
            let to = target.repository.name();
            if origins.iter().any(|origin| origin.domain() == to.domain()) {
                continue;
            }
            let (told, state) = watch::channel(State::Sending(0));
            let upload = Upload {
                to: to.clone(),
                blob: blob.clone(),
                state,
            };
            let sender = Sender {
                target: target.clone(),
                blob: blob.clone(),
                told: Arc::new(told),
                closed: self.closed.clone(),
                stopped: self.stopped.clone(),
            };
            self.tasks.spawn(sender.run(self.least));
            let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
            uploads.push(upload);
        }
    }
}

impl Early {
    /// From here on the push sends what has not begun.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Waits for the upload of a blob to end, if there is one; answers whether the registry has it now.
    pub(super) async fn has_sent(
        &self,
        to: &Reference,
        digest: &str,
        report: impl Fn(u64),
    ) -> bool {
        let found = {
            let uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
            let mut uploads = uploads.iter();
            uploads.find(|upload| upload.is_of(to, digest)).cloned()
        };
        let Some(Upload { mut state, .. }) = found else {
            return false;
        };
        loop {
            let now = *state.borrow_and_update();
            match now {
                State::Sending(done) => report(done),
                State::Done => return true,
                State::Failed => return false,
            }
            if state.changed().await.is_err() {
                return *state.borrow() == State::Done;
            }
        }
    }

    /// Stops those that are under way and waits for them.
    pub(crate) async fn end(&self) {
        self.stopped.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}

impl Upload {
    fn is_of(&self, to: &Reference, digest: &str) -> bool {
        let whole = self.blob.whole();
        self.to == *to && whole.is_some_and(|blob| blob.digest.to_string() == digest)
    }
}

/// The task behind an upload.
struct Sender {
    target: Arc<Target>,
    blob: GrowingBlob,
    told: Arc<watch::Sender<State>>,
    closed: CancellationToken,
    stopped: CancellationToken,
}

impl Sender {
    async fn run(self, least: u64) {
        let overdue = async {
            self.stopped.cancelled().await;
            tokio::time::sleep(GOODBYE).await;
        };
        let outcome = tokio::select! {
            outcome = self.send(least) => outcome,
            () = overdue => Ok(Outcome::Left),
        };
        let state = match outcome {
            Ok(Outcome::Sent) => State::Done,
            Ok(Outcome::Left) => State::Failed,
            Err(error) => {
                let to = self.target.repository.name();
                tracing::debug!(%error, %to, "a layer is pushed only when it is made");
                self.target.failed.store(true, Ordering::Relaxed);
                State::Failed
            }
        };
        self.told.send_replace(state);
    }

    async fn send(&self, least: u64) -> Result<Outcome, RegistryError> {
        let ready = async {
            if !self.blob.reaches(least).await {
                return None;
            }
            self.target.limit.acquire().await.ok()
        };
        let permit = tokio::select! {
            biased;
            () = self.closed.cancelled() => None,
            permit = ready => permit,
        };
        let Some(_permit) = permit.filter(|_| !self.target.failed.load(Ordering::Relaxed)) else {
            return Ok(Outcome::Left);
        };
        let mut upload = self.target.repository.start_upload().await?;
        let sent = self.send_in(&mut upload).await;
        if !matches!(sent, Ok(Outcome::Sent)) {
            // The push need not wait for the goodbye.
            self.told.send_replace(State::Failed);
            if let Err(error) = upload.cancel().await {
                tracing::debug!(%error, "an upload is left for the registry to forget");
            }
        }
        sent
    }

    async fn send_in(&self, upload: &mut kiln_registry::Upload) -> Result<Outcome, RegistryError> {
        let (blob, told, stopped) = (self.blob.clone(), self.told.clone(), self.stopped.clone());
        upload
            .send(move || pieces(blob.clone(), told.clone(), stopped.clone()))
            .await?;
        match self.whole() {
            Some(blob) => upload.finish(&blob.digest).await.map(|()| Outcome::Sent),
            None => Ok(Outcome::Left),
        }
    }

    /// The blob, if it is whole and has gone out to its end.
    fn whole(&self) -> Option<Blob> {
        let sent = *self.told.borrow();
        self.blob
            .whole()
            .filter(|blob| sent == State::Sending(blob.size))
    }
}

enum Outcome {
    Sent,
    /// It was not worth beginning, or the blob is given up.
    Left,
}

/// A blob as it is made. It ends well also when it is stopped: so the registry hears the end of the request, and has
/// nothing half written when the upload is given up.
fn pieces(
    blob: GrowingBlob,
    told: Arc<watch::Sender<State>>,
    stopped: CancellationToken,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let pieces = stream::try_unfold((blob, 0), move |(blob, offset)| {
        let told = told.clone();
        async move {
            told.send_replace(State::Sending(offset));
            let piece = blob.piece(offset).await?;
            Ok(piece.map(|piece| {
                let next = offset + piece.len() as u64;
                (piece, (blob, next))
            }))
        }
    });
    pieces.take_until(stopped.cancelled_owned())
}
