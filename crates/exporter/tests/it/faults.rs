//! Pushes and pulls through a registry of which one request in five fails.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use kiln_exporter::{EarlyUploads, Progress};
use kiln_registry::{Anonymous, Client, ClientOptions, Reference, RetryPolicy, Timeouts};
use kiln_store::{Ref, Store, StoreOptions};
use kiln_testkit::faults::{FaultyProxy, Schedule};
use kiln_testkit::registry::Registry;
use oci_spec::image::{Descriptor, Digest, ImageManifest};
use sha2::{Digest as _, Sha256};

use crate::fixture::{Bench, config, run, single, write};

const PUSHES: usize = 200;
const PULLS: usize = 200;
const REPOSITORIES: usize = 4;
const PARALLEL: usize = 16;

fn client() -> Client {
    let retry = RetryPolicy {
        attempts: 6,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(20),
        longest_wait: Duration::from_secs(5),
    };
    let timeouts = Timeouts {
        answer: Duration::from_secs(10),
        idle: Duration::from_secs(2),
        ..Timeouts::default()
    };
    Client::new(ClientOptions {
        retry,
        timeouts,
        ..ClientOptions::default()
    })
    .unwrap()
}

/// The same seed makes the same requests fail, as far as they come in the same order.
const SCHEDULE: Schedule = Schedule {
    one_in: 5,
    seed: 20_261_126,
};

#[tokio::test(flavor = "multi_thread")]
async fn pushes_end_right_or_with_a_clear_error() {
    let bench = Bench::new();
    let registry = Registry::start().unwrap();
    let proxy = FaultyProxy::start(&registry.host(), SCHEDULE).unwrap();
    let pushes = push_many(&bench, &bench.two_layers(), &proxy.host()).await;
    let pushed = pushes.iter().filter(|push| push.error.is_none()).count();
    judge(&proxy, "pushes", (pushed, PUSHES));
    proxy.wait_until(|traffic| traffic.streamed > 0);
    check_tags(&bench, &registry, &pushes);
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_end_right_or_with_a_clear_error() {
    let bench = Bench::new();
    let registry = Registry::start().unwrap();
    let name = format!("{}/pulled:1", registry.host());
    let pushed = export_and_push(&bench, &bench.two_layers(), &name, None).await;
    let proxy = FaultyProxy::start(&registry.host(), SCHEDULE).unwrap();
    let pulls = pull_many(&bench, &proxy.host(), &pushed.1.unwrap()).await;
    judge(&proxy, "pulls", (pulls, PULLS));
}

/// Every fault occurs, but most of them pass, so most of the transfers end well.
fn judge(proxy: &FaultyProxy, what: &str, (well, all): (usize, usize)) {
    let (requests, faults) = (proxy.requests(), proxy.injected());
    eprintln!("{requests} requests; {well} of {all} {what} succeeded; faults: {faults:?}");
    assert_eq!(faults.len(), 14);
    assert!(well * 10 >= all * 9);
}

struct Pushed {
    /// `REPOSITORY:TAG`, several.
    names: Vec<String>,
    digest: String,
    error: Option<String>,
}

async fn export_and_push(
    bench: &Bench,
    reference: &Ref,
    names: &str,
    early: Option<EarlyUploads>,
) -> (String, Result<String, String>) {
    let input = single(Some(reference.clone()), config(&["a", "b", "c"]));
    let keys = format!("image,push,store=false,compression-level=1,name={names}");
    let exported = match early {
        Some(early) => bench.export_early(&input, &keys, early).await,
        None => bench.export(&input, &keys, &bench.path("-")).await,
    };
    let exported = exported.unwrap();
    let digest = exported.response["containerimage.digest"].clone();
    let push = exported.push.unwrap();
    let outcome = push
        .run(&client(), Arc::new(Anonymous), &Progress::none())
        .await;
    let outcome = outcome.map(|()| digest.clone());
    (digest, outcome.map_err(|error| error.to_string()))
}

async fn push_many(bench: &Bench, base: &Ref, host: &str) -> Vec<Pushed> {
    let each = (0..PUSHES).map(|index| async move {
        let own = bench.layer(Some(base), |dir| {
            write(
                &dir.join("own"),
                &format!("image {index}\n").repeat(2000),
                0o644,
            );
        });
        // Some go to two repositories at once.
        let repositories = [index, index + 1];
        let count = 1 + usize::from(index.is_multiple_of(5));
        let names: Vec<_> = repositories[..count]
            .iter()
            .map(|number| format!("app{}:t{index}", number % REPOSITORIES))
            .collect();
        let list: Vec<_> = names.iter().map(|name| format!("{host}/{name}")).collect();
        // Every other one sends its layer while it is made.
        let early = index.is_multiple_of(2).then(|| EarlyUploads {
            least: 1,
            ..EarlyUploads::new(client(), Arc::new(Anonymous))
        });
        let (digest, outcome) = export_and_push(bench, &own, &list.join(";"), early).await;
        if let Err(error) = &outcome {
            eprintln!("push of {names:?}: {error}");
            assert!(
                error.starts_with(&format!("failed to push {host}/app")),
                "{error}"
            );
        }
        Pushed {
            names,
            digest,
            error: outcome.err(),
        }
    });
    stream::iter(each)
        .buffer_unordered(PARALLEL)
        .collect()
        .await
}

/// Pulls into stores of their own; answers how many came. Those that came must be right.
async fn pull_many(bench: &Bench, host: &str, digest: &str) -> usize {
    let name = Reference::parse(&format!("{host}/pulled:1")).unwrap();
    let each = (0..PULLS).map(|index| {
        let (name, root) = (name.clone(), bench.path(&format!("pull{index}")));
        async move {
            match pull(&name, &root).await {
                Ok((manifest, store)) => {
                    assert_eq!(manifest, digest);
                    for blob in store.1 {
                        let bytes = store.0.content().read(&blob, u64::MAX).unwrap();
                        assert_eq!(sha256(&bytes), blob.to_string());
                    }
                    true
                }
                Err(error) => {
                    eprintln!("pull: {error}");
                    assert!(error.contains(host), "{error}");
                    false
                }
            }
        }
    });
    let came: Vec<bool> = stream::iter(each)
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    came.into_iter().filter(|came| *came).count()
}

async fn pull(name: &Reference, root: &Path) -> Result<(String, (Store, Vec<Digest>)), String> {
    let text = |error: kiln_registry::RegistryError| error.to_string();
    let store = Store::open(StoreOptions { root: root.into() }).unwrap();
    let _lease = store.lease().unwrap();
    let repository = client().repository(name, Anonymous::shared());
    let root = repository.resolve(name).await.map_err(text)?;
    let bytes = repository.manifest(&root).await.map_err(text)?;
    let manifest: ImageManifest = serde_json::from_slice(&bytes).unwrap();
    let blobs: Vec<Descriptor> = manifest
        .layers()
        .iter()
        .chain([manifest.config()])
        .cloned()
        .collect();
    let each = blobs
        .iter()
        .map(|blob| repository.fetch_blob(blob, store.content(), &|_| {}));
    futures::future::try_join_all(each).await.map_err(text)?;
    let digests = blobs.iter().map(|blob| blob.digest().clone()).collect();
    Ok((sha256(&bytes), (store, digests)))
}

/// What the registry itself has: every tag with all that belongs to it, as skopeo sees it, and nothing that was not
/// pushed under that name.
fn check_tags(bench: &Bench, registry: &Registry, pushes: &[Pushed]) {
    let target = bench.path("tags");
    for number in 0..REPOSITORIES {
        let source = format!("{}/app{number}", registry.host());
        let target = target.to_str().unwrap();
        let flags = [
            "--insecure-policy",
            "sync",
            "--src-tls-verify=false",
            "--src=docker",
            "--dest=dir",
        ];
        run("skopeo", &[&flags[..], &[&source, target]].concat());
    }
    let expected: BTreeMap<&str, &Pushed> = pushes
        .iter()
        .flat_map(|push| push.names.iter().map(move |name| (name.as_str(), push)))
        .collect();
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(&target).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let manifest = std::fs::read(entry.path().join("manifest.json")).unwrap();
        assert_eq!(sha256(&manifest), expected[name.as_str()].digest, "{name}");
        found.insert(name, ());
    }
    for (name, push) in expected {
        assert!(
            push.error.is_some() || found.contains_key(name),
            "{name} was pushed and is not there"
        );
    }
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
