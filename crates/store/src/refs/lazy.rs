//! Layers that are not here yet and know how to fetch themselves.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use oci_spec::image::{Descriptor, Digest};
use rusqlite::Connection;
use tokio::io::AsyncRead;

use super::hold::Hold;
use super::layers::{LayerInfo, chain_id_of};
use super::materialize::permit_for;
use super::record::{Files, Kind, LayerFacts, NewRecord, Record, State};
use super::{MutableOptions, RecordType, Ref};
use crate::lease::locks::Row;
use crate::store::{Store, StoreError};

/// Why a blob could not be fetched; the implementer's error.
pub type FetchError = Box<dyn std::error::Error + Send + Sync>;

/// The bytes of a blob as they arrive.
pub type FetchStream = Box<dyn AsyncRead + Send + Unpin>;

/// How a lazy layer's blob is brought here.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// Brings the verified blob into the content store, with whatever retries make sense. Called when there is no
    /// stream or the stream broke off.
    async fn fetch(&self, descriptor: &Descriptor) -> Result<(), FetchError>;

    /// Opens the blob's bytes from its start, so that it can be unpacked while it arrives; the store verifies
    /// them and keeps the blob. `None` if only [`Fetch::fetch`] is offered.
    async fn stream(&self, _descriptor: &Descriptor) -> Result<Option<FetchStream>, FetchError> {
        Ok(None)
    }

    /// Whether it can still be done: the only place that has the blob may be gone for good.
    fn is_possible(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for dyn Fetch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("dyn Fetch")
    }
}

/// A layer to be fetched when its files are needed.
#[derive(Debug, Clone)]
pub struct LazyLayer {
    /// The blob: media type, digest and size. The compression is recognised by the blob's first bytes.
    pub descriptor: Descriptor,
    /// The digest of its uncompressed tar, verified when it is unpacked.
    pub diff_id: Digest,
    /// How to get it.
    pub fetch: Arc<dyn Fetch>,
    /// Told by `du --verbose`, such as "pulled from docker.io/library/alpine:latest".
    pub description: String,
    /// What it is for.
    pub record_type: RecordType,
    /// When it was made (from the image's history); now, if `None`.
    pub created: Option<SystemTime>,
}

/// A ref for a chain id.
enum Place {
    Existing(Row),
    New(Record, Hold),
}

impl Store {
    /// The ref for a layer on top of `parent`, to be fetched when its files are needed. A ref of the same layers
    /// that exists already is returned instead, and learns of the blob.
    pub fn layer(&self, parent: Option<&Ref>, layer: LazyLayer) -> Result<Ref, StoreError> {
        let below = parent.map(Ref::stack).unwrap_or_default();
        loop {
            let found = match self.place(parent, &below, &layer)? {
                Place::New(record, hold) => {
                    Some(self.adopt(hold, record, parent.cloned().into_iter().collect()))
                }
                // Gone in the meantime, if it is `None`: try again.
                Place::Existing(row) => self.acquire(row)?,
            };
            if let Some(found) = found {
                found.offer(&layer.descriptor, &layer.fetch);
                return Ok(found.asked_for());
            }
        }
    }

    fn place(
        &self,
        parent: Option<&Ref>,
        below: &[Ref],
        layer: &LazyLayer,
    ) -> Result<Place, StoreError> {
        let known = self
            .database()
            .query(|connection| Equal::find(connection, below, layer))?;
        if let Some((row, Blob::Known)) = known.found {
            return Ok(Place::Existing(row));
        }
        let options = MutableOptions {
            description: layer.description.clone(),
            record_type: layer.record_type,
            created: layer.created,
        };
        let parents = parent.iter().map(|parent| parent.row()).collect();
        let new = NewRecord::new(Kind::Layer, State::Committed, Files::Lazy, parents, options);
        let (place, hold) = self.database().transact(|transaction| {
            // Looked up again: another build that pulls the same image may have been faster.
            let known = Equal::find(transaction, below, layer)?;
            if let Some((row, _)) = known.found {
                LayerFacts::add_blob(transaction, row, &layer.descriptor)?;
                return Ok((Err(row), None));
            }
            let record = new.insert(transaction, self.boot())?;
            LayerFacts::add_blob(transaction, record.row, &layer.descriptor)?;
            transaction
                .prepare_cached("UPDATE refs SET diff_id = ?2, chain_id = ?3 WHERE row = ?1")?
                .execute((record.row, layer.diff_id.as_ref(), known.chain_id))?;
            let hold = self.holds().hold(record.row);
            Ok((Ok(record), Some(hold)))
        })?;
        match (place, hold.transpose()?) {
            (Ok(record), Some(hold)) => Ok(Place::New(record, hold)),
            (Ok(Record { row, .. }), None) | (Err(row), _) => Ok(Place::Existing(row)),
        }
    }
}

/// What is known of the layers that a new one would be equal to.
struct Equal {
    chain_id: Option<String>,
    /// A ref with this chain id.
    found: Option<(Row, Blob)>,
}

/// Whether a ref knows a blob already.
enum Blob {
    Known,
    New,
}

impl Equal {
    fn find(connection: &Connection, below: &[Ref], layer: &LazyLayer) -> rusqlite::Result<Equal> {
        let chain_id = chain_id_of(connection, below, &layer.diff_id)?;
        let mut query = connection.prepare_cached(
            "SELECT row FROM refs WHERE chain_id = ?1 AND state = 'committed' ORDER BY row LIMIT 1",
        )?;
        let mut rows = query.query([&chain_id])?;
        let found = match rows.next()? {
            Some(row) => {
                let row = row.get(0)?;
                let blobs = LayerFacts::find(connection, row)?.blobs;
                let knows = blobs.contains(&layer.descriptor);
                Some((row, if knows { Blob::Known } else { Blob::New }))
            }
            None => None,
        };
        Ok(Equal { chain_id, found })
    }
}

impl Ref {
    /// Gives the lazy layers of the stack a way to fetch their blobs, as after loading the ref in a new process.
    pub fn provide(&self, fetch: Arc<dyn Fetch>) -> Result<(), StoreError> {
        for layer in LayerInfo::of(self.mounted_stack(), &self.inner.store)? {
            if !layer.owner.has_files()? {
                for blob in &layer.blobs {
                    layer.owner.offer(blob, &fetch);
                }
            }
        }
        Ok(())
    }

    /// Lazy layers whose blob is not in the store and which nobody provided a [`Fetch`] for. A ref with any
    /// cannot be materialized and is no use as a cached result.
    pub fn unfetchable(&self) -> Result<Vec<LayerInfo>, StoreError> {
        if !self.is_lazy()? {
            return Ok(Vec::new());
        }
        let mut missing = Vec::new();
        for layer in LayerInfo::of(self.mounted_stack(), &self.inner.store)? {
            if layer.owner.has_files()? {
                continue;
            }
            if layer.owner.inner.record.kind == Kind::Diff {
                for parent in layer.owner.parents() {
                    missing.extend(parent.unfetchable()?);
                }
            } else if layer.owner.obtainable(&layer.blobs)?.is_none() {
                missing.push(layer);
            }
        }
        Ok(missing)
    }

    fn offer(&self, blob: &Descriptor, fetch: &Arc<dyn Fetch>) {
        let mut fetchers = self
            .inner
            .fetchers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        fetchers.insert(blob.digest().to_string(), fetch.clone());
    }

    /// A blob of the layer that is here, or that somebody can fetch.
    pub(super) fn obtainable(
        &self,
        blobs: &[Descriptor],
    ) -> Result<Option<Obtainable>, StoreError> {
        for blob in blobs {
            if self.inner.store.content().exists(blob.digest())? {
                return Ok(Some(Obtainable::Here(blob.clone())));
            }
        }
        let fetchers = self
            .inner
            .fetchers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let fetchable = blobs.iter().find_map(|blob| {
            let fetch = fetchers.get(blob.digest().as_ref())?;
            if !fetch.is_possible() {
                return None;
            }
            Some(Obtainable::By(blob.clone(), fetch.clone()))
        });
        Ok(fetchable)
    }
}

impl LayerInfo {
    /// Whether the layer's blob is in the content store, or somebody can fetch it.
    pub fn is_obtainable(&self, blob: &Descriptor) -> Result<bool, StoreError> {
        let found = self.owner.obtainable(std::slice::from_ref(blob))?;
        Ok(found.is_some())
    }

    /// Brings one of the layer's blobs into the content store, without unpacking it. Concurrent calls, also of other
    /// processes, share the work.
    pub async fn fetch_blob(&self, blob: &Descriptor) -> Result<(), StoreError> {
        let wanted = std::slice::from_ref(blob);
        let _permit =
            permit_for(&self.owner.inner.store, std::slice::from_ref(&self.owner)).await?;
        match self.owner.obtainable(wanted)? {
            Some(Obtainable::Here(_)) => Ok(()),
            Some(Obtainable::By(blob, fetch)) => {
                fetch
                    .fetch(&blob)
                    .await
                    .map_err(|source| StoreError::Fetch {
                        digest: blob.digest().to_string(),
                        source,
                    })
            }
            None => Err(StoreError::Unfetchable {
                digest: blob.digest().to_string(),
            }),
        }
    }
}

/// How a layer's blob can be had.
pub(super) enum Obtainable {
    /// It is in the content store.
    Here(Descriptor),
    /// It can be fetched.
    By(Descriptor, Arc<dyn Fetch>),
}
