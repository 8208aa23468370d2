//! Archives, read by skopeo, umoci, tar and python.

use std::fs;

use base64::Engine as _;
use kiln_exporter::{ExportInput, Shape};
use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::{Bench, config, read_json, result, run, single, write};

#[tokio::test(flavor = "multi_thread")]
async fn members_are_sorted_and_bare() {
    let bench = Bench::new();
    let input = single(Some(bench.two_layers()), config(&["a", "b"]));
    let out = bench.path("out.tar");
    bench.export(&input, "docker,name=app", &out).await.unwrap();
    let listing = run(
        "tar",
        &[
            "--full-time",
            "--numeric-owner",
            "-tvf",
            out.to_str().unwrap(),
        ],
    );
    let lines: Vec<_> = listing
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .collect();
    let names: Vec<_> = lines.iter().map(|line| line[5]).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(names, sorted);
    assert_eq!(names.len(), 2 + 4 + 3);
    for line in &lines {
        let mode = match line[5] {
            name if name.ends_with('/') => "drwxr-xr-x",
            "index.json" | "manifest.json" => "-rw-r--r--",
            _ => "-r--r--r--",
        };
        assert_eq!(
            (line[0], line[1], line[3]),
            (mode, "0/0", "1970-01-01"),
            "{line:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_result_is_the_same_archive() {
    let outputs = [
        "oci,name=a:1",
        "docker,name=a:1",
        "oci,compression=zstd",
        "oci,compression=uncompressed",
        "oci,compression=estargz",
    ];
    let mut archives = Vec::new();
    for threads in [1, 3] {
        let bench = Bench::with_threads(threads);
        let input = single(Some(bench.two_layers()), config(&["a", "b"]));
        for (number, output) in outputs.iter().enumerate() {
            let out = bench.path(&format!("{number}.tar"));
            bench.export(&input, output, &out).await.unwrap();
            archives.push(fs::read(&out).unwrap());
        }
    }
    for number in 0..outputs.len() {
        assert!(
            archives[number] == archives[outputs.len() + number],
            "{}",
            outputs[number]
        );
    }
}

#[rstest]
#[case("oci,name=app;other:2", "oci-archive:{out}:2")]
#[case("oci,compression=zstd", "oci-archive:{out}")]
#[case("oci,compression=estargz", "oci-archive:{out}")]
#[case(
    "docker,compression=estargz,name=app",
    "docker-archive:{out}:app:latest"
)]
#[case("docker,name=app", "docker-archive:{out}:app:latest")]
#[case("docker,oci-mediatypes=false", "docker-archive:{out}")]
#[case("docker,compression=uncompressed", "oci-archive:{out}")]
#[tokio::test(flavor = "multi_thread")]
async fn skopeo_reads_it(#[case] keys: &str, #[case] reference: &str) {
    let bench = Bench::new();
    let input = single(Some(bench.two_layers()), config(&["a", "b"]));
    let out = bench.path("out.tar");
    bench.export(&input, keys, &out).await.unwrap();
    let reference = reference.replace("{out}", out.to_str().unwrap());
    let text = run("skopeo", &["inspect", "--config", &reference]);
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["config"]["Cmd"][0], "/bin/tool");
    // A copy verifies every digest and decompresses every layer.
    let copy = format!("dir:{}", bench.path("copy").display());
    run(
        "skopeo",
        &[
            "copy",
            "--insecure-policy",
            "--dest-decompress",
            &reference,
            &copy,
        ],
    );
}

#[rstest]
#[case("gzip")]
#[case("uncompressed")]
#[case("estargz")]
#[tokio::test(flavor = "multi_thread")]
async fn umoci_unpacks_it(#[case] compression: &str) {
    let bench = Bench::new();
    let base = bench.two_layers();
    let top = bench.layer(Some(&base), |dir| {
        write(&dir.join("etc/issue"), "new", 0o640);
        fs::create_dir_all(dir.join("bin")).unwrap();
        let deleted = dir.join("bin/alias");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &deleted,
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::empty(),
            0,
        )
        .unwrap();
    });
    let input = single(Some(top), config(&["a", "b", "c"]));
    let layout = bench.path("layout");
    bench
        .export(
            &input,
            &format!("oci,tar=false,compression={compression}"),
            &layout,
        )
        .await
        .unwrap();
    let bundle = bench.path("bundle");
    let image = format!("{}:latest", layout.display());
    run(
        "umoci",
        &["unpack", "--image", &image, bundle.to_str().unwrap()],
    );
    let rootfs = bundle.join("rootfs");
    assert_eq!(
        fs::read_to_string(rootfs.join("etc/motd")).unwrap(),
        "hello\n"
    );
    assert_eq!(fs::read_to_string(rootfs.join("etc/issue")).unwrap(), "new");
    assert!(fs::symlink_metadata(rootfs.join("bin/alias")).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_stand_in_index_and_manifest() {
    let bench = Bench::new();
    let mut input = single(Some(bench.two_layers()), config(&["a", "b"]));
    input.image_name = Some("from.frontend/x".into());
    let out = bench.path("out.tar");
    let exported = bench
        .export(
            &input,
            "docker,name=app;registry.test:5000/team/app:v2",
            &out,
        )
        .await
        .unwrap();
    assert_eq!(
        exported.response["image.name"],
        "docker.io/library/app:latest,registry.test:5000/team/app:v2"
    );
    let files = bench.path("files");
    fs::create_dir(&files).unwrap();
    run(
        "tar",
        &["-C", files.to_str().unwrap(), "-xf", out.to_str().unwrap()],
    );
    let index = read_json(&files.join("index.json"));
    let annotations = |number: usize| index["manifests"][number]["annotations"].clone();
    let created = "2020-09-13T12:26:40Z";
    assert_eq!(
        annotations(0),
        json!({
            "io.containerd.image.name": "docker.io/library/app:latest",
            "org.opencontainers.image.created": created,
            "org.opencontainers.image.ref.name": "latest",
        })
    );
    assert_eq!(annotations(1)["org.opencontainers.image.ref.name"], "v2");
    let manifest = read_json(&files.join("manifest.json"));
    assert_eq!(
        manifest[0]["RepoTags"],
        json!(["app:latest", "registry.test:5000/team/app:v2"])
    );
    assert_eq!(manifest[0]["Layers"].as_array().unwrap().len(), 2);
    assert!(files.join(manifest[0]["Config"].as_str().unwrap()).exists());

    let descriptor = base64::engine::general_purpose::STANDARD
        .decode(&exported.response["containerimage.descriptor"]);
    let descriptor: Value = serde_json::from_slice(&descriptor.unwrap()).unwrap();
    assert_eq!(
        descriptor["digest"],
        exported.response["containerimage.digest"].as_str()
    );
    assert_eq!(
        descriptor["platform"],
        json!({"architecture": "amd64", "os": "linux"})
    );
    assert_eq!(
        manifest[0]["Config"],
        format!(
            "blobs/{}",
            exported.response["containerimage.config.digest"].replace(':', "/")
        )
    );

    let star = bench.export(&input, "oci,name=*", &out).await.unwrap();
    assert_eq!(star.response["image.name"], "from.frontend/x:latest");
    input.image_name = Some("Bad".into());
    let error = bench.export(&input, "oci,name=*", &out).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("failed to parse image name \"Bad\": "),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_archive_of_several_platforms_offers_this_machines() {
    let bench = Bench::new();
    let (one, other) = (
        bench.two_layers(),
        bench.layer(None, |dir| write(&dir.join("x"), "x", 0o644)),
    );
    let host = kiln_llb::platform::format(&kiln_llb::platform::host());
    let foreign = if host == "linux/s390x" {
        "linux/amd64"
    } else {
        "linux/s390x"
    };
    let input = ExportInput {
        platforms: vec![
            result(foreign, Some(other), config(&["x"])),
            result(&host, Some(one), config(&["a", "b"])),
        ],
        shape: Shape::Index,
        image_name: None,
        epoch: None,
    };
    let out = bench.path("out.tar");
    bench.export(&input, "docker,name=app", &out).await.unwrap();
    let manifest = run("tar", &["-xOf", out.to_str().unwrap(), "manifest.json"]);
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest.as_array().unwrap().len(), 1);
    assert_eq!(manifest[0]["Layers"].as_array().unwrap().len(), 2);
    let inspected = run(
        "skopeo",
        &[
            "inspect",
            "--config",
            &format!("docker-archive:{}", out.display()),
        ],
    );
    assert!(
        inspected.contains(&format!(
            "\"architecture\": \"{}\"",
            host.split('/').nth(1).unwrap()
        )),
        "{inspected}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_must_fit() {
    let bench = Bench::new();
    let input = single(None, json!({}));
    let output = crate::fixture::parse("oci").unwrap();
    let target = kiln_exporter::Target::Directory(bench.path("dir"));
    let request = kiln_exporter::ExportRequest {
        output,
        target,
        progress: kiln_exporter::Progress::none(),
        early: None,
    };
    let error = bench.exporter.export(&input, request).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "output type=oci cannot be written to a directory"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_blob_is_not_passed_on() {
    let bench = Bench::new();
    let reference = bench.two_layers();
    let layers = bench
        .exporter
        .layers(&reference, &Default::default())
        .await
        .unwrap();
    let digest = layers[1].descriptor.digest();
    let path = bench.store.content().path(digest);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    let input = single(Some(reference), config(&["a", "b"]));
    let error = bench
        .export(&input, "oci", &bench.path("out.tar"))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("blob {digest} in the store holds sha256:")),
        "{error}"
    );
}
