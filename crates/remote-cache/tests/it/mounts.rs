//! Cache mounts beside a cache: what comes back, what is written again, and what nobody can smuggle in.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use kiln_remote_cache::mounts::{
    ExportedMounts, MountKeys, MountSource, MountTree, MountsExport, MountsWanted, export_mounts,
};
use kiln_remote_cache::{Destination, ImportOptions};
use kiln_store::tar::{EntryKind, Header, Writer};
use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::{Bench, attributes, blob, digest_of, put, read_json};

/// Exports directories as the mounts of these ids to `cache`.
async fn export(bench: &Bench, trees: &[(&str, &Path)], ids: &[&str]) -> ExportedMounts {
    let destination = Destination::Directory {
        path: bench.path("cache"),
        tag: "latest".into(),
        reset: true,
    };
    let tree = |(id, dir): &(&str, &Path)| MountTree {
        id: (*id).into(),
        seed: None,
        dir: dir.to_path_buf(),
    };
    let known = trees.iter().map(|(id, _)| *id).chain(ids.iter().copied());
    let request = MountsExport {
        destination: &destination,
        keys: &MountKeys::default(),
        way: None,
        ids: known.map(str::to_owned).collect::<BTreeSet<_>>(),
        trees: trees.iter().map(tree).collect(),
        progress: &|_| {},
    };
    export_mounts(request).await.unwrap()
}

/// The mounts in `cache`.
fn source(bench: &Bench, wanted: MountsWanted) -> MountSource {
    let src = bench.path("cache");
    let keys = attributes(&[("src", src.to_str().unwrap())]);
    let options = ImportOptions::parse("local", &keys).unwrap();
    let keys = MountKeys {
        wanted,
        digest: None,
    };
    let source = MountSource::new(&options, &keys, None, bench.store.content());
    source.unwrap().unwrap()
}

/// Restores a mount into a new directory; what is wrong is told in words.
async fn restore(bench: &Bench, id: &str) -> Result<PathBuf, String> {
    let dir = tempfile::tempdir_in(bench.dir.path()).unwrap().keep();
    let source = source(bench, MountsWanted::Unsaid);
    let restored = match source.fetch(id, None).await {
        Ok(Some(tree)) => tree.unpack(&dir).map(|()| true),
        Ok(None) => Ok(false),
        Err(error) => Err(error),
    };
    match restored {
        Ok(true) => Ok(dir),
        Ok(false) => Err("it is not there".into()),
        Err(error) => {
            let mut text = error.to_string();
            let mut next = std::error::Error::source(&error);
            while let Some(cause) = next {
                text = format!("{text}: {cause}");
                next = cause.source();
            }
            Err(text)
        }
    }
}

/// Bytes that cannot be compressed, the same each time.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let next = std::iter::repeat_with(|| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 32) as u8
    });
    next.take(length).collect()
}

/// A directory with a bit of everything.
fn tree(bench: &Bench, name: &str, seed: u64) -> PathBuf {
    let dir = bench.path(name);
    fs::create_dir_all(dir.join("a/b")).unwrap();
    fs::write(dir.join("a/b/large"), noise(5_000_000, seed)).unwrap();
    fs::write(dir.join("a/small"), "small").unwrap();
    fs::write(dir.join(".wh.kept"), "no whiteout").unwrap();
    fs::write(dir.join("empty"), "").unwrap();
    fs::hard_link(dir.join("a/small"), dir.join("second")).unwrap();
    symlink("/etc/passwd", dir.join("link")).unwrap();
    fs::set_permissions(dir.join("a"), fs::Permissions::from_mode(0o2750)).unwrap();
    dir
}

/// Names, types, modes, owners, times and contents of all that is in a directory.
fn listing(dir: &Path) -> String {
    let script = "find . | sort | xargs stat -c '%n %f %u %g %y %h %N' \
        && find . -type f | sort | xargs sha256sum";
    String::from_utf8(crate::fixture::sh(dir, script)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_come_back() {
    let bench = Bench::new();
    let (one, two) = (tree(&bench, "one", 1), tree(&bench, "two", 1));
    let exported = export(&bench, &[("/one", &one), ("ns/two", &two)], &[]).await;
    assert_eq!(exported.warnings, Vec::<String>::new());
    // What both have is stored once.
    assert!((5_000_000..6_000_000).contains(&exported.size));
    for (id, dir) in [("/one", &one), ("ns/two", &two)] {
        let back = restore(&bench, id).await.unwrap();
        assert_eq!(listing(&back), listing(dir));
        let inode = |name: &str| fs::metadata(back.join(name)).unwrap().ino();
        assert_eq!(inode("a/small"), inode("second"));
    }
    assert_eq!(
        restore(&bench, "/other").await.unwrap_err(),
        "it is not there"
    );
    let manifest: Value =
        serde_json::from_str(&exported.response["cache.mounts.manifest"]).unwrap();
    let digest = manifest["digest"].as_str().unwrap();
    let manifest = read_json(&blob(&bench.path("cache"), digest));
    assert_eq!(
        manifest["artifactType"],
        "application/vnd.kiln.cache-mounts.v0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_new_is_written() {
    let bench = Bench::new();
    let dir = tree(&bench, "one", 1);
    let first = export(&bench, &[("/one", &dir)], &[]).await;
    let again = export(&bench, &[("/one", &dir)], &[]).await;
    assert_eq!(again.written, 0, "nothing changed");
    assert_eq!(again.size, first.size);
    fs::write(dir.join("a/new"), "new").unwrap();
    let third = export(&bench, &[("/one", &dir)], &[]).await;
    assert!((1..100_000).contains(&third.written), "{}", third.written);
    assert_eq!(
        listing(&restore(&bench, "/one").await.unwrap()),
        listing(&dir)
    );

    // Most of the pack is of no use any more: the rest moves, and `reset` removes it.
    fs::remove_file(dir.join("a/b/large")).unwrap();
    let fourth = export(&bench, &[("/one", &dir)], &[]).await;
    assert!(fourth.size < 100_000, "{}", fourth.size);
    let blobs = fs::read_dir(bench.path("cache/blobs/sha256")).unwrap();
    assert!(
        blobs
            .map(|it| it.unwrap().metadata().unwrap().len())
            .sum::<u64>()
            < 100_000
    );
    assert_eq!(
        listing(&restore(&bench, "/one").await.unwrap()),
        listing(&dir)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_that_are_elsewhere_stay() {
    let bench = Bench::new();
    let (one, two) = (tree(&bench, "one", 1), tree(&bench, "two", 2));
    // Without it, less than half of what was stored is used.
    fs::write(one.join("more"), noise(1_000_000, 3)).unwrap();
    export(&bench, &[("/one", &one), ("/two", &two)], &[]).await;
    export(&bench, &[("/two", &two)], &["/one"]).await;
    assert_eq!(
        listing(&restore(&bench, "/one").await.unwrap()),
        listing(&one)
    );
    // A build without the mount drops it.
    let last = export(&bench, &[("/two", &two)], &[]).await;
    assert_eq!(
        restore(&bench, "/one").await.unwrap_err(),
        "it is not there"
    );
    assert_eq!(
        listing(&restore(&bench, "/two").await.unwrap()),
        listing(&two)
    );
    assert!(last.size < 6_000_000);
    let none = export(&Bench::new(), &[], &["/one"]).await;
    assert_eq!(none, ExportedMounts::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_if_it_was_asked_for() {
    let bench = Bench::new();
    let unsaid = source(&bench, MountsWanted::Unsaid);
    assert_eq!(
        unsaid.seeds("/one").await.unwrap(),
        Vec::<Option<String>>::new()
    );
    let wanted = source(&bench, MountsWanted::Yes);
    let error = wanted.seeds("/one").await.unwrap_err();
    assert!(error.to_string().contains("import cache mounts"));
    assert_eq!(
        wanted.seeds("/one").await.unwrap(),
        Vec::<Option<String>>::new()
    );
}

/// An artifact that somebody made by hand: one mount, one chunk.
struct Forged {
    tree: Vec<u8>,
    /// What the pack holds.
    stored: Vec<u8>,
    /// What the index says the chunk is.
    chunk: Value,
}

impl Forged {
    fn new(headers: &[Header], data: &[u8]) -> Self {
        let mut writer = Writer::new(Vec::new());
        for header in headers {
            let mut header = header.clone();
            if header.kind == EntryKind::File {
                let size = data.len().to_string();
                header.records.insert(b"KILN.size".to_vec(), size.into());
            }
            writer.header(&header).unwrap();
        }
        let stored = zstd::encode_all(data, 3).unwrap();
        Self {
            tree: zstd::encode_all(&*writer.finish().unwrap(), 3).unwrap(),
            chunk: json!({
                "digest": digest_of(data).to_string(), "length": data.len(),
                "pack": 0, "offset": 0, "stored": stored.len(),
            }),
            stored,
        }
    }

    /// Puts it beside the cache of a bench.
    fn write(self, bench: &Bench) {
        let cache = bench.path("cache");
        let described = |kind: &str, bytes: &[u8]| {
            json!({
                "mediaType": format!("application/vnd.kiln.cache-mounts.{kind}"),
                "digest": put(&cache, bytes), "size": bytes.len(),
            })
        };
        let blob = |bytes: &[u8]| json!({"digest": put(&cache, bytes), "size": bytes.len()});
        let index = json!({
            "mounts": [{"id": "/c", "tree": blob(&self.tree), "entries": 1, "chunks": [0]}],
            "chunks": [self.chunk], "packs": [blob(&self.stored)],
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.kiln.cache-mounts.v0",
            "config": described("config.v0+json", index.to_string().as_bytes()), "layers": [],
        });
        crate::fixture::layout(&cache, manifest.to_string().as_bytes());
        let path = cache.join("index.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace("\"latest\"", "\"latest.mounts\"")).unwrap();
    }
}

fn file(name: &str) -> Header {
    Header::file(name, 0, 0o644)
}

fn link(name: &str, target: &str, kind: EntryKind) -> Header {
    Header {
        link: target.into(),
        ..Header::new(name, kind)
    }
}

#[rstest]
#[case::upwards(vec![file("../../escaped")])]
#[case::absolute(vec![file("/escaped")])]
#[case::through_a_link(vec![link("d", "OUTSIDE", EntryKind::Symlink), file("d/escaped")])]
#[case::through_a_link_upwards(vec![link("d", "../..", EntryKind::Symlink), file("d/escaped")])]
#[case::over_a_link(vec![link("escaped", "OUTSIDE/victim", EntryKind::Symlink), file("escaped")])]
#[case::a_hard_link_outside(vec![link("escaped", "OUTSIDE/victim", EntryKind::HardLink)])]
#[case::a_hard_link_upwards(vec![link("escaped", "../../victim", EntryKind::HardLink)])]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_outside(#[case] mut headers: Vec<Header>) {
    let bench = Bench::new();
    let outside = bench.path("outside");
    fs::create_dir(&outside).unwrap();
    for victim in [outside.join("victim"), bench.path("victim")] {
        fs::write(victim, "untouched").unwrap();
    }
    for header in &mut headers {
        let link = String::from_utf8(header.link.clone()).unwrap();
        header.link = link.replace("OUTSIDE", outside.to_str().unwrap()).into();
    }
    Forged::new(&headers, b"escaped").write(&bench);
    // It may work or be refused; what it may not is to show anywhere else.
    let restored = restore(&bench, "/c").await;
    for victim in [outside.join("victim"), bench.path("victim")] {
        assert_eq!(fs::metadata(&victim).unwrap().nlink(), 1, "{restored:?}");
        assert_eq!(fs::read_to_string(victim).unwrap(), "untouched");
    }
    assert!(!outside.join("escaped").exists() && !bench.path("escaped").exists());
    assert!(!Path::new("/escaped").exists());
}

#[rstest]
#[case::another_digest("/digest", json!(digest_of(b"other").to_string()), "is damaged")]
#[case::a_bomb("/length", json!(5), "is damaged")]
#[case::too_short("/length", json!(200), "is damaged")]
#[case::cut("/stored", json!(7), "is damaged")]
#[case::no_pack("/pack", json!(7), "is not in its pack")]
#[case::beyond_the_pack("/offset", json!(1 << 30), "is not in its pack")]
#[case::a_large_chunk("/length", json!(1 << 30), "no possible length")]
#[tokio::test(flavor = "multi_thread")]
async fn wrong_chunks_are_refused(#[case] key: &str, #[case] value: Value, #[case] why: &str) {
    let bench = Bench::new();
    let mut forged = Forged::new(&[file("f")], &[b'x'; 100]);
    *forged.chunk.pointer_mut(key).unwrap() = value;
    forged.write(&bench);
    let error = restore(&bench, "/c").await.unwrap_err();
    assert!(error.contains(why), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_that_ask_for_more_data_than_there_is_are_refused() {
    let bench = Bench::new();
    let mut greedy = file("f");
    greedy
        .records
        .insert(b"KILN.skip".to_vec(), b"1000000000000".to_vec());
    Forged::new(&[greedy], b"data").write(&bench);
    let error = restore(&bench, "/c").await.unwrap_err();
    assert!(error.contains("ends early"), "{error}");

    Forged::new(&[file("f")], b"data").write(&bench);
    let back = restore(&bench, "/c").await.unwrap();
    assert_eq!(fs::read_to_string(back.join("f")).unwrap(), "data");
    for name in fs::read_dir(bench.path("cache/blobs/sha256")).unwrap() {
        fs::write(name.unwrap().path(), "damaged").unwrap();
    }
    assert!(restore(&bench, "/c").await.is_err());
}
