//! Ops over integers: a result is the op's own value plus those of its inputs.

use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use kiln_solver::{
    Cache, CacheDep, CacheError, CacheMap, Edge, Graph, Job, JobId, MemoryKeys, MemoryResults, Op,
    OpContext, ResultStore, SolveError, Solved, Solver, SolverOptions, Vertex, VertexOptions,
};
use oci_spec::image::Digest;
use tokio::sync::Semaphore;

/// Why a toy fails.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Broken(pub(crate) &'static str);

/// What was called, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, entry: String) {
        self.0.lock().unwrap().push(entry);
    }

    /// All entries that start with `kind`, sorted, without it; empties the log.
    pub(crate) fn take(&self, kind: &str) -> Vec<String> {
        let mut log = self.0.lock().unwrap();
        let (wanted, other): (Vec<_>, Vec<_>) =
            log.drain(..).partition(|entry| entry.starts_with(kind));
        *log = other;
        let mut names: Vec<_> = wanted
            .iter()
            .map(|e| e[kind.len()..].trim().to_owned())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// What a toy does when it executes.
#[derive(Clone, Debug, Default)]
pub(crate) enum Deed {
    #[default]
    Add,
    Fail,
    Panic,
    /// Says that it is there through the first semaphore, goes on when the
    /// second has a permit for it, or ends when it is cancelled.
    Wait(Arc<Semaphore>, Arc<Semaphore>),
    /// Says that it is there, and then never ends, come what may.
    Hang(Arc<Semaphore>),
}

/// An op, and the vertex around it.
#[derive(Clone, Debug)]
pub(crate) struct Toy {
    name: &'static str,
    maps: Vec<Digest>,
    inputs: Vec<(&'static str, usize, CacheDep)>,
    value: u64,
    options: VertexOptions,
    deed: Deed,
    log: Log,
}

impl Toy {
    pub(crate) fn new(log: &Log, name: &'static str) -> Self {
        Self {
            name,
            maps: vec![digest(name)],
            inputs: Vec::new(),
            value: 1,
            options: VertexOptions::default(),
            deed: Deed::Add,
            log: log.clone(),
        }
    }

    /// Cache maps; without this there is one, made from the name.
    pub(crate) fn keyed(mut self, maps: &[&str]) -> Self {
        self.maps = maps.iter().map(|map| digest(map)).collect();
        self
    }

    pub(crate) fn value(mut self, value: u64) -> Self {
        self.value = value;
        self
    }

    pub(crate) fn doing(mut self, deed: Deed) -> Self {
        self.deed = deed;
        self
    }

    pub(crate) fn ignoring_cache(mut self) -> Self {
        self.options.ignore_cache = true;
        self
    }

    pub(crate) fn in_realm(mut self, realm: &'static str) -> Self {
        self.options.realm = Some(realm);
        self
    }

    pub(crate) fn on(self, input: &'static str) -> Self {
        self.on_dep(input, 0, CacheDep::default())
    }

    pub(crate) fn on_content(self, input: &'static str) -> Self {
        self.on_dep(
            input,
            0,
            CacheDep {
                selector: None,
                content: true,
            },
        )
    }

    pub(crate) fn on_dep(mut self, input: &'static str, output: usize, dep: CacheDep) -> Self {
        self.inputs.push((input, output, dep));
        self
    }

    fn vertex(self) -> Vertex<Self> {
        let edge = |(name, output, _): &(&'static str, usize, CacheDep)| edge(name, *output);
        Vertex {
            digest: digest(self.name),
            inputs: self.inputs.iter().map(edge).collect(),
            name: self.name.to_owned(),
            options: self.options.clone(),
            op: Arc::new(self),
        }
    }
}

#[async_trait]
impl Op for Toy {
    type Output = u64;
    type Error = Broken;

    async fn cache_map(&self, _: &OpContext, index: usize) -> Result<CacheMap, Broken> {
        Ok(CacheMap {
            digest: self.maps[index].clone(),
            deps: self.inputs.iter().map(|(_, _, dep)| dep.clone()).collect(),
            more: index + 1 < self.maps.len(),
        })
    }

    async fn content_digest(
        &self,
        _: &OpContext,
        input: usize,
        output: &u64,
    ) -> Result<Option<Digest>, Broken> {
        self.log.add(format!("digest {} {input}", self.name));
        Ok(Some(digest(&format!("content {output}"))))
    }

    async fn prepare(&self, _: &OpContext, input: usize, _: &u64) -> Result<(), Broken> {
        self.log.add(format!("prepare {} {input}", self.name));
        Ok(())
    }

    async fn execute(&self, cx: &OpContext, inputs: Vec<u64>) -> Result<Vec<u64>, Broken> {
        self.log.add(format!("run {}", self.name));
        match &self.deed {
            Deed::Add => {}
            Deed::Fail => return Err(Broken("failed on purpose")),
            Deed::Panic => panic!("panicked on purpose"),
            Deed::Hang(here) => {
                here.add_permits(1);
                std::future::pending::<()>().await;
            }
            Deed::Wait(here, go) => {
                here.add_permits(1);
                tokio::select! {
                    permit = go.acquire() => permit.unwrap().forget(),
                    () = cx.cancelled.cancelled() => {
                        self.log.add(format!("cancelled {}", self.name));
                        return Err(Broken("cancelled"));
                    }
                }
            }
        }
        let sum = self.value + inputs.iter().sum::<u64>();
        Ok(vec![sum, sum + 100])
    }
}

pub(crate) fn digest(name: &str) -> Digest {
    if let Ok(digest) = Digest::from_str(name) {
        return digest;
    }
    // Only has to differ for different names.
    let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    Digest::from_str(&format!("sha256:{hex:0>64}")).unwrap()
}

pub(crate) fn edge(name: &str, output: usize) -> Edge {
    Edge {
        vertex: digest(name),
        output,
    }
}

pub(crate) fn graph(toys: &[Toy]) -> Graph<Toy> {
    Graph::new(toys.iter().cloned().map(Toy::vertex).collect()).unwrap()
}

/// Results in memory, of which some can be made unreadable.
#[derive(Debug, Default)]
pub(crate) struct Results {
    memory: MemoryResults<u64>,
    pub(crate) unreadable: Mutex<bool>,
    pub(crate) loads: Mutex<usize>,
}

#[async_trait]
impl ResultStore for Results {
    type Output = u64;

    async fn save(&self, output: &u64, created: SystemTime) -> Result<String, CacheError> {
        self.memory.save(output, created).await
    }

    async fn load(&self, id: &str) -> Result<u64, CacheError> {
        *self.loads.lock().unwrap() += 1;
        if *self.unreadable.lock().unwrap() {
            return Err("unreadable on purpose".into());
        }
        self.memory.load(id).await
    }

    fn exists(&self, id: &str) -> bool {
        self.memory.exists(id)
    }
}

/// A cache that outlives solvers.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) cache: Cache<u64>,
    pub(crate) results: Arc<Results>,
}

impl Store {
    pub(crate) fn new(id: &str) -> Self {
        let results = Arc::new(Results::default());
        let keys = Arc::new(MemoryKeys::default());
        Self {
            cache: Cache {
                id: id.into(),
                keys,
                results: results.clone(),
            },
            results,
        }
    }

    pub(crate) fn solver(&self) -> Solver<Toy> {
        Solver::new(self.cache.clone(), SolverOptions::default())
    }
}

pub(crate) fn job(solver: &Solver<Toy>, name: &str) -> Job<Toy> {
    solver.job(JobId::new(name), Arc::new(())).unwrap()
}

/// Builds with a solver of its own.
pub(crate) async fn build(
    store: &Store,
    toys: &[Toy],
    wanted: &str,
) -> Result<Solved<u64>, SolveError<Broken>> {
    build_with(store, toys, wanted, Vec::new()).await
}

pub(crate) async fn build_with(
    store: &Store,
    toys: &[Toy],
    wanted: &str,
    caches: Vec<Cache<u64>>,
) -> Result<Solved<u64>, SolveError<Broken>> {
    job(&store.solver(), "job")
        .solve(graph(toys), edge(wanted, 0), caches)
        .await
}
