//! One thing done for one vertex: a call of its op, or of a cache's results.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;

use crate::context::OpContext;
use crate::core::{Outcome, VertexId};
use crate::driver::{Driver, Work};
use crate::key::{Key, Lasting, Record};
use crate::ledger::{self, Ledger};
use crate::observe::Progress;
use crate::op::Op;
use crate::promote;

/// One task for one vertex.
pub(crate) struct Call<O: Op> {
    pub driver: Arc<Driver<O>>,
    pub work: Work<O>,
    pub cx: OpContext,
    pub vertex: VertexId,
}

impl<O: Op> Clone for Call<O> {
    fn clone(&self) -> Self {
        Self {
            driver: self.driver.clone(),
            work: self.work.clone(),
            cx: self.cx.clone(),
            vertex: self.vertex,
        }
    }
}

impl<O: Op> Call<O> {
    pub(crate) fn ledger(&self) -> Ledger<'_, O::Output> {
        Ledger {
            local: self.driver.local(),
            imported: &self.work.imported,
        }
    }

    pub(crate) fn tell(&self, progress: Progress) {
        self.driver.tell(self.vertex, progress);
    }

    /// Tells how a call ended if it failed, and how it ended at all if observers
    /// know that it began.
    fn ended<T>(&self, result: Result<T, O::Error>, told: Told) -> Result<T, Arc<O::Error>> {
        match (&result, told) {
            (Ok(_), Told::Nothing) => {}
            (Ok(_), Told::Started) => self.tell(Progress::Completed),
            (Err(_), Told::Nothing) if self.cx.cancelled.is_cancelled() => {}
            (Err(_), Told::Started) if self.cx.cancelled.is_cancelled() => {
                self.tell(Progress::Cancelled);
            }
            (Err(error), _) => self.tell(Progress::Failed(error.to_string().into())),
        }
        result.map_err(Arc::new)
    }

    pub(crate) async fn cache_map(self, index: usize) -> Outcome<O::Output, O::Error> {
        // Finding out what a source stands for may take long; for others it is nothing.
        let told = if self.work.info.inputs.is_empty() {
            Told::Started
        } else {
            Told::Nothing
        };
        if told == Told::Started {
            self.tell(Progress::Started);
        }
        let result = self.work.op.cache_map(&self.cx, index).await;
        Outcome::CacheMap(self.ended(result, told))
    }

    pub(crate) async fn content_digest(
        self,
        input: usize,
        output: O::Output,
    ) -> Outcome<O::Output, O::Error> {
        let result = self.work.op.content_digest(&self.cx, input, &output).await;
        Outcome::ContentDigest(self.ended(result, Told::Nothing))
    }

    pub(crate) async fn prepare(
        self,
        input: usize,
        output: O::Output,
    ) -> Outcome<O::Output, O::Error> {
        let result = self.work.op.prepare(&self.cx, input, &output).await;
        Outcome::Prepared(self.ended(result, Told::Nothing))
    }

    pub(crate) async fn execute(self, inputs: Vec<O::Output>) -> Outcome<O::Output, O::Error> {
        let acquire = self.work.op.acquire(&self.cx);
        let permit = match self.cx.cancelled.run_until_cancelled(acquire).await {
            Some(Ok(permit)) => permit,
            Some(Err(error)) => return Outcome::Executed(self.ended(Err(error), Told::Nothing)),
            None => return Outcome::Abandoned,
        };
        self.tell(Progress::Started);
        let result = self.work.op.execute(&self.cx, inputs).await;
        drop(permit);
        Outcome::Executed(self.ended(result, Told::Started))
    }

    /// Takes a result out of a cache; an imported one is kept in the local cache.
    pub(crate) async fn load(self, record: Record) -> Outcome<O::Output, O::Error> {
        self.tell(Progress::CacheStarted);
        let mut caches = std::iter::once(self.driver.local()).chain(self.work.imported.iter());
        let loaded = match caches.find(|cache| *cache.id == *record.cache) {
            Some(cache) => match cache.results.load(&record.id).await {
                Ok(output) => Some((cache, output)),
                Err(error) => {
                    let (cache, id) = (&cache.id, &record.id);
                    tracing::warn!(cache, id, %error, "cannot load cached result; going on without");
                    None
                }
            },
            None => None,
        };
        let Some((cache, output)) = loaded else {
            self.tell(Progress::CacheMissed);
            return Outcome::Loaded(None);
        };
        if cache.id != self.driver.local().id {
            let saved = promote::save(self.driver.local(), cache, &record, &output).await;
            let (sender, done) = oneshot::channel();
            let local = self.driver.local().clone();
            self.driver.in_order(move || {
                promote::commit(&local, saved);
                let _ = sender.send(());
            });
            // Whoever hears of the result may count on finding it again.
            let _ = done.await;
        }
        self.tell(Progress::Cached);
        Outcome::Loaded(Some(output))
    }

    pub(crate) async fn commit(
        self,
        keys: Vec<Arc<Key>>,
        output: O::Output,
    ) -> Outcome<O::Output, O::Error> {
        if keys.iter().all(|key| key.lasting == Lasting::ThisSession) {
            return Outcome::Committed(Vec::new());
        }
        let created = SystemTime::now();
        let local = self.driver.local().clone();
        let id = match local.results.save(&output, created).await {
            Ok(id) => id,
            Err(error) => {
                tracing::warn!(cache = local.id, %error, "cannot save result; going on without");
                return Outcome::Committed(Vec::new());
            }
        };
        let (sender, records) = oneshot::channel();
        self.driver.in_order(move || {
            let save = |key: &Arc<Key>| ledger::commit(&local, key, &id, created);
            // Nobody receives it if the store panics; then there are no records.
            let _ = sender.send(keys.iter().map(save).collect());
        });
        Outcome::Committed(records.await.unwrap_or_default())
    }
}

/// Whether observers know that a call began.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    Nothing,
    Started,
}
