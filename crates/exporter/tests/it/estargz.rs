//! eStargz layers, checked against the format's own words by a reader that trusts nothing, and by others' tools.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use kiln_exporter::compression::{EstargzWriter, Pool};
use kiln_exporter::{Algorithm, Compression, LayerBlob};
use kiln_store::tar::{EntryKind, Header, Writer};
use rstest::rstest;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::fixture::{Bench, config, run, settle, single, write};

const ESTARGZ: Compression = Compression {
    algorithm: Algorithm::Estargz,
    level: None,
    force: false,
};
const FOOTER: usize = 51;
const CHUNK: usize = 4 << 20;

pub(crate) fn sha256(data: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(data)))
}

/// The gzip member that begins at an offset, and where it ends.
fn gzip_member(blob: &[u8], offset: usize) -> (Vec<u8>, usize) {
    let mut reader = flate2::bufread::GzDecoder::new(&blob[offset..]);
    let mut data = Vec::new();
    reader.read_to_end(&mut data).unwrap();
    (data, blob.len() - reader.into_inner().len())
}

fn gunzip(blob: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    flate2::bufread::MultiGzDecoder::new(blob)
        .read_to_end(&mut data)
        .unwrap();
    data
}

/// Bytes that do not repeat.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
    .take(length)
    .collect()
}

/// The table of contents of a blob whose footer is as it must be.
fn table(blob: &[u8]) -> (usize, Vec<u8>) {
    let footer = &blob[blob.len() - FOOTER..];
    // 10 bytes gzip header with FEXTRA, XLEN, SI1, SI2, LEN.
    assert_eq!(&footer[..4], [0x1f, 0x8b, 8, 4]);
    assert_eq!(&footer[10..16], [26, 0, b'S', b'G', 22, 0]);
    assert_eq!(&footer[32..38], b"STARGZ");
    assert_eq!(&footer[38..43], [1, 0, 0, 0xff, 0xff]);
    assert_eq!(&footer[43..], [0; 8]);
    let digits = std::str::from_utf8(&footer[16..32]).unwrap();
    let offset = usize::from_str_radix(digits, 16).unwrap();
    let (tar, end) = gzip_member(blob, offset);
    assert_eq!(end, blob.len() - FOOTER, "the table is one gzip member");
    let mut archive = kiln_store::tar::Reader::new(tar.as_slice());
    let header = archive.next_header().unwrap().unwrap();
    assert_eq!(header.name, b"stargz.index.json");
    let mut json = Vec::new();
    archive.read_to_end(&mut json).unwrap();
    assert!(archive.next_header().unwrap().is_none());
    (offset, json)
}

/// Checks a whole blob; answers the entries of its table by name, with their contents.
fn verify(
    blob: &[u8],
    diff_id: &str,
    annotations: &BTreeMap<String, String>,
) -> Vec<(Value, Vec<u8>)> {
    let (table_offset, json) = table(blob);
    assert_eq!(
        annotations["containerd.io/snapshot/stargz/toc.digest"],
        sha256(&json)
    );
    let tar = gunzip(blob);
    assert_eq!(diff_id, sha256(&tar));
    assert_eq!(
        annotations["io.containers.estargz.uncompressed-size"],
        tar.len().to_string()
    );
    let toc: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(toc["version"], 1);
    let mut files: Vec<(Value, Vec<u8>)> = Vec::new();
    for entry in toc["entries"].as_array().unwrap() {
        if entry["type"] != "chunk" {
            assert!(entry["mode"].is_i64() && entry["uid"].is_i64() && entry["gid"].is_i64());
            files.push((entry.clone(), Vec::new()));
        }
        if entry["type"] != "chunk" && (entry["type"] != "reg" || entry["size"].is_null()) {
            assert!(entry["offset"].is_null() && entry["chunkDigest"].is_null());
            continue;
        }
        let (file, data) = files.last_mut().unwrap();
        assert_eq!(entry["name"], file["name"]);
        let size = file["size"].as_u64().unwrap() as usize;
        let begin = entry["chunkOffset"].as_u64().unwrap_or(0) as usize;
        assert_eq!(begin, data.len());
        let length = match entry["chunkSize"].as_u64() {
            Some(length) => length as usize,
            None => size - begin,
        };
        let offset = entry["offset"].as_u64().unwrap() as usize;
        assert!(offset < table_offset);
        let (member, _) = gzip_member(blob, offset);
        assert_eq!(entry["chunkDigest"], sha256(&member[..length]));
        data.extend_from_slice(&member[..length]);
    }
    for (entry, data) in files.iter().filter(|(entry, _)| entry["type"] == "reg") {
        assert_eq!(entry["size"].as_u64().unwrap_or(0), data.len() as u64);
        assert_eq!(entry["digest"], sha256(data));
    }
    files
}

fn verify_layer(bench: &Bench, layer: &LayerBlob) -> Vec<(Value, Vec<u8>)> {
    let blob = bench
        .store
        .content()
        .read(layer.descriptor.digest(), 1 << 30)
        .unwrap();
    let annotations = layer.descriptor.annotations().clone().unwrap();
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    assert_eq!(layer.descriptor.media_type().to_string(), gzip);
    verify(
        &blob,
        layer.diff_id.as_ref(),
        &annotations.into_iter().collect(),
    )
}

/// A bit of everything that a layer can hold.
pub(crate) fn everything(dir: &Path) {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    write(&dir.join("etc/motd"), "hello\n", 0o4755);
    write(&dir.join("etc/empty"), "", 0o600);
    fs::write(dir.join("big"), noise(2 * CHUNK + 17)).unwrap();
    fs::write(dir.join("even"), noise(CHUNK)).unwrap();
    write(
        &dir.join(format!("{}/deep", "long-name/".repeat(24))),
        "x",
        0o644,
    );
    fs::hard_link(dir.join("etc/motd"), dir.join("etc/other")).unwrap();
    std::os::unix::fs::symlink("motd", dir.join("etc/alias")).unwrap();
    let mode = Mode::from_raw_mode(0o666);
    mknodat(CWD, dir.join("pipe"), FileType::Fifo, mode, 0).unwrap();
    mknodat(
        CWD,
        dir.join("null"),
        FileType::CharacterDevice,
        mode,
        makedev(1, 3),
    )
    .unwrap();
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(dir.join("big"), "security.capability", capability, flags).unwrap();
    settle(dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_is_as_the_format_says() {
    let bench = Bench::new();
    let reference = bench.layer(None, everything);
    let layers = bench.exporter.layers(&reference, &ESTARGZ).await.unwrap();
    let files = verify_layer(&bench, &layers[0]);
    let find = |name: &str| {
        let found = files.iter().find(|(entry, _)| entry["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(find("big").1, noise(2 * CHUNK + 17));
    assert_eq!(find("even").1, noise(CHUNK));
    assert!(find("even").0["chunkSize"].is_null());
    assert_eq!(find("big").0["chunkSize"], CHUNK);
    assert_eq!(
        find("big").0["xattrs"]["security.capability"],
        "AQAAAgAEAAAAAAAAAAAAAAAAAAA="
    );
    assert_eq!(find("etc/").0["type"], "dir");
    assert_eq!(find("etc/alias").0["linkName"], "motd");
    let motd = &find("etc/motd").0;
    assert_eq!(
        (motd["mode"].as_i64(), motd["modtime"].as_str()),
        (Some(0o4755), Some("2017-07-14T02:40:00Z"))
    );
    assert_eq!(find("etc/other").0["type"], "hardlink");
    assert_eq!(find("etc/other").0["linkName"], "etc/motd");
    assert_eq!(find("pipe").0["type"], "fifo");
    let null = &find("null").0;
    assert_eq!(
        (&null["type"], &null["devMajor"], &null["devMinor"]),
        (&"char".into(), &1.into(), &3.into())
    );
    assert_eq!(find(&format!("{}deep", "long-name/".repeat(24))).1, b"x");
    let (landmark, data) = files.last().unwrap();
    assert_eq!(
        (&landmark["name"], data.as_slice()),
        (&".no.prefetch.landmark".into(), &[0xf][..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_depend_on_nothing_but_the_files() {
    let mut made = Vec::new();
    for threads in [1, 2, 5] {
        let bench = Bench::with_threads(threads);
        let reference = bench.layer(None, everything);
        if threads == 5 {
            // Whatever was made before.
            bench
                .exporter
                .layers(&reference, &Compression::default())
                .await
                .unwrap();
        }
        let first = bench.exporter.layers(&reference, &ESTARGZ).await.unwrap();
        assert_eq!(
            bench.exporter.layers(&reference, &ESTARGZ).await.unwrap(),
            first
        );
        made.push(first);
    }
    assert!(made[0] == made[1] && made[1] == made[2], "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_other_forms_each_keeps_its_own() {
    let bench = Bench::new();
    let reference = bench.two_layers();
    let estargz = bench.exporter.layers(&reference, &ESTARGZ).await.unwrap();
    let gzip = bench
        .exporter
        .layers(&reference, &Compression::default())
        .await
        .unwrap();
    for (estargz, gzip) in estargz.iter().zip(&gzip) {
        assert_ne!(estargz.diff_id, gzip.diff_id);
        assert_eq!(gzip.descriptor.annotations(), &None);
        verify_layer(&bench, estargz);
    }
    assert_eq!(
        bench.exporter.layers(&reference, &ESTARGZ).await.unwrap(),
        estargz
    );
}

#[rstest]
#[case(0)]
#[case(9)]
#[tokio::test(flavor = "multi_thread")]
async fn levels_change_the_blob_and_nothing_in_it(#[case] level: i32) {
    let bench = Bench::new();
    let reference = bench.two_layers();
    let usual = bench.exporter.layers(&reference, &ESTARGZ).await.unwrap();
    let wanted = Compression {
        level: Some(level),
        ..ESTARGZ
    };
    let layers = bench.exporter.layers(&reference, &wanted).await.unwrap();
    let contents = |layer| {
        verify_layer(&bench, layer)
            .into_iter()
            .map(|(_, data)| data)
            .collect::<Vec<_>>()
    };
    assert_eq!(contents(&layers[0]), contents(&usual[0]));
    match level {
        0 => assert!(layers[0].descriptor.size() > usual[0].descriptor.size()),
        _ => assert!(layers[0].descriptor.size() <= usual[0].descriptor.size()),
    }
}

/// The format's own library, behind `ctr-remote`, finds the table by its footer.
#[tokio::test(flavor = "multi_thread")]
async fn the_formats_own_tool_reads_it() {
    let bench = Bench::new();
    let reference = bench.layer(None, everything);
    let layers = bench.exporter.layers(&reference, &ESTARGZ).await.unwrap();
    let descriptor = &layers[0].descriptor;
    let containerd = kiln_testkit::containerd::Containerd::start().unwrap();
    let socket = containerd.socket();
    let (socket, digest) = (socket.to_str().unwrap(), descriptor.digest().as_ref());
    let blob = bench.store.content().path(descriptor.digest());
    let ingest = "ctr --address $0 content ingest --expected-digest $1 layer < $2";
    let blob = blob.to_str().unwrap();
    run("sh", &["-c", ingest, socket, digest, blob]);
    let read = |options: &[&str]| {
        let command = ["--address", socket, "images", "get-toc-digest"];
        run("ctr-remote", &[&command, options, &[digest]].concat())
    };
    let annotations = descriptor.annotations().as_ref().unwrap();
    let expected = &annotations["containerd.io/snapshot/stargz/toc.digest"];
    assert_eq!(read(&[]).trim(), expected);
    let toc: Value = serde_json::from_str(&read(&["--dump-toc"])).unwrap();
    let entries = toc["entries"].as_array().unwrap();
    let names = verify_layer(&bench, &layers[0])
        .into_iter()
        .map(|(entry, _)| entry["name"].clone());
    let theirs = entries.iter().filter(|entry| entry["type"] != "chunk");
    assert!(names.eq(theirs.map(|entry| entry["name"].clone())));
}

/// Readers that know nothing of eStargz see the layer's files and nothing that was added.
#[tokio::test(flavor = "multi_thread")]
async fn plain_readers_see_only_the_files() {
    let bench = Bench::new();
    let input = single(Some(bench.layer(None, everything)), config(&["a"]));
    let mut listings = Vec::new();
    for compression in ["gzip", "estargz"] {
        let layout = bench.path(compression);
        let keys = format!("oci,tar=false,name=app:1,compression={compression}");
        bench.export(&input, &keys, &layout).await.unwrap();
        let bundle = bench.path(&format!("bundle-{compression}"));
        let image = format!("{}:1", layout.display());
        run(
            "umoci",
            &["unpack", "--image", &image, bundle.to_str().unwrap()],
        );
        // umoci itself does not keep the times of all folders.
        let list = r"cd $0/rootfs && find . -mindepth 1 -printf '%p %y %m %U %G %n %l ' \( -type d -o -printf '%s %T@' \) \
                     -printf '\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum";
        listings.push(run("sh", &["-c", list, bundle.to_str().unwrap()]));
        assert!(!bundle.join("rootfs/stargz.index.json").exists());
    }
    assert_eq!(listings[0], listings[1]);
}

fn estargz(tar: &[u8], piece: usize) -> std::io::Result<Vec<u8>> {
    use std::io::Write;
    let pool = Pool::new(2, 16 << 20);
    let mut writer = EstargzWriter::new(&pool, &ESTARGZ, Vec::new());
    for piece in tar.chunks(piece) {
        writer.write_all(piece)?;
    }
    let (blob, summary) = writer.finish()?;
    verify(&blob, summary.diff_id.as_ref(), &summary.annotations);
    Ok(blob)
}

fn tar(members: &[(Header, &[u8])]) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    for (header, data) in members {
        tar.entry(header, *data).unwrap();
    }
    tar.finish().unwrap()
}

#[test]
fn any_tar_keeps_its_bytes() {
    let mut long = Header::file("n".repeat(300), 3, 0o644);
    long.set_xattr(b"user.a", b"b\n".to_vec());
    let plain = tar(&[
        (Header::directory("d", 0o755), b""),
        (Header::file("d/f", 512, 0o644), &[7; 512]),
        (long, b"abc"),
    ]);
    let gnu = {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("x".repeat(200)), "gnu", 0o644);
        write(&dir.path().join("z"), "last", 0o644);
        let out = dir
            .path()
            .join("../gnu.tar")
            .canonicalize()
            .unwrap_or(dir.path().join("gnu.tar"));
        let (out, from) = (out.to_str().unwrap(), dir.path().to_str().unwrap());
        run(
            "tar",
            &[
                "--format=gnu",
                "-C",
                from,
                "--exclude=gnu.tar",
                "-cf",
                out,
                ".",
            ],
        );
        fs::read(out).unwrap()
    };
    // Tars of nothing, without an end mark, and with more behind it.
    let endless = plain[..plain.len() - 1024].to_vec();
    let trailed = [plain.as_slice(), &[0; 9000], b"more"].concat();
    for tar in [plain, gnu, endless, trailed, tar(&[]), Vec::new()] {
        let blob = estargz(&tar, 1 << 20).unwrap();
        assert!(gunzip(&blob).starts_with(&tar));
        for piece in [1, 511, 513] {
            assert!(
                estargz(&tar, piece).unwrap() == blob,
                "in pieces of {piece}"
            );
        }
    }
}

#[rstest]
#[case(
    "stargz.index.json",
    EntryKind::File,
    "has the name of estargz's own index"
)]
#[case(
    "./stargz.index.json",
    EntryKind::File,
    "has the name of estargz's own index"
)]
#[case(
    "odd",
    EntryKind::Other(b'7'),
    "is of a kind that estargz does not have"
)]
#[case(
    "holes",
    EntryKind::Other(b'S'),
    "is a sparse file, which estargz cannot hold"
)]
fn what_cannot_be_an_estargz_is_named(
    #[case] name: &str,
    #[case] kind: EntryKind,
    #[case] reason: &str,
) {
    let error = estargz(&tar(&[(Header::new(name, kind), b"")]), 512).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("compress to estargz: {name:?} {reason}; use compression=gzip")
    );
}

#[test]
fn what_is_no_tar_is_refused() {
    let good = tar(&[(Header::file("f", 600, 0o644), &[1; 600])]);
    for cut in [1, 511, 513, 1024, 1500] {
        assert!(estargz(&good[..cut], 512).is_err(), "cut at {cut}");
    }
    assert!(estargz(&[b'x'; 2048], 512).is_err());
}
