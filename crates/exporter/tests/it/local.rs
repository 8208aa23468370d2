//! Files written to a directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use kiln_exporter::{ExportInput, Shape};
use kiln_store::Ref;
use rstest::rstest;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};
use serde_json::json;

use crate::fixture::{Bench, result, run, settle, single, write};

/// A tree with everything a file system has.
fn everything(dir: &Path) {
    write(&dir.join("plain"), "plain", 0o644);
    write(&dir.join("setuid"), "x", 0o4755);
    write(&dir.join("empty"), "", 0o400);
    write(&dir.join("deep/er/file"), "deep", 0o640);
    fs::hard_link(dir.join("plain"), dir.join("deep/linked")).unwrap();
    symlink("../plain", dir.join("deep/link")).unwrap();
    symlink("/nowhere", dir.join("dangling")).unwrap();
    let node = |name: &str, kind, device| {
        mknodat(
            CWD,
            dir.join(name),
            kind,
            Mode::from_raw_mode(0o620),
            device,
        )
        .unwrap()
    };
    node("fifo", FileType::Fifo, 0);
    node("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    setxattr(dir.join("plain"), "user.note", b"kept", XattrFlags::empty()).unwrap();
    let sparse = fs::File::create(dir.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 8 << 20).unwrap();
    std::os::unix::fs::chown(dir.join("deep/er/file"), Some(1000), Some(1000)).unwrap();
    fs::set_permissions(dir.join("deep/er"), fs::Permissions::from_mode(0o500)).unwrap();
    settle(dir);
}

fn one(reference: Ref) -> ExportInput {
    single(Some(reference), json!({}))
}

/// Paths below a directory with type, mode, size and time of each.
fn snapshot(dir: &Path) -> BTreeMap<String, String> {
    let format = "%P\t%y %m %s %l %T@ %U:%G %n\n";
    let output = run(
        "find",
        &[dir.to_str().unwrap(), "-mindepth", "1", "-printf", format],
    );
    output
        .lines()
        .map(|line| line.split_once('\t').unwrap())
        .map(|(path, rest)| (path.into(), rest.into()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_as_it_is() {
    let bench = Bench::new();
    let (source, dest) = (bench.path("source"), bench.path("new/dest"));
    fs::create_dir(&source).unwrap();
    everything(&source);
    bench
        .export(&one(bench.layer(None, everything)), "local", &dest)
        .await
        .unwrap();

    let mut expected = snapshot(&source);
    let owner = &mut expected.get_mut("deep/er/file").unwrap();
    **owner = owner.replace("1000:1000", "0:0");
    for (path, line) in &mut expected {
        // Directories have their size from how they grew.
        if line.starts_with('d') {
            *line = line
                .split(' ')
                .enumerate()
                .filter(|(field, _)| *field != 2)
                .map(|(_, word)| word)
                .collect::<Vec<_>>()
                .join(" ");
        }
        let mut found = snapshot(&dest).remove(path).unwrap_or_default();
        if found.starts_with('d') {
            found = found
                .split(' ')
                .enumerate()
                .filter(|(field, _)| *field != 2)
                .map(|(_, word)| word)
                .collect::<Vec<_>>()
                .join(" ");
        }
        assert_eq!(found, *line, "{path}");
    }
    assert_eq!(snapshot(&dest).len(), expected.len());
    let inode = |name: &str| fs::metadata(dest.join(name)).unwrap().ino();
    assert_eq!(inode("plain"), inode("deep/linked"));
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(dest.join("plain"), "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"kept");
    assert!(
        fs::metadata(dest.join("sparse")).unwrap().blocks() < 1024,
        "holes were filled"
    );
    assert_eq!(fs::metadata(dest).unwrap().mode() & 0o777, 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_as_it_should_be_is_left_alone() {
    let bench = Bench::new();
    let dest = bench.path("dest");
    let reference = bench.layer(None, everything);
    bench
        .export(&one(reference.clone()), "local", &dest)
        .await
        .unwrap();
    let state = |name: &str| {
        let metadata = fs::symlink_metadata(dest.join(name)).unwrap();
        (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
    };
    let names = [
        "plain",
        "deep/er/file",
        "sparse",
        "empty",
        "setuid",
        "deep/linked",
    ];
    let before = names.map(state);
    // Others have been changed: content, length, mode, time, and one is gone.
    fs::write(dest.join("null2"), "stays").unwrap();
    fs::write(dest.join("deep/er/file"), "DEEP").unwrap();
    fs::remove_file(dest.join("sparse")).unwrap();
    fs::set_permissions(dest.join("empty"), fs::Permissions::from_mode(0o777)).unwrap();
    bench.export(&one(reference), "local", &dest).await.unwrap();
    let after = names.map(state);
    for (number, name) in names.iter().enumerate() {
        let untouched = ["plain", "setuid", "deep/linked"].contains(name);
        assert_eq!(before[number] == after[number], untouched, "{name}");
    }
    assert_eq!(
        before[3].0, after[3].0,
        "a wrong mode is no reason to write the file again"
    );
    assert_eq!(
        fs::metadata(dest.join("empty")).unwrap().mode() & 0o7777,
        0o400
    );
    assert_eq!(
        fs::read_to_string(dest.join("deep/er/file")).unwrap(),
        "deep"
    );
    assert_eq!(fs::read_to_string(dest.join("null2")).unwrap(), "stays");
}

#[rstest]
#[case("local", true)]
#[case("local,mode=delete", false)]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_result(#[case] keys: &str, #[case] stays: bool) {
    let bench = Bench::new();
    let dest = bench.path("dest");
    write(&dest.join("old/tree/file"), "old", 0o444);
    write(&dest.join("deep/old"), "old", 0o644);
    fs::set_permissions(dest.join("old/tree"), fs::Permissions::from_mode(0o500)).unwrap();
    let outside = bench.path("outside");
    write(&outside.join("precious"), "precious", 0o644);
    symlink(&outside, dest.join("way-out")).unwrap();
    bench
        .export(&one(bench.layer(None, everything)), keys, &dest)
        .await
        .unwrap();
    for path in ["old/tree/file", "deep/old", "way-out"] {
        assert_eq!(
            fs::symlink_metadata(dest.join(path)).is_ok(),
            stays,
            "{path}"
        );
    }
    assert!(dest.join("deep/er/file").exists() && outside.join("precious").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn links_in_the_destination_lead_nowhere() {
    let bench = Bench::new();
    let (dest, outside) = (bench.path("dest"), bench.path("outside"));
    write(&outside.join("er/file"), "precious", 0o644);
    write(&outside.join("plain"), "precious", 0o644);
    fs::create_dir(&dest).unwrap();
    symlink(&outside, dest.join("deep")).unwrap();
    symlink(outside.join("plain"), dest.join("plain")).unwrap();
    symlink(outside.join("new"), dest.join("empty")).unwrap();
    bench
        .export(&one(bench.layer(None, everything)), "local", &dest)
        .await
        .unwrap();
    assert_eq!(
        fs::read_to_string(outside.join("er/file")).unwrap(),
        "precious"
    );
    assert_eq!(
        fs::read_to_string(outside.join("plain")).unwrap(),
        "precious"
    );
    assert!(!outside.join("new").exists() && !outside.join("linked").exists());
    assert!(fs::symlink_metadata(dest.join("deep")).unwrap().is_dir());
    assert_eq!(fs::read_to_string(dest.join("plain")).unwrap(), "plain");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_kinds_of_things_make_room() {
    let bench = Bench::new();
    let dest = bench.path("dest");
    for path in ["plain/a/b", "dangling/c", "fifo/d", "null/e"] {
        write(&dest.join(path), "in the way", 0o644);
    }
    write(&dest.join("deep"), "in the way", 0o644);
    bench
        .export(&one(bench.layer(None, everything)), "local", &dest)
        .await
        .unwrap();
    let kind = |name: &str| fs::symlink_metadata(dest.join(name)).unwrap().file_type();
    assert!(kind("plain").is_file() && kind("deep").is_dir() && kind("dangling").is_symlink());
    assert!(kind("fifo").is_fifo() && kind("null").is_char_device());
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_on_top_of_each_other_are_one_tree() {
    let bench = Bench::new();
    let base = bench.layer(None, everything);
    let top = bench.layer(Some(&base), |dir| {
        write(&dir.join("top"), "top", 0o644);
        mknodat(
            CWD,
            dir.join("plain"),
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        )
        .unwrap();
    });
    let dest = bench.path("dest");
    bench.export(&one(top), "local", &dest).await.unwrap();
    assert_eq!(fs::read_to_string(dest.join("top")).unwrap(), "top");
    assert_eq!(
        fs::read_to_string(dest.join("deep/linked")).unwrap(),
        "plain"
    );
    assert!(!dest.join("plain").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_every_files_time() {
    let bench = Bench::new();
    let dest = bench.path("dest");
    let mut input = one(bench.layer(None, everything));
    input.epoch = Some(1_000_000_000);
    bench.export(&input, "local", &dest).await.unwrap();
    for (path, line) in snapshot(&dest) {
        assert!(line.contains(" 1000000000.0000000000 "), "{path}: {line}");
    }
    bench
        .export(&input, "local,source-date-epoch=5", &dest)
        .await
        .unwrap();
    assert!(snapshot(&dest)["deep/er/file"].contains(" 5.0000000000 "));
}

fn two_platforms(bench: &Bench, shape: Shape, second: &str) -> ExportInput {
    let tree = |name: &str| bench.layer(None, |dir| write(&dir.join(name), name, 0o644));
    ExportInput {
        platforms: vec![
            result("linux/amd64", Some(tree("shared/one")), json!({})),
            result("linux/arm64", Some(tree(second)), json!({})),
        ],
        shape,
        image_name: None,
        epoch: None,
    }
}

#[rstest]
#[case("local", &["linux_amd64/shared/one", "linux_arm64/shared/two"])]
#[case("local,platform-split=false", &["shared/one", "shared/two"])]
#[case("local,mode=delete", &["linux_amd64/shared/one", "linux_arm64/shared/two"])]
#[case("local,mode=delete,platform-split=false", &["shared/one", "shared/two"])]
#[tokio::test(flavor = "multi_thread")]
async fn platforms(#[case] keys: &str, #[case] expected: &[&str]) {
    let bench = Bench::new();
    let dest = bench.path("dest");
    write(&dest.join("old/file"), "old", 0o644);
    bench
        .export(
            &two_platforms(&bench, Shape::Index, "shared/two"),
            keys,
            &dest,
        )
        .await
        .unwrap();
    for path in expected {
        assert!(dest.join(path).exists(), "{path}");
    }
    assert_eq!(dest.join("old").exists(), !keys.contains("delete"));
}

#[tokio::test(flavor = "multi_thread")]
async fn platforms_must_not_overwrite_each_other() {
    let bench = Bench::new();
    let input = two_platforms(&bench, Shape::Index, "shared/one");
    let error = bench
        .export(&input, "local,platform-split=false", &bench.path("dest"))
        .await
        .unwrap_err();
    let expected = format!(
        "cannot overwrite {} from linux/amd64 with linux/arm64 when split option is disabled",
        bench.path("dest/shared/one").display()
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_in_many_directories() {
    let bench = Bench::with_threads(4);
    let reference = bench.layer(None, |dir| {
        for number in 0..3000 {
            write(
                &dir.join(format!("{}/{}/{number}", number % 7, number % 301)),
                &number.to_string(),
                0o644,
            );
        }
    });
    let dest = bench.path("dest");
    bench.export(&one(reference), "local", &dest).await.unwrap();
    for number in 0..3000 {
        let path = dest.join(format!("{}/{}/{number}", number % 7, number % 301));
        assert_eq!(fs::read_to_string(path).unwrap(), number.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_result_is_an_empty_directory() {
    let bench = Bench::new();
    let dest = bench.path("dest");
    bench
        .export(&single(None, json!({})), "local", &dest)
        .await
        .unwrap();
    assert_eq!(fs::read_dir(dest).unwrap().count(), 0);
}
