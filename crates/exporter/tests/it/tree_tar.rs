//! Files in a tar stream.

use std::fs;
use std::os::unix::fs::symlink;

use kiln_exporter::{ExportInput, Shape};
use rstest::rstest;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use crate::fixture::{Bench, result, run, settle, single, write};

fn listing(path: &std::path::Path) -> Vec<String> {
    let output = run(
        "tar",
        &[
            "--full-time",
            "--numeric-owner",
            "-tvf",
            path.to_str().unwrap(),
        ],
    );
    output
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_as_they_are_in_the_result() {
    let bench = Bench::new();
    let reference = bench.layer(None, |dir| {
        write(&dir.join("b"), "data", 0o4755);
        write(&dir.join("a.b"), "", 0o644);
        write(&dir.join("a/x"), "x", 0o600);
        fs::hard_link(dir.join("a/x"), dir.join("a/y")).unwrap();
        symlink("../b", dir.join("a/z")).unwrap();
        mknodat(
            CWD,
            dir.join("c"),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o600),
            rustix::fs::makedev(5, 1),
        )
        .unwrap();
        std::os::unix::fs::chown(dir.join("b"), Some(7), Some(8)).unwrap();
        fs::set_permissions(
            dir.join("b"),
            std::os::unix::fs::PermissionsExt::from_mode(0o4755),
        )
        .unwrap();
        settle(dir);
    });
    let out = bench.path("out.tar");
    bench
        .export(&single(Some(reference.clone()), json!({})), "tar", &out)
        .await
        .unwrap();
    let time = "2017-07-14 02:40:00";
    let expected = [
        format!("drwxr-xr-x 0/0 0 {time} a/"),
        format!("-rw------- 0/0 1 {time} a/x"),
        format!("hrw------- 0/0 0 {time} a/y link to a/x"),
        format!("lrwxrwxrwx 0/0 0 {time} a/z -> ../b"),
        format!("-rw-r--r-- 0/0 0 {time} a.b"),
        format!("-rwsr-xr-x 7/8 4 {time} b"),
        format!("crw------- 0/0 5,1 {time} c"),
    ];
    assert_eq!(listing(&out), expected);
    // Two runs are the same bytes.
    let again = bench.path("again.tar");
    bench
        .export(&single(Some(reference), json!({})), "tar", &again)
        .await
        .unwrap();
    assert!(fs::read(&out).unwrap() == fs::read(&again).unwrap());
}

#[rstest]
#[case("tar", &["linux_amd64/", "linux_amd64/d/", "linux_amd64/d/one", "linux_arm64/", "linux_arm64/d/", "linux_arm64/d/two"])]
#[case("tar,platform-split=false", &["d/", "d/one", "d/two"])]
#[tokio::test(flavor = "multi_thread")]
async fn platforms(#[case] keys: &str, #[case] expected: &[&str]) {
    let bench = Bench::new();
    let tree = |name: &str| bench.layer(None, |dir| write(&dir.join(name), name, 0o644));
    let input = ExportInput {
        platforms: vec![
            result("linux/arm64", Some(tree("d/two")), json!({})),
            result("linux/amd64", Some(tree("d/one")), json!({})),
        ],
        shape: Shape::Index,
        image_name: None,
        epoch: Some(1_000_000_000),
    };
    let out = bench.path("out.tar");
    bench.export(&input, keys, &out).await.unwrap();
    let names: Vec<_> = listing(&out)
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(names, expected);
    assert!(
        listing(&out)
            .iter()
            .all(|line| line.contains("2001-09-09 01:46:40"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told() {
    let bench = Bench::new();
    let reference = bench.layer(None, |dir| {
        write(&dir.join("big"), &"x".repeat(1 << 20), 0o644)
    });
    for output in ["tar", "oci"] {
        let error = bench
            .export(
                &single(Some(reference.clone()), json!({})),
                output,
                "/dev/full".as_ref(),
            )
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "write the output: No space left on device (os error 28)"
        );
    }
}
