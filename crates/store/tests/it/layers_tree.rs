//! File actions inside a root: what they make, what they leave alone, how they fail.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use kiln_store::checksum::{ChecksumOptions, Checksums};
use kiln_store::diff::{DiffOptions, LayerSource, write_layer};
use kiln_store::tar::Timestamp;
use kiln_store::tree::{
    CopyRequest, Follow, Mkdir, Mkfile, ModeChange, Owner, Remove, Root, Symlink, TreeError,
};
use rstest::rstest;
use tempfile::{TempDir, tempdir};

use crate::layers_trees::{build, lines, show};

const SOURCE: &str = "
    d etc 755
    f etc/passwd 644 p
    d src 755
    f src/1.txt 644 one
    f src/2.txt 600 two
    d src/deep 750 7:8
    f src/deep/x 644 x
    f src/deep/y 644 7:8 y
    l src/link deep/x
    l src/dir deep
    l out ../../../etc
    f run 4755 #!
    ";

/// A source and a destination.
struct Pair {
    source: TempDir,
    dest: TempDir,
}

impl Pair {
    fn new(dest: &str) -> Self {
        let pair = Self {
            source: tempdir().unwrap(),
            dest: tempdir().unwrap(),
        };
        build(pair.source.path(), SOURCE);
        build(pair.dest.path(), dest);
        pair
    }

    fn copy(&self, request: &CopyRequest) -> Result<(), TreeError> {
        Root::open(self.dest.path())
            .unwrap()
            .copy_from(&Root::open(self.source.path()).unwrap(), request)
    }
}

/// What a Dockerfile's COPY asks for.
fn copy(source: &str, dest: &str) -> CopyRequest {
    CopyRequest {
        source: source.to_owned(),
        dest: dest.to_owned(),
        follow_symlink: true,
        dir_copy_contents: true,
        create_dest_path: true,
        allow_wildcard: true,
        allow_empty_wildcard: true,
        ..CopyRequest::default()
    }
}

#[rstest]
#[case::to_new_name("", copy("/src/1.txt", "/a/b.txt"), "d a 755\nf a/b.txt 644 one")]
#[case::into_new_directory("", copy("/src/1.txt", "/a/"), "d a 755\nf a/1.txt 644 one")]
#[case::into_existing_directory("d a 700", copy("/src/1.txt", "/a"), "d a 700\nf a/1.txt 644 one")]
#[case::over_a_file("f a 600 old", copy("/src/1.txt", "/a"), "f a 644 one")]
#[case::over_a_link_goes_through_it(
    "f t 600 old\nl a t",
    copy("/src/1.txt", "/a"),
    "l a t\nf t 644 one"
)]
#[case::contents("", copy("/src/deep", "/d"), "d d 755\nf d/x 644 x\nf d/y 644 7:8 y")]
#[case::the_directory_itself(
    "d d 755",
    CopyRequest { dir_copy_contents: false, ..copy("/src/deep", "/d") },
    "d d 755\nd d/deep 750 7:8\nf d/deep/x 644 x\nf d/deep/y 644 7:8 y"
)]
#[case::the_directory_as_new_name(
    "",
    CopyRequest { dir_copy_contents: false, ..copy("/src/deep", "/d") },
    "d d 750 7:8\nf d/x 644 x\nf d/y 644 7:8 y"
)]
#[case::what_is_in_the_directory("", CopyRequest { dir_copy_contents: false, allow_wildcard: false, ..copy("/src/deep/.", "/d/") }, "d d 755\nf d/x 644 x\nf d/y 644 7:8 y")]
#[case::merges_trees(
    "d s/deep 700\nf s/deep/old 644 old\nf s/1.txt 644 old",
    CopyRequest { exclude: vec!["*.txt".into(), "link".into(), "dir".into()], ..copy("/src", "/s") },
    "d s 755\nf s/1.txt 644 old\nd s/deep 750 7:8\nf s/deep/old 644 old\nf s/deep/x 644 x\nf s/deep/y 644 7:8 y"
)]
#[case::wildcard(
    "",
    copy("/src/*.txt", "/w/"),
    "d w 755\nf w/1.txt 644 one\nf w/2.txt 600 two"
)]
#[case::wildcard_in_directory("", copy("/s?c/[1].txt", "/w/"), "d w 755\nf w/1.txt 644 one")]
#[case::wildcard_matches_nothing("", copy("/src/*.no", "/w/"), "")]
#[case::follows_the_last_link("", copy("/src/link", "/f"), "f f 644 x")]
#[case::keeps_the_last_link("", CopyRequest { follow_symlink: false, ..copy("/src/link", "/f") }, "l f deep/x")]
#[case::follows_links_on_the_way("", copy("/src/dir/x", "/f"), "f f 644 x")]
#[case::links_do_not_lead_out("", copy("/out/passwd", "/f"), "f f 644 p")]
#[case::dest_links_do_not_lead_out(
    "l out /../../x\nd x 755",
    copy("/src/1.txt", "/out/f"),
    "l out /../../x\nd x 755\nf x/f 644 one"
)]
#[case::dots_do_not_lead_out("", copy("/../../src/1.txt", "/../../f"), "f f 644 one")]
#[case::include("", CopyRequest { include: vec!["deep/x".into()], ..copy("/src", "/s") }, "d s 755\nd s/deep 750 7:8\nf s/deep/x 644 x")]
#[case::include_parents("", CopyRequest { include: vec!["src/deep/x".into()], ..copy("/", "/p/") }, "d p 755\nd p/src 755\nd p/src/deep 750 7:8\nf p/src/deep/x 644 x")]
#[case::exclude("", CopyRequest { exclude: vec!["**/x".into(), "*.txt".into(), "link".into()], ..copy("/src", "/s") }, "d s 755\nd s/deep 750 7:8\nf s/deep/y 644 7:8 y\nl s/dir deep")]
#[case::exclude_with_exception("", CopyRequest { exclude: vec!["*".into(), "!deep/x".into()], ..copy("/src", "/s") }, "d s 755\nd s/deep 750 7:8\nf s/deep/x 644 x")]
#[case::owner("", CopyRequest { owner: Some(Owner { uid: 5, gid: 6 }), ..copy("/src/deep", "/a/d") }, "d a 755 5:6\nd a/d 755 5:6\nf a/d/x 644 5:6 x\nf a/d/y 644 5:6 y")]
#[case::absolute_mode("", CopyRequest { mode: Some(ModeChange::absolute(0o640)), ..copy("/src/1.txt", "/a/f") }, "d a 640\nf a/f 640 one")]
#[case::symbolic_mode("", CopyRequest { mode: Some(ModeChange::parse("u=rwX,go=rX").unwrap()), ..copy("/src/deep", "/a/f") }, "d a 755\nd a/f 755\nf a/f/x 644 x\nf a/f/y 644 7:8 y")]
#[case::keeps_setuid("", CopyRequest { owner: Some(Owner { uid: 5, gid: 6 }), ..copy("/run", "/r") }, "f r 4755 5:6 #!")]
#[case::replaces_a_directory("d a 755\nf a/b 644 old", CopyRequest { always_replace: true, ..copy("/src/link", "/a") }, "d a 755\nf a/b 644 old\nf a/link 644 x")]
#[case::replaces_below("d s/1.txt 755\nf s/1.txt/b 644 old\nf s/deep 644 old", CopyRequest { always_replace: true, include: vec!["1.txt".into(), "deep".into()], ..copy("/src", "/s") }, "d s 755\nf s/1.txt 644 one\nd s/deep 750 7:8\nf s/deep/x 644 x\nf s/deep/y 644 7:8 y")]
fn copies(#[case] dest: &str, #[case] request: CopyRequest, #[case] expected: &str) {
    let pair = Pair::new(dest);
    pair.copy(&request).unwrap();
    let mut shown: Vec<String> = show(pair.dest.path()).lines().map(str::to_owned).collect();
    shown.sort();
    let mut expected: Vec<String> = lines(expected).lines().map(str::to_owned).collect();
    expected.sort();
    assert_eq!(shown, expected);
}

#[rstest]
#[case::missing(
    "",
    copy("/src/none", "/a"),
    "lstat /src/none: no such file or directory"
)]
#[case::missing_wildcard("", CopyRequest { allow_empty_wildcard: false, ..copy("/n*", "/a") }, "/n* not found")]
#[case::no_parent("", CopyRequest { create_dest_path: false, ..copy("/run", "/a/b/c") }, "failed to stat /a/b/c: lstat /a/b: no such file or directory")]
#[case::parent_is_a_file("f a 644 x", copy("/run", "/a/b"), "/a: not a directory")]
#[case::directory_over_file("f a 644 x", copy("/src", "/a"), "cannot copy to non-directory: /a")]
#[case::file_over_directory(
    "d s/1.txt 755",
    copy("/src", "/s"),
    "cannot replace to directory /s/1.txt with file"
)]
#[case::circular_link("l a b\nl b a", copy("/run", "/a"), "too many links")]
#[case::bad_pattern("", CopyRequest { include: vec!["[".into()], ..copy("/src", "/a") }, "invalid includepatterns")]
fn fails_to_copy(#[case] dest: &str, #[case] request: CopyRequest, #[case] expected: &str) {
    let error = Pair::new(dest).copy(&request).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn copies_everything_that_a_file_can_have() {
    let pair = Pair::new("");
    let tree = "
        b t/block 640 1:5 8:1
        c t/char 600 5:1
        f t/cap 755 c
        x t/cap security.capability \\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0
        d t/dir 1777 1:2
        x t/dir user.note about\\sit
        f t/first 644 linked
        h t/other t/first
        p t/pipe 622 1:1
        f t/zero 644 \\e
    ";
    let tree = tree.replace(
        "\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0",
        "v",
    );
    let tree: String = tree
        .lines()
        .filter(|line| !line.contains("security."))
        .map(|line| format!("{line}\n"))
        .collect();
    build(
        pair.source.path(),
        &tree.replace("b t/block 640 1:5 8:1", "b t/block 640 8:1"),
    );
    pair.copy(&copy("/t", "/t")).unwrap();
    assert_eq!(
        show(&pair.dest.path().join("t")),
        show(&pair.source.path().join("t"))
    );
}

#[test]
fn file_capabilities_are_copied() {
    let pair = Pair::new("");
    let file = pair.source.path().join("run");
    assert!(
        Command::new("setcap")
            .arg("cap_net_raw+ep")
            .arg(&file)
            .status()
            .unwrap()
            .success()
    );
    pair.copy(&CopyRequest {
        owner: Some(Owner { uid: 3, gid: 3 }),
        ..copy("/run", "/r")
    })
    .unwrap();
    let shown = Command::new("getcap")
        .arg(pair.dest.path().join("r"))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("cap_net_raw=ep"));
}

#[test]
fn times_are_kept_or_set() {
    let pair = Pair::new("");
    let touch = |path: &str| {
        let time = rustix::fs::Timespec {
            tv_sec: 1_000_000,
            tv_nsec: 5,
        };
        let times = rustix::fs::Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(
            rustix::fs::CWD,
            pair.source.path().join(path),
            &times,
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )
        .unwrap();
    };
    ["src/deep", "src/deep/x", "src/dir", "src"]
        .iter()
        .for_each(|path| touch(path));
    pair.copy(&copy("/src", "/kept")).unwrap();
    pair.copy(&CopyRequest {
        timestamp: Some(Timestamp::seconds(77)),
        ..copy("/src", "/set/a")
    })
    .unwrap();
    let time = |path: &str| {
        let metadata = pair.dest.path().join(path).symlink_metadata().unwrap();
        (metadata.mtime(), metadata.mtime_nsec())
    };
    for path in ["kept", "kept/deep", "kept/deep/x", "kept/dir"] {
        assert_eq!(time(path), (1_000_000, 5), "{path}");
    }
    // A directory that only comes along for what is in it is as old as that entry of it.
    pair.copy(&CopyRequest {
        include: vec!["src/deep/x".to_owned()],
        ..copy("/", "/along/")
    })
    .unwrap();
    assert_eq!(time("along/src/deep/x"), (1_000_000, 5));
    assert!(time("along/src/deep").0 > 1_000_000);
    for path in [
        "set",
        "set/a",
        "set/a/deep",
        "set/a/deep/x",
        "set/a/dir",
        "set/a/1.txt",
    ] {
        assert_eq!(time(path), (77, 0), "{path}");
    }
}

#[test]
fn the_owner_that_nobody_is_leaves_files_to_whom_they_belong() {
    let pair = Pair::new("");
    let nobody = Owner {
        uid: u32::MAX,
        gid: 9,
    };
    pair.copy(&CopyRequest {
        owner: Some(nobody),
        ..copy("/src", "/s")
    })
    .unwrap();
    for path in ["s", "s/deep/y", "s/dir"] {
        let metadata = pair.dest.path().join(path).symlink_metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (0, 9), "{path}");
    }
}

#[test]
fn many_files_and_holes_are_copied_by_several_threads() {
    let pair = Pair::new("");
    for index in 0..300 {
        build(
            pair.source.path(),
            &format!("f many/{}/{index} 644 {index}", index % 7),
        );
    }
    let holey = std::fs::File::create(pair.source.path().join("many/holey")).unwrap();
    holey.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&holey, b"data", 32 << 20).unwrap();
    std::fs::write(pair.source.path().join("many/big"), vec![9; 3 << 20]).unwrap();
    pair.copy(&copy("/many", "/m")).unwrap();
    let same = Command::new("diff")
        .arg("-r")
        .arg(pair.source.path().join("many"))
        .arg(pair.dest.path().join("m"))
        .status();
    assert!(same.unwrap().success());
    assert!(
        pair.dest
            .path()
            .join("m/holey")
            .metadata()
            .unwrap()
            .blocks()
            < 1024
    );
}

#[rstest]
#[case::plain("tar", &[])]
#[case::gzip("tar.gz", &["--gzip"])]
#[case::bzip2("tar.bz2", &["--bzip2"])]
#[case::xz("tar.xz", &["--xz"])]
#[case::zstd("tar.zst", &["--zstd"])]
fn unpacks_archives(#[case] name: &str, #[case] flags: &[&str]) {
    let pair = Pair::new("");
    let archive = pair.source.path().join(name);
    let tar = Command::new("tar")
        .args(flags)
        .arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(pair.source.path())
        .args(["src", "run"])
        .status();
    assert!(tar.unwrap().success());
    let request = CopyRequest {
        unpack_archives: true,
        ..copy(&format!("/{name}"), "/u/")
    };
    pair.copy(&request).unwrap();
    build(pair.source.path(), "d u 755");
    for name in ["src", "run"] {
        std::fs::rename(
            pair.source.path().join(name),
            pair.source.path().join("u").join(name),
        )
        .unwrap();
    }
    assert_eq!(
        show(&pair.dest.path().join("u")),
        show(&pair.source.path().join("u"))
    );
}

#[test]
fn what_is_no_archive_is_copied() {
    let pair = Pair::new("");
    std::fs::write(
        pair.source.path().join("bad.tar.gz"),
        [0x1f, 0x8b, 8, 0, 0, 0],
    )
    .unwrap();
    for (source, dest) in [("/run", "/a/run"), ("/bad.tar.gz", "/a/bad")] {
        pair.copy(&CopyRequest {
            unpack_archives: true,
            ..copy(source, dest)
        })
        .unwrap();
        assert!(pair.dest.path().join(&dest[1..]).is_file());
    }
}

#[test]
fn archives_stay_inside_their_destination() {
    let pair = Pair::new("d victim 755\nf victim/f 644 safe\nd u 755");
    let script = "import tarfile, sys\n\
        t = tarfile.open(sys.argv[1], 'w')\n\
        def add(name, **kw):\n\
        \x20   i = tarfile.TarInfo(name)\n\
        \x20   for k, v in kw.items(): setattr(i, k, v)\n\
        \x20   t.addfile(i)\n\
        add('../victim/dots')\n\
        add('/victim/absolute')\n\
        add('up', type=tarfile.SYMTYPE, linkname='../victim')\n\
        add('up/through')\n\
        add('root', type=tarfile.SYMTYPE, linkname='/victim')\n\
        add('root/through')\n\
        t.close()";
    let archive = pair.source.path().join("evil.tar");
    assert!(
        Command::new("python3")
            .args(["-c", script])
            .arg(&archive)
            .status()
            .unwrap()
            .success()
    );
    pair.copy(&CopyRequest {
        unpack_archives: true,
        ..copy("/evil.tar", "/u/")
    })
    .unwrap();
    let expected = "d victim 755\nf victim/f 644 safe\n";
    assert!(
        show(pair.dest.path()).ends_with(expected),
        "{}",
        show(pair.dest.path())
    );
}

#[rstest]
#[case::new("", "/a", false, Ok("d a 751 3:4"))]
#[case::existing_stays("d a 700", "/a", false, Ok("d a 700"))]
#[case::parents(
    "d a 700",
    "/a/b/c",
    true,
    Ok("d a 700\nd a/b 751 3:4\nd a/b/c 751 3:4")
)]
#[case::through_a_link("d a 700\nl b a", "/b/c", true, Ok("d a 700\nd a/c 751 3:4\nl b a"))]
#[case::missing_parent("", "/a/b", false, Err("mkdir /a/b: no such file or directory"))]
#[case::file_in_the_way("f a 644 x", "/a/b", true, Err("lstat /a/b: not a directory"))]
fn makes_directories(
    #[case] before: &str,
    #[case] path: &str,
    #[case] make_parents: bool,
    #[case] expected: Result<&str, &str>,
) {
    let dir = tempdir().unwrap();
    build(dir.path(), before);
    let request = Mkdir {
        path: path.into(),
        mode: 0o751,
        make_parents,
        owner: Some(Owner { uid: 3, gid: 4 }),
        timestamp: None,
    };
    check(
        dir.path(),
        Root::open(dir.path()).unwrap().mkdir(&request),
        expected,
    );
}

fn check(dir: &Path, result: Result<(), TreeError>, expected: Result<&str, &str>) {
    match (result, expected) {
        (Ok(()), Ok(expected)) => assert_eq!(show(dir), lines(expected)),
        (Err(error), Err(text)) => assert_eq!(error.to_string(), text),
        (result, expected) => panic!("{result:?} is not {expected:?}"),
    }
}

#[rstest]
#[case::new("", "/f", Ok("f f 640 3:4 data"))]
#[case::content_of_existing("f f 600 old", "/f", Ok("f f 600 3:4 data"))]
#[case::through_a_link(
    "d d 755\nl l ../../d/f",
    "/l",
    Ok("d d 755\nf d/f 640 3:4 data\nl l ../../d/f")
)]
#[case::missing_parent("", "/a/f", Err("open /a/f: no such file or directory"))]
#[case::a_directory("d d 755", "/d", Err("open /d: is a directory"))]
fn makes_files(#[case] before: &str, #[case] path: &str, #[case] expected: Result<&str, &str>) {
    let dir = tempdir().unwrap();
    build(dir.path(), before);
    let request = Mkfile {
        path: path.into(),
        mode: 0o640,
        data: "data".into(),
        owner: Some(Owner { uid: 3, gid: 4 }),
        timestamp: None,
    };
    check(
        dir.path(),
        Root::open(dir.path()).unwrap().mkfile(&request),
        expected,
    );
}

#[rstest]
#[case::new("", "/l", Ok("l l a/b 3:4"))]
#[case::existing("f l 644 x", "/l", Err("symlink a/b /l: file exists"))]
fn makes_symlinks(#[case] before: &str, #[case] path: &str, #[case] expected: Result<&str, &str>) {
    let dir = tempdir().unwrap();
    build(dir.path(), before);
    let request = Symlink {
        target: "a/b".into(),
        path: path.into(),
        owner: Some(Owner { uid: 3, gid: 4 }),
        timestamp: None,
    };
    check(
        dir.path(),
        Root::open(dir.path()).unwrap().symlink(&request),
        expected,
    );
}

const REMOVABLE: &str =
    "d a 755\nf a/1.txt 644 1\nf a/2.txt 644 2\nd a/d 755\nf a/d/x 644 x\nl l a";

#[rstest]
#[case::file(
    "/a/1.txt",
    false,
    false,
    Ok("d a 755\nf a/2.txt 644 2\nd a/d 755\nf a/d/x 644 x\nl l a")
)]
#[case::tree("/a", false, false, Ok("l l a"))]
#[case::the_link_not_its_target(
    "/l",
    false,
    false,
    Ok("d a 755\nf a/1.txt 644 1\nf a/2.txt 644 2\nd a/d 755\nf a/d/x 644 x")
)]
#[case::through_a_link(
    "/l/d",
    false,
    false,
    Ok("d a 755\nf a/1.txt 644 1\nf a/2.txt 644 2\nl l a")
)]
#[case::wildcard(
    "/a/*.txt",
    true,
    false,
    Ok("d a 755\nd a/d 755\nf a/d/x 644 x\nl l a")
)]
#[case::missing("/b/c", false, false, Err("stat /b/c: no such file or directory"))]
#[case::missing_is_fine("/b/c", false, true, Ok(REMOVABLE))]
fn removes(
    #[case] path: &str,
    #[case] allow_wildcard: bool,
    #[case] allow_not_found: bool,
    #[case] expected: Result<&str, &str>,
) {
    let dir = tempdir().unwrap();
    build(dir.path(), REMOVABLE);
    let request = Remove {
        path: path.into(),
        allow_not_found,
        allow_wildcard,
    };
    check(
        dir.path(),
        Root::open(dir.path()).unwrap().remove(&request),
        expected,
    );
}

#[test]
fn the_root_cannot_be_removed() {
    let dir = tempdir().unwrap();
    let request = Remove {
        path: "/..".into(),
        allow_not_found: false,
        allow_wildcard: false,
    };
    assert!(matches!(
        Root::open(dir.path()).unwrap().remove(&request),
        Err(TreeError::IsRoot { .. })
    ));
}

#[test]
fn reads_stay_inside_and_bounded() {
    let dir = tempdir().unwrap();
    build(
        dir.path(),
        "d etc 755\nf etc/passwd 644 inside\nl up ../../../../etc/passwd\nl exe /proc/self/exe\np pipe 644",
    );
    let root = Root::open(dir.path()).unwrap();
    assert_eq!(root.read_file("/up", 100).unwrap(), b"inside");
    assert!(matches!(
        root.read_file("/up", 3),
        Err(TreeError::TooLarge { limit: 3, .. })
    ));
    assert!(root.read_file("/exe", 10).unwrap_err().is_not_found());
    assert!(root.open_file("/pipe").is_err());
    assert_eq!(
        root.read_link("/up").unwrap(),
        Path::new("../../../../etc/passwd")
    );
    assert_eq!(root.metadata("/up", Follow::Yes).unwrap().size, 6);
    let names: Vec<_> = root
        .read_dir("/")
        .unwrap()
        .into_iter()
        .map(|entry| entry.name.display().to_string())
        .collect();
    assert_eq!(names, ["etc", "exe", "pipe", "up"]);
}

/// Deep trees neither exhaust the stack nor the open files of an ordinary process; deeper ones are refused.
#[test]
fn deep_trees() {
    let pair = Pair::new("");
    let deep = |levels: usize| format!("deep{levels}/{}", "d/".repeat(levels));
    for levels in [300, 1500] {
        std::fs::create_dir_all(pair.source.path().join(deep(levels))).unwrap();
    }
    pair.copy(&copy("/deep300", "/deep")).unwrap();
    assert!(
        pair.dest
            .path()
            .join("deep")
            .join("d/".repeat(300))
            .is_dir()
    );
    assert!(pair.copy(&copy("/deep1500", "/deeper")).is_err());

    let root = Root::open(pair.source.path()).unwrap();
    let sum = |path| Checksums::default().checksum(&root, path, &ChecksumOptions::default());
    assert!(sum("/deep300").is_ok());
    assert!(sum("/deep1500").is_err());

    let layer = |upper: &Path| {
        write_layer(
            &LayerSource { upper, lower: &[] },
            std::io::sink(),
            &DiffOptions::default(),
        )
    };
    layer(&pair.dest.path().join("deep")).unwrap();
    assert!(layer(pair.source.path()).is_err());

    let remove = |path: &str| Remove {
        path: path.into(),
        allow_not_found: false,
        allow_wildcard: false,
    };
    root.remove(&remove("/deep300")).unwrap();
    // Ordinary tools take care of what is left.
    std::process::Command::new("rm")
        .arg("-rf")
        .arg(pair.source.path().join("deep1500"))
        .status()
        .unwrap();
}

/// Names need not be text.
#[test]
fn names_of_any_bytes() {
    let pair = Pair::new("");
    let name = std::ffi::OsStr::from_bytes(b"b\xff\xfe.txt");
    std::fs::write(pair.source.path().join("src").join(name), "bytes").unwrap();
    pair.copy(&copy("/src/b*", "/w/")).unwrap();
    pair.copy(&copy("/src", "/s/")).unwrap();
    let archived = copy("/src/*.txt", "/u/");
    pair.copy(&CopyRequest {
        unpack_archives: true,
        ..archived
    })
    .unwrap();
    for dir in ["w", "s", "u"] {
        assert_eq!(
            std::fs::read(pair.dest.path().join(dir).join(name)).unwrap(),
            b"bytes"
        );
    }
    let root = Root::open(pair.dest.path()).unwrap();
    let pattern = ChecksumOptions {
        wildcard: true,
        ..ChecksumOptions::default()
    };
    Checksums::default()
        .checksum(&root, "/w/*", &pattern)
        .unwrap();
    root.remove(&Remove {
        path: "/w/*".into(),
        allow_not_found: false,
        allow_wildcard: true,
    })
    .unwrap();
    assert!(!pair.dest.path().join("w").join(name).exists());
}
