//! Lazy layers: fetched when needed, in parallel, once.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use kiln_store::refs::{Fetch, LayerBlob};
use kiln_store::{Ref, StoreError, StoreErrorKind};
use rstest::rstest;

use super::setup::{Blob, Rig, Source, Way, digest_of, expect, files, open};

fn stack(rig: &Rig, blobs: &[&Blob], sources: &[Arc<Source>]) -> Ref {
    let mut top: Option<Ref> = None;
    for (blob, source) in blobs.iter().zip(sources) {
        top = Some(
            rig.store
                .layer(top.as_ref(), blob.lazy(source.clone()))
                .unwrap(),
        );
    }
    top.unwrap()
}

#[rstest]
#[case::fetched(Way::Fetch, (1, 1))]
#[case::streamed(Way::Stream, (0, 1))]
#[case::fetched_after_a_broken_stream(Way::BrokenStream, (1, 1))]
#[tokio::test]
async fn layers_become_files(#[case] way: Way, #[case] (fetched, streamed): (usize, usize)) {
    let rig = Rig::new();
    let base = Blob::new(&[
        ("etc/", None),
        ("etc/name", Some("base")),
        ("gone", Some("")),
    ]);
    let top = Blob::new(&[
        ("etc/", None),
        ("etc/name", Some("top")),
        (".wh.gone", Some("")),
    ]);
    let sources: Vec<_> = [&base, &top]
        .map(|blob| Source::new(&rig.store, &blob.bytes, way))
        .into();
    let tree = stack(&rig, &[&base, &top], &sources);
    assert!(tree.is_lazy().unwrap());
    assert!(matches!(tree.mounts(), Err(StoreError::Lazy { .. })));
    assert_eq!(
        tree.layers().unwrap()[1].blobs,
        std::slice::from_ref(&top.descriptor)
    );

    tree.materialize().await.unwrap();
    tree.materialize().await.unwrap();
    assert!(!tree.is_lazy().unwrap());
    assert_eq!(
        files(&rig.store, &tree),
        expect(&[("etc", "dir"), ("etc/name", "top")])
    );
    for source in &sources {
        assert_eq!(
            (source.fetched.load(SeqCst), source.streamed.load(SeqCst)),
            (fetched, streamed)
        );
    }
    for blob in [&base, &top] {
        assert_eq!(
            rig.store
                .content()
                .read(blob.descriptor.digest(), 1 << 20)
                .unwrap(),
            blob.bytes
        );
    }
    let layers = tree.layers().unwrap();
    assert_eq!(layers[1].diff_id.as_ref(), Some(&top.diff_id));
    assert_eq!(layers[1].below, [layers[0].dir.clone().unwrap()]);
}

#[tokio::test]
async fn callers_share_the_work() {
    let rig = Rig::new();
    let blob = Blob::new(&[("file", Some("content"))]);
    let source = Source::new(&rig.store, &blob.bytes, Way::Fetch);
    let tree = stack(&rig, &[&blob], std::slice::from_ref(&source));
    let other = open(rig.root());
    let same = other.get(tree.id()).unwrap().unwrap();
    same.provide(source.clone()).unwrap();
    let (first, second, third) =
        tokio::join!(tree.materialize(), tree.materialize(), same.materialize());
    first.unwrap();
    second.unwrap();
    third.unwrap();
    assert_eq!(source.fetched.load(SeqCst), 1);
}

#[tokio::test]
async fn equal_layers_are_one_ref() {
    let rig = Rig::new();
    let base = Blob::new(&[("a", Some("a"))]);
    let top = Blob::new(&[("b", Some("b"))]);
    let sources: Vec<_> = [&base, &top]
        .map(|blob| Source::new(&rig.store, &blob.bytes, Way::Fetch))
        .into();
    let first = stack(&rig, &[&base, &top], &sources);
    let again = stack(&rig, &[&base, &top], &sources);
    assert_eq!(first.id(), again.id());
    let upside_down = stack(&rig, &[&top, &base], &sources);
    assert_ne!(first.id(), upside_down.id());
    // Another compression of the same layer is another blob of the same ref.
    let plain = Blob {
        bytes: Vec::new(),
        descriptor: base.descriptor.clone(),
        diff_id: base.diff_id.clone(),
    };
    let mut descriptor = plain.descriptor.clone();
    descriptor.set_digest(digest_of(b"another form"));
    let plain = Blob {
        descriptor,
        ..plain
    };
    let known = rig
        .store
        .layer(None, plain.lazy(sources[0].clone()))
        .unwrap();
    assert_eq!(known.id(), first.parents()[0].id());
    assert_eq!(known.layers().unwrap()[0].blobs.len(), 2);
}

#[test]
fn a_built_layer_is_found_when_it_is_pulled() {
    let rig = Rig::new();
    let base = rig.layer(None, |tree| super::setup::write(tree, "a", "a"));
    let top = rig.layer(Some(&base), |tree| super::setup::write(tree, "b", "b"));
    let blobs = [
        Blob::new(&[("a", Some("a"))]),
        Blob::new(&[("b", Some("b"))]),
    ];
    for (owner, blob) in [&base, &top].into_iter().zip(&blobs) {
        let blob = LayerBlob {
            descriptor: blob.descriptor.clone(),
            diff_id: blob.diff_id.clone(),
        };
        rig.store.set_layer_blob(owner, blob).unwrap();
    }
    let source = Source::new(&rig.store, &[], Way::Fetch);
    let pulled = stack(&rig, &[&blobs[0], &blobs[1]], &[source.clone(), source]);
    assert_eq!(pulled.id(), top.id());
    assert!(!pulled.is_lazy().unwrap());
}

#[tokio::test]
async fn a_ref_that_nobody_can_fetch_says_so() {
    let rig = Rig::new();
    let blob = Blob::new(&[("file", Some("content"))]);
    let source = Source::new(&rig.store, &blob.bytes, Way::Fetch);
    let id = stack(&rig, &[&blob], std::slice::from_ref(&source))
        .id()
        .to_owned();
    // As in a new process: nothing is left of the first ref.
    let found = rig.store.get(&id).unwrap().unwrap();
    assert_eq!(found.unfetchable().unwrap().len(), 1);
    let error = found.materialize().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains(blob.descriptor.digest().as_ref()),
        "{error}"
    );
    found.provide(source).unwrap();
    assert!(found.unfetchable().unwrap().is_empty());
    found.materialize().await.unwrap();
    drop(found);
    let again = rig.store.get(&id).unwrap().unwrap();
    assert!(again.unfetchable().unwrap().is_empty());
}

#[rstest]
#[case::cut_off(|blob: &Blob| blob.bytes[..blob.bytes.len() - 9].to_vec())]
#[case::other_bytes(|blob: &Blob| blob.bytes.iter().map(|byte| byte ^ 1).collect())]
#[case::longer(|blob: &Blob| [blob.bytes.as_slice(), b"more"].concat())]
#[tokio::test]
async fn damaged_blobs_are_refused(
    #[case] damage: fn(&Blob) -> Vec<u8>,
    #[values(Way::Fetch, Way::Stream)] way: Way,
) {
    let rig = Rig::new();
    let blob = Blob::new(&[("file", Some("content"))]);
    let source = Source::new(&rig.store, &damage(&blob), way);
    let tree = stack(&rig, &[&blob], std::slice::from_ref(&source));
    tree.materialize().await.unwrap_err();
    assert!(tree.is_lazy().unwrap());
    assert!(
        !rig.store
            .content()
            .exists(blob.descriptor.digest())
            .unwrap()
    );
    // A better source helps.
    tree.provide(Source::new(&rig.store, &blob.bytes, way))
        .unwrap();
    tree.materialize().await.unwrap();
    assert_eq!(files(&rig.store, &tree), expect(&[("file", "content")]));
}

#[tokio::test]
async fn a_layer_that_is_not_what_the_image_says_is_refused() {
    let rig = Rig::new();
    let blob = Blob::new(&[("file", Some("content"))]);
    let wrong = Blob {
        diff_id: digest_of(b"something else"),
        ..blob
    };
    let source = Source::new(&rig.store, &wrong.bytes, Way::Fetch);
    let tree = stack(&rig, &[&wrong], std::slice::from_ref(&source));
    let error = tree.materialize().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Input);
    assert!(
        error.to_string().contains(wrong.diff_id.as_ref()),
        "{error}"
    );
    assert!(tree.is_lazy().unwrap());
}

#[tokio::test]
async fn directories_a_layer_does_not_list_keep_their_attributes() {
    let rig = Rig::new();
    let base = Blob::new(&[("dir/", None)]);
    let top = Blob::new(&[("dir/file", Some("x"))]);
    let source = |blob: &Blob| Source::new(&rig.store, &blob.bytes, Way::Stream) as Arc<dyn Fetch>;
    let below = rig.store.layer(None, base.lazy(source(&base))).unwrap();
    below.materialize().await.unwrap();
    let directory = below.local_dir().unwrap().unwrap().join("dir");
    std::os::unix::fs::chown(&directory, Some(1234), Some(4321)).unwrap();
    let tree = rig
        .store
        .layer(Some(&below), top.lazy(source(&top)))
        .unwrap();
    tree.materialize().await.unwrap();
    let mounted = rig.store.mount(&tree.mounts().unwrap()).unwrap();
    let found = std::fs::metadata(mounted.path().join("dir")).unwrap();
    assert_eq!((found.uid(), found.gid()), (1234, 4321));
}

#[tokio::test]
async fn many_layers_arrive_together() {
    let rig = Rig::new();
    let blobs: Vec<Blob> = (0..30)
        .map(|n| Blob::new(&[(&format!("file{n}"), Some("x"))]))
        .collect();
    let sources: Vec<_> = blobs
        .iter()
        .map(|blob| Source::new(&rig.store, &blob.bytes, Way::Stream))
        .collect();
    let tree = stack(&rig, &blobs.iter().collect::<Vec<_>>(), &sources);
    tree.materialize().await.unwrap();
    assert_eq!(files(&rig.store, &tree).len(), 30);
}
