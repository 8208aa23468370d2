//! The files under `/etc` that come from us, and what is left of mount points.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use kiln_executor::{
    Dns, HostAddress, MemoryFile, Mount, MountPoint, Network, RootAccess, StubRemoval,
};
use rstest::rstest;

use crate::fixture::{Fixture, Kind, names};

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn hosts_and_resolv_conf(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let base = "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    assert_eq!(fixture.print("cat /etc/hosts").await, base);
    let mut request = fixture.shell("cat /etc/hosts; echo x >> /etc/hosts");
    request.hostname = "box".to_owned();
    request.extra_hosts = vec![HostAddress {
        host: "db".to_owned(),
        address: "10.0.0.9".parse().unwrap(),
    }];
    let finished = fixture.run(request).await.unwrap();
    assert_eq!(
        finished.stdout,
        base.replace("buildkitsandbox", "box") + "10.0.0.9\tdb\n"
    );
    assert!(
        finished.stderr.contains("Read-only file system"),
        "{finished:?}"
    );

    let mut request = fixture.shell("cat /etc/resolv.conf");
    request.dns = Dns {
        nameservers: vec!["10.1.1.1".parse().unwrap()],
        search: vec!["corp".to_owned()],
        options: vec!["ndots:2".to_owned()],
    };
    let seen = fixture.print_with(request).await;
    assert!(
        seen.starts_with("nameserver 10.1.1.1\nsearch corp\noptions ndots:2\n"),
        "{seen}"
    );
    let mut request = fixture.shell("grep -c ^nameserver /etc/resolv.conf");
    request.network = Network::Host;
    assert_ne!(fixture.print_with(request).await, "0\n");
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn files_in_memory_have_owner_and_mode(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let script = "cat /run/secrets/token; stat -c '%u:%g %a' /run/secrets/token; \
                  (echo x > /run/secrets/token) 2>/dev/null || echo read-only";
    let mut request = fixture.shell(script);
    request.files = vec![MemoryFile {
        target: "/run/secrets/token".into(),
        data: b"s3cret\n".to_vec(),
        uid: 1000,
        gid: 29,
        mode: 0o440,
    }];
    assert!(
        !format!("{request:?}").contains("115"),
        "the content is not for logs"
    );
    assert_eq!(
        fixture.print_with(request).await,
        "s3cret\n1000:29 440\nread-only\n"
    );
    assert_eq!(names(fixture.rootfs().join("run")), ["secrets"]);
    assert!(names(fixture.rootfs().join("run/secrets")).is_empty());
    assert!(names(fixture.dir.path().join("state/mnt")).is_empty());
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn mount_stubs_go_if_they_are_empty(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let root = fixture.rootfs();
    fs::create_dir(fixture.dir.path().join("source")).unwrap();
    let mount =
        |target: &str| MountPoint::new(target, Mount::bind(fixture.dir.path().join("source")));
    let tree = |path: &str| names(root.join(path));

    let mut request = fixture.shell("echo x > /kept/inner/file; echo y > /left/mounted/file");
    request.mounts = vec![mount("/gone/deep"), mount("/left/mounted")];
    request.cwd = "/kept/inner".into();
    fixture.print_with(request.clone()).await;
    assert!(tree("gone").is_empty(), "only the mount point itself goes");
    assert_eq!(
        (tree("kept/inner"), tree("left")),
        (vec!["file".to_owned()], Vec::new())
    );
    assert_eq!(
        tree("etc"),
        ["group", "passwd"],
        "hosts and resolv.conf were stubs"
    );

    fs::remove_dir(root.join("gone")).unwrap();
    request.stubs = StubRemoval::Recursive;
    fixture.print_with(request).await;
    assert!(!root.join("gone").exists());

    // What was there stays, empty or not.
    fs::write(root.join("etc/hosts"), "").unwrap();
    fs::create_dir(root.join("there")).unwrap();
    let mut request = fixture.shell("true");
    request.mounts = vec![mount("/there")];
    fixture.print_with(request).await;
    assert!(root.join("etc/hosts").exists() && root.join("there").exists());
}

#[tokio::test]
async fn a_directory_that_only_held_stubs_keeps_its_times() {
    let fixture = Fixture::new(Kind::Native);
    let etc = fixture.rootfs().join("etc");
    let before = fs::metadata(&etc).unwrap();
    fixture.print("true").await;
    let after = fs::metadata(&etc).unwrap();
    assert_eq!(
        (before.mtime(), before.mtime_nsec()),
        (after.mtime(), after.mtime_nsec())
    );
    fixture.print("echo x > /etc/new").await;
    let changed = fs::metadata(&etc).unwrap();
    assert_ne!(
        (before.mtime(), before.mtime_nsec()),
        (changed.mtime(), changed.mtime_nsec())
    );
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn a_read_only_root(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let mut request =
        fixture.shell("(touch /x) 2>/dev/null || echo no; touch /m/y && ls /m; touch /dev/shm/z");
    request.root_access = RootAccess::ReadOnly;
    request.mounts = vec![MountPoint::new("/m", Mount::tmpfs(["nosuid"]))];
    assert_eq!(fixture.print_with(request).await, "no\ny\n");
    assert!(
        !fixture.rootfs().join("m").exists(),
        "the stub is gone all the same"
    );
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn the_file_mode_mask_is_the_usual_one(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    assert_eq!(fixture.print("umask; touch /f; mkdir /d").await, "0022\n");
    let mode = |name: &str| {
        fs::metadata(fixture.rootfs().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!((mode("f"), mode("d")), (0o644, 0o755));
}
