//! `buildkitd.toml`: what is understood, and what is said of the rest.

use std::path::Path;
use std::time::Duration;

use kiln_daemon::config::{Config, DiskSpace, Span, parse};

fn read(text: &str) -> Result<Config, String> {
    parse(Path::new("/etc/buildkit/buildkitd.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn sizes_and_durations_have_all_their_forms() {
    let check = |value: &str, space: DiskSpace| {
        let config = read(&format!("[worker.oci]\nreservedSpace = {value}")).unwrap();
        assert_eq!(config.worker.oci.reserved_space, Some(space), "{value}");
    };
    check("512000000", DiskSpace::Bytes(512_000_000));
    check("\"512000000\"", DiskSpace::Bytes(512_000_000));
    check("\"512MB\"", DiskSpace::Bytes(512 << 20));
    check("\"512 MiB\"", DiskSpace::Bytes(512 << 20));
    check("\"1.5g\"", DiskSpace::Bytes(3 << 29));
    check("\"10%\"", DiskSpace::Percent(10));
    check("\"\"", DiskSpace::Bytes(0));

    let check = |value: &str, seconds: u64| {
        let config = read(&format!("[history]\nmaxAge = {value}")).unwrap();
        let expected = Some(Span(Duration::from_secs(seconds)));
        assert_eq!(config.history.max_age, expected, "{value}");
    };
    check("172800", 172_800);
    check("\"172800\"", 172_800);
    check("\"48h\"", 172_800);
    check("\"1h30m\"", 5400);
    check("\"\"", 0);
}

#[test]
fn percentages_are_parts_of_the_disk_rounded_up_to_gigabytes() {
    let terabyte = 1u64 << 40;
    assert_eq!(DiskSpace::Percent(10).on_disk(terabyte), 103_000_000_000);
    assert_eq!(DiskSpace::Percent(0).on_disk(terabyte), 0);
    assert_eq!(DiskSpace::Percent(10).on_disk(0), 2_000_000_000);
    assert_eq!(DiskSpace::Bytes(7).on_disk(terabyte), 7);
}

#[test]
fn what_is_wrong_is_shown_with_its_place() {
    let check = |text: &str, parts: &[&str]| {
        let error = read(text).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{part:?} is missing in: {error}");
        }
    };
    check(
        "[worker.oci]\nsnapshoter = \"overlayfs\"",
        &[
            "/etc/buildkit/buildkitd.toml",
            "line 2",
            "snapshoter",
            "did you mean `snapshotter`?",
        ],
    );
    check("[gprc]\naddress = []", &["line 1", "did you mean `grpc`?"]);
    check("debug = 1", &["line 1", "expected a boolean"]);
    check("root = ", &["line 1"]);
    check(
        "[worker.oci]\nmaxUsedSpace = \"many\"",
        &["invalid disk space \"many\""],
    );
    check("[worker.oci]\nmaxUsedSpace = -1", &["cannot be negative"]);
    check(
        "[history]\nmaxAge = \"soon\"",
        &["invalid duration \"soon\""],
    );
    check(
        "[registry.\"a\"]\nkeypair = [{ key = \"k\" }]",
        &["missing field `cert`"],
    );
}

#[test]
fn the_documented_example_is_understood() {
    let config = read(
        r#"
root = "/var/lib/buildkit"
insecure-entitlements = [ "network.host", "security.insecure", "device" ]
[log]
  format = "text"
  level = "info"
[dns]
  nameservers=["1.1.1.1","8.8.8.8"]
  options=["edns0"]
  searchDomains=["example.com"]
[grpc]
  address = [ "tcp://0.0.0.0:1234" ]
  debugAddress = "0.0.0.0:6060"
  uid = 0
  gid = 0
  [grpc.tls]
    cert = "/etc/buildkit/tls.crt"
    key = "/etc/buildkit/tls.key"
    ca = "/etc/buildkit/tlsca.crt"
[otel]
  socketPath = "/run/buildkit/otel-grpc.sock"
[cdi]
  disabled = true
  specDirs = ["/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi"]
[history]
  maxAge = 172800
  maxEntries = 50
[worker.oci]
  enabled = true
  platforms = [ "linux/amd64", "linux/arm64" ]
  snapshotter = "auto"
  rootless = false
  noProcessSandbox = false
  gc = true
  reservedSpace = "30%"
  maxUsedSpace = "60%"
  minFreeSpace = "20GB"
  binary = ""
  apparmor-profile = ""
  max-parallelism = 4
  cniPoolSize = 16
  [worker.oci.labels]
    "foo" = "bar"
  [[worker.oci.gcpolicy]]
    reservedSpace = "512MB"
    maxUsedSpace = "1GB"
    minFreeSpace = "10GB"
    keepDuration = "48h"
    filters = [ "type==source.local", "type==exec.cachemount", "type==source.git.checkout"]
  [[worker.oci.gcpolicy]]
    all = true
    reservedSpace = 1024000000
[worker.containerd]
  address = "/run/containerd/containerd.sock"
  enabled = true
  platforms = [ "linux/amd64", "linux/arm64" ]
  namespace = "buildkit"
  gc = true
  reservedSpace = "30%"
  maxUsedSpace = "60%"
  minFreeSpace = "20GB"
  max-parallelism = 4
  cniPoolSize = 16
  defaultCgroupParent = "buildkit"
  [worker.containerd.labels]
    "foo" = "bar"
  [worker.containerd.runtime]
    name = "io.containerd.runc.v2"
    path = "/path/to/containerd/runc/shim"
    options = { BinaryName = "runc" }
  [[worker.containerd.gcpolicy]]
    reservedSpace = 512000000
    keepDuration = 172800
    filters = [ "type==source.local" ]
[registry."docker.io"]
  mirrors = ["yourmirror.local:5000", "core.harbor.domain/proxy.docker.io"]
  http = true
  insecure = true
  ca=["/etc/config/myca.pem"]
  [[registry."docker.io".keypair]]
    key="/etc/config/key.pem"
    cert="/etc/config/cert.pem"
[registry."yourmirror.local:5000"]
  http = true
[frontend."dockerfile.v0"]
  enabled = true
[frontend."gateway.v0"]
  enabled = true
  allowedRepositories = []
[system]
  platformsCacheMaxAge = "1h"
  maxRegistryConcurrency = 4
"#,
    )
    .unwrap();
    assert_eq!(config.worker.oci.gcpolicy.len(), 2);
    assert_eq!(config.worker.containerd.enabled, Some(true));
    assert_eq!(config.registry["docker.io"].mirrors.len(), 2);
}
