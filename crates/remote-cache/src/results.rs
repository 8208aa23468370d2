//! The results of an imported cache: lazy layers, fetched when their files are needed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use kiln_solver::{CacheError, ResultStore};
use kiln_store::refs::{LazyLayer, RecordType};
use kiln_store::{Ref, Store};

use crate::graph::{CacheGraph, Stack};
use crate::losses::Losses;
use crate::place::{Place, PlaceFetch};

/// Makes the engine's output of a ref.
pub(crate) type Wrap<O> = Arc<dyn Fn(Ref) -> O + Send + Sync>;

pub(crate) struct ImportedResults<O> {
    pub(crate) graph: Arc<CacheGraph>,
    pub(crate) store: Store,
    pub(crate) place: Place,
    pub(crate) losses: Losses,
    /// Where the cache comes from, for descriptions.
    pub(crate) name: String,
    pub(crate) wrap: Wrap<O>,
}

impl<O> ImportedResults<O> {
    fn stack(&self, id: &str) -> Result<&Stack, CacheError> {
        let result = self.graph.results.get(id);
        result
            .map(|result| &*result.stack)
            .ok_or_else(|| format!("no cached result {id}").into())
    }

    /// The refs of a stack, bottom first: each stands for its layer and all below, and comes with that stack's id.
    fn refs<'a>(&self, stack: &'a Stack) -> Result<Vec<(&'a str, Ref)>, CacheError> {
        let mut refs: Vec<(&str, Ref)> = Vec::with_capacity(stack.height);
        for level in stack.levels() {
            let layer = &level.layer;
            let lazy = LazyLayer {
                descriptor: layer.descriptor.clone(),
                diff_id: layer.diff_id.clone(),
                fetch: Arc::new(PlaceFetch {
                    place: self.place.clone(),
                    content: self.store.content().clone(),
                    blob: layer.descriptor.digest().clone(),
                    losses: self.losses.clone(),
                }),
                description: match layer.description.as_str() {
                    "" => format!("imported {} from {}", layer.descriptor.digest(), self.name),
                    description => description.to_owned(),
                },
                record_type: RecordType::Regular,
                created: layer.created,
            };
            let parent = refs.last().map(|(_, parent)| parent);
            refs.push((&level.id, self.store.layer(parent, lazy)?));
        }
        Ok(refs)
    }

    /// The keys that a result's keys follow from, and those themselves.
    fn keys_below(&self, id: &str) -> Vec<&str> {
        let mut keys: Vec<&str> = Vec::new();
        if let Some(result) = self.graph.results.get(id) {
            keys.extend(result.keys.iter().map(String::as_str));
        }
        let mut seen: HashSet<&str> = keys.iter().copied().collect();
        let mut next = 0;
        while let Some(key) = keys.get(next) {
            next += 1;
            let backlinks = self
                .graph
                .records
                .get(*key)
                .map(|record| record.backlinks.as_slice());
            for (from, _) in backlinks.unwrap_or_default() {
                if seen.insert(from) {
                    keys.push(from);
                }
            }
        }
        keys
    }
}

#[async_trait]
impl<O: Clone + Send + Sync + 'static> ResultStore for ImportedResults<O> {
    type Output = O;

    async fn save(&self, _output: &O, _created: SystemTime) -> Result<String, CacheError> {
        Err("an imported cache cannot be written".into())
    }

    async fn load(&self, id: &str) -> Result<O, CacheError> {
        let top = self.refs(self.stack(id)?)?.pop();
        let (_, top) = top.ok_or_else(|| format!("cached result {id} has no layers"))?;
        Ok((self.wrap)(top))
    }

    fn exists(&self, id: &str) -> bool {
        let levels = self.stack(id).map(Stack::levels).unwrap_or_default();
        let may_have =
            |descriptor| self.place.may_have(descriptor) && !self.losses.has(descriptor.digest());
        !levels.is_empty() && levels.iter().all(|level| may_have(&level.layer.descriptor))
    }

    async fn load_ancestors(&self, id: &str) -> Result<Vec<(String, O)>, CacheError> {
        let refs: HashMap<&str, Ref> = self.refs(self.stack(id)?)?.into_iter().collect();
        let keys = self.keys_below(id).into_iter();
        let ancestors = keys.filter_map(|key| {
            let results = &self.graph.records.get(key)?.results;
            let reference = results
                .iter()
                .find_map(|(result, _)| refs.get(result.as_str()))?;
            Some((key.to_owned(), (self.wrap)(reference.clone())))
        });
        Ok(ancestors.collect())
    }
}
