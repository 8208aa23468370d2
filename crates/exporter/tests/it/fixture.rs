//! Stores, refs and outputs to test with.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use kiln_exporter::{
    EarlyUploads, ExportError, ExportInput, ExportRequest, Exported, Exporter, Output,
    PlatformResult, Progress, Settings, Shape, Target,
};
use kiln_store::{MutableOptions, Ref, Store, StoreOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A store and an exporter of it.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
    pub(crate) exporter: Exporter,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with_threads(2)
    }

    pub(crate) fn with_threads(threads: usize) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests mount and change owners: run them as root"
        );
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions {
            root: dir.path().join("store"),
        })
        .unwrap();
        let exporter = Exporter::new(
            store.clone(),
            Settings {
                threads,
                memory: 16 << 20,
            },
        );
        Self {
            dir,
            store,
            exporter,
        }
    }

    /// A layer on top of another, made a known time after 1970.
    pub(crate) fn layer(&self, parent: Option<&Ref>, fill: impl FnOnce(&Path)) -> Ref {
        let created = Some(UNIX_EPOCH + Duration::from_secs(1_600_000_000));
        let options = MutableOptions {
            description: "made for a test".into(),
            created,
            ..MutableOptions::default()
        };
        let mutable = self.store.mutable(parent, options).unwrap();
        fill(mutable.upper_dir());
        mutable.commit().unwrap()
    }

    /// Two layers with a bit of everything that is simple.
    pub(crate) fn two_layers(&self) -> Ref {
        let base = self.layer(None, |dir| {
            write(&dir.join("etc/motd"), "hello\n", 0o644);
            write(&dir.join("bin/tool"), &"#!/bin/sh\n".repeat(3000), 0o755);
            std::os::unix::fs::symlink("tool", dir.join("bin/alias")).unwrap();
            settle(dir);
        });
        self.layer(Some(&base), |dir| {
            write(&dir.join("app/data"), "payload", 0o600);
            settle(dir);
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Exports with the keys of one `--output`, written like `oci,name=x`.
    pub(crate) async fn export(
        &self,
        input: &ExportInput,
        output: &str,
        dest: &Path,
    ) -> Result<Exported, ExportError> {
        let output = parse(output).unwrap();
        let target = match &output {
            Output::Image(_) => Target::Store,
            Output::Local(_) => Target::Directory(dest.to_owned()),
            Output::Archive(archive) if !archive.tar => Target::Directory(dest.to_owned()),
            _ => Target::Stream(Box::new(File::create(dest).unwrap())),
        };
        self.start(input, output, target, None).await
    }

    /// Exports an image whose layers may be sent while they are made.
    pub(crate) async fn export_early(
        &self,
        input: &ExportInput,
        output: &str,
        early: EarlyUploads,
    ) -> Result<Exported, ExportError> {
        let output = parse(output).unwrap();
        self.start(input, output, Target::Store, Some(early)).await
    }

    async fn start(
        &self,
        input: &ExportInput,
        output: Output,
        target: Target,
        early: Option<EarlyUploads>,
    ) -> Result<Exported, ExportError> {
        let request = ExportRequest {
            output,
            target,
            progress: Progress::none(),
            early,
        };
        self.exporter.export(input, request).await
    }
}

/// The keys of one `--output`.
pub(crate) fn parse(text: &str) -> Result<Output, kiln_exporter::OptionError> {
    let mut parts = text.split(',');
    let kind = parts.next().unwrap();
    let attributes: BTreeMap<String, String> = parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(key, value)| (key.to_owned(), value.replace(';', ",")))
        .collect();
    Output::parse(kind, &attributes)
}

/// A result of one platform.
pub(crate) fn single(reference: Option<Ref>, config: Value) -> ExportInput {
    ExportInput {
        platforms: vec![result("linux/amd64", reference, config)],
        shape: Shape::Single,
        image_name: None,
        epoch: None,
    }
}

pub(crate) fn result(platform: &str, reference: Option<Ref>, config: Value) -> PlatformResult {
    let platform = kiln_llb::platform::parse(platform).unwrap();
    let mut config = config;
    if let Value::Object(fields) = &mut config {
        fields
            .entry("os")
            .or_insert(json!(platform.os().to_string()));
        fields
            .entry("architecture")
            .or_insert(json!(platform.architecture().to_string()));
    }
    PlatformResult {
        platform,
        reference,
        image_config: Some(Bytes::from(config.to_string())),
        base_config: None,
        inline_cache: None,
        build_info: None,
        attestations: Vec::new(),
    }
}

/// A config with one history entry for each command; an entry without a layer has `-` before it.
pub(crate) fn config(history: &[&str]) -> Value {
    let entries: Vec<_> = history
        .iter()
        .map(|entry| match entry.strip_prefix('-') {
            Some(command) => json!({"created_by": command, "empty_layer": true}),
            None => json!({"created_by": entry}),
        })
        .collect();
    json!({"config": {"Cmd": ["/bin/tool"]}, "history": entries})
}

pub(crate) fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives everything in a directory one time, so that equal layers are equal bytes.
pub(crate) fn settle(dir: &Path) {
    run(
        "find",
        &[
            dir.to_str().unwrap(),
            "-depth",
            "-exec",
            "touch",
            "-h",
            "-d",
            "@1500000000",
            "{}",
            ";",
        ],
    );
}

/// Runs a program, which must succeed, and answers its output.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A file's JSON.
pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A blob of a layout.
pub(crate) fn blob(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replacen(':', "/", 1))
}
