//! zstd:chunked layers, checked by a reader that trusts nothing, and by others' tools.

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kiln_exporter::compression::{Pool, ZstdChunkedWriter};
use kiln_exporter::{Algorithm, Compression, LayerBlob};
use kiln_store::tar::{EntryKind, Header, Writer};
use rstest::rstest;
use serde_json::Value;

use crate::estargz::{everything, noise, sha256};
use crate::fixture::{Bench, config, run, single};

const CHUNKED: Compression = Compression {
    algorithm: Algorithm::ZstdChunked,
    level: None,
    force: false,
};
const CHUNK: usize = 1 << 20;
const PREFIX: &str = "io.github.containers.zstd-chunked.";

fn unzstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::decode_all(bytes).unwrap()
}

/// The numbers of an annotation.
fn numbers(annotations: &BTreeMap<String, String>, name: &str) -> Vec<usize> {
    let text = &annotations[&format!("{PREFIX}{name}")];
    text.split(':').map(|part| part.parse().unwrap()).collect()
}

/// The content of a skippable frame that begins 8 bytes before an offset.
fn skippable(blob: &[u8], offset: usize, length: usize) -> &[u8] {
    assert_eq!(blob[offset - 8..offset - 4], [0x50, 0x2a, 0x4d, 0x18]);
    assert_eq!(blob[offset - 4..offset], (length as u32).to_le_bytes());
    &blob[offset..offset + length]
}

/// Bit by bit, as ISO 3309 has it.
fn crc64(data: &[u8]) -> u64 {
    !data.iter().fold(!0_u64, |sum, byte| {
        (0..8).fold(sum ^ u64::from(*byte), |sum, _| match sum & 1 {
            1 => (sum >> 1) ^ 0xd800_0000_0000_0000,
            _ => sum >> 1,
        })
    })
}

/// Checks a whole blob; answers the entries of its table by name, with their contents.
fn verify(
    blob: &[u8],
    diff_id: &str,
    annotations: &BTreeMap<String, String>,
) -> Vec<(Value, Vec<u8>)> {
    assert_eq!(annotations.len(), 3, "{annotations:?}");
    let [begin, length, full, kind] = numbers(annotations, "manifest-position")[..] else {
        panic!("{annotations:?}");
    };
    let table = skippable(blob, begin, length);
    assert_eq!(
        annotations[&format!("{PREFIX}manifest-checksum")],
        sha256(table)
    );
    let json = unzstd(table);
    assert_eq!((json.len(), kind), (full, 1));
    let [split_begin, split_length, split_full] = numbers(annotations, "tarsplit-position")[..]
    else {
        panic!("{annotations:?}");
    };
    assert_eq!(split_begin, begin + length + 8);
    let split = skippable(blob, split_begin, split_length);
    let lines = unzstd(split);
    assert_eq!(lines.len(), split_full);
    let footer = skippable(blob, split_begin + split_length + 8, 64);
    assert_eq!(blob.len(), split_begin + split_length + 8 + 64);
    let numbers = [
        begin,
        length,
        full,
        1,
        split_begin,
        split_length,
        split_full,
    ];
    let numbers: Vec<_> = numbers
        .into_iter()
        .flat_map(|number| (number as u64).to_le_bytes())
        .collect();
    assert_eq!(footer[..56], numbers);
    assert_eq!(&footer[56..], b"GNUlInUx");

    let toc: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(toc["version"], 1);
    assert_eq!(toc["tarSplitDigest"], sha256(split));
    let files = contents(blob, &toc, begin - 8);
    let tar = put_together(&lines, &files);
    assert_eq!(diff_id, sha256(&tar));
    assert!(unzstd(blob) == tar, "ordinary readers see another tar");
    files
}

/// What every file of the table holds, each chunk fetched and checked alone.
fn contents(blob: &[u8], toc: &Value, end: usize) -> Vec<(Value, Vec<u8>)> {
    let mut files: Vec<(Value, Vec<u8>)> = Vec::new();
    let entries = toc["entries"].as_array().unwrap();
    let number = |entry: &Value, key: &str| entry[key].as_u64().unwrap_or(0) as usize;
    for (index, entry) in entries.iter().enumerate() {
        if entry["type"] != "chunk" {
            files.push((entry.clone(), Vec::new()));
        }
        let (file, data) = files.last_mut().unwrap();
        if file["type"] != "reg" || file["size"].is_null() {
            assert!(
                entry["offset"].is_null() && entry["digest"].is_null(),
                "{entry}"
            );
            continue;
        }
        assert_eq!(entry["name"], file["name"]);
        assert_eq!(number(entry, "chunkOffset"), data.len());
        let follows = entries
            .get(index + 1)
            .filter(|next| next["type"] == "chunk");
        let to = match follows {
            Some(next) => number(next, "offset"),
            None => number(entry, "endOffset"),
        };
        assert!(to <= end);
        let chunk = unzstd(&blob[number(entry, "offset")..to]);
        if follows.is_some() || entry["type"] == "chunk" {
            assert_eq!(number(entry, "chunkSize"), chunk.len());
            assert_eq!(entry["chunkDigest"], sha256(&chunk));
        }
        data.extend(chunk);
    }
    for (entry, data) in files.iter().filter(|(entry, _)| entry["type"] == "reg") {
        assert_eq!(number(entry, "size"), data.len());
        if !data.is_empty() {
            assert_eq!(entry["digest"], sha256(data), "{entry}");
        }
    }
    files
}

/// The tar, from its files and what lies between them.
fn put_together(lines: &[u8], files: &[(Value, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Vec::new();
    let mut left = files.iter();
    let lines = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    for (position, line) in lines.enumerate() {
        let line: Value = serde_json::from_slice(line).unwrap();
        assert_eq!(line["position"], position);
        let payload = line["payload"].as_str();
        let payload = payload.map(|payload| BASE64_STANDARD.decode(payload).unwrap());
        if line["type"] == 2 {
            tar.extend(payload.unwrap());
            continue;
        }
        let (entry, data) = left.next().unwrap();
        assert_eq!((&line["type"], &line["name"]), (&1.into(), &entry["name"]));
        assert_eq!(line["size"].as_u64().unwrap_or(0), data.len() as u64);
        match data.is_empty() {
            true => assert_eq!(payload, None),
            false => assert_eq!(payload.unwrap(), crc64(data).to_be_bytes()),
        }
        tar.extend_from_slice(data);
    }
    assert!(left.next().is_none());
    tar
}

fn verify_layer(bench: &Bench, layer: &LayerBlob) -> Vec<(Value, Vec<u8>)> {
    let blob = bench
        .store
        .content()
        .read(layer.descriptor.digest(), 1 << 30)
        .unwrap();
    let annotations = layer.descriptor.annotations().clone().unwrap();
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    assert_eq!(layer.descriptor.media_type().to_string(), zstd);
    verify(
        &blob,
        layer.diff_id.as_ref(),
        &annotations.into_iter().collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_is_as_its_readers_want_it() {
    let bench = Bench::new();
    let reference = bench.layer(None, everything);
    let layers = bench.exporter.layers(&reference, &CHUNKED).await.unwrap();
    let files = verify_layer(&bench, &layers[0]);
    let find = |name: &str| {
        let found = files.iter().find(|(entry, _)| entry["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}"))
    };
    let (big, data) = find("big");
    assert!(*data == noise((8 << 20) + 17));
    assert_eq!(big["chunkSize"], CHUNK);
    let capability = "AQAAAgAEAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(big["xattrs"]["security.capability"], capability);
    assert_eq!(find("etc/").0["type"], "dir");
    assert_eq!(find("etc/alias").0["linkName"], "motd");
    let motd = &find("etc/motd").0;
    assert_eq!(
        (motd["mode"].as_i64(), motd["modtime"].as_str()),
        (Some(0o4755), Some("2017-07-14T02:40:00Z"))
    );
    assert!(motd["chunkDigest"].is_null() && motd["chunkSize"].is_null());
    assert_eq!(find("etc/other").0["linkName"], "etc/motd");
    assert_eq!(find("pipe").0["type"], "fifo");
    let null = &find("null").0;
    assert_eq!(
        (&null["type"], &null["devMajor"]),
        (&"char".into(), &1.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_depend_on_nothing_but_the_files() {
    let mut made = Vec::new();
    for threads in [1, 2, 5] {
        let bench = Bench::with_threads(threads);
        let reference = bench.layer(None, everything);
        made.push(bench.exporter.layers(&reference, &CHUNKED).await.unwrap());
    }
    assert!(made[0] == made[1] && made[1] == made[2], "{made:?}");
}

/// Plain Zstandard has the same media type and the same tar, but no table.
#[tokio::test(flavor = "multi_thread")]
async fn beside_plain_zstd_each_keeps_its_own() {
    let bench = Bench::new();
    let reference = bench.two_layers();
    let zstd = Compression {
        algorithm: Algorithm::Zstd,
        ..CHUNKED
    };
    let plain = bench.exporter.layers(&reference, &zstd).await.unwrap();
    let chunked = bench.exporter.layers(&reference, &CHUNKED).await.unwrap();
    for (plain, chunked) in plain.iter().zip(&chunked) {
        assert_eq!(plain.diff_id, chunked.diff_id);
        assert_ne!(plain.descriptor.digest(), chunked.descriptor.digest());
        assert_eq!(plain.descriptor.annotations(), &None);
        verify_layer(&bench, chunked);
    }
    assert_eq!(
        bench.exporter.layers(&reference, &zstd).await.unwrap(),
        plain
    );
    assert_eq!(
        bench.exporter.layers(&reference, &CHUNKED).await.unwrap(),
        chunked
    );
}

#[rstest]
#[case(0)]
#[case(12)]
#[tokio::test(flavor = "multi_thread")]
async fn levels_change_the_blob_and_nothing_in_it(#[case] level: i32) {
    let bench = Bench::new();
    let reference = bench.two_layers();
    let wanted = Compression {
        level: Some(level),
        ..CHUNKED
    };
    let usual = bench.exporter.layers(&reference, &CHUNKED).await.unwrap();
    let layers = bench.exporter.layers(&reference, &wanted).await.unwrap();
    let contents = |layer| -> Vec<_> {
        let files = verify_layer(&bench, layer).into_iter();
        files.map(|(_, data)| data).collect()
    };
    assert_eq!(contents(&layers[0]), contents(&usual[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn images_have_its_annotations_and_others_read_them() {
    let bench = Bench::new();
    let reference = bench.layer(None, everything);
    let input = single(Some(reference), config(&["COPY"]));
    let keys = "oci,tar=false,compression=zstd:chunked,name=a:b";
    let layout = bench.path("out");
    bench.export(&input, keys, &layout).await.unwrap();
    let from = format!("oci:{}:b", layout.display());
    let manifest: Value =
        serde_json::from_str(&run("skopeo", &["inspect", "--raw", &from])).unwrap();
    let annotations = manifest["layers"][0]["annotations"].as_object().unwrap();
    assert!(
        annotations.keys().all(|key| key.starts_with(PREFIX)) && annotations.len() == 3,
        "{annotations:?}"
    );
    let digest = manifest["layers"][0]["digest"].as_str().unwrap();
    let blob = layout.join("blobs").join(digest.replace(':', "/"));
    let listing = run(
        "sh",
        &["-c", "zstd -dc \"$0\" | tar -t", blob.to_str().unwrap()],
    );
    assert!(listing.lines().any(|line| line == "etc/motd"), "{listing}");
}

/// A tar of these members, all empty.
fn tar_of(members: &[Header]) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    for member in members {
        tar.header(member).unwrap();
    }
    tar.finish().unwrap()
}

fn write_all(tar: &[u8], piece: usize) -> std::io::Result<(Vec<u8>, BTreeMap<String, String>)> {
    let pool = Pool::new(2, 32 << 20);
    let mut writer = ZstdChunkedWriter::new(&pool, &CHUNKED, Vec::new());
    for piece in tar.chunks(piece) {
        writer.write_all(piece)?;
    }
    writer.finish()
}

#[rstest]
#[case(&[Header::file(&b"caf\xe9"[..], 0, 0o644)], "is no Unicode")]
#[case(&[Header::file("a", 0, 0o644), Header::file("./a", 0, 0o644)], "is there twice")]
#[case(&[Header::new("a", EntryKind::Other(b'Z'))], "is of a kind that zstd:chunked does not have")]
fn what_it_cannot_hold_is_named(#[case] members: &[Header], #[case] expected: &str) {
    let error = write_all(&tar_of(members), 4096).unwrap_err().to_string();
    assert!(
        error.contains(expected) && error.contains("use compression=zstd"),
        "{error}"
    );
}

#[test]
fn pieces_of_any_length_give_the_same_bytes() {
    let mut tar = Writer::new(Vec::new());
    for (name, length) in [("a", 0), ("b", 700), ("c", 3 * CHUNK), ("d", 1)] {
        let data = noise(length);
        tar.entry(&Header::file(name, length as u64, 0o644), data.as_slice())
            .unwrap();
    }
    let mut tar = tar.finish().unwrap();
    // Other writers pad the end.
    tar.extend([0; 10 << 10]);
    let (whole, annotations) = write_all(&tar, tar.len()).unwrap();
    verify(&whole, &sha256(&tar), &annotations);
    for piece in [511, 4097] {
        assert!(write_all(&tar, piece).unwrap().0 == whole);
    }
    assert!(write_all(&tar[..1000], 100).is_err(), "half a tar");
    let (empty, annotations) = write_all(&[0; 1024], 1024).unwrap();
    verify(&empty, &sha256(&[0; 1024]), &annotations);
}
