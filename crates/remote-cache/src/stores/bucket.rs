//! A bucket: what S3, Azure's containers and Google's buckets have in common.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, TryStreamExt as _};
use kiln_store::refs::FetchStream;
use object_store::path::Path;
use object_store::{
    BackoffConfig, Error as ObjectError, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, RetryConfig, UploadPart,
};
use oci_spec::image::Descriptor;
use tokio_util::io::StreamReader;

use super::blob::{BlobSource, OpenBlob};
use super::error::describe;
use super::{CacheStore, StoreError, Task};
use crate::options::Layout;

/// What is sent at once. Larger blobs go in parts of this size, of which a few are in memory.
const PART: u64 = 8 << 20;
/// More parts than this no store takes.
const MOST_PARTS: u64 = 9_000;
/// Parts of one blob on their way at the same time.
const PARTS_UNDER_WAY: usize = 2;
/// Questions about single objects at the same time.
const QUESTIONS: usize = 16;
/// From so many blobs on, a listing is cheaper than a question about each.
const WORTH_LISTING: usize = 8;
/// Stores list this many objects at once.
const PAGE: usize = 1000;

/// Objects of one bucket.
pub(super) struct Bucket {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) layout: Layout,
    /// What users know it by.
    pub(super) title: String,
    pub(super) parallelism: usize,
    pub(super) habits: Box<dyn Habits>,
}

/// What one kind of bucket does in its own way.
#[async_trait]
pub(super) trait Habits: Send + Sync {
    /// Makes the bucket exist, where that is usual.
    async fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// From which age on an object is touched.
    fn touch_after(&self) -> Option<Duration> {
        None
    }

    /// Makes an object young again; false if it has to be sent anew for that.
    async fn touch(&self, _key: &Path, _size: u64) -> Result<bool, StoreError> {
        Ok(true)
    }
}

/// Nothing out of the ordinary.
pub(super) struct Plain;

impl Habits for Plain {}

/// How requests are repeated: pauses from a tenth of a second on.
pub(super) fn retry(attempts: Option<usize>) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            base: 2.0,
        },
        max_retries: attempts.map_or(6, |attempts| attempts.saturating_sub(1)),
        retry_timeout: Duration::from_mins(3),
    }
}

impl Bucket {
    fn failed(&self, action: String, error: &ObjectError) -> StoreError {
        StoreError::Failed {
            action,
            title: self.title.clone(),
            reason: match error {
                ObjectError::NotFound { .. } => "it is not there".to_owned(),
                error => describe(error),
            },
        }
    }

    fn path(&self, key: &str) -> Result<Path, StoreError> {
        Path::parse(key).map_err(|error| self.failed(format!("find {key} in"), &error.into()))
    }

    /// Whether an object is there, as far as we may know.
    async fn look(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        match self.objects.head(&self.path(key)?).await {
            Ok(meta) => Ok(Some(meta)),
            // Who may not list a bucket is not told that an object is missing either, but may well write it.
            Err(ObjectError::NotFound { .. } | ObjectError::PermissionDenied { .. }) => Ok(None),
            Err(error) => Err(self.failed(format!("look for {key} in"), &error)),
        }
    }

    /// The objects beside our blobs, unless there are far more of them than we ask about, or we may not list them.
    async fn list(&self, wanted: usize) -> Option<Listing> {
        let folder = self.layout.blobs.strip_suffix('/')?;
        let folder = Path::parse(folder).ok()?;
        let most = PAGE * (1 + wanted / WORTH_LISTING);
        let mut listing = Listing::default();
        let mut objects = self.objects.list(Some(&folder));
        while let Some(object) = objects.next().await {
            let object = object.ok()?;
            listing
                .objects
                .insert(object.location.as_ref().to_owned(), object);
            if listing.objects.len() >= most {
                return Some(listing);
            }
        }
        listing.is_complete = true;
        Some(listing)
    }

    async fn task(
        &self,
        blob: &Descriptor,
        listing: Option<&Listing>,
    ) -> Result<Option<Task>, StoreError> {
        let key = self.layout.blob(blob.digest().as_ref());
        let listed = listing.and_then(|listing| listing.objects.get(&key));
        let found = match (listed, listing) {
            (Some(object), _) => Some(object.clone()),
            (None, Some(listing)) if listing.is_complete => None,
            _ => self.look(&key).await?,
        };
        Ok(match found {
            // An object of another size was not written by anybody who knew what a blob is.
            Some(object) if object.size == blob.size() => {
                self.is_old(&object).then(|| Task::Touch(blob.clone()))
            }
            _ => Some(Task::Send(blob.clone())),
        })
    }

    fn is_old(&self, object: &ObjectMeta) -> bool {
        let Some(limit) = self.habits.touch_after() else {
            return false;
        };
        let modified = std::time::SystemTime::from(object.last_modified);
        modified.elapsed().is_ok_and(|age| age > limit)
    }

    async fn put(&self, blob: &Descriptor, source: &BlobSource<'_>) -> Result<(), StoreError> {
        let key = self.layout.blob(blob.digest().as_ref());
        let path = self.path(&key)?;
        let file = OpenBlob::new(blob, source).await?;
        let failed = |error| self.failed(format!("write {key} to"), &error);
        if blob.size() <= PART {
            let bytes = file.read(0, blob.size()).await?;
            self.objects
                .put(&path, bytes.into())
                .await
                .map_err(failed)?;
            return Ok(());
        }
        let mut upload = self.objects.put_multipart(&path).await.map_err(failed)?;
        let sent = match send_parts(&mut *upload, &file).await {
            Ok(()) => upload.complete().await.map(drop).map_err(failed),
            Err(PartError::Store(error)) => Err(failed(error)),
            Err(PartError::Blob(error)) => Err(error),
        };
        if sent.is_err() {
            // What is left behind otherwise costs money until somebody finds it.
            upload.abort().await.ok();
        }
        sent
    }
}

/// Objects that are known to be there.
#[derive(Default)]
struct Listing {
    objects: HashMap<String, ObjectMeta>,
    /// There are no others.
    is_complete: bool,
}

enum PartError {
    Store(ObjectError),
    Blob(StoreError),
}

async fn send_parts(upload: &mut dyn MultipartUpload, file: &OpenBlob) -> Result<(), PartError> {
    let part = PART.max(file.size.div_ceil(MOST_PARTS));
    let mut under_way = FuturesUnordered::<UploadPart>::new();
    let mut start = 0;
    while start < file.size {
        if under_way.len() == PARTS_UNDER_WAY
            && let Some(sent) = under_way.next().await
        {
            sent.map_err(PartError::Store)?;
        }
        let length = part.min(file.size - start);
        let bytes = file.read(start, length).await.map_err(PartError::Blob)?;
        under_way.push(upload.put_part(bytes.into()));
        start += length;
    }
    under_way
        .try_collect::<()>()
        .await
        .map_err(PartError::Store)
}

#[async_trait]
impl CacheStore for Bucket {
    fn readable(&self) -> Vec<String> {
        self.layout.names.clone()
    }

    fn writable(&self) -> Vec<String> {
        self.layout.names.clone()
    }

    fn parallelism(&self) -> usize {
        self.parallelism
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        self.habits.prepare().await
    }

    async fn read(&self, name: &str, limit: u64) -> Result<Option<Bytes>, StoreError> {
        let key = self.layout.manifest(name);
        let failed = |error: &ObjectError| self.failed(format!("read {key} from"), error);
        let found = match self.objects.get(&self.path(&key)?).await {
            Ok(found) => found,
            Err(ObjectError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let too_large = || StoreError::Failed {
            action: format!("read {key} from"),
            title: self.title.clone(),
            reason: format!("it is larger than {limit} bytes"),
        };
        if found.meta.size > limit {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        let mut stream = found.into_stream();
        while let Some(piece) = stream.try_next().await.map_err(|error| failed(&error))? {
            if (bytes.len() + piece.len()) as u64 > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(bytes.into()))
    }

    async fn write(&self, name: &str, config: Bytes) -> Result<(), StoreError> {
        let key = self.layout.manifest(name);
        let written = self.objects.put(&self.path(&key)?, config.into()).await;
        written
            .map(drop)
            .map_err(|error| self.failed(format!("write {key} to"), &error))
    }

    async fn plan(&self, blobs: &[Descriptor]) -> Result<Vec<Task>, StoreError> {
        let listing = match blobs.len() >= WORTH_LISTING {
            true => self.list(blobs.len()).await,
            false => None,
        };
        let tasks = futures::stream::iter(blobs.to_vec())
            .map(|blob| {
                let listing = listing.as_ref();
                async move { self.task(&blob, listing).await }
            })
            .buffer_unordered(QUESTIONS)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(tasks.into_iter().flatten().collect())
    }

    async fn carry_out(&self, task: &Task, source: &BlobSource<'_>) -> Result<(), StoreError> {
        match task {
            Task::Send(blob) => self.put(blob, source).await,
            Task::Touch(blob) => {
                let path = self.path(&self.layout.blob(blob.digest().as_ref()))?;
                match self.habits.touch(&path, blob.size()).await? {
                    true => Ok(()),
                    false => self.put(blob, source).await,
                }
            }
        }
    }

    async fn open(&self, blob: &Descriptor) -> Result<FetchStream, StoreError> {
        let key = self.layout.blob(blob.digest().as_ref());
        let found = self.objects.get(&self.path(&key)?).await;
        let found = found.map_err(|error| self.failed(format!("read {key} from"), &error))?;
        let pieces = found
            .into_stream()
            .map_err(|error| std::io::Error::other(describe(&error)));
        Ok(Box::new(StreamReader::new(pieces)))
    }
}
