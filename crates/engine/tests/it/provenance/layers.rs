//! Which layers provenance names.

use std::collections::BTreeMap;

use kiln_engine::{Engine, ExportRequest, ExportTarget, Frontend};
use serde_json::Value;

use super::Bench;

fn blob(engine: &Engine, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
    let bytes = engine.content().read(&digest, 1 << 20).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// The layers of an image and the chains that its provenance names, by their digests.
async fn layers(bench: &Bench, attributes: &[(&str, &str)]) -> (Vec<String>, Vec<Vec<String>>) {
    let attributes = attributes.iter().chain(&[("name", "made.test/image")]);
    let mut request = bench.request(Frontend::Dockerfile, &[("attest:provenance", "mode=max")]);
    request.exports = vec![ExportRequest {
        kind: "image".into(),
        attributes: attributes
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        target: ExportTarget::None,
    }];
    let outcome = bench.engine.build(request).await.unwrap();
    let index = serde_json::to_value(&outcome.descriptors[&0]).unwrap();
    let index = blob(&bench.engine, &index);
    let image = blob(&bench.engine, &index["manifests"][0]);
    let said = blob(&bench.engine, &index["manifests"][1]);
    let statement = blob(&bench.engine, &said["layers"][0]);
    let digests = |layers: &Value| {
        let layers = layers.as_array().unwrap().iter();
        let digests = layers.map(|layer| layer["digest"].as_str().unwrap().to_owned());
        digests.collect::<Vec<_>>()
    };
    let named = &statement["predicate"]["runDetails"]["metadata"]["buildkit_metadata"]["layers"];
    let chains = named.as_object().into_iter().flat_map(|it| it.values());
    let chains = chains.flat_map(|chains| chains.as_array().unwrap());
    (digests(&image["layers"]), chains.map(digests).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_those_of_the_image_where_no_others_exist() {
    const REWRITTEN: &[(&str, &str)] = &[
        ("rewrite-timestamp", "true"),
        ("source-date-epoch", "1700000000"),
    ];
    for attributes in [
        &[][..],
        REWRITTEN,
        &[("compression", "gzip"), ("compression-level", "9")],
        &[("compression", "zstd")],
        &[("compression", "estargz")],
    ] {
        let bench = Bench::new("FROM scratch\nCOPY f /f\n");
        bench.write("f", "content");
        let (image, named) = layers(&bench, attributes).await;
        assert_eq!(named, [image], "{attributes:?}");
    }

    let bench = Bench::new("FROM scratch\nCOPY f /f\n");
    bench.write("f", "content");
    let (plain, _) = layers(&bench, &[]).await;
    let (image, named) = layers(&bench, REWRITTEN).await;
    assert_ne!(image, plain);
    assert_eq!(named, [plain]);
}
