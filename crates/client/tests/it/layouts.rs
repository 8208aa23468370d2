//! Caches and images in the client's own directories.

use std::path::Path;
use std::sync::{Arc, Mutex};

use kiln_client::{CacheEntry, Export, SolveRequest};
use kiln_protocol::control::SolveResponse;
use kiln_session::progress::Silent;
use kiln_session::{Delivery, Services};
use serde_json::{Value, json};

use crate::server::{Daemon, Script};

const MANIFEST: &str = "sha256:aa";
const LAYER: &str = "bb";

/// What a daemon would have written into a directory.
fn write_blobs(dir: &Path) {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let layers = json!({"layers": [{"digest": format!("sha256:{LAYER}")}]});
    std::fs::write(blobs.join("aa"), layers.to_string()).unwrap();
    std::fs::write(blobs.join(LAYER), "layer").unwrap();
    std::fs::write(blobs.join("cc"), "old").unwrap();
}

fn descriptor() -> Value {
    json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": MANIFEST,
        "size": 1,
    })
}

fn index(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("index.json")).unwrap()).unwrap()
}

fn cache(attributes: &[(&str, String)]) -> CacheEntry {
    let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), v.clone()));
    CacheEntry {
        kind: "local".into(),
        attributes: attributes.collect(),
    }
}

/// Builds on a daemon that answers with these keys; gives what it was asked.
async fn solve(
    request: SolveRequest,
    services: Services,
    response: &[(&str, String)],
) -> Result<kiln_protocol::control::SolveRequest, String> {
    let response = response.iter().map(|(k, v)| ((*k).to_owned(), v.clone()));
    let response = SolveResponse {
        exporter_response: response.collect(),
    };
    let daemon = Daemon::start(Script {
        solve: Mutex::new(Some(Ok(response))),
        ..Script::default()
    });
    let client = daemon.client().await;
    let solved = client.solve(request, services, Arc::new(Silent)).await;
    solved.map_err(|error| error.to_string())?;
    let asked = daemon.script.solved.lock().unwrap()[0].clone();
    Ok(asked)
}

#[tokio::test]
async fn caches_are_tagged_cleared_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    write_blobs(&path);
    let shown = path.display().to_string();
    let request = SolveRequest {
        cache_exports: vec![cache(&[
            ("dest", shown.clone()),
            ("tag", "mine".into()),
            ("reset", "true".into()),
        ])],
        ..SolveRequest::default()
    };
    let response = [("cache.manifest", descriptor().to_string())];
    solve(request, Services::default(), &response)
        .await
        .unwrap();
    let entry = &index(&path)["manifests"][0];
    assert_eq!(entry["digest"], MANIFEST);
    assert_eq!(
        entry["annotations"]["org.opencontainers.image.ref.name"],
        "mine"
    );
    assert!(path.join("blobs/sha256").join(LAYER).exists());
    assert!(
        !path.join("blobs/sha256/cc").exists(),
        "what nothing refers to stayed"
    );
    assert!(!path.join("index.json.lock").exists());

    let import = |attributes: &[(&str, String)]| SolveRequest {
        cache_imports: vec![cache(attributes)],
        ..SolveRequest::default()
    };
    let found = import(&[("src", shown.clone()), ("tag", "mine".into())]);
    let asked = solve(found, Services::default(), &[]).await.unwrap();
    assert_eq!(asked.cache.unwrap().imports[0].attrs["digest"], MANIFEST);

    for missing in [
        import(&[("src", shown.clone())]),
        import(&[("src", shown.clone()), ("digest", "sha256:dd".into())]),
        import(&[("src", shown.clone()), ("digest", "../../x".into())]),
        import(&[("src", dir.path().join("no").display().to_string())]),
    ] {
        let asked = solve(missing, Services::default(), &[]).await.unwrap();
        assert!(asked.cache.unwrap().imports.is_empty());
    }
}

#[tokio::test]
async fn wrong_caches_are_explained() {
    let export = |attributes: &[(&str, String)]| SolveRequest {
        cache_exports: vec![cache(attributes)],
        ..SolveRequest::default()
    };
    let error = solve(export(&[]), Services::default(), &[])
        .await
        .unwrap_err();
    assert_eq!(error, "local cache exporter requires dest");
    let request = SolveRequest {
        cache_imports: vec![cache(&[])],
        ..SolveRequest::default()
    };
    let error = solve(request, Services::default(), &[]).await.unwrap_err();
    assert_eq!(error, "local cache importer requires src");
    let wrong = export(&[("dest", "x".into()), ("reset", "perhaps".into())]);
    let error = solve(wrong, Services::default(), &[]).await.unwrap_err();
    assert!(
        error.starts_with("failed to parse reset attribute"),
        "{error}"
    );
}

#[tokio::test]
async fn images_are_named_in_their_directory() {
    use base64::Engine as _;
    let dir = tempfile::tempdir().unwrap();
    write_blobs(dir.path());
    let request = || SolveRequest {
        exports: vec![Export {
            kind: "oci".into(),
            attributes: [("tar".to_owned(), "false".to_owned())].into(),
        }],
        ..SolveRequest::default()
    };
    let services = || Services {
        exports: [(0, Delivery::Directory(dir.path().into()))].into(),
        ..Services::default()
    };
    let encoded = base64::engine::general_purpose::STANDARD.encode(descriptor().to_string());
    let image = ("containerimage.descriptor", encoded);
    let name = (
        "image.name",
        "example.com:5000/a/b:v1,docker.io/library/c@sha256:1".to_owned(),
    );
    solve(request(), services(), std::slice::from_ref(&image))
        .await
        .unwrap();
    solve(request(), services(), &[image, name]).await.unwrap();
    let entries = index(dir.path())["manifests"].as_array().unwrap().clone();
    let names = entries.iter().map(|entry| {
        let annotations = &entry["annotations"];
        let text = |key: &str| annotations[key].as_str().unwrap_or("-").to_owned();
        (
            text("io.containerd.image.name"),
            text("org.opencontainers.image.ref.name"),
        )
    });
    let expected = [
        ("-", "latest"),
        ("example.com:5000/a/b:v1", "v1"),
        ("docker.io/library/c@sha256:1", "@sha256:1"),
    ];
    let expected = expected.map(|(name, tag)| (name.to_owned(), tag.to_owned()));
    assert_eq!(names.collect::<Vec<_>>(), expected);
    let layout = std::fs::read_to_string(dir.path().join("oci-layout")).unwrap();
    assert_eq!(layout, r#"{"imageLayoutVersion":"1.0.0"}"#);

    let mut two = request();
    two.exports.push(two.exports[0].clone());
    let mut services = services();
    services
        .exports
        .insert(1, Delivery::Directory(dir.path().join("other")));
    let error = solve(two, services, &[]).await.unwrap_err();
    assert!(error.contains("one output with tar=false"), "{error}");
}
