//! Layer blobs: made once, shared, and in the form that is asked for.

use std::fs;
use std::os::unix::fs::MetadataExt;

use kiln_exporter::{Algorithm, Compression, Exporter, Settings};
use rstest::rstest;

use crate::fixture::{Bench, config, run, single};

/// Inode and change time of every blob: another number means that it was written again.
fn written(bench: &Bench) -> Vec<(String, u64)> {
    let output = run(
        "find",
        &[
            bench.store.root().to_str().unwrap(),
            "-path",
            "*blobs/sha256/*",
            "-type",
            "f",
        ],
    );
    let mut blobs: Vec<_> = output
        .lines()
        .map(|path| (path.to_owned(), fs::metadata(path).unwrap().ino()))
        .collect();
    blobs.sort();
    blobs
}

#[tokio::test(flavor = "multi_thread")]
async fn several_outputs_share_the_work() {
    let bench = Bench::new();
    let input = single(Some(bench.two_layers()), config(&["a", "b"]));
    let outputs = ["oci", "docker", "oci,tar=false", "image,name=x"];
    let dests = ["1.tar", "2.tar", "dir", "none"].map(|name| bench.path(name));
    let exports = outputs
        .iter()
        .zip(&dests)
        .map(|(output, dest)| bench.export(&input, output, dest));
    let answers: Vec<_> = futures::future::join_all(exports)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    for answer in &answers {
        assert_eq!(
            answer.response["containerimage.digest"],
            answers[0].response["containerimage.digest"]
        );
    }
    // Two layers, a config and a manifest; nothing was made twice or under another digest.
    let blobs = written(&bench);
    assert_eq!(blobs.len(), 4, "{blobs:?}");
    let again = bench
        .export(&input, "oci", &bench.path("3.tar"))
        .await
        .unwrap();
    assert_eq!(again.response, answers[0].response);
    assert_eq!(written(&bench).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_found_by_another_exporter() {
    let bench = Bench::new();
    let reference = bench.two_layers();
    let first = bench
        .exporter
        .layers(&reference, &Compression::default())
        .await
        .unwrap();
    let before = written(&bench);
    let other = Exporter::new(
        bench.store.clone(),
        Settings {
            threads: 1,
            memory: 0,
        },
    );
    assert_eq!(
        other
            .layers(&reference, &Compression::default())
            .await
            .unwrap(),
        first
    );
    assert_eq!(written(&bench), before);
}

#[rstest]
#[case(Algorithm::Gzip, None)]
#[case(Algorithm::Gzip, Some(9))]
#[case(Algorithm::Gzip, Some(0))]
#[case(Algorithm::Zstd, None)]
#[case(Algorithm::Zstd, Some(11))]
#[case(Algorithm::Uncompressed, None)]
#[tokio::test(flavor = "multi_thread")]
async fn the_form_does_not_depend_on_what_was_made_before(
    #[case] algorithm: Algorithm,
    #[case] level: Option<i32>,
) {
    let wanted = Compression {
        algorithm,
        level,
        force: false,
    };
    let fresh = {
        let bench = Bench::new();
        bench
            .exporter
            .layers(&bench.two_layers(), &wanted)
            .await
            .unwrap()
    };
    let bench = Bench::new();
    let reference = bench.two_layers();
    for before in [Algorithm::Gzip, Algorithm::Zstd, Algorithm::Uncompressed] {
        let before = Compression {
            algorithm: before,
            level: None,
            force: false,
        };
        bench.exporter.layers(&reference, &before).await.unwrap();
    }
    let later = bench.exporter.layers(&reference, &wanted).await.unwrap();
    assert_eq!(later, fresh);
    assert_eq!(
        bench.exporter.layers(&reference, &wanted).await.unwrap(),
        later
    );
    for layer in &later {
        assert_eq!(
            layer.descriptor.media_type().to_string(),
            algorithm.media_type()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_blob_is_made_again() {
    let bench = Bench::new();
    let reference = bench.two_layers();
    let first = bench
        .exporter
        .layers(&reference, &Compression::default())
        .await
        .unwrap();
    fs::remove_file(bench.store.content().path(first[0].descriptor.digest())).unwrap();
    assert_eq!(
        bench
            .exporter
            .layers(&reference, &Compression::default())
            .await
            .unwrap(),
        first
    );
    assert!(
        bench
            .store
            .content()
            .exists(first[0].descriptor.digest())
            .unwrap()
    );
}

mod pulled {
    //! Layers that came with a blob.

    use std::sync::Arc;

    use async_trait::async_trait;
    use kiln_store::refs::{Fetch, FetchError, LazyLayer, RecordType};
    use kiln_store::{Ref, Store};
    use oci_spec::image::Descriptor;

    use super::*;

    /// Brings blobs from another store.
    struct From(Store, Store);

    #[async_trait]
    impl Fetch for From {
        async fn fetch(&self, descriptor: &Descriptor) -> Result<(), FetchError> {
            let bytes = self.0.content().read(descriptor.digest(), 1 << 30)?;
            self.1.content().put(&bytes)?;
            Ok(())
        }
    }

    /// The layers of one store, lazy in another.
    async fn pull(from: &Bench, to: &Bench, algorithm: Algorithm) -> Ref {
        let wanted = Compression {
            algorithm,
            level: None,
            force: false,
        };
        let mut top = None;
        for layer in from
            .exporter
            .layers(&from.two_layers(), &wanted)
            .await
            .unwrap()
        {
            let lazy = LazyLayer {
                descriptor: layer.descriptor,
                diff_id: layer.diff_id,
                fetch: Arc::new(From(from.store.clone(), to.store.clone())),
                description: "pulled".into(),
                record_type: RecordType::Regular,
                created: layer.created,
            };
            top = Some(to.store.layer(top.as_ref(), lazy).unwrap());
        }
        top.unwrap()
    }

    #[rstest]
    #[case(false, "application/vnd.oci.image.layer.v1.tar+zstd")]
    #[case(true, "application/vnd.oci.image.layer.v1.tar+gzip")]
    #[tokio::test(flavor = "multi_thread")]
    async fn keep_their_form_unless_forced(#[case] force: bool, #[case] expected: &str) {
        let (from, bench) = (Bench::new(), Bench::new());
        let reference = pull(&from, &bench, Algorithm::Zstd).await;
        let wanted = Compression {
            force,
            ..Compression::default()
        };
        let layers = bench.exporter.layers(&reference, &wanted).await.unwrap();
        for layer in &layers {
            assert_eq!(layer.descriptor.media_type().to_string(), expected);
            assert!(
                bench
                    .store
                    .content()
                    .exists(layer.descriptor.digest())
                    .unwrap()
            );
        }
        // Whether forced or not, the tar inside is the one that was pulled.
        let original = from
            .exporter
            .layers(&from.two_layers(), &Compression::default())
            .await
            .unwrap();
        let ids = |layers: &[kiln_exporter::LayerBlob]| {
            layers
                .iter()
                .map(|layer| layer.diff_id.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(&layers), ids(&original));
    }

    const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
    const ESTARGZ: Compression = Compression {
        algorithm: Algorithm::Estargz,
        level: None,
        force: true,
    };

    fn is_estargz(layer: &kiln_exporter::LayerBlob) -> bool {
        let annotations = layer.descriptor.annotations().as_ref();
        annotations.is_some_and(|annotations| annotations.contains_key(TOC_DIGEST))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn become_estargz_by_force() {
        let (from, bench) = (Bench::new(), Bench::new());
        let reference = pull(&from, &bench, Algorithm::Zstd).await;
        let layers = bench.exporter.layers(&reference, &ESTARGZ).await.unwrap();
        // The tar inside is the one that was pulled, so this is what they had been at their source.
        let original = from
            .exporter
            .layers(&from.two_layers(), &ESTARGZ)
            .await
            .unwrap();
        assert!(layers.iter().all(is_estargz));
        let descriptors = |layers: &[kiln_exporter::LayerBlob]| {
            layers
                .iter()
                .map(|layer| layer.descriptor.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(descriptors(&layers), descriptors(&original));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn estargz_stays_and_is_unpacked_without_what_was_added() {
        let (from, bench) = (Bench::new(), Bench::new());
        let reference = pull(&from, &bench, Algorithm::Estargz).await;
        for wanted in [Compression::default(), ESTARGZ] {
            let layers = bench.exporter.layers(&reference, &wanted).await.unwrap();
            assert!(layers.iter().all(is_estargz), "{wanted:?}");
        }
        reference.materialize().await.unwrap();
        for layer in reference.layers().unwrap() {
            let entries = fs::read_dir(layer.dir.unwrap()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            assert!(names == ["bin", "etc"] || names == ["app"], "{names:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_new_layer_on_top_gets_the_form_wanted() {
        let (from, bench) = (Bench::new(), Bench::new());
        let base = pull(&from, &bench, Algorithm::Zstd).await;
        let top = bench.layer(Some(&base), |dir| {
            crate::fixture::write(&dir.join("new"), "new", 0o644)
        });
        let layers = bench
            .exporter
            .layers(&top, &Compression::default())
            .await
            .unwrap();
        let types: Vec<_> = layers
            .iter()
            .map(|layer| layer.descriptor.media_type().to_string())
            .collect();
        assert!(
            types[0].ends_with("+zstd")
                && types[1].ends_with("+zstd")
                && types[2].ends_with("+gzip"),
            "{types:?}"
        );
    }
}
