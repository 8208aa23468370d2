//! Mounts of the request.

use std::fs;
use std::os::unix::fs::symlink;

use kiln_executor::{Access, ExecRequest, Mount, MountPoint};
use rstest::rstest;

use crate::fixture::{Fixture, Kind, names, overlay};

fn source(fixture: &Fixture, name: &str, files: &[(&str, &str)]) -> std::path::PathBuf {
    let dir = fixture.dir.path().join(name);
    fs::create_dir_all(&dir).unwrap();
    kiln_testkit::rootfs::files(&dir, files).unwrap();
    dir
}

fn mounted(fixture: &Fixture, script: &str, mounts: Vec<MountPoint>) -> ExecRequest {
    let mut request = fixture.shell(script);
    request.mounts = mounts;
    request
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn an_overlay_root_takes_the_changes(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let mut request = fixture.shell("rm /etc/group; echo new > /etc/new");
    request.rootfs = vec![overlay(
        &fixture.rootfs(),
        &fixture.dir.path().join("layer"),
    )];
    fixture.print_with(request).await;
    assert_eq!(names(fixture.rootfs().join("etc")), ["group", "passwd"]);
    let upper = fixture.dir.path().join("layer/upper");
    assert_eq!(
        names(upper.join("etc")),
        ["group", "new"],
        "a whiteout and a file"
    );
    assert!(
        names(&upper)
            .iter()
            .all(|name| ["etc"].contains(&name.as_str())),
        "{:?}",
        names(&upper)
    );
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn binds_read_only_writable_and_nested(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let dir = source(
        &fixture,
        "source",
        &[("f", "content\n"), ("sub/g", "deep\n")],
    );
    let file = source(&fixture, "single", &[("file", "one\n")]).join("file");
    let script = "cat /ro/f /rw/sub/g /etc/one /ro/sub/in/f; (touch /ro/x) 2>/dev/null || echo ro; touch /rw/x; \
                  (echo > /etc/one) 2>/dev/null || echo ro";
    let mounts = vec![
        MountPoint::read_only("/ro", Mount::bind(&dir)),
        MountPoint::new("/rw", Mount::bind(&dir)),
        MountPoint::read_only("/etc/one", Mount::bind(&file)),
        MountPoint::read_only("/ro/sub", Mount::tmpfs(["nosuid"])),
    ];
    // A mount point inside a read-only mount must exist: the tmpfs is writable before it is not.
    let mut mounts = mounts;
    mounts[3].access = Access::ReadWrite;
    mounts.push(MountPoint::read_only("/ro/sub/in", Mount::bind(&dir)));
    let seen = fixture.print_with(mounted(&fixture, script, mounts)).await;
    assert_eq!(seen, "content\ndeep\none\ncontent\nro\nro\n");
    assert!(dir.join("x").exists());
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn selectors_stay_inside_their_source(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let dir = source(
        &fixture,
        "source",
        &[("a/b/f", "inner\n"), ("secret", "no\n")],
    );
    symlink("/a/b", dir.join("absolute")).unwrap();
    symlink("../../../../../a/b", dir.join("climbing")).unwrap();
    let selected = |selector: &str, mount: Mount| MountPoint {
        selector: Some(selector.into()),
        ..MountPoint::read_only("/m", mount)
    };
    for selector in ["a/b", "/a/b", "absolute", "climbing", "../../a/b"] {
        let mounts = vec![selected(selector, Mount::bind(&dir))];
        let seen = fixture
            .print_with(mounted(&fixture, "cat /m/f", mounts))
            .await;
        assert_eq!(seen, "inner\n", "{selector}");
    }
    let layers = overlay(&dir, &fixture.dir.path().join("selected"));
    let file = vec![selected("a/b/f", layers)];
    assert_eq!(
        fixture.print_with(mounted(&fixture, "cat /m", file)).await,
        "inner\n"
    );

    let missing = mounted(
        &fixture,
        "true",
        vec![selected("a/nope", Mount::bind(&dir))],
    );
    let error = fixture.run(missing).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "failed to mount /m: a/nope does not exist in the mount's source"
    );
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn mount_points_behind_links_stay_inside_the_root(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let dir = source(&fixture, "source", &[("f", "content\n")]);
    symlink("/etc", fixture.rootfs().join("absolute")).unwrap();
    symlink("../../../../../../etc", fixture.rootfs().join("climbing")).unwrap();
    let mounts = vec![
        MountPoint::new("/absolute/a", Mount::bind(&dir)),
        MountPoint::new("/climbing/b", Mount::bind(&dir)),
    ];
    let seen = fixture
        .print_with(mounted(&fixture, "cat /etc/a/f /etc/b/f", mounts))
        .await;
    assert_eq!(seen, "content\ncontent\n");
    assert_eq!(names(fixture.rootfs().join("etc")), ["group", "passwd"]);
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn tmpfs_and_replaced_system_mounts(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let script = "df -Pk /t | awk 'END{print $2, $6}'; df -Pk /dev/shm | awk 'END{print $2}'; cat /etc/hosts";
    let hosts = source(&fixture, "hosts", &[("h", "own\n")]).join("h");
    let mounts = vec![
        MountPoint::new("/t", Mount::tmpfs(["nosuid", "size=1048576"])),
        MountPoint::new("/dev/shm", Mount::tmpfs(["nosuid", "size=2097152"])),
        MountPoint::new("/etc/../etc/hosts", Mount::bind(hosts)),
    ];
    assert_eq!(
        fixture.print_with(mounted(&fixture, script, mounts)).await,
        "1024 /t\n2048\nown\n"
    );
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn mounts_that_fail_name_their_place(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let missing = mounted(
        &fixture,
        "true",
        vec![MountPoint::new("/m", Mount::bind("/nowhere"))],
    );
    let error = fixture.run(missing).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "failed to mount /m: bind of /nowhere: No such file or directory (os error 2)"
    );
    assert!(!fixture.rootfs().join("m").exists());
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn more_layers_than_fit_into_a_page(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let base = fixture
        .dir
        .path()
        .join("a-directory-with-a-rather-long-name-for-layers");
    let mut lower: Vec<String> = (0..120)
        .map(|number| {
            let layer = base.join(format!("layer{number}"));
            kiln_testkit::rootfs::files(&layer, &[(&format!("n{number}"), "")]).unwrap();
            layer.display().to_string()
        })
        .collect();
    lower.push(fixture.rootfs().display().to_string());
    let mut mount = overlay(&fixture.rootfs(), &fixture.dir.path().join("long"));
    mount.options[0] = format!("lowerdir={}", lower.join(":"));
    let mut request = fixture.shell("ls / | grep -c '^n[0-9]'");
    request.rootfs = vec![mount];
    assert_eq!(fixture.print_with(request).await, "120\n");
}
