//! The results of an imported cache: lazy layers, fetched when their files are needed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use kiln_solver::{CacheError, ResultStore};
use kiln_store::refs::{Fetch, LazyLayer, RecordType};
use kiln_store::{Ref, Store};

use crate::CacheLayer;
use crate::graph::CacheGraph;
use crate::place::Place;

/// Makes the engine's output of a ref.
pub(crate) type Wrap<O> = Arc<dyn Fn(Ref) -> O + Send + Sync>;

pub(crate) struct ImportedResults<O> {
    pub(crate) graph: Arc<CacheGraph>,
    pub(crate) store: Store,
    pub(crate) place: Place,
    pub(crate) fetch: Arc<dyn Fetch>,
    /// Where the cache comes from, for descriptions.
    pub(crate) name: String,
    pub(crate) wrap: Wrap<O>,
}

impl<O> ImportedResults<O> {
    fn layers(&self, id: &str) -> Result<&[CacheLayer], CacheError> {
        let result = self.graph.results.get(id);
        result
            .map(|result| result.layers.as_slice())
            .ok_or_else(|| format!("no cached result {id}").into())
    }

    /// The refs of a result's layers: each stands for its layer and all below.
    fn refs(&self, layers: &[CacheLayer]) -> Result<Vec<Ref>, CacheError> {
        let mut refs: Vec<Ref> = Vec::with_capacity(layers.len());
        for layer in layers {
            let lazy = LazyLayer {
                descriptor: layer.descriptor.clone(),
                diff_id: layer.diff_id.clone(),
                fetch: self.fetch.clone(),
                description: match layer.description.as_str() {
                    "" => format!("imported {} from {}", layer.descriptor.digest(), self.name),
                    description => description.to_owned(),
                },
                record_type: RecordType::Regular,
                created: layer.created,
            };
            refs.push(self.store.layer(refs.last(), lazy)?);
        }
        Ok(refs)
    }

    /// The keys below a result that have one made of its lower layers, with how many.
    fn ancestors(&self, id: &str, layers: &[CacheLayer]) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        let mut open: Vec<&str> = Vec::new();
        if let Some(result) = self.graph.results.get(id) {
            open.extend(result.keys.iter().map(String::as_str));
        }
        let mut seen: HashSet<&str> = open.iter().copied().collect();
        while let Some(key) = open.pop() {
            let Some(record) = self.graph.records.get(key) else {
                continue;
            };
            let lower = record.results.iter().filter_map(|(result, _)| {
                let other = self.graph.results.get(result)?;
                let same = other
                    .layers
                    .iter()
                    .zip(layers)
                    .all(|(one, other)| one.descriptor.digest() == other.descriptor.digest());
                (other.layers.len() <= layers.len() && same).then_some(other.layers.len())
            });
            if let Some(count) = lower.max() {
                found.push((key.to_owned(), count));
            }
            for (from, _) in &record.backlinks {
                if seen.insert(from) {
                    open.push(from);
                }
            }
        }
        found
    }
}

#[async_trait]
impl<O: Clone + Send + Sync + 'static> ResultStore for ImportedResults<O> {
    type Output = O;

    async fn save(&self, _output: &O, _created: SystemTime) -> Result<String, CacheError> {
        Err("an imported cache cannot be written".into())
    }

    async fn load(&self, id: &str) -> Result<O, CacheError> {
        let top = self
            .refs(self.layers(id)?)?
            .pop()
            .ok_or_else(|| format!("cached result {id} has no layers"))?;
        Ok((self.wrap)(top))
    }

    fn exists(&self, id: &str) -> bool {
        self.layers(id).is_ok_and(|layers| {
            layers
                .iter()
                .all(|layer| self.place.may_have(&layer.descriptor))
        })
    }

    async fn load_ancestors(&self, id: &str) -> Result<Vec<(String, O)>, CacheError> {
        let layers = self.layers(id)?;
        let refs = self.refs(layers)?;
        let ancestors = self.ancestors(id, layers).into_iter();
        Ok(ancestors
            .filter_map(|(key, count)| {
                Some((key, (self.wrap)(refs.get(count.checked_sub(1)?)?.clone())))
            })
            .collect())
    }
}
