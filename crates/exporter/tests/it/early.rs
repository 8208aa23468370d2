//! Layers that are sent to a registry while they are made.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_exporter::{EarlyUploads, Exported, Progress};
use kiln_registry::Anonymous;
use kiln_store::Ref;
use kiln_testkit::faults::{Fault, FaultyProxy, Traffic};
use kiln_testkit::registry::Registry;
use rstest::rstest;

use crate::fixture::{Bench, config, single, write};
use crate::push::{client, copy_of, push};

/// A registry, and a proxy that sees what is said to it.
struct Watched {
    registry: Registry,
    proxy: Arc<FaultyProxy>,
}

impl Watched {
    fn new() -> Self {
        Self::with(|_| None)
    }

    /// The rule decides by the first line of a request.
    fn with(rule: impl Fn(&str) -> Option<Fault> + Send + Sync + 'static) -> Self {
        let registry = Registry::start().unwrap();
        let proxy = FaultyProxy::start_with(&registry.host(), move |_, line| rule(line)).unwrap();
        Self {
            registry,
            proxy: Arc::new(proxy),
        }
    }

    /// Waits for what is to come through, while other work goes on.
    async fn comes(&self, enough: impl Fn(&Traffic) -> bool + Send + 'static) -> Traffic {
        let proxy = self.proxy.clone();
        let waiting = tokio::task::spawn_blocking(move || proxy.wait_until(enough));
        waiting.await.unwrap()
    }

    fn host(&self) -> String {
        self.proxy.host()
    }

    /// How many requests of this method there were to uploads.
    fn uploads(&self, method: &str) -> usize {
        count(&self.proxy.lines(), method)
    }

    /// Uploads that the registry still waits for. It leaves directories of those that have ended.
    fn unfinished(&self, repository: &str) -> usize {
        let uploads = format!("docker/registry/v2/repositories/{repository}/_uploads");
        let uploads = std::fs::read_dir(self.registry.storage().join(uploads));
        let uploads = uploads.into_iter().flatten();
        let open = uploads.filter(|upload| upload.as_ref().unwrap().path().join("data").exists());
        open.count()
    }
}

fn count(lines: &[String], method: &str) -> usize {
    let uploads = lines.iter().filter(|line| line.contains("/blobs/uploads/"));
    uploads.filter(|line| line.starts_with(method)).count()
}

/// Also of the smallest layers.
fn early() -> EarlyUploads {
    EarlyUploads {
        least: 1,
        ..EarlyUploads::new(client(), Arc::new(Anonymous))
    }
}

/// Writes bytes that no compression makes fewer.
fn noise(path: &Path, length: u64) {
    let random = File::open("/dev/urandom").unwrap();
    std::io::copy(&mut random.take(length), &mut File::create(path).unwrap()).unwrap();
}

fn noisy_layer(bench: &Bench, parent: Option<&Ref>) -> Ref {
    bench.layer(parent, |dir| noise(&dir.join("noise"), 3 << 20))
}

/// A layer that begins with noise, and whose making would take hours; and what it is made of.
fn endless_layer(bench: &Bench) -> (Ref, File) {
    let mut zeros = None;
    let layer = bench.layer(None, |dir| {
        noise(&dir.join("a"), 3 << 20);
        let file = File::create(dir.join("z")).unwrap();
        file.set_len(1 << 40).unwrap();
        zeros = Some(file);
    });
    (layer, zeros.unwrap())
}

/// Exports and pushes; answers the digest. Each registry is sent so many layers early, of which the push waits for all.
async fn push_early(
    bench: &Bench,
    reference: &Ref,
    keys: &str,
    sent: &[(&Watched, usize)],
) -> String {
    let before: Vec<_> = sent
        .iter()
        .map(|(watched, _)| watched.uploads("PATCH"))
        .collect();
    let exported = export_early(bench, reference, keys).await;
    for ((watched, sent), before) in sent.iter().zip(&before) {
        let after = before + sent;
        watched
            .comes(move |traffic| count(&traffic.lines, "PATCH") >= after)
            .await;
    }
    let digest = exported.response["containerimage.digest"].clone();
    run(exported).await.unwrap();
    for ((watched, sent), before) in sent.iter().zip(&before) {
        assert_eq!(watched.uploads("PATCH"), before + sent, "{keys}");
    }
    digest
}

async fn export_early(bench: &Bench, reference: &Ref, keys: &str) -> Exported {
    let input = single(Some(reference.clone()), config(&["a", "b"]));
    bench.export_early(&input, keys, early()).await.unwrap()
}

async fn run(exported: Exported) -> Result<(), String> {
    let (push, client) = (exported.push.unwrap(), client());
    let pushed = push
        .run(&client, Arc::new(Anonymous), &Progress::none())
        .await;
    pushed.map_err(|error| error.to_string())
}

#[rstest]
#[case::gzip("compression=gzip")]
#[case::estargz("compression=estargz")]
#[case::zstd("compression=zstd")]
#[case::uncompressed("compression=uncompressed")]
#[case::rewritten("rewrite-timestamp=true,source-date-epoch=1000")]
#[tokio::test(flavor = "multi_thread")]
async fn the_image_is_the_same_as_without(#[case] keys: &str) {
    let (bench, early, late) = (Bench::new(), Watched::new(), Watched::new());
    let base = noisy_layer(&bench, None);
    let layer = noisy_layer(&bench, Some(&base));
    let name = format!("{}/app:1", early.host());
    let with = format!("image,push,{keys},name={name}");
    let digest = push_early(&bench, &layer, &with, &[(&early, 2)]).await;
    copy_of(&bench, &format!("{}/app:1", early.registry.host()), &digest);
    assert_eq!(early.uploads("PUT"), 3, "two layers and a config");
    assert_eq!(early.uploads("POST"), 3);
    assert_eq!(early.unfinished("app"), 0);

    let input = single(Some(layer), config(&["a", "b"]));
    let name = format!("{}/app:1", late.host());
    let pushed = push(&bench, &input, &format!("image,push,{keys},name={name}")).await;
    assert_eq!(pushed.unwrap(), digest);
    assert_eq!(late.uploads("PATCH"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_tag_as_well() {
    let (bench, watched) = (Bench::new(), Watched::new());
    let layer = noisy_layer(&bench, None);
    let name = format!("{}/app", watched.host());
    let keys = format!("image,push,push-by-digest=true,name={name}");
    let digest = push_early(&bench, &layer, &keys, &[(&watched, 1)]).await;
    copy_of(&bench, &format!("{name}@{digest}"), &digest);
}

/// Once to each registry, whatever the number of names.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_first_repository_of_a_registry_is_sent_to() {
    let (bench, one, two) = (Bench::new(), Watched::new(), Watched::new());
    let layer = noisy_layer(&bench, None);
    let names = ["app:1", "copy:1", "app:2"].map(|name| format!("{}/{name}", one.host()));
    let keys = format!("image,push,name={};{}/app:1", names.join(";"), two.host());
    let digest = push_early(&bench, &layer, &keys, &[(&one, 1), (&two, 1)]).await;
    for name in ["app:1", "app:2", "copy:1"] {
        copy_of(&bench, &format!("{}/{name}", one.host()), &digest);
    }
    copy_of(&bench, &format!("{}/app:1", two.host()), &digest);
    assert_eq!(one.uploads("PUT"), 2, "a layer and a config");
}

#[rstest]
#[case::no_uploads("POST", Fault::Status(405))]
#[case::denied("POST", Fault::Status(403))]
#[case::unreachable("POST", Fault::ResetBefore)]
#[case::no_streams("PATCH", Fault::Status(411))]
#[case::broken("PATCH", Fault::ResetInRequest)]
#[case::answer_lost("PATCH", Fault::AnswerLost)]
#[case::not_finished("PUT", Fault::Status(500))]
#[case::finished_and_lost("PUT", Fault::AnswerLost)]
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_left_to_the_push(#[case] method: &'static str, #[case] fault: Fault) {
    let first = AtomicBool::new(true);
    let watched = Watched::with(move |line| {
        let is_meant = line.starts_with(method) && line.contains("/blobs/uploads/");
        (is_meant && first.swap(false, Ordering::SeqCst)).then_some(fault)
    });
    let bench = Bench::new();
    let layer = noisy_layer(&bench, None);
    let name = format!("{}/app:1", watched.host());
    let exported = export_early(&bench, &layer, &format!("image,push,name={name}")).await;
    watched.comes(|traffic| !traffic.injected.is_empty()).await;
    let digest = exported.response["containerimage.digest"].clone();
    run(exported).await.unwrap();
    copy_of(&bench, &name, &digest);
    // This registry ends no upload of which one does not know how far it has come; it forgets them in time.
    let is_known = method != "PATCH" || fault == Fault::Status(411);
    assert!(!is_known || watched.unfinished("app") == 0);
}

/// A registry where everything fails: the error is that of the push.
#[tokio::test(flavor = "multi_thread")]
async fn errors_are_those_of_the_push() {
    let watched = Watched::with(|line| line.starts_with("POST").then_some(Fault::Status(403)));
    let bench = Bench::new();
    let layer = noisy_layer(&bench, None);
    let name = format!("{}/app:1", watched.host());
    let exported = export_early(&bench, &layer, &format!("image,push,name={name}")).await;
    let error = run(exported).await.unwrap_err();
    assert!(
        error.starts_with(&format!("failed to push {name}: ")),
        "{error}"
    );
    assert!(
        error.ends_with("403 Forbidden\nunavailable: injected fault"),
        "{error}"
    );
}

fn has_come(traffic: &Traffic) -> bool {
    traffic.streamed >= 1 << 20
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_arrive_before_the_layer_is_made_and_go_if_it_is_cancelled() {
    let (bench, watched) = (Bench::new(), Watched::new());
    let (layer, _zeros) = endless_layer(&bench);
    let input = single(Some(layer), config(&["a"]));
    let keys = format!("image,push,name={}/app:1", watched.host());
    let mut export = Box::pin(bench.export_early(&input, &keys, early()));
    let sent = tokio::select! {
        _ = &mut export => None,
        traffic = watched.comes(has_come) => Some(traffic),
    };
    let sent = sent.expect("bytes of a layer that is not made yet");
    assert_eq!(count(&sent.lines, "PATCH"), 1);
    assert_eq!(count(&sent.lines, "PUT"), 0);
    assert_eq!(watched.unfinished("app"), 1);
    drop(export);
    watched
        .comes(|traffic| count(&traffic.answered, "DELETE") == 1)
        .await;
    assert_eq!(watched.unfinished("app"), 0);
    assert_eq!(watched.uploads("PUT"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_an_export_that_fails() {
    let (bench, watched) = (Bench::new(), Watched::new());
    let (layer, zeros) = endless_layer(&bench);
    let input = single(Some(layer), config(&["a"]));
    let keys = format!("image,push,name={}/app:1", watched.host());
    let shrinks = async {
        watched.comes(has_come).await;
        zeros.set_len(0).unwrap();
    };
    let (exported, ()) = tokio::join!(bench.export_early(&input, &keys, early()), shrinks);
    exported.expect_err("a file of the layer has become shorter");
    assert_eq!(watched.uploads("PATCH"), 1);
    assert_eq!(watched.unfinished("app"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_not_run_leaves_nothing() {
    let (bench, watched) = (Bench::new(), Watched::new());
    let layer = noisy_layer(&bench, None);
    let input = single(Some(layer), config(&["a"]));
    let keys = format!("image,push,name={}/app:1", watched.host());
    let exported = bench.export_early(&input, &keys, early()).await.unwrap();
    watched
        .comes(|traffic| count(&traffic.lines, "POST") == 1)
        .await;
    drop(exported);
    let ended = |traffic: &Traffic| {
        count(&traffic.answered, "DELETE") + count(&traffic.answered, "PUT") == 1
    };
    watched.comes(ended).await;
    assert_eq!(watched.unfinished("app"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_are_there_or_small_wait_for_the_push() {
    let (bench, one, two) = (Bench::new(), Watched::new(), Watched::new());
    let base = noisy_layer(&bench, None);
    let keys = |host: &str| format!("image,push,name={host}/app:1");
    push_early(&bench, &base, &keys(&one.host()), &[(&one, 1)]).await;
    // The blob is there already.
    push_early(&bench, &base, &keys(&two.host()), &[(&two, 0)]).await;
    // The tar is there already, in another form.
    let zstd = format!("{},compression=zstd", keys(&two.host()));
    push_early(&bench, &base, &zstd, &[(&two, 0)]).await;

    // One registry had the layer before, the other did not.
    let more = noisy_layer(&bench, Some(&base));
    more.add_origin(&format!("{}/before", one.host())).unwrap();
    let both = format!("image,push,name={}/app:2;{}/app:2", one.host(), two.host());
    push_early(&bench, &more, &both, &[(&one, 0), (&two, 1)]).await;

    // Only what is worth it.
    let small = bench.layer(None, |dir| write(&dir.join("file"), "text", 0o644));
    let input = single(Some(small), config(&["a"]));
    let usual = EarlyUploads::new(client(), Arc::new(Anonymous));
    let exported = bench.export_early(&input, &keys(&one.host()), usual).await;
    run(exported.unwrap()).await.unwrap();
    assert_eq!(one.uploads("PATCH"), 1);
}
