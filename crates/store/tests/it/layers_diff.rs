//! Layers written from upper directories: what a real overlay mount leaves there, and the tar that comes of it.

use std::fs;
use std::path::{Path, PathBuf};

use kiln_store::apply::{UnpackOptions, unpack_layer};
use kiln_store::diff::{DiffOptions, DiffSummary, LayerSource, write_layer};
use kiln_store::tar::{EntryKind, Reader};
use rstest::rstest;
use sha2::{Digest, Sha256};
use tempfile::tempdir;

use crate::layers_apply::Overlay;
use crate::layers_trees::{build, lines, show};

fn layer(upper: &Path, lower: &[&Path], options: &DiffOptions) -> (Vec<u8>, DiffSummary) {
    let lower: Vec<PathBuf> = lower.iter().map(|path| path.to_path_buf()).collect();
    let mut archive = Vec::new();
    let summary = write_layer(
        &LayerSource {
            upper,
            lower: &lower,
        },
        &mut archive,
        options,
    )
    .unwrap();
    (archive, summary)
}

/// Members in order, one a line: kind, name, mode and where it links.
fn members(archive: &[u8]) -> String {
    let mut reader = Reader::new(archive);
    let mut text = String::new();
    while let Some(header) = reader.next_header().unwrap() {
        let kind = match header.kind {
            EntryKind::File => 'f',
            EntryKind::Directory => 'd',
            EntryKind::Symlink => 'l',
            EntryKind::HardLink => 'h',
            EntryKind::CharDevice => 'c',
            EntryKind::BlockDevice => 'b',
            EntryKind::Fifo => 'p',
            other => panic!("{other:?}"),
        };
        text += &format!(
            "{kind} {} {:o} {}",
            header.path().display(),
            header.mode,
            String::from_utf8_lossy(&header.link)
        );
        text = format!("{}\n", text.trim_end());
    }
    text
}

/// Changes a tree through an overlay mount and gives the members of the layer.
fn change(lower: &[&str], change: impl FnOnce(&Path)) -> String {
    let lower: Vec<_> = lower
        .iter()
        .map(|tree| {
            let dir = tempdir().unwrap();
            build(dir.path(), tree);
            dir
        })
        .collect();
    let paths: Vec<&Path> = lower.iter().map(|dir| dir.path()).collect();
    let upper = tempdir().unwrap();
    build(upper.path(), "d up 755\nd work 755");
    let overlay = Overlay::mount(
        &paths,
        Some((&upper.path().join("up"), &upper.path().join("work"))),
        "",
    );
    change(overlay.dir.path());
    let (archive, _) = layer(&upper.path().join("up"), &paths, &DiffOptions::default());
    // The merged view as one directory below says the same as the directories one by one.
    let view = Overlay::mount(&[&paths[..], &[upper.path()]].concat(), None, "");
    assert_eq!(
        layer(
            &upper.path().join("up"),
            &[view.dir.path()],
            &DiffOptions::default()
        )
        .0,
        archive
    );
    members(&archive)
}

const BASE: &str =
    "d a 755\nf a/1 644 one\nf a/2 644 two\nd a/d 755\nf a/d/x 644 x\nf top 644 top\nl l a/1";

#[rstest]
#[case::nothing(&[BASE], |_: &Path| {}, "")]
#[case::new_file(&[BASE], |root: &Path| build(root, "f a/d/new 600 n"), "d a/ 755\nd a/d/ 755\nf a/d/new 600")]
#[case::changed_file(&[BASE], |root: &Path| build(root, "f a/1 644 changed"), "d a/ 755\nf a/1 644")]
#[case::changed_mode(&[BASE], |root: &Path| build(root, "d a/d 700"), "d a/ 755\nd a/d/ 700")]
#[case::deleted_file(&[BASE], |root: &Path| fs::remove_file(root.join("a/1")).unwrap(), "d a/ 755\nf a/.wh.1 0")]
#[case::deleted_tree(&[BASE], |root: &Path| fs::remove_dir_all(root.join("a")).unwrap(), "f .wh.a 0")]
#[case::deleted_in_the_middle_layer(&["d a 755\nf a/3 644 x", BASE], |root: &Path| fs::remove_dir_all(root.join("a")).unwrap(), "f .wh.a 0")]
#[case::file_became_directory(&[BASE], |root: &Path| { fs::remove_file(root.join("top")).unwrap(); build(root, "f top/x 644 x") }, "d top/ 755\nf top/x 644")]
#[case::directory_became_file(&[BASE], |root: &Path| { fs::remove_dir_all(root.join("a")).unwrap(); build(root, "f a 600 x") }, "f a 600")]
#[case::directory_made_again(
    &[BASE],
    |root: &Path| { fs::remove_dir_all(root.join("a")).unwrap(); build(root, "d a 755\nf a/2 644 other\nf a/n 644 n") },
    "d a/ 755\nf a/.wh.1 0\nf a/2 644\nf a/.wh.d 0\nf a/n 644"
)]
#[case::directory_made_again_over_two(
    &["f a/d/y 644 y\nf a/3 644 z", BASE],
    |root: &Path| { fs::remove_dir_all(root.join("a")).unwrap(); build(root, "d a/d 755\nf a/d/y 600 n") },
    "d a/ 755\nf a/.wh.1 0\nf a/.wh.2 0\nf a/.wh.3 0\nd a/d/ 755\nf a/d/.wh.x 0\nf a/d/y 600"
)]
#[case::came_and_went(&[BASE], |root: &Path| { build(root, "f a/t 644 t"); fs::remove_file(root.join("a/t")).unwrap() }, "")]
#[case::hard_links(&[BASE], |root: &Path| build(root, "f n/b 644 x\nh n/a n/b\nh c n/a"), "f c 644\nd n/ 755\nh n/a 644 c\nh n/b 644 c")]
#[case::devices_and_pipes(&[BASE], |root: &Path| build(root, "c c 600 1:3\nb b 600 8:1\np p 600\ns s 600"), "b b 600\nc c 600\np p 600")]
#[case::order_of_names(&[""], |root: &Path| build(root, "f a/b 644 x\nf a.b 644 x\nf a-b 644 x\nf ab 644 x"), "d a/ 755\nf a/b 644\nf a-b 644\nf a.b 644\nf ab 644")]
fn layer_of_changes(
    #[case] lower: &[&str],
    #[case] make: impl FnOnce(&Path),
    #[case] expected: &str,
) {
    assert_eq!(change(lower, make), lines(expected));
}

/// A layer unpacked and written again is the same layer.
#[test]
fn unpacking_and_writing_again_changes_nothing() {
    let (below, upper, again) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    build(below.path(), BASE);
    build(
        upper.path(),
        "c gone 0 0:0\nf .wh-not 644 x\nd a 755\nc a/1 0 0:0\nf a/d/x 600 y\nx a/d/x user.ignored v\nd a/ä 1777 5:6\nl a/ä/l ../2\n\
         f big 4755 70000:70000 data\nh big2 big\np pipe 600\nb blk 660 259:70000\nd o 755\nx o trusted.overlay.opaque y",
    );
    fs::rename(upper.path().join(".wh-not"), upper.path().join("wh-not")).unwrap();
    build(upper.path(), "c top 0 0:0\nc missing 0 0:0");
    build(below.path(), "f gone 644 x\nf o/below 644 x");
    let (archive, summary) = layer(upper.path(), &[below.path()], &DiffOptions::default());
    assert_eq!(
        summary.diff_id.to_string(),
        format!("sha256:{}", hex::encode(Sha256::digest(&archive)))
    );
    assert_eq!(summary.size, archive.len() as u64);
    assert_eq!(summary.entries as usize, members(&archive).lines().count());
    unpack_layer(archive.as_slice(), again.path(), &UnpackOptions::default()).unwrap();
    assert_eq!(
        layer(again.path(), &[below.path()], &DiffOptions::default()).0,
        archive
    );
    assert!(!show(again.path()).contains("user.ignored"));
}

/// The same directories, written by the reference's own code, have this digest: whiteouts of things that are there and
/// that are not, an opaque directory, links, devices, long and foreign names, owners beyond octal fields.
#[test]
fn the_bytes_are_upstreams() {
    let dir = tempdir().unwrap();
    let (below, upper) = (dir.path().join("below"), dir.path().join("upper"));
    build(
        dir.path(),
        "d below/a 755\nf below/a/1 644 one\nf below/a/2 644 two\nf below/gone 644 x\nd below/o 755\nf below/o/below 644 x\n\
         f below/o/same 644 s\nf below/kept 644 k\nc upper/gone 0 0:0\nc upper/missing 0 0:0\nd upper/a 755\nc upper/a/1 0 0:0\n\
         f upper/a/d/x 600 y\nx upper/a/d/x user.ignored v\nd upper/a/ä 1777 5:6\nl upper/a/ä/l ../2\n\
         f upper/big 4755 3000000:70000 data\nh upper/big2 upper/big\np upper/pipe 600\nb upper/blk 660 259:70000\n\
         d upper/o 750\nx upper/o trusted.overlay.opaque y\nf upper/o/new 644 \\e\ns upper/socket 600",
    );
    build(
        &upper.join("deep"),
        &format!("f {}/{} 644 z", "n".repeat(90), "n".repeat(52)),
    );
    set_times(&upper, 1_700_000_000, 5);
    let (_, summary) = layer(&upper, &[&below], &DiffOptions::default());
    let expected = "sha256:5de1722abc24a5ccaf5b7088ad17ebf719434279e35f2c0610b2c1bd194aecdc";
    assert_eq!(summary.diff_id.to_string(), expected);
}

fn set_times(path: &Path, seconds: i64, nanos: i64) {
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            set_times(&entry.unwrap().path(), seconds, nanos);
        }
    }
    let time = rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: nanos,
    };
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(
        rustix::fs::CWD,
        path,
        &times,
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
}

#[test]
fn capabilities_travel() {
    let (upper, again) = (tempdir().unwrap(), tempdir().unwrap());
    build(upper.path(), "f f 755 x");
    let file = upper.path().join("f");
    assert!(
        std::process::Command::new("setcap")
            .arg("cap_chown+ep")
            .arg(&file)
            .status()
            .unwrap()
            .success()
    );
    let (archive, _) = layer(upper.path(), &[], &DiffOptions::default());
    unpack_layer(archive.as_slice(), again.path(), &UnpackOptions::default()).unwrap();
    assert_eq!(show(again.path()), show(upper.path()));
    assert!(show(again.path()).contains("security.capability"));
}

#[test]
fn an_epoch_is_the_latest_time() {
    let upper = tempdir().unwrap();
    build(upper.path(), "f new 644 x\nf old 644 x\nd d 755");
    let old = fs::File::options()
        .write(true)
        .open(upper.path().join("old"))
        .unwrap();
    old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_millis(500_900))
        .unwrap();
    let times = |options| {
        let (archive, _) = layer(upper.path(), &[], &options);
        let mut reader = Reader::new(archive.as_slice());
        let mut times = Vec::new();
        while let Some(header) = reader.next_header().unwrap() {
            assert_eq!(header.mtime.nanos, 0);
            times.push((header.path().display().to_string(), header.mtime.seconds));
        }
        times
    };
    let clamped = times(DiffOptions { epoch: Some(1000) });
    assert_eq!(
        clamped,
        [
            ("d/".to_owned(), 1000),
            ("new".to_owned(), 1000),
            ("old".to_owned(), 500)
        ]
    );
    assert!(times(DiffOptions::default())[0].1 > 1_000_000_000);
}

/// A file that overlayfs copied up without a change is left out, also if its times were cut to seconds.
#[test]
fn copied_up_but_unchanged_is_left_out() {
    let touched = change(&[BASE], |root| {
        let file = fs::File::options()
            .write(true)
            .open(root.join("a/1"))
            .unwrap();
        let time = file.metadata().unwrap().modified().unwrap();
        file.set_modified(time).unwrap();
    });
    assert_eq!(touched, "");
}

#[test]
fn redirected_directories_are_refused() {
    let upper = tempdir().unwrap();
    build(upper.path(), "d d 755\nx d trusted.overlay.redirect /other");
    let error = write_layer(
        &LayerSource {
            upper: upper.path(),
            lower: &[],
        },
        Vec::new(),
        &DiffOptions::default(),
    )
    .unwrap_err();
    assert!(error.to_string().contains("redirect_dir=off"), "{error}");
}

/// GNU tar makes of our layer what was there.
#[test]
fn gnu_tar_reads_layers() {
    let (upper, out) = (tempdir().unwrap(), tempdir().unwrap());
    let name = "n".repeat(120);
    build(
        upper.path(),
        &format!(
            "d d 1777 5:6\nf d/f 4755 1000:3000000 data\nh h d/f\nl l d/ä\np p 622\nc c 600 1:3\nf {name}/{name} 644 long\nf ä 600 x"
        ),
    );
    set_times(upper.path(), -5, 0);
    let (archive, _) = layer(upper.path(), &[], &DiffOptions::default());
    let mut tar = std::process::Command::new("tar")
        .args(["--numeric-owner", "-xpf", "-", "-C"])
        .arg(out.path())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut tar.stdin.take().unwrap(), &archive).unwrap();
    assert!(tar.wait().unwrap().success());
    assert_eq!(show(out.path()), show(upper.path()));
    let time = |dir: &Path| dir.join("d/f").metadata().unwrap().modified().unwrap();
    assert_eq!(time(out.path()), time(upper.path()));
}
