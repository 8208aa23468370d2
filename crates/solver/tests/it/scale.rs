//! Large graphs: the work grows as they do, and nothing overflows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use kiln_solver::{
    Cache, CacheDep, CacheError, CacheMap, Edge, ExportOptions, Graph, JobId, KeyStore, Link,
    MemoryKeys, MemoryResults, Op, OpContext, Solver, SolverOptions, StoredResult, Vertex,
    VertexOptions,
};
use oci_spec::image::Digest;

use crate::exporting::Identity;
use crate::toy::digest;

/// Counts calls.
#[derive(Default)]
struct Counting {
    keys: MemoryKeys,
    calls: AtomicUsize,
    writes: AtomicUsize,
}

impl Counting {
    fn count(&self) -> &MemoryKeys {
        self.calls.fetch_add(1, Ordering::Relaxed);
        &self.keys
    }

    fn write(&self) -> &MemoryKeys {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.count()
    }
}

type Answer<T> = Result<T, CacheError>;

impl KeyStore for Counting {
    fn exists(&self, key: &str) -> Answer<bool> {
        self.count().exists(key)
    }
    fn result_ids(&self) -> Answer<Vec<String>> {
        self.count().result_ids()
    }
    fn results(&self, key: &str) -> Answer<Vec<StoredResult>> {
        self.count().results(key)
    }
    fn add_result(&self, key: &str, result: &StoredResult) -> Answer<()> {
        self.write().add_result(key, result)
    }
    fn release(&self, result: &str) -> Answer<()> {
        self.write().release(result)
    }
    fn keys_of_result(&self, result: &str) -> Answer<Vec<String>> {
        self.count().keys_of_result(result)
    }
    fn add_link(&self, from: &str, link: &Link, to: &str) -> Answer<()> {
        self.write().add_link(from, link, to)
    }
    fn links(&self, from: &str, link: &Link) -> Answer<Vec<String>> {
        self.count().links(from, link)
    }
    fn has_link(&self, from: &str, link: &Link, to: &str) -> Answer<bool> {
        self.count().has_link(from, link, to)
    }
    fn backlinks(&self, to: &str) -> Answer<Vec<(String, Link)>> {
        self.count().backlinks(to)
    }
}

/// Counts what is below it.
struct Counter {
    key: Digest,
    inputs: usize,
    runs: Arc<AtomicUsize>,
}

#[async_trait]
impl Op for Counter {
    type Output = u64;
    type Error = std::io::Error;

    async fn cache_map(&self, _: &OpContext, _: usize) -> Result<CacheMap, Self::Error> {
        let dep = CacheDep {
            selector: None,
            content: self.inputs % 2 == 1,
        };
        Ok(CacheMap {
            digest: self.key.clone(),
            deps: vec![dep; self.inputs],
            more: false,
        })
    }

    async fn content_digest(
        &self,
        _: &OpContext,
        _: usize,
        output: &u64,
    ) -> Result<Option<Digest>, Self::Error> {
        Ok(Some(digest(&format!("content {output}"))))
    }

    async fn execute(&self, _: &OpContext, inputs: Vec<u64>) -> Result<Vec<u64>, Self::Error> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        Ok(vec![inputs.iter().copied().max().unwrap_or(0) + 1])
    }
}

/// Calls to the key store for a first build, a second one and an export, and
/// the value. Vertex `i` of so
/// many is built on those that `inputs` names.
async fn calls(size: usize, inputs: impl Fn(usize, usize) -> Vec<usize>) -> ([usize; 3], u64) {
    let runs = Arc::new(AtomicUsize::new(0));
    let name = |i: usize| digest(&format!("v{i}"));
    let graph = || {
        let vertex = |i: usize| Vertex {
            digest: name(i),
            op: Arc::new(Counter {
                key: name(i),
                inputs: inputs(i, size).len(),
                runs: runs.clone(),
            }),
            inputs: inputs(i, size)
                .into_iter()
                .map(|i| Edge {
                    vertex: name(i),
                    output: 0,
                })
                .collect(),
            name: String::new(),
            options: VertexOptions::default(),
        };
        Graph::new((0..size).map(vertex).collect()).unwrap()
    };
    let keys = Arc::new(Counting::default());
    let results = Arc::new(MemoryResults::default());
    let cache = Cache {
        id: "local".into(),
        keys: keys.clone(),
        results,
    };
    let wanted = || Edge {
        vertex: name(size - 1),
        output: 0,
    };
    let mut counts = [0; 3];
    let (mut value, mut writes) = (0, 0);
    for count in &mut counts[..2] {
        let solver: Solver<Counter> = Solver::new(cache.clone(), SolverOptions::default());
        let job = solver.job(JobId::new("job"), Arc::new(())).unwrap();
        let solved = job.solve(graph(), wanted(), vec![]).await.unwrap();
        value = solved.output;
        writes = keys.writes.swap(0, Ordering::Relaxed);
        *count = keys.calls.swap(0, Ordering::Relaxed);
        drop(job);
        solver.idle().await;
        assert_eq!(solver.size(), 0);
        kiln_solver::export(&[solved], &ExportOptions::default(), &Identity)
            .await
            .unwrap();
    }
    counts[2] = keys.calls.load(Ordering::Relaxed);
    assert_eq!(runs.load(Ordering::Relaxed), size);
    assert_eq!(writes, 0, "the second build only reads");
    (counts, value)
}

async fn check_linear(
    inputs: impl Fn(usize, usize) -> Vec<usize> + Copy,
    depth: impl Fn(usize) -> u64,
) {
    let (small, _) = calls(250, inputs).await;
    let (large, value) = calls(1000, inputs).await;
    assert_eq!(value, depth(1000));
    for (small, large) in small.into_iter().zip(large) {
        assert!(
            large <= small * 4 + 100,
            "{small} calls for 250 vertices, {large} for 1000"
        );
    }
}

#[tokio::test]
async fn a_chain() {
    check_linear(
        |i, _| i.checked_sub(1).into_iter().collect(),
        |size| size as u64,
    )
    .await;
}

#[tokio::test]
async fn a_ladder() {
    let inputs = |i: usize, _| (1..3).filter_map(|step| i.checked_sub(step)).collect();
    check_linear(inputs, |size| size as u64).await;
}

#[tokio::test]
async fn a_fan() {
    let inputs = |i: usize, size: usize| {
        if i + 1 == size {
            (0..i).collect()
        } else {
            vec![]
        }
    };
    check_linear(inputs, |_| 2).await;
}
