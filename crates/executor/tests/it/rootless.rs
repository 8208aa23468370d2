//! Running without root, in a process of its own: a user namespace cannot be entered with threads running.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use crate::fixture::names;

#[test]
fn a_user_without_rights_runs_steps() {
    let example = std::env::current_exe()
        .unwrap()
        .parent()
        .unwrap()
        .join("../examples/rootless");
    let dir = tempfile::tempdir().unwrap();
    let rootfs = dir.path().join("rootfs");
    kiln_testkit::rootfs::busybox(&rootfs).unwrap();
    fs::create_dir(rootfs.join("etc/ssl")).unwrap();
    fs::write(rootfs.join("etc/ssl/cert.pem"), "own\n").unwrap();
    fs::copy(&example, dir.path().join("rootless")).expect("`cargo test` builds the examples");
    let tree = Command::new("chown")
        .args(["-hR", "4711:4711"])
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(tree.success());
    chown(dir.path(), Some(4711), Some(4711)).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();

    let run = |arguments: &[&str]| {
        let output = Command::new("setpriv")
            .args(["--reuid=4711", "--regid=4711", "--clear-groups"])
            .arg(dir.path().join("rootless"))
            .arg(dir.path().join("state"))
            .arg(&rootfs)
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let script = "id -u; echo $$; hostname; cat /etc/hosts | head -1; echo x > /dev/null; ls /sys/class | head -1; \
                  touch /made; grep ^CapEff /proc/self/status; exit 3";
    let seen = run(&[script]);
    let expected = "SingleId\n0\n1\nbuildkitsandbox\n127.0.0.1\tlocalhost buildkitsandbox\n";
    assert!(seen.starts_with(expected), "{seen}");
    assert!(
        seen.ends_with("CapEff:\t00000000a80425fb\nexit code: 3\n"),
        "{seen}"
    );
    assert!(names(&rootfs).contains(&"made".to_owned()));

    let script = "ls /sys/class/net; nc 127.0.0.1 $PORT </dev/null; cat /etc/ssl/cert.pem | cat";
    let seen = run(&[script, "PEM"]);
    let expected = "SingleId\nlo\nreached\nown\n\n# kiln proxy CA begin\nPEM\n# kiln proxy CA end\nexit code: 0\n";
    assert_eq!(seen, expected);
    let bundle = fs::read_to_string(rootfs.join("etc/ssl/cert.pem"));
    assert_eq!(bundle.unwrap(), "own\n");
}
