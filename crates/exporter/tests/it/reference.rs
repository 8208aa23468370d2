//! Archives that BuildKit (the one in Docker 28.5) exported: from the same layers and configs ours are the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use kiln_exporter::{ExportInput, PlatformResult, Shape};
use kiln_store::Ref;
use kiln_store::refs::{Fetch, FetchError, LazyLayer, RecordType};
use oci_spec::image::{Descriptor, Digest, MediaType};
use rstest::rstest;
use serde_json::Value;

use crate::fixture::{Bench, blob, read_json, run};

/// All blobs are in the store already.
struct Nowhere;

#[async_trait]
impl Fetch for Nowhere {
    async fn fetch(&self, descriptor: &Descriptor) -> Result<(), FetchError> {
        Err(format!("{} should be here", descriptor.digest()).into())
    }
}

/// An unpacked archive, read back into what it was made of.
struct Reference<'a> {
    bench: &'a Bench,
    layout: PathBuf,
}

impl Reference<'_> {
    fn descriptor(&self, value: &Value) -> Descriptor {
        let digest: Digest = value["digest"].as_str().unwrap().parse().unwrap();
        let media_type = MediaType::from(value["mediaType"].as_str().unwrap());
        self.bench
            .store
            .content()
            .put(&fs::read(blob(&self.layout, digest.as_ref())).unwrap())
            .unwrap();
        let mut descriptor = Descriptor::new(media_type, value["size"].as_u64().unwrap(), digest);
        let annotations = value.get("annotations").cloned().unwrap_or_default();
        descriptor.set_annotations(serde_json::from_value(annotations).unwrap());
        descriptor
    }

    fn platform(&self, manifest: &Value, platform: &str) -> PlatformResult {
        let config = fs::read(blob(
            &self.layout,
            manifest["config"]["digest"].as_str().unwrap(),
        ))
        .unwrap();
        let parsed: Value = serde_json::from_slice(&config).unwrap();
        let mut reference: Option<Ref> = None;
        for (number, layer) in manifest["layers"].as_array().unwrap().iter().enumerate() {
            let lazy = LazyLayer {
                descriptor: self.descriptor(layer),
                diff_id: parsed["rootfs"]["diff_ids"][number]
                    .as_str()
                    .unwrap()
                    .parse()
                    .unwrap(),
                fetch: Arc::new(Nowhere),
                description: String::new(),
                record_type: RecordType::Regular,
                created: None,
            };
            reference = Some(self.bench.store.layer(reference.as_ref(), lazy).unwrap());
        }
        PlatformResult {
            platform: kiln_llb::platform::parse(platform).unwrap(),
            reference,
            image_config: Some(Bytes::from(config)),
            base_config: None,
            inline_cache: None,
            build_info: None,
            attestations: Vec::new(),
        }
    }

    fn input(&self) -> ExportInput {
        let root = &read_json(&self.layout.join("index.json"))["manifests"][0];
        let read = |descriptor: &Value| {
            read_json(&blob(&self.layout, descriptor["digest"].as_str().unwrap()))
        };
        let manifest = read(root);
        let (shape, platforms) = match manifest["manifests"].as_array() {
            None => (Shape::Single, vec![self.platform(&manifest, "linux/amd64")]),
            Some(entries) => {
                let platform = |entry: &Value| {
                    let name = format!(
                        "linux/{}",
                        entry["platform"]["architecture"].as_str().unwrap()
                    );
                    self.platform(&read(entry), &name)
                };
                (Shape::Index, entries.iter().map(platform).collect())
            }
        };
        ExportInput {
            platforms,
            shape,
            image_name: None,
            epoch: None,
        }
    }
}

#[rstest]
#[case(
    "oci.tar",
    "oci,name=app;registry.test/x:2,source-date-epoch=1700000000"
)]
#[case("docker.tar", "docker,name=app,source-date-epoch=1700000000")]
#[case(
    "multi.tar",
    "oci,name=app,annotation-index.k=v,source-date-epoch=1700000000"
)]
#[case(
    "dockertypes.tar",
    "oci,oci-mediatypes=false,source-date-epoch=1700000000"
)]
#[tokio::test(flavor = "multi_thread")]
async fn equal_results_are_equal_archives(#[case] name: &str, #[case] keys: &str) {
    let bench = Bench::new();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/buildkit")
        .join(name);
    let layout = bench.path("reference");
    fs::create_dir(&layout).unwrap();
    run(
        "tar",
        &[
            "-C",
            layout.to_str().unwrap(),
            "-xf",
            archive.to_str().unwrap(),
        ],
    );
    let input = Reference {
        bench: &bench,
        layout,
    }
    .input();
    let out = bench.path("out.tar");
    bench.export(&input, keys, &out).await.unwrap();
    let listing = |path: &Path| run("tar", &["-tvf", path.to_str().unwrap()]);
    assert_eq!(listing(&out), listing(&archive));
    let index = |path: &Path| run("tar", &["-xOf", path.to_str().unwrap(), "index.json"]);
    assert_eq!(index(&out), index(&archive));
    assert!(fs::read(&out).unwrap() == fs::read(&archive).unwrap());
}
