//! Files sent into a directory of a client elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_exporter::{ExportError, ExportInput, ExportRequest, Output, Progress, Shape, Target};
use kiln_session::transfer::{Link, Others, RemoteTarget, deliver};
use serde_json::json;

use crate::fixture::{Bench, result, run, settle, single, write};

/// A client that takes files in this process.
struct Client(PathBuf);

#[async_trait::async_trait]
impl RemoteTarget for Client {
    async fn open(&self, others: Others) -> Result<Link, tonic::Status> {
        let (here, there) = Link::pair();
        tokio::spawn(deliver(there, self.0.clone(), others));
        Ok(here)
    }
}

async fn send(
    bench: &Bench,
    input: &ExportInput,
    dest: &Path,
    keys: &[(&str, &str)],
) -> Result<(), ExportError> {
    let keys: BTreeMap<String, String> = keys
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    let request = ExportRequest {
        output: Output::parse("local", &keys).unwrap(),
        target: Target::RemoteDirectory(Arc::new(Client(dest.to_owned()))),
        progress: Progress::none(),
        early: None,
    };
    bench.exporter.export(input, request).await.map(drop)
}

fn describe(dir: &Path) -> String {
    let format = "%P\t%y %m %s %l %T@ %U:%G\n";
    let dir = dir.to_str().unwrap();
    let output = run(
        "find",
        &[
            dir,
            "-mindepth",
            "1",
            "-not",
            "-type",
            "d",
            "-printf",
            format,
        ],
    );
    let mut lines: Vec<&str> = output.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn tree(dir: &Path) {
    write(&dir.join("plain"), "plain", 0o644);
    write(&dir.join("setuid"), "x", 0o4755);
    write(&dir.join("deep/er/file"), &"deep".repeat(1 << 19), 0o640);
    fs::hard_link(dir.join("plain"), dir.join("deep/linked")).unwrap();
    symlink("../plain", dir.join("deep/link")).unwrap();
    std::os::unix::fs::chown(dir.join("deep/er/file"), Some(1000), Some(1000)).unwrap();
    settle(dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_what_a_direct_export_writes() {
    let bench = Bench::new();
    let input = single(Some(bench.layer(None, tree)), json!({}));
    let (direct, sent) = (bench.path("direct"), bench.path("sent"));
    bench.export(&input, "local", &direct).await.unwrap();
    send(&bench, &input, &sent, &[]).await.unwrap();
    assert_eq!(describe(&sent), describe(&direct));
    let inode = |name: &str| fs::metadata(sent.join(name)).unwrap().ino();
    assert_eq!(inode("plain"), inode("deep/linked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_and_modes() {
    let bench = Bench::new();
    let input = single(Some(bench.layer(None, tree)), json!({}));
    let sent = bench.path("sent");
    fs::create_dir(&sent).unwrap();
    write(&sent.join("other"), "x", 0o644);
    send(&bench, &input, &sent, &[("source-date-epoch", "7")])
        .await
        .unwrap();
    assert!(sent.join("other").exists());
    assert_eq!(fs::metadata(sent.join("deep")).unwrap().mtime(), 7);
    assert_eq!(fs::metadata(sent.join("plain")).unwrap().mtime(), 7);
    send(&bench, &input, &sent, &[("mode", "delete")])
        .await
        .unwrap();
    assert!(!sent.join("other").exists() && sent.join("plain").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn platforms_are_split_or_joined() {
    let bench = Bench::new();
    let layer = |name: &'static str| {
        bench.layer(None, move |dir| {
            write(&dir.join("shared").join(name), name, 0o644);
            settle(dir);
        })
    };
    let mut input = single(Some(layer("one")), json!({}));
    input.shape = Shape::Index;
    input.platforms = vec![
        result("linux/amd64", Some(layer("one")), json!({})),
        result("linux/arm64", Some(layer("two")), json!({})),
    ];
    let sent = bench.path("sent");
    send(&bench, &input, &sent, &[]).await.unwrap();
    for path in ["linux_amd64/shared/one", "linux_arm64/shared/two"] {
        assert!(sent.join(path).exists(), "{path}");
    }
    let joined = bench.path("joined");
    let keys = [("platform-split", "false")];
    send(&bench, &input, &joined, &keys).await.unwrap();
    assert!(joined.join("shared/one").exists() && joined.join("shared/two").exists());
    input.platforms[1] = result("linux/arm64", Some(layer("one")), json!({}));
    let error = send(&bench, &input, &joined, &keys).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot overwrite shared/one from linux/amd64 with linux/arm64 when split option is disabled"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cannot_write_says_so() {
    let bench = Bench::new();
    let input = single(Some(bench.layer(None, tree)), json!({}));
    write(&bench.path("file"), "x", 0o644);
    let error = send(&bench, &input, &bench.path("file"), &[])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("cannot open"), "{error}");
}
