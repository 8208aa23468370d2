//! Attestations: in images, beside files, and what frontends may not say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use kiln_exporter::{
    Attestation, AttestationContent, AttestationKind, AttestationSubject, ExportInput, INLINE_ONLY,
    Progress, SBOM_CORE, Shape, SubjectKind,
};
use kiln_registry::{Anonymous, Client, ClientOptions};
use kiln_store::Ref;
use kiln_testkit::registry::Registry;
use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::{Bench, blob, config, read_json, result, run, single, write};

const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// A predicate as the engine makes it.
fn made(predicate: &'static str) -> AttestationContent {
    AttestationContent::Predicate(Arc::new(move || {
        async move { Ok(Bytes::from_static(predicate.as_bytes())) }.boxed()
    }))
}

fn attestation(path: &str, content: AttestationContent) -> Attestation {
    Attestation {
        kind: AttestationKind::InToto,
        path: path.into(),
        content,
        predicate_type: PROVENANCE.into(),
        subjects: Vec::new(),
        metadata: BTreeMap::new(),
    }
}

fn provenance() -> Attestation {
    attestation(
        "provenance.json",
        made("{\n \"z\": \"<&>\",\n \"a\": [1, {}]\n}"),
    )
}

fn inline_only() -> Attestation {
    let metadata = [(INLINE_ONLY.to_owned(), Bytes::from_static(b"true"))];
    Attestation {
        metadata: metadata.into(),
        ..provenance()
    }
}

/// One image that something is said of.
fn said(bench: &Bench, attestation: Attestation) -> ExportInput {
    let mut input = single(Some(bench.two_layers()), config(&["a", "b"]));
    input.platforms[0].attestations.push(attestation);
    input
}

/// Two platforms that something is said of.
fn said_of_two(bench: &Bench) -> ExportInput {
    let platform = |name: &str, file: &str| {
        let tree = bench.layer(None, |dir| write(&dir.join(file), "x", 0o644));
        let mut result = result(name, Some(tree), config(&["a"]));
        result.attestations.push(provenance());
        result
    };
    ExportInput {
        platforms: vec![
            platform("linux/amd64", "one"),
            platform("linux/arm64", "other"),
        ],
        shape: Shape::Index,
        image_name: None,
        epoch: Some(1_700_000_000),
    }
}

async fn layout(bench: &Bench, input: &ExportInput, keys: &str) -> (std::path::PathBuf, Value) {
    let out = bench.path("layout");
    bench
        .export(input, &format!("oci,tar=false,{keys}"), &out)
        .await
        .unwrap();
    let root = read_json(&out.join("index.json"))["manifests"][0].clone();
    (out, root)
}

#[rstest]
#[case("image", false, true)]
#[case("image", true, true)]
#[case("image,attestation-inline=false", true, false)]
#[case("image,attestation-inline=false", false, true)]
#[case("oci", true, false)]
#[case("oci", false, true)]
#[case("docker", true, false)]
#[case("docker,attestation-inline=true", true, true)]
#[tokio::test(flavor = "multi_thread")]
async fn attestations_make_an_index(
    #[case] keys: &str,
    #[case] is_inline_only: bool,
    #[case] is_index: bool,
) {
    let bench = Bench::new();
    let input = said(
        &bench,
        if is_inline_only {
            inline_only()
        } else {
            provenance()
        },
    );
    let exported = bench
        .export(&input, keys, &bench.path("out"))
        .await
        .unwrap();
    let digest = exported.response["containerimage.digest"].parse().unwrap();
    let root: Value =
        serde_json::from_slice(&bench.store.content().read(&digest, 1 << 20).unwrap()).unwrap();
    assert_eq!(root["manifests"].is_array(), is_index, "{root}");
    assert_eq!(
        exported
            .response
            .contains_key("containerimage.config.digest"),
        !is_index
    );
    if is_index {
        assert_eq!(root["manifests"].as_array().unwrap().len(), 2);
        assert_eq!(
            root["manifests"][0]["platform"],
            json!({"architecture": "amd64", "os": "linux"})
        );
        assert_eq!(
            root["manifests"][1]["platform"],
            json!({"architecture": "unknown", "os": "unknown"})
        );
    }
}

/// The bytes are those of BuildKit, but for names and digests.
#[tokio::test(flavor = "multi_thread")]
async fn attestation_manifests_as_artifacts() {
    let bench = Bench::new();
    let (out, root) = layout(
        &bench,
        &said(&bench, provenance()),
        "name=app;registry.test:5000/a/b:2",
    )
    .await;
    let text = |descriptor: &Value| {
        let path = blob(&out, descriptor["digest"].as_str().unwrap());
        fs::read_to_string(path).unwrap()
    };
    let index = text(&root);
    let parsed: Value = serde_json::from_str(&index).unwrap();
    let (image, attested) = (&parsed["manifests"][0], &parsed["manifests"][1]);
    let (image_digest, image_size) = (image["digest"].as_str().unwrap(), &image["size"]);
    let digest = |descriptor: &Value| descriptor["digest"].as_str().unwrap().to_owned();
    let expected = format!(
        r#"    {{
      "mediaType": "application/vnd.oci.image.manifest.v1+json",
      "digest": "{}",
      "size": {},
      "annotations": {{
        "vnd.docker.reference.digest": "{image_digest}",
        "vnd.docker.reference.type": "attestation-manifest"
      }},
      "platform": {{
        "architecture": "unknown",
        "os": "unknown"
      }}
    }}
  ]
}}"#,
        digest(attested),
        attested["size"]
    );
    assert!(index.ends_with(&expected), "{index}");

    let manifest = text(attested);
    let statement = serde_json::from_str::<Value>(&manifest).unwrap()["layers"][0].clone();
    let expected = format!(
        r#"{{
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.manifest.v1+json",
  "artifactType": "application/vnd.docker.attestation.manifest.v1+json",
  "config": {{
    "mediaType": "application/vnd.oci.empty.v1+json",
    "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    "size": 2,
    "data": "e30="
  }},
  "layers": [
    {{
      "mediaType": "application/vnd.in-toto+json",
      "digest": "{}",
      "size": {},
      "annotations": {{
        "in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"
      }}
    }}
  ],
  "subject": {{
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "digest": "{image_digest}",
    "size": {image_size}
  }}
}}"#,
        digest(&statement),
        statement["size"]
    );
    assert_eq!(manifest, expected);
    assert_eq!(
        fs::read_to_string(blob(
            &out,
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        ))
        .unwrap(),
        "{}"
    );

    let hex = image_digest.strip_prefix("sha256:").unwrap();
    let subject = |name: &str| {
        format!(
            r#"{{"name":"pkg:docker/{name}?platform=linux%2Famd64","digest":{{"sha256":"{hex}"}}}}"#
        )
    };
    let expected = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","subject":[{},{}],"predicate":{{"z":"\u003c\u0026\u003e","a":[1,{{}}]}}}}"#,
        subject("app@latest"),
        subject("registry.test%3A5000/a/b@2"),
    );
    assert_eq!(text(&statement), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn attestation_manifests_as_images() {
    let bench = Bench::new();
    let (out, root) = layout(&bench, &said(&bench, provenance()), "oci-artifact=false").await;
    let read = |descriptor: &Value| read_json(&blob(&out, descriptor["digest"].as_str().unwrap()));
    let manifest = read(&read(&root)["manifests"][1]);
    assert_eq!(manifest.get("artifactType"), None);
    assert_eq!(manifest.get("subject"), None);
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.oci.image.config.v1+json"
    );
    let config =
        fs::read_to_string(blob(&out, manifest["config"]["digest"].as_str().unwrap())).unwrap();
    let statement = manifest["layers"][0]["digest"].as_str().unwrap();
    assert_eq!(
        config,
        format!(
            r#"{{"architecture":"unknown","os":"unknown","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{statement}"]}}}}"#
        )
    );
    assert_eq!(read(&manifest["layers"][0])["subject"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_platforms_each_have_their_own() {
    let bench = Bench::new();
    let mut input = said_of_two(&bench);
    // Once there is an index, attestations for images only are in it too.
    input.platforms[1].attestations = vec![inline_only()];
    let (out, root) = layout(&bench, &input, "name=x").await;
    let read = |descriptor: &Value| read_json(&blob(&out, descriptor["digest"].as_str().unwrap()));
    let index = read(&root);
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 4);
    for number in 0..2 {
        let about = &entries[2 + number]["annotations"]["vnd.docker.reference.digest"];
        assert_eq!(*about, entries[number]["digest"]);
        assert_eq!(
            read(&entries[2 + number])["subject"]["digest"],
            entries[number]["digest"]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_archives_offer_the_image() {
    let bench = Bench::new();
    let input = said(&bench, provenance());
    let out = bench.path("out.tar");
    bench.export(&input, "docker,name=app", &out).await.unwrap();
    let manifest = run("tar", &["-xOf", out.to_str().unwrap(), "manifest.json"]);
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest.as_array().unwrap().len(), 1);
    assert_eq!(manifest[0]["Layers"].as_array().unwrap().len(), 2);
    let archive = format!("docker-archive:{}:app:latest", out.display());
    run("skopeo", &["inspect", &archive]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pushed_attestations_are_complete() {
    let bench = Bench::new();
    let registry = Registry::start().unwrap();
    let host = registry.host();
    let input = said(&bench, provenance());
    let keys = format!("image,name={host}/team/app:v1,push=true,registry.insecure=true");
    let exported = bench.export(&input, &keys, &bench.path("-")).await.unwrap();
    let client = Client::new(ClientOptions::default()).unwrap();
    let push = exported.push.unwrap();
    push.run(&client, Arc::new(Anonymous), &Progress::none())
        .await
        .unwrap();
    let inspect = |name: &str| {
        let name = format!("docker://{host}/team/app{name}");
        let text = run("skopeo", &["inspect", "--tls-verify=false", "--raw", &name]);
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let index = inspect(":v1");
    let attested = index["manifests"][1]["digest"].as_str().unwrap();
    let manifest = inspect(&format!("@{attested}"));
    assert_eq!(
        manifest["subject"]["digest"],
        index["manifests"][0]["digest"]
    );
    // A copy of everything reads every blob and verifies its digest.
    let source = format!("docker://{host}/team/app:v1");
    let copy = format!("oci:{}", bench.path("copy").display());
    run(
        "skopeo",
        &[
            "copy",
            "--insecure-policy",
            "--src-tls-verify=false",
            "--all",
            &source,
            &copy,
        ],
    );
    let statement = manifest["layers"][0]["digest"].as_str().unwrap();
    assert_eq!(
        read_json(&blob(&bench.path("copy"), statement))["predicateType"],
        PROVENANCE
    );
}

fn statement(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(
        text.starts_with(
            "{\n  \"_type\": \"https://in-toto.io/Statement/v1\",\n  \"predicateType\""
        ),
        "{text}"
    );
    assert!(text.contains("\"predicate\": {\n    \"z\": \"\\u003c\\u0026\\u003e\",\n    \"a\": [\n      1,\n      {}\n    ]\n  }\n}"), "{text}");
    value
}

#[rstest]
#[case("local")]
#[case("tar")]
#[tokio::test(flavor = "multi_thread")]
async fn statements_about_files(#[case] kind: &str) {
    let bench = Bench::new();
    let out = bench.path("out");
    let files = match kind {
        "tar" => bench.path("files"),
        _ => out.clone(),
    };
    let export = async |input: &ExportInput, keys: &str| {
        for path in [&out, &files] {
            fs::remove_file(path)
                .or_else(|_| fs::remove_dir_all(path))
                .ok();
        }
        let exported = bench.export(input, &format!("{kind}{keys}"), &out).await;
        if exported.is_ok() && kind == "tar" {
            fs::create_dir(&files).unwrap();
            run(
                "tar",
                &["-C", files.to_str().unwrap(), "-xf", out.to_str().unwrap()],
            );
        }
        exported.map(drop)
    };
    let one = said(&bench, provenance());
    export(&one, "").await.unwrap();
    let value = statement(&files.join("provenance.json"));
    let names: Vec<_> = value["subject"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["app/data", "bin/tool", "etc/motd"]);
    let digest = run("sha256sum", &[files.join("app/data").to_str().unwrap()]);
    assert_eq!(
        value["subject"][0]["digest"]["sha256"],
        digest.split(' ').next().unwrap()
    );
    let mode = run(
        "stat",
        &["-c", "%a", files.join("provenance.json").to_str().unwrap()],
    );
    assert_eq!(mode, "600\n");

    export(&one, ",attestation-prefix=x-").await.unwrap();
    statement(&files.join("x-provenance.json"));
    assert!(!files.join("provenance.json").exists());

    export(&said(&bench, inline_only()), "").await.unwrap();
    assert!(!files.join("provenance.json").exists());

    let two = said_of_two(&bench);
    export(&two, "").await.unwrap();
    let value = statement(&files.join("linux_arm64/provenance.json"));
    assert_eq!(value["subject"].as_array().unwrap().len(), 1);
    assert_eq!(value["subject"][0]["name"], "other");
    let time = run(
        "stat",
        &[
            "-c",
            "%Y",
            files.join("linux_amd64/provenance.json").to_str().unwrap(),
        ],
    );
    assert_eq!(time, "1700000000\n");

    export(&two, ",platform-split=false").await.unwrap();
    statement(&files.join("provenance.linux_amd64.json"));
    assert_eq!(
        statement(&files.join("provenance.linux_arm64.json"))["subject"][0]["name"],
        "other"
    );

    let tree = bench.layer(None, |dir| {
        write(&dir.join("provenance.json"), "mine", 0o644)
    });
    let mut taken = single(Some(tree), json!({}));
    taken.platforms[0].attestations.push(provenance());
    let error = export(&taken, "").await.unwrap_err().to_string();
    let expected = "provenance.json: the result has a file of this name; set attestation-prefix";
    assert!(
        error.starts_with("cannot write attestation ") && error.ends_with(expected),
        "{error}"
    );
}

/// A tree with a bundle of statements.
fn bundle(bench: &Bench, files: &[(&str, Value)]) -> Ref {
    bench.layer(None, |dir| {
        for (name, value) in files {
            write(&dir.join("sbom").join(name), &value.to_string(), 0o644);
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_are_taken_apart() {
    let bench = Bench::new();
    let one = |name: &str| {
        json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": "https://spdx.dev/Document",
            "subject": [{"name": name, "digest": {"sha256": "a".repeat(64)}}],
            "predicate": {"of": name},
        })
    };
    let tree = bundle(&bench, &[("b.json", one("b")), ("a.json", one("a"))]);
    let mut input = said(&bench, provenance());
    input.platforms[0].attestations.push(Attestation {
        kind: AttestationKind::Bundle,
        path: "/sbom".into(),
        predicate_type: "https://spdx.dev/Document".into(),
        ..attestation("", AttestationContent::Tree(Some(tree.clone())))
    });
    input.platforms[0].attestations.push(Attestation {
        predicate_type: "https://spdx.dev/Document".into(),
        subjects: vec![AttestationSubject {
            kind: SubjectKind::Result,
            name: "itself".into(),
            digests: Vec::new(),
        }],
        metadata: [(SBOM_CORE.to_owned(), Bytes::from_static(b"sbom/a"))].into(),
        ..attestation("sbom/a.json", AttestationContent::Tree(Some(tree)))
    });
    let (out, root) = layout(&bench, &input, "name=app").await;
    let read = |descriptor: &Value| read_json(&blob(&out, descriptor["digest"].as_str().unwrap()));
    let manifest = read(&read(&root)["manifests"][1]);
    let statements: Vec<_> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(read)
        .collect();
    // The one about the result itself is first.
    let subjects = |number: usize| {
        let subjects = statements[number]["subject"].as_array().unwrap().iter();
        subjects
            .map(|it| it["name"].as_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        subjects(0),
        ["pkg:docker/app@latest?platform=linux%2Famd64", "itself"]
    );
    assert_eq!(statements[1]["predicateType"], PROVENANCE);
    assert_eq!((subjects(2), subjects(3)), (vec!["a"], vec!["b"]));
    assert_eq!(statements[3]["predicate"], json!({"of": "b"}));
    assert_eq!(statements[3]["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(
        statements[3]["subject"][0]["digest"]["sha256"],
        "a".repeat(64)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused() {
    let bench = Bench::new();
    let tree = bundle(
        &bench,
        &[(
            "a.json",
            json!({"predicateType": PROVENANCE, "predicate": {}}),
        )],
    );
    let content = || AttestationContent::Tree(Some(tree.clone()));
    let check = async |attestation: Attestation, keys: &str, expected: &str| {
        let input = said(&bench, attestation);
        let error = bench
            .export(&input, keys, &bench.path("out"))
            .await
            .unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    };
    check(
        provenance(),
        "oci,oci-mediatypes=false",
        "cannot export attestations with \"oci-mediatypes=false\"",
    )
    .await;
    check(
        attestation("sbom/a.json", content()),
        "oci",
        "frontend may not set provenance attestations",
    )
    .await;
    let spdx = |path: &str, content| Attestation {
        predicate_type: "https://spdx.dev/Document".into(),
        ..attestation(path, content)
    };
    check(
        spdx("", content()),
        "oci",
        "attestation does not have set path",
    )
    .await;
    check(
        spdx("none.json", content()),
        "oci",
        "cannot read in-toto attestation: ",
    )
    .await;
    check(
        spdx("../../../etc/passwd", content()),
        "oci",
        "cannot read in-toto attestation: ",
    )
    .await;
    check(
        spdx("sbom", content()),
        "local",
        "cannot read in-toto attestation: ",
    )
    .await;
    check(
        spdx("x", AttestationContent::Tree(None)),
        "oci",
        "cannot read in-toto attestation: the tree is empty",
    )
    .await;
    check(spdx("x", made("{")), "oci", "attestation x is not JSON: ").await;
    let bundle = |kind: &str| Attestation {
        kind: AttestationKind::Bundle,
        predicate_type: kind.into(),
        ..attestation("sbom", content())
    };
    check(
        bundle(""),
        "oci",
        "frontend may not bundle provenance attestations",
    )
    .await;
    check(
        bundle("other"),
        "oci",
        "bundle entry https://slsa.dev/provenance/v1 does not match required predicate type other",
    )
    .await;

    let mut twice = said(&bench, provenance());
    twice.platforms[0].attestations.push(provenance());
    let error = bench
        .export(&twice, "local", &bench.path("out"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "duplicate attestation path name provenance.json"
    );
}
