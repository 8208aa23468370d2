//! Stores with layers, and records of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln_remote_cache::{
    Attributes, CacheLayer, ExportOptions, Exported, ImportOptions, Imported, export, import,
};
use kiln_solver::{ExportLink, ExportRecord, ExportResult};
use kiln_store::{Ref, Store, StoreOptions};
use oci_spec::image::{Descriptor, Digest, MediaType};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

pub(crate) type Record = ExportRecord<Vec<CacheLayer>>;

/// A store in a directory of its own.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions {
            root: dir.path().join("store"),
        })
        .unwrap();
        Self { dir, store }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A layer with one file, in the store's content, made by GNU tar and gzip.
    pub(crate) fn layer(&self, name: &str, text: &str) -> CacheLayer {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), text).unwrap();
        let tar = sh(
            dir.path(),
            &format!("tar --mtime=@0 --owner=0 --group=0 --sort=name -cf - {name}"),
        );
        fs::write(dir.path().join("layer.tar"), &tar).unwrap();
        let gzip = sh(dir.path(), "gzip -n -c layer.tar");
        let blob = self.store.content().put(&gzip).unwrap();
        CacheLayer {
            descriptor: Descriptor::new(MediaType::ImageLayerGzip, blob.size, blob.digest),
            diff_id: digest_of(&tar),
            created: Some(UNIX_EPOCH + Duration::from_millis(1_600_000_000_250)),
            description: String::new(),
        }
    }

    pub(crate) async fn export(&self, records: &[Record], keys: &[(&str, &str)]) -> Exported {
        let options = ExportOptions::parse("local", &attributes(keys)).unwrap();
        export(records, &options, self.store.content(), None)
            .await
            .unwrap()
    }

    pub(crate) async fn import(&self, keys: &[(&str, &str)]) -> Imported<Ref> {
        let options = ImportOptions::parse("local", &attributes(keys)).unwrap();
        import(&options, &self.store, None, |reference| reference).await
    }
}

pub(crate) fn attributes(keys: &[(&str, &str)]) -> Attributes {
    keys.iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

pub(crate) fn sh(dir: &Path, command: &str) -> Vec<u8> {
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_str(&format!("sha256:{}", hex::encode(Sha256::digest(bytes)))).unwrap()
}

/// The digest that stands for a name.
pub(crate) fn named(name: &str) -> Digest {
    digest_of(name.as_bytes())
}

pub(crate) fn made() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// A record; links are given as (record, selector).
pub(crate) fn record(name: &str, inputs: &[&[(usize, &str)]], layers: &[&CacheLayer]) -> Record {
    let link = |(record, selector): &(usize, &str)| {
        let selector = if selector.is_empty() {
            String::new()
        } else {
            named(selector).to_string()
        };
        ExportLink {
            record: *record,
            selector,
        }
    };
    let results = match layers {
        [] => Vec::new(),
        layers => vec![ExportResult {
            remote: layers.iter().map(|layer| (*layer).clone()).collect(),
            created: made(),
            vertex: None,
            output: 0,
        }],
    };
    ExportRecord {
        digest: named(name),
        inputs: inputs
            .iter()
            .map(|links| links.iter().map(link).collect())
            .collect(),
        results,
    }
}

/// `source` without a result; `copy` of it by two selectors; `run` on top, which has both layers.
pub(crate) fn chain(lower: &CacheLayer, upper: &CacheLayer) -> Vec<Record> {
    vec![
        record("source", &[], &[]),
        record("copy", &[&[(0, ""), (0, "selector")]], &[lower]),
        record("run", &[&[(1, "")]], &[lower, upper]),
    ]
}

/// A blob in a layout directory.
pub(crate) fn blob(directory: &Path, digest: &str) -> PathBuf {
    directory.join("blobs").join(digest.replacen(':', "/", 1))
}

pub(crate) fn read_json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Puts a blob into a layout directory and answers its digest.
pub(crate) fn put(directory: &Path, bytes: &[u8]) -> String {
    let digest = digest_of(bytes).to_string();
    let path = blob(directory, &digest);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    digest
}

/// Makes a layout whose tag `latest` stands for this manifest.
pub(crate) fn layout(directory: &Path, manifest: &[u8]) {
    let digest = put(directory, manifest);
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": manifest.len(),
        "annotations": {"org.opencontainers.image.ref.name": "latest"},
    }]});
    fs::write(directory.join("index.json"), index.to_string()).unwrap();
}
