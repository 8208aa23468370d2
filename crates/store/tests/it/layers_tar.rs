//! Archives: round trips, the exact bytes of headers, and other programs as readers and writers.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use kiln_store::tar::{
    EntryKind, Format, Header, Limits, Piece, ReadError, Reader, Timestamp, WriteError, Writer,
};
use proptest::prelude::*;
use rstest::rstest;
use tempfile::tempdir;

/// All members of an archive with their data.
fn read_all(archive: impl Read) -> Result<Vec<(Header, Vec<u8>)>, ReadError> {
    let mut reader = Reader::new(archive);
    let mut members = Vec::new();
    while let Some(header) = reader.next_header()? {
        let mut data = Vec::new();
        reader
            .read_to_end(&mut data)
            .map_err(|source| ReadError::Io { offset: 0, source })?;
        members.push((header, data));
    }
    Ok(members)
}

fn write_all(members: &[(Header, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (header, data) in members {
        writer.entry(header, data.as_slice()).unwrap();
    }
    writer.finish().unwrap()
}

/// The members as `type name mode uid gid size mtime link` lines, told by Python's reader.
fn python_list(archive: &[u8]) -> String {
    let script = "import sys, tarfile, io\n\
        for m in tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read())):\n\
        \x20   print(m.type.decode(), m.name, oct(m.mode)[2:], m.uid, m.gid, m.size, m.mtime, m.linkname)";
    run(Command::new("python3").args(["-c", script]), archive)
}

fn run(command: &mut Command, input: &[u8]) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn layer_file(name: &str, size: u64) -> Header {
    Header {
        format: Format::Pax,
        ..Header::file(name, size, 0o644)
    }
}

/// 101 bytes.
const N: &str = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";
/// The first 100 bytes of the name that its records get.
const RECORDS_OF_N: &str = "PaxHeaders.0/nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";

/// Member headers whose form is decided by one field each: which blocks come out.
#[rstest]
#[case::plain(layer_file("a", 0), &["a"])]
#[case::directory(Header { format: Format::Pax, ..Header::directory("d", 0o755) }, &["d/"])]
#[case::hundred_bytes(layer_file(&N[..100], 0), &[&N[..100]])]
#[case::split_name(layer_file(&format!("{}/{}", "d".repeat(90), "n".repeat(90)), 0), &[&N[..90]])]
#[case::name_too_long_to_split(layer_file(N, 0), &[RECORDS_OF_N, &N[..100]])]
#[case::beyond_ascii(layer_file("d/ä", 0), &["d/PaxHeaders.0", "d/"])]
#[case::attribute({ let mut header = layer_file("d/f", 0); header.set_xattr(b"security.capability", *b"\x01\0"); header }, &["d/PaxHeaders.0/f", "d/f"])]
#[case::large_owner(Header { uid: 1 << 21, ..layer_file("f", 0) }, &["PaxHeaders.0/f", "f"])]
#[case::before_1970(Header { mtime: Timestamp::seconds(-1), ..layer_file("f", 0) }, &["PaxHeaders.0/f", "f"])]
#[case::fraction(Header { mtime: Timestamp { seconds: 1, nanos: 5 }, ..layer_file("f", 0) }, &["PaxHeaders.0/f", "f"])]
#[case::fraction_rounded(Header { mtime: Timestamp { seconds: 1, nanos: 5 }, ..Header::file("f", 0, 0o644) }, &["f"])]
fn chooses_the_smallest_form(#[case] header: Header, #[case] names: &[&str]) {
    let archive = write_all(&[(header, Vec::new())]);
    let blocks: Vec<&[u8]> = archive.chunks(512).collect();
    let (end, members) = blocks.split_at(blocks.len() - 2).swap();
    assert!(end.iter().all(|block| block.iter().all(|&byte| byte == 0)));
    // A records member is followed by its data.
    let headers: Vec<_> = if members.len() == 3 {
        vec![members[0], members[2]]
    } else {
        members.to_vec()
    };
    let field = |block: &[u8]| {
        String::from_utf8_lossy(block[..100].split(|&byte| byte == 0).next().unwrap()).into_owned()
    };
    assert_eq!(
        headers.iter().map(|block| field(block)).collect::<Vec<_>>(),
        names
    );
}

trait Swap<T> {
    fn swap(self) -> (T, T);
}

impl<T> Swap<T> for (T, T) {
    fn swap(self) -> (T, T) {
        (self.1, self.0)
    }
}

/// One header in full, byte for byte as Go's archive/tar writes it.
#[test]
fn a_header_block_in_full() {
    let header = Header {
        uid: 1000,
        gid: 100,
        mtime: Timestamp::seconds(1_700_000_000),
        ..layer_file("usr/bin/true", 3)
    };
    let archive = write_all(&[(header, b"abc".to_vec())]);
    let expected = [
        (0, "usr/bin/true\0"),
        (100, "0000644\0"),
        (108, "0001750\0"),
        (116, "0000144\0"),
        (124, "00000000003\0"),
        (136, "14524770400\0"),
        (148, "011551\0 "),
        (156, "0\0"),
        (257, "ustar\x0000\0"),
        (329, "0000000\0"),
        (337, "0000000\0"),
        (512, "abc\0"),
    ];
    for (offset, text) in expected {
        assert_eq!(
            &archive[offset..offset + text.len()],
            text.as_bytes(),
            "at {offset}"
        );
    }
    assert_eq!(archive.len(), 4 * 512);
}

#[test]
fn python_reads_what_we_write() {
    let mut link = Header {
        link: b"f".to_vec(),
        ..Header::new("l", EntryKind::Symlink)
    };
    link.mode = 0o777;
    let hard = Header {
        link: "ü".repeat(80).into_bytes(),
        ..Header::new("h", EntryKind::HardLink)
    };
    let members = [
        (Header::directory("d", 0o1777), Vec::new()),
        (
            Header {
                uid: 5_000_000,
                mtime: Timestamp::seconds(12),
                ..layer_file(&"d/".repeat(60), 0).renamed("f")
            },
            Vec::new(),
        ),
        (layer_file(&"ü".repeat(80), 600), vec![7; 600]),
        (link, Vec::new()),
        (hard, Vec::new()),
    ];
    let expected = format!(
        "5 d 1777 0 0 0 0 \n0 {}f 644 5000000 0 0 12 \n0 {name} 644 0 0 600 0 \n2 l 777 0 0 0 0 f\n1 h 0 0 0 0 0 {name}\n",
        "d/".repeat(60),
        name = "ü".repeat(80),
    );
    assert_eq!(python_list(&write_all(&members)), expected);
}

trait Renamed {
    fn renamed(self, last: &str) -> Self;
}

impl Renamed for Header {
    fn renamed(mut self, last: &str) -> Self {
        self.name.extend_from_slice(last.as_bytes());
        self
    }
}

/// Every dialect that GNU tar writes, of a tree with a long name, a hole and a second name.
#[rstest]
#[case::v7("v7", false, false)]
#[case::ustar("ustar", false, false)]
#[case::oldgnu("oldgnu", true, true)]
#[case::gnu("gnu", true, true)]
#[case::pax("pax", true, true)]
fn reads_what_gnu_tar_writes(#[case] format: &str, #[case] long_names: bool, #[case] sparse: bool) {
    let dir = tempdir().unwrap();
    let long = if long_names {
        "n".repeat(150)
    } else {
        "n".repeat(90)
    };
    std::fs::write(dir.path().join(&long), "long").unwrap();
    let holey = std::fs::File::create(dir.path().join("holey")).unwrap();
    holey.set_len(3 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&holey, b"middle", 1 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&holey, b"later", 2 << 20).unwrap();
    std::fs::hard_link(dir.path().join("holey"), dir.path().join("second")).unwrap();
    let versions: &[&str] = if format == "pax" {
        &["0.0", "0.1", "1.0"]
    } else {
        &["1.0"]
    };
    for version in versions {
        let mut command = Command::new("tar");
        command
            .args(["--format", format, "--sort=name", "-C"])
            .arg(dir.path())
            .args(["-cf", "-", "."]);
        if sparse {
            command.args(["--sparse", "--sparse-version", version]);
        }
        let archive = command.output().unwrap().stdout;
        let members = read_all(archive.as_slice()).unwrap();
        let names: Vec<String> = members
            .iter()
            .map(|(header, _)| header.path().display().to_string())
            .collect();
        assert_eq!(
            names,
            [
                "./".to_owned(),
                "./holey".to_owned(),
                format!("./{long}"),
                "./second".to_owned()
            ],
            "{version}"
        );
        let (header, data) = &members[1];
        assert_eq!((header.size, data.len()), (3 << 20, 3 << 20));
        assert_eq!(
            (&data[1 << 20..][..6], &data[2 << 20..][..5]),
            (&b"middle"[..], &b"later"[..])
        );
        assert!(
            !sparse || archive.len() < 1 << 20,
            "{version}: the archive itself is sparse"
        );
        assert_eq!(
            (members[3].0.kind, members[3].0.link.as_slice()),
            (EntryKind::HardLink, &b"./holey"[..])
        );
    }
}

#[test]
fn reads_what_python_writes() {
    let script = "import tarfile, io, sys\n\
        a = io.BytesIO(); b = io.BytesIO()\n\
        t = tarfile.open(fileobj=a, mode='w', format=tarfile.PAX_FORMAT, pax_headers={'comment': 'all'})\n\
        i = tarfile.TarInfo('x' * 200); i.size = 3; i.mtime = 1.5; i.uid = 2**40\n\
        i.pax_headers = {'SCHILY.xattr.user.a': 'v\\nw'}; t.addfile(i, io.BytesIO(b'abc'))\n\
        g = tarfile.open(fileobj=b, mode='w', format=tarfile.GNU_FORMAT)\n\
        i = tarfile.TarInfo('y' * 200); i.type = tarfile.SYMTYPE; i.linkname = 'z' * 200; i.uid = 2**33; g.addfile(i); g.close()\n\
        sys.stdout.buffer.write(a.getvalue() + b.getvalue())";
    let archive = Command::new("python3")
        .args(["-c", script])
        .output()
        .unwrap()
        .stdout;
    let members = read_all(archive.as_slice()).unwrap();
    let kinds: Vec<_> = members.iter().map(|(header, _)| header.kind).collect();
    assert_eq!(
        kinds,
        [EntryKind::GlobalHeader, EntryKind::File, EntryKind::Symlink]
    );
    let (file, data) = &members[1];
    assert_eq!(
        (file.name.as_slice(), data.as_slice()),
        ("x".repeat(200).as_bytes(), &b"abc"[..])
    );
    assert_eq!(
        (file.uid, file.mtime),
        (
            1 << 40,
            Timestamp {
                seconds: 1,
                nanos: 500_000_000
            }
        )
    );
    assert_eq!(
        file.xattrs().collect::<Vec<_>>(),
        [(&b"user.a"[..], &b"v\nw"[..])]
    );
    let link = &members[2].0;
    assert_eq!(
        (link.link.as_slice(), link.uid),
        ("z".repeat(200).as_bytes(), 1 << 33)
    );
}

#[test]
fn tells_holes_apart_from_data() {
    let dir = tempdir().unwrap();
    std::fs::File::create(dir.path().join("hole"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    let archive = Command::new("tar")
        .arg("-C")
        .arg(dir.path())
        .args(["--sparse", "--format=pax", "-cf", "-", "hole"])
        .output()
        .unwrap();
    let mut reader = Reader::new(archive.stdout.as_slice());
    reader.next_header().unwrap().unwrap();
    assert_eq!(
        reader.next_piece(&mut [0; 16]).unwrap(),
        Piece::Hole(1 << 30)
    );
    assert_eq!(reader.next_piece(&mut [0; 16]).unwrap(), Piece::End);
}

#[rstest]
#[case::cut_header(|bytes: &mut Vec<u8>| bytes.truncate(300), "cut off at byte 300")]
#[case::cut_data(|bytes: &mut Vec<u8>| bytes.truncate(700), "cut off at byte 700")]
#[case::bad_checksum(|bytes: &mut Vec<u8>| bytes[0] ^= 1, "checksum does not match")]
#[case::no_archive(|bytes: &mut Vec<u8>| *bytes = vec![b'x'; 4096], "checksum does not match")]
#[case::one_zero_block(|bytes: &mut Vec<u8>| { let copy = bytes[..512].to_vec(); bytes.splice(1536..2048, copy.clone()); bytes.extend(copy); }, "one block of zeros")]
fn refuses_damaged_archives(#[case] damage: fn(&mut Vec<u8>), #[case] text: &str) {
    let mut archive = write_all(&[(Header::file("f", 300, 0o644), vec![1; 300])]);
    damage(&mut archive);
    let error = read_all(archive.as_slice()).unwrap_err().to_string();
    assert!(error.contains(text), "{error}");
}

#[rstest]
#[case::entries(Limits { entries: 1, ..Limits::default() }, "limit of 1 members")]
#[case::name(Limits { name_bytes: 3, ..Limits::default() }, "limit of 3 bytes in one name")]
#[case::total(Limits { total_bytes: 5, ..Limits::default() }, "limit of 5 bytes in all members")]
#[case::special(Limits { special_bytes: 10, ..Limits::default() }, "limit of 10 bytes in one extended header")]
fn keeps_its_limits(#[case] limits: Limits, #[case] text: &str) {
    let mut long = layer_file("long", 3);
    long.set_xattr(b"user.a", *b"value");
    let archive = write_all(&[
        (Header::file("a", 3, 0), b"abc".to_vec()),
        (long, b"abc".to_vec()),
    ]);
    let mut reader = Reader::with_limits(archive.as_slice(), limits);
    let error = loop {
        match reader.next_header() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("read it all"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains(text), "{error}");
}

#[test]
fn an_archive_may_end_without_end_mark() {
    for keep in [512, 1024, 1536, 2048] {
        let archive = write_all(&[(Header::file("f", 10, 0o644), vec![1; 10])]);
        assert_eq!(read_all(&archive[..keep.max(1024)]).unwrap().len(), 1);
    }
    assert_eq!(read_all(&[][..]).unwrap().len(), 0);
}

#[rstest]
#[case::slash_after_file(Header::file("f/", 0, 0), "end in a slash")]
#[case::nul_in_name(layer_file("a\0b", 0), "NUL")]
#[case::mode(Header { mode: 1 << 30, ..Header::file("f", 0, 0) }, "out of range")]
fn refuses_headers_that_cannot_be_written(#[case] header: Header, #[case] text: &str) {
    let error = Writer::new(Vec::new())
        .header(&header)
        .unwrap_err()
        .to_string();
    assert!(error.contains(text), "{error}");
}

#[test]
fn data_must_be_as_long_as_announced() {
    let mut writer = Writer::new(Vec::new());
    let short = writer
        .entry(&Header::file("f", 10, 0), &b"abc"[..])
        .unwrap_err();
    assert!(
        matches!(short, WriteError::Short { missing: 7, .. }),
        "{short}"
    );
    let mut writer = Writer::new(Vec::new());
    writer.header(&Header::file("f", 2, 0)).unwrap();
    assert!(writer.write_all(b"abc").is_err());
}

fn any_header() -> impl Strategy<Value = (Header, Vec<u8>)> {
    let kind = prop_oneof![
        Just(EntryKind::File),
        Just(EntryKind::Directory),
        Just(EntryKind::Symlink),
        Just(EntryKind::HardLink),
        Just(EntryKind::CharDevice),
        Just(EntryKind::Fifo),
    ];
    let name = "[a-zä/]{1,240}"
        .prop_map(|name| name.trim_matches('/').to_owned())
        .prop_filter("name", |name| !name.is_empty());
    let time = (
        -5_i64..1 << 35,
        prop_oneof![Just(0_u32), 0..1_000_000_000_u32],
    );
    let ids = (0_i64..1 << 32, 0_i64..1 << 32, 0_i64..0o10000);
    let xattrs = prop::collection::btree_map(
        "[a-z.]{1,20}",
        prop::collection::vec(any::<u8>(), 0..300),
        0..3,
    );
    let data = prop::collection::vec(any::<u8>(), 0..2000);
    (kind, name, "[a-zä/]{1,200}", time, ids, xattrs, data).prop_map(
        |(kind, name, link, time, ids, xattrs, data)| {
            let mut header = match kind {
                EntryKind::Directory => Header::directory(name, 0),
                kind => Header::new(name, kind),
            };
            header.format = Format::Pax;
            header.mtime = Timestamp {
                seconds: time.0,
                nanos: time.1,
            };
            (header.uid, header.gid, header.mode) = ids;
            if matches!(kind, EntryKind::Symlink | EntryKind::HardLink) {
                header.link = link.into_bytes();
            }
            for (key, value) in xattrs {
                header.set_xattr(key.as_bytes(), value);
            }
            let data = if kind == EntryKind::File {
                data
            } else {
                Vec::new()
            };
            header.size = data.len() as u64;
            (header, data)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(members in prop::collection::vec(any_header(), 0..8)) {
        let read = read_all(write_all(&members).as_slice()).unwrap();
        prop_assert_eq!(read.len(), members.len());
        for ((wrote, wrote_data), (mut read, read_data)) in members.into_iter().zip(read) {
            // Records that repeat a field stay visible to the reader; the field itself is what counts.
            read.records.retain(|key, _| key.starts_with(b"SCHILY.xattr."));
            read.format = wrote.format;
            prop_assert_eq!((read, read_data), (wrote, wrote_data));
        }
    }

    #[test]
    fn garbage_is_an_error_not_a_crash(
        members in prop::collection::vec(any_header(), 1..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut archive = write_all(&members);
        for (index, byte) in damage {
            let at = index.index(archive.len());
            archive[at] = byte;
        }
        let _ = read_all(archive.as_slice());
    }
}
