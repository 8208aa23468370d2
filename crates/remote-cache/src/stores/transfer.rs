//! Bringing a cache to a store.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use kiln_store::ContentStore;

use super::{BlobSource, CacheStore, StoreError};
use crate::stored::StoredCache;

/// Sends the blobs that the store lacks, side by side; the config appears under its names last of all, so that whoever
/// finds it finds all that it speaks of.
pub(crate) async fn send(
    store: &dyn CacheStore,
    cache: StoredCache,
    content: &ContentStore,
) -> Result<(), StoreError> {
    let names = store.writable();
    store.prepare().await?;
    let tasks = store.plan(&cache.blobs).await?;
    let source = &BlobSource::Content(content);
    futures::stream::iter(tasks)
        .map(|task| async move { store.carry_out(&task, source).await })
        .buffer_unordered(store.parallelism())
        .try_collect::<()>()
        .await?;
    let config = Bytes::from(cache.config);
    for name in names {
        store.write(&name, config.clone()).await?;
    }
    Ok(())
}
