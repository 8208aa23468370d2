//! The authority that a step is made to trust, and that nothing is left of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kiln_executor::{ExecRequest, Mount, MountPoint, RootAccess};
use rstest::rstest;

use crate::fixture::{Fixture, Kind, names, overlay};

const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----\nQUJD\nREVG\n-----END CERTIFICATE-----\n";
const OTHER: &str = "-----BEGIN CERTIFICATE-----\neHl6\n-----END CERTIFICATE-----\n";
const BLOCK: &str = "\n# kiln proxy CA begin\n-----BEGIN CERTIFICATE-----\nQUJD\nREVG\n\
                     -----END CERTIFICATE-----\n# kiln proxy CA end\n";
const DEBIAN: &str = "/etc/ssl/certs/ca-certificates.crt";
const FEDORA: &str = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";

/// Prints a file. Directly, its pages themselves would be in the output, and change there when the file does.
fn show(path: &str) -> String {
    format!("cat {path} | cat")
}

/// A file of the root filesystem with an owner, a mode and times of its own.
fn place(root: &Path, path: &str, content: &str) -> PathBuf {
    let path = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    std::os::unix::fs::chown(&path, Some(12), Some(34)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 5);
    let file = fs::File::open(&path).unwrap();
    file.set_modified(long_ago).unwrap();
    path
}

/// What must not differ: owner, mode, size and time.
fn facts(path: &Path) -> (u32, u32, u32, u64, i64, i64) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let owner = (metadata.uid(), metadata.gid(), metadata.mode());
    let (time, nanos) = (metadata.mtime(), metadata.mtime_nsec());
    (owner.0, owner.1, owner.2, metadata.len(), time, nanos)
}

fn trusting(fixture: &Fixture, script: &str) -> ExecRequest {
    let mut request = fixture.shell(script);
    request.trusted_authority = Some(AUTHORITY.to_owned());
    request
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn it_is_in_the_bundle_while_the_step_runs(#[case] kind: Kind) {
    for content in [OTHER, "", "# no line end"] {
        let fixture = Fixture::new(kind);
        let bundle = place(&fixture.rootfs(), DEBIAN, content);
        let before = facts(&bundle);
        let request = trusting(&fixture, &show(DEBIAN));
        let seen = fixture.print_with(request).await;
        assert_eq!(seen, format!("{content}{BLOCK}"));
        assert_eq!(fs::read_to_string(&bundle).unwrap(), content);
        assert_eq!(facts(&bundle), before, "{content}");
    }
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn a_layer_has_nothing_of_it(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let bundle = place(&fixture.rootfs(), DEBIAN, OTHER);
    let times = |dir: &Path| fs::metadata(dir).unwrap().modified().unwrap();
    let certificates = bundle.parent().unwrap().to_owned();
    let (before, directory) = (facts(&bundle), times(&certificates));
    let layer = fixture.dir.path().join("layer");
    let mut request = trusting(&fixture, &format!("cat {DEBIAN}"));
    request.rootfs = vec![overlay(&fixture.rootfs(), &layer)];
    let seen = fixture.print_with(request.clone()).await;
    assert_eq!(seen, format!("{OTHER}{BLOCK}"));
    let upper = layer.join("upper");
    assert!(names(upper.join("etc/ssl/certs")).is_empty());
    assert_eq!(times(&upper.join("etc/ssl/certs")), directory);

    // What the step changes is in its layer, without the authority.
    let checks = [
        (format!("chmod 600 {DEBIAN}"), OTHER.to_owned()),
        (
            format!("echo '# more' >> {DEBIAN}"),
            format!("{OTHER}# more\n"),
        ),
    ];
    for (script, expected) in checks {
        fs::remove_dir_all(&layer).unwrap();
        request.args[2].clone_from(&script);
        request.rootfs = vec![overlay(&fixture.rootfs(), &layer)];
        fixture.print_with(request.clone()).await;
        let seen = fs::read_to_string(upper.join(&DEBIAN[1..])).unwrap();
        assert_eq!(seen, expected, "{script}");
    }
    assert_eq!(facts(&bundle), before);
    assert_eq!(fs::read_to_string(&bundle).unwrap(), OTHER);
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn a_bundle_that_the_step_changes(#[case] kind: Kind) {
    let check = async |script: &str, expected: Option<&str>| {
        let fixture = Fixture::new(kind);
        let bundle = place(&fixture.rootfs(), DEBIAN, OTHER);
        let request = trusting(&fixture, &script.replace('%', DEBIAN));
        fixture.print_with(request).await;
        let left = fs::read_to_string(&bundle).ok();
        assert_eq!(left.as_deref(), expected, "{script}");
    };
    let twice = format!("{OTHER}{OTHER}");
    // As update-ca-certificates does it.
    check("echo new > %.new && mv %.new %", Some("new\n")).await;
    check(
        "cp % /tmp/x && cat % /tmp/x > %.new && mv %.new %",
        Some(&twice),
    )
    .await;
    check(
        "grep -v '#' % > /tmp/x && cat /tmp/x > %",
        Some(&format!("{OTHER}\n")),
    )
    .await;
    check("echo '# end' >> %", Some(&format!("{OTHER}# end\n"))).await;
    check("rm %", None).await;
    check(
        "mkdir -p /etc/pki && mv % /etc/pki/x && ln -s ../../pki/x %",
        Some(OTHER),
    )
    .await;
    check("touch -d @5 % && chmod 600 %", Some(OTHER)).await;
}

#[tokio::test]
async fn what_the_step_sets_stays() {
    let fixture = Fixture::new(Kind::Native);
    let bundle = place(&fixture.rootfs(), DEBIAN, OTHER);
    let script = format!("chmod 600 {DEBIAN}; chown 1:2 {DEBIAN}; touch -d @7 {DEBIAN}");
    fixture.print_with(trusting(&fixture, &script)).await;
    let expected = (1, 2, 0o100_600, OTHER.len() as u64, 7, 0);
    assert_eq!(facts(&bundle), expected);
    assert_eq!(fs::read_to_string(&bundle).unwrap(), OTHER);
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn links_lead_to_it_but_not_out(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let root = fixture.rootfs();
    let bundle = place(&root, FEDORA, OTHER);
    let outside = place(fixture.dir.path(), "outside", OTHER);
    let link = |target: &Path, path: &str| {
        let path = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    };
    link(&outside, DEBIAN);
    link(Path::new(FEDORA), "/etc/pki/tls/certs/ca-bundle.crt");
    link(
        Path::new("../../../../../../../outside"),
        "/etc/ssl/cert.pem",
    );
    let before = (facts(&bundle), facts(&outside));
    let request = trusting(&fixture, &show(FEDORA));
    assert_eq!(fixture.print_with(request).await, format!("{OTHER}{BLOCK}"));
    assert_eq!((facts(&bundle), facts(&outside)), before);
    for path in [&bundle, &outside] {
        assert_eq!(fs::read_to_string(path).unwrap(), OTHER);
    }
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn a_read_only_root_shows_it_too(#[case] kind: Kind) {
    let check = async |set: &dyn Fn(&mut ExecRequest)| {
        let fixture = Fixture::new(kind);
        let root = fixture.rootfs();
        // Nothing can be made to mount on.
        for dir in ["proc", "dev", "sys"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for file in ["etc/hosts", "etc/resolv.conf"] {
            fs::write(root.join(file), "").unwrap();
        }
        let bundle = place(&root, DEBIAN, OTHER);
        let before = facts(&bundle);
        let script = format!("stat -c '%u:%g %a' {DEBIAN}; cat {DEBIAN}; : >> {DEBIAN}");
        let mut request = trusting(&fixture, &script);
        set(&mut request);
        let finished = fixture.run(request).await.unwrap();
        let expected = format!("12:34 640\n{OTHER}{BLOCK}");
        assert_eq!(finished.stdout, expected, "{finished:?}");
        assert!(
            finished.stderr.contains("Read-only file system"),
            "{finished:?}"
        );
        assert_eq!(facts(&bundle), before);
        assert_eq!(fs::read_to_string(&bundle).unwrap(), OTHER);
    };
    check(&|request| request.root_access = RootAccess::ReadOnly).await;
    check(&|request| request.rootfs[0].options.push("ro".to_owned())).await;
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn without_a_bundle_the_step_runs_all_the_same(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let root = fixture.rootfs();
    let before = names(root.join("etc"));
    assert_eq!(
        fixture.print_with(trusting(&fixture, "echo fine")).await,
        "fine\n"
    );
    assert_eq!(names(root.join("etc")), before);

    // Something else is there, or it is larger than any bundle.
    let check = async |path: &Path, size: u64| {
        let request = trusting(&fixture, &format!("wc -c < {DEBIAN}"));
        assert_eq!(fixture.print_with(request).await.trim(), size.to_string());
        assert_eq!(fs::metadata(path).unwrap().len(), size);
    };
    let bundle = place(&root, DEBIAN, "");
    let size = (10 << 20) + 1;
    fs::OpenOptions::new()
        .write(true)
        .open(&bundle)
        .unwrap()
        .set_len(size)
        .unwrap();
    check(&bundle, size).await;

    // It knows the authority already.
    let known = place(&root, DEBIAN, &format!("# own\n{AUTHORITY}"));
    check(&known, 6 + AUTHORITY.len() as u64).await;
}

#[tokio::test]
async fn a_step_that_cannot_start_leaves_nothing_either() {
    let fixture = Fixture::new(Kind::Native);
    let bundle = place(&fixture.rootfs(), DEBIAN, OTHER);
    let before = facts(&bundle);
    let check = async |set: &dyn Fn(&mut ExecRequest)| {
        let mut request = trusting(&fixture, "true");
        set(&mut request);
        assert!(fixture.run(request).await.is_err());
        assert_eq!(facts(&bundle), before);
        assert_eq!(fs::read_to_string(&bundle).unwrap(), OTHER);
    };
    check(&|request| request.args = vec!["nope".to_owned()]).await;
    check(&|request| request.user = "nobody-of-that-name".to_owned()).await;
    check(&|request| request.mounts = vec![MountPoint::new("/m", Mount::bind("/nowhere"))]).await;
}
