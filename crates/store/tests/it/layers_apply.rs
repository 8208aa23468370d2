//! Unpacking layers: whiteouts, everything a file can be, and archives that mean harm.

use std::ffi::CString;
use std::io::{Cursor, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kiln_store::apply::{UnpackOptions, Unpacked, Whiteouts, inherit_directories, unpack_layer};
use kiln_store::tar::{EntryKind, Header, Limits, Timestamp, Writer};
use rstest::rstest;
use rustix::mount::{MountFlags, UnmountFlags};
use tempfile::{TempDir, tempdir};

use crate::layers_trees::{build, lines, show};

/// Archive members as lines: the kinds of `layers_trees`, plus `h name target`; modes and contents likewise.
pub(crate) fn archive(members: &str) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for line in members
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let words: Vec<&str> = line.split(' ').collect();
        let (name, rest) = (words[1], &words[2..]);
        let mut header = match words[0] {
            "d" => Header::directory(name, 0),
            "f" => Header::new(name, EntryKind::File),
            "l" => Header::new(name, EntryKind::Symlink),
            "h" => Header::new(name, EntryKind::HardLink),
            "c" => Header::new(name, EntryKind::CharDevice),
            "b" => Header::new(name, EntryKind::BlockDevice),
            "p" => Header::new(name, EntryKind::Fifo),
            "g" => Header::new(name, EntryKind::GlobalHeader),
            kind => Header::new(name, EntryKind::Other(kind.as_bytes()[0])),
        };
        header.mtime = Timestamp::seconds(1000);
        let mut data = String::new();
        match words[0] {
            "l" => header.link = rest[0].into(),
            "h" => {
                header.link = rest[0].into();
                let mode = rest
                    .get(1)
                    .map_or(0o644, |mode| i64::from_str_radix(mode, 8).unwrap());
                let owner = rest
                    .get(2)
                    .and_then(|owner| owner.split_once(':'))
                    .unwrap_or(("0", "0"));
                (header.mode, header.uid, header.gid) =
                    (mode, owner.0.parse().unwrap(), owner.1.parse().unwrap());
            }
            "d" | "f" | "c" | "b" | "p" => {
                header.mode = i64::from_str_radix(rest[0], 8).unwrap();
                for word in &rest[1..] {
                    match (word.split_once(':'), word.split_once('=')) {
                        (_, Some((key, value))) => header.set_xattr(key.as_bytes(), value),
                        (Some((major, minor)), _) if matches!(words[0], "c" | "b") => {
                            (header.dev_major, header.dev_minor) =
                                (major.parse().unwrap(), minor.parse().unwrap());
                        }
                        (Some((uid, gid)), _) => {
                            (header.uid, header.gid) = (uid.parse().unwrap(), gid.parse().unwrap())
                        }
                        _ => data = (*word).to_owned(),
                    }
                }
            }
            _ => {}
        }
        header.size = if words[0] == "f" {
            data.len() as u64
        } else {
            0
        };
        writer.entry(&header, data.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

fn unpack(dest: &Path, members: &str) -> Result<Unpacked, String> {
    unpack_layer(archive(members).as_slice(), dest, &UnpackOptions::default())
        .map_err(|error| error.to_string())
}

#[rstest]
#[case::every_kind(
    "d d 1777 5:6\nf d/f 4755 1:2 data user.a=v\nl d/l f\nh h d/f 4755 1:2\nc c 600 1:3\nb b 660 8:0\np p 622 9:9\ng pax",
    "b b 660 8:0\nc c 600 1:3\nd d 1777 5:6\nf d/f 4755 1:2 data\nx d/f user.a v\nl d/l f\nh h d/f\np p 622 9:9"
)]
#[case::implied_directories("f a/b/f 644 x", "d a 755\nd a/b 755\nf a/b/f 644 x")]
#[case::a_later_member_wins("f a 644 one\nf a 600 two", "f a 600 two")]
#[case::directories_merge("d a 700\nf a/f 644 x\nd a 755", "d a 755\nf a/f 644 x")]
#[case::a_file_replaces_a_directory("d a 700\nf a/f 644 x\nf a 644 y", "f a 644 y")]
#[case::a_directory_replaces_a_link("l a b\nd a 755\nf a/f 644 x", "d a 755\nf a/f 644 x")]
#[case::names_are_cleaned("f ./a/../b//c 644 x\nd ./ 700", "d b 755\nf b/c 644 x")]
#[case::through_a_link_inside("d d 755\nl l d\nf l/f 644 x", "d d 755\nf d/f 644 x\nl l d")]
#[case::host_attributes_are_left_out(
    "f f 644 x trusted.a=1 trusted.overlay.opaque=y user.overlay.opaque=y user.b=2",
    "f f 644 x\nx f user.b 2"
)]
#[case::whiteout(
    "f a/.wh.gone 0 \\",
    "d a 755\nx a trusted.overlay.origin \\e\nc a/gone 600 0:0"
)]
#[case::opaque(
    "d a 700\nf a/.wh..wh..opq 0 \\\nf a/f 644 x",
    "d a 700\nx a trusted.overlay.opaque y\nf a/f 644 x"
)]
#[case::opaque_of_an_implied_directory(
    "f a/.wh..wh..opq 0 \\",
    "d a 755\nx a trusted.overlay.opaque y"
)]
#[case::whiteout_then_new_file("f .wh.a 0 \\\nf a 644 x", "f a 644 x")]
#[case::new_file_then_whiteout("f a 644 x\nf .wh.a 0 \\", "f a 644 x")]
#[case::whiteout_then_new_directory(
    "f .wh.a 0 \\\nd a 700\nf a/f 644 x",
    "d a 700\nx a trusted.overlay.opaque y\nf a/f 644 x"
)]
#[case::new_directory_then_whiteout(
    "d a 700\nf .wh.a 0 \\",
    "d a 700\nx a trusted.overlay.opaque y"
)]
#[case::left_overs_of_aufs("f .wh..wh.plnk 0 \\\nd .wh..wh.aufs 755", "")]
fn unpacks(#[case] members: &str, #[case] expected: &str) {
    let dir = tempdir().unwrap();
    unpack(dir.path(), members).unwrap();
    assert_eq!(show(dir.path()), lines(expected));
}

#[rstest]
#[case::link_to_outside(
    "h l ../../outside/secret",
    "hard link to ../../outside/secret: no such file or directory"
)]
#[case::link_to_nothing("h l none", "hard link to none: no such file or directory")]
#[case::link_to_the_root("h l /", "hard link to /: operation not permitted")]
#[case::empty_whiteout("f a/.wh. 0 \\", "invalid whiteout name")]
#[case::whiteout_of_the_parent("f a/.wh... 0 \\", "invalid whiteout name")]
#[case::below_a_file("f a 644 x\nf a/b 644 x", "not a directory")]
#[case::circular("l a b\nl b a\nf a/f 644 x", "oo many")]
#[case::unknown_kind("Z what", "unhandled tar header type 90")]
#[case::negative_owner("f a 644 -5:0 x", "owner -5 is out of range")]
fn refuses(#[case] members: &str, #[case] expected: &str) {
    let dir = tempdir().unwrap();
    let error = unpack(dir.path(), members).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

/// Every way out that an archive may try; what lies beside the destination must stay as it is.
#[rstest]
#[case("f ../outside/dots 644 x")]
#[case("f ../../../../../../../../outside/dots 644 x")]
#[case("f /outside/absolute 644 x")]
#[case("l up ../outside\nf up/f 644 x")]
#[case("l up ..\nf up/outside/f 644 x")]
#[case("l up ..\nl up2 up/..\nf up2/outside/f 644 x")]
#[case("l secret ../outside/secret\nf secret 644 overwritten")]
#[case("l up ../outside\nf up/.wh.secret 0 \\")]
#[case("l up ../outside\nf up/.wh..wh..opq 0 \\")]
#[case("l up ../outside\nd up 777")]
#[case("l up ../outside\nh stolen up/secret")]
#[case("d d 755\nl d/e ../..\nf d/e/outside/f 644 x")]
fn stays_inside(#[case] members: &str) {
    let dir = tempdir().unwrap();
    let absolute = members.replace(
        "l up ../outside",
        &format!("l up {}/outside", dir.path().display()),
    );
    for members in [members, &absolute] {
        let dest = dir.path().join("dest");
        build(
            dir.path(),
            "d outside 700\nf outside/secret 600 secret\nd dest 755",
        );
        let before = show(&dir.path().join("outside"));
        let _ = unpack(&dest, members);
        assert_eq!(show(&dir.path().join("outside")), before);
        assert_eq!(
            std::fs::metadata(dir.path().join("outside/secret"))
                .unwrap()
                .nlink(),
            1
        );
        std::fs::remove_dir_all(&dest).unwrap();
    }
}

#[test]
fn reads_the_stream_to_its_end() {
    let dir = tempdir().unwrap();
    let mut stream = Cursor::new([archive("f a 644 x"), vec![7; 300_000]].concat());
    unpack_layer(stream.by_ref(), dir.path(), &UnpackOptions::default()).unwrap();
    assert_eq!(stream.position(), stream.get_ref().len() as u64);
}

#[test]
fn times_survive_what_comes_after() {
    let dir = tempdir().unwrap();
    unpack(
        dir.path(),
        "d a 755\nf a/b 644 x\nd a/c 755\nl a/l b\nf i/j 644 x",
    )
    .unwrap();
    for (path, time) in [
        ("a", 1000),
        ("a/b", 1000),
        ("a/c", 1000),
        ("a/l", 1000),
        ("i/j", 1000),
    ] {
        assert_eq!(
            dir.path().join(path).symlink_metadata().unwrap().mtime(),
            time,
            "{path}"
        );
    }
}

#[test]
fn limits_are_kept() {
    let dir = tempdir().unwrap();
    let options = UnpackOptions {
        limits: Limits {
            total_bytes: 3,
            ..Limits::default()
        },
        ..UnpackOptions::default()
    };
    let error = unpack_layer(archive("f a 644 abcd").as_slice(), dir.path(), &options).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("limit of 3 bytes in all members"),
        "{error}"
    );
}

#[test]
fn implied_directories_take_after_the_layers_below() {
    let below = tempdir().unwrap();
    let dest = tempdir().unwrap();
    build(
        below.path(),
        "d a 751 3:4\nx a user.k v\nd a/b 1777\nf n 644 x",
    );
    let unpacked = unpack(dest.path(), "f a/b/c/f 644 x\nf n/f 644 x").unwrap();
    assert_eq!(
        unpacked.implied,
        ["a", "a/b", "a/b/c", "n"].map(PathBuf::from)
    );
    inherit_directories(dest.path(), &unpacked.implied, &[below.path().to_owned()]).unwrap();
    let expected =
        "d a 751 3:4\nx a user.k v\nd a/b 1777\nd a/b/c 755\nf a/b/c/f 644 x\nd n 755\nf n/f 644 x";
    assert_eq!(show(dest.path()), lines(expected));
}

/// An overlay mount that goes when it is dropped.
pub(crate) struct Overlay {
    pub(crate) dir: TempDir,
}

impl Overlay {
    /// Mounts directories (topmost first) with an optional upper directory.
    pub(crate) fn mount(lower: &[&Path], upper: Option<(&Path, &Path)>, extra: &str) -> Self {
        let dir = tempdir().unwrap();
        let lower: Vec<String> = lower
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let mut data = format!("lowerdir={}{extra}", lower.join(":"));
        if let Some((upper, work)) = upper {
            data += &format!(",upperdir={},workdir={}", upper.display(), work.display());
        }
        let data = CString::new(data).unwrap();
        rustix::mount::mount(
            c"overlay",
            dir.path(),
            c"overlay",
            MountFlags::empty(),
            data.as_c_str(),
        )
        .expect("overlay mounts need root");
        Self { dir }
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.dir.path(), UnmountFlags::DETACH);
    }
}

#[rstest]
#[case::trusted(Whiteouts::OverlayTrusted, "")]
#[case::user(Whiteouts::OverlayUser, ",userxattr")]
fn the_kernel_understands_the_marks(#[case] whiteouts: Whiteouts, #[case] extra: &str) {
    let (below, above) = (tempdir().unwrap(), tempdir().unwrap());
    build(
        below.path(),
        "d kept 755\nf kept/f 644 x\nd opaque 755\nf opaque/old 644 x\nf gone 644 x\nd again 755\nf again/old 644 x",
    );
    let members = "f .wh.gone 0 \\\nd opaque 755\nf opaque/.wh..wh..opq 0 \\\nf opaque/new 644 y\nf .wh.again 0 \\\nd again 700\nf again/new 644 y";
    let options = UnpackOptions {
        whiteouts,
        ..UnpackOptions::default()
    };
    unpack_layer(archive(members).as_slice(), above.path(), &options).unwrap();
    let overlay = Overlay::mount(&[above.path(), below.path()], None, extra);
    let expected = "d again 700\nf again/new 644 y\nd kept 755\nf kept/f 644 x\nd opaque 755\nf opaque/new 644 y";
    assert_eq!(show(overlay.dir.path()), lines(expected));
}
