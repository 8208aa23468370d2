//! Command line, configuration file and defaults, resolved into settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser as _;
use kiln_daemon::{Address, Arguments, Environment, Presence, Settings, config};
use kiln_engine::{
    DeviceGrant, DeviceOptions, Entitlement, ExecutorChoice, GcSettings, StepNetwork,
};

fn root() -> Environment {
    Environment::default()
}

fn user(variables: &[(&str, &str)]) -> Environment {
    let variables = variables
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    Environment {
        is_rootless: true,
        variables: variables.collect::<BTreeMap<_, _>>(),
        ..Environment::default()
    }
}

fn resolve_for(environment: &Environment, flags: &[&str], file: &str) -> Result<Settings, String> {
    let arguments = std::iter::once(&"buildkitd").chain(flags);
    let arguments = Arguments::try_parse_from(arguments).map_err(|error| error.to_string())?;
    let config = config::parse(Path::new("buildkitd.toml"), file);
    let config = config.map_err(|error| error.to_string())?;
    Settings::resolve(&arguments, config, environment).map_err(|error| error.to_string())
}

fn resolve(flags: &[&str], file: &str) -> Result<Settings, String> {
    resolve_for(&root(), flags, file)
}

fn unix(path: &str) -> Address {
    Address::Unix(path.into())
}

#[test]
fn defaults_are_those_of_the_user() {
    let settings = resolve(&[], "").unwrap();
    assert_eq!(settings.addresses, [unix("/run/buildkit/buildkitd.sock")]);
    assert_eq!(settings.engine.root, Path::new("/var/lib/kiln"));
    assert_eq!(settings.engine.gc, GcSettings::FitDisk);
    assert_eq!(settings.stop_timeout, Duration::from_secs(30));
    assert_eq!(settings.engine.history.max_entries, 50);
    assert_eq!(
        root().config_file(),
        Path::new("/etc/buildkit/buildkitd.toml")
    );

    let home = user(&[("HOME", "/home/a"), ("XDG_RUNTIME_DIR", "/run/user/7")]);
    let settings = resolve_for(&home, &[], "").unwrap();
    assert_eq!(
        settings.addresses,
        [unix("/run/user/7/buildkit/buildkitd.sock")]
    );
    assert_eq!(settings.engine.root, Path::new("/home/a/.local/share/kiln"));
    assert_eq!(
        home.config_file(),
        Path::new("/home/a/.config/buildkit/buildkitd.toml")
    );

    let xdg = user(&[("XDG_DATA_HOME", "/data"), ("XDG_CONFIG_HOME", "/config")]);
    let settings = resolve_for(&xdg, &[], "").unwrap();
    assert_eq!(settings.addresses, [unix("/run/buildkit/buildkitd.sock")]);
    assert_eq!(settings.engine.root, Path::new("/data/kiln"));
    assert_eq!(
        xdg.config_file(),
        Path::new("/config/buildkit/buildkitd.toml")
    );
    let error = resolve_for(&user(&[]), &[], "").unwrap_err();
    assert!(error.contains("use --root DIR"), "{error}");
}

#[test]
fn flags_win_over_the_file() {
    let file = r#"
        root = "/from/file"
        insecure-entitlements = ["network.host"]
        [log]
        level = "warn"
        [grpc]
        address = ["unix:///a", "tcp://127.0.0.1:0"]
        gid = 7
        [worker.oci]
        binary = "runc"
        max-parallelism = 2
        reservedSpace = 1
        labels = { a = "1", b = "2" }
    "#;
    let settings = resolve(&[], file).unwrap();
    assert_eq!(settings.engine.root, Path::new("/from/file"));
    assert_eq!(
        settings.addresses,
        [unix("/a"), Address::Tcp("127.0.0.1:0".into())]
    );
    assert_eq!(settings.log.level, tracing::Level::WARN);
    assert_eq!(settings.owner.gid, 7);
    let devices = Entitlement::Device(DeviceGrant::All);
    assert_eq!(settings.allowed, [Entitlement::NetworkHost, devices].into());
    assert_eq!(
        settings.engine.executor,
        ExecutorChoice::OciRuntime("runc".into())
    );
    assert_eq!(settings.engine.max_parallelism, Some(2));
    assert!(matches!(settings.engine.gc, GcSettings::Within(limits) if limits.reserved == 1));

    let flags = [
        "--root=/from/flag",
        "--addr=unix:///b",
        "--debug",
        "--group=root",
        "--allow-insecure-entitlement=security.insecure",
        "--oci-worker-binary=crun",
        "--oci-max-parallelism=0",
        "--oci-worker-gc-keepstorage=1,2,3",
        "--oci-worker-labels=b=3",
        "--stop-timeout=5s",
        "--cdi-disabled",
    ];
    let settings = resolve(&flags, file).unwrap();
    assert_eq!(settings.engine.root, Path::new("/from/flag"));
    assert_eq!(settings.addresses, [unix("/b")]);
    assert_eq!(settings.log.level, tracing::Level::DEBUG);
    assert_eq!(settings.owner.gid, 0);
    assert_eq!(settings.allowed, [Entitlement::SecurityInsecure].into());
    assert_eq!(
        settings.engine.executor,
        ExecutorChoice::OciRuntime("crun".into())
    );
    assert_eq!(settings.engine.max_parallelism, None);
    let GcSettings::Within(limits) = settings.engine.gc else {
        panic!("{:?}", settings.engine.gc);
    };
    let megabytes = [limits.reserved, limits.min_free, limits.max_used];
    assert_eq!(megabytes, [1_000_000, 2_000_000, 3_000_000]);
    assert_eq!(settings.labels["a"], "1");
    assert_eq!(settings.labels["b"], "3");
    assert_eq!(settings.stop_timeout, Duration::from_secs(5));
}

#[test]
fn the_engine_gets_its_part() {
    let settings = resolve(
        &[],
        r#"
        [dns]
        nameservers = ["10.0.0.1"]
        searchDomains = ["example.com"]
        options = ["edns0"]
        [history]
        maxAge = "1h"
        maxEntries = 3
        [system]
        maxRegistryConcurrency = 9
        platformsCacheMaxAge = "1h"
        [frontend."dockerfile.v0"]
        enabled = false
        [frontend."gateway.v0"]
        allowedRepositories = ["example.com/a"]
        [registry."docker.io"]
        mirrors = ["mirror:5000"]
        http = true
        ca = ["/ca.pem"]
        keypair = [{ key = "/k", cert = "/c" }]
        tlsconfigdir = ["/certs.d"]
        [[worker.oci.gcpolicy]]
        all = true
        keepBytes = "1GB"
        keepDuration = 60
        filters = ["type==source.local"]
        "#,
    );
    let engine = settings.unwrap().engine;
    assert_eq!(
        engine.dns.nameservers,
        ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(engine.dns.search, ["example.com"]);
    assert_eq!(engine.dns.options, ["edns0"]);
    assert_eq!(engine.history.max_age, Duration::from_secs(3600));
    assert_eq!(engine.history.max_entries, 3);
    assert_eq!(engine.registry_concurrency, Some(9));
    assert!(!engine.frontends.dockerfile && engine.frontends.gateway);
    assert_eq!(engine.frontends.gateway_repositories, ["example.com/a"]);
    let host = &engine.hosts["docker.io"];
    assert_eq!(host.mirrors, ["mirror:5000"]);
    assert_eq!(host.http, Some(true));
    assert_eq!(host.ca, [PathBuf::from("/ca.pem")]);
    assert_eq!(host.keypairs[0].certificate, Path::new("/c"));
    assert_eq!(host.tls_config_dirs, [PathBuf::from("/certs.d")]);
    let GcSettings::Policies(policies) = &engine.gc else {
        panic!("{:?}", engine.gc);
    };
    assert!(policies[0].all);
    assert_eq!(policies[0].reserved_space, 1 << 30);
    assert_eq!(policies[0].keep_duration, Duration::from_secs(60));
    let off = resolve(&["--oci-worker-gc=false"], "").unwrap();
    assert_eq!(off.engine.gc, GcSettings::Off);
}

#[test]
fn what_asks_for_what_happens_anyway_is_accepted() {
    for flags in [
        &[
            "--oci-worker=true",
            "--containerd-worker=false",
            "--containerd-worker-gc=true",
        ][..],
        &["--oci-worker=auto", "--containerd-worker=auto"],
        &[
            "--containerd-worker-runtime=io.containerd.runc.v2",
            "--containerd-worker-net=host",
            "--containerd-cni-pool-size=4",
            "--containerd-worker-selinux=false",
        ],
        &[
            "--oci-worker-snapshotter=overlayfs",
            "--oci-worker-net=host",
            "--oci-cni-pool-size=4",
        ],
        &[
            "--cdi-disabled",
            "--cdi-spec-dir=/etc/cdi",
            "--proxy-network=false",
        ],
        &[
            "--oci-worker-selinux=false",
            "--oci-worker-no-process-sandbox=0",
            "--save-cache-debug=f",
        ],
    ] {
        resolve(flags, "").unwrap_or_else(|error| panic!("{flags:?}: {error}"));
    }
    resolve(
        &[],
        "[worker.containerd]\nenabled = false\naddress = \"/x\"\n[worker.oci]\ngc = true\nsnapshotter = \"auto\"\nnetworkMode = \"auto\"",
    )
    .unwrap();
}

#[test]
fn the_first_worker_that_is_on_builds() {
    let file = r#"
        [worker.oci]
        max-parallelism = 2
        labels = { from = "oci" }
        [worker.containerd]
        address = "unix:///ctd.sock"
        namespace = "n"
        snapshotter = "native"
        platforms = ["linux/s390x"]
        max-parallelism = 3
        labels = { from = "containerd" }
        reservedSpace = 5
    "#;
    let settings = resolve(&[], file).unwrap();
    assert_eq!(settings.engine.images, None);
    assert_eq!(settings.engine.max_parallelism, Some(2));
    assert_eq!(settings.labels["from"], "oci");
    let containerd = settings.containerd.unwrap();
    assert_eq!(containerd.presence, Presence::IfThere);
    assert_eq!(containerd.labels["from"], "containerd");
    assert_eq!(settings.warnings, [""; 0]);

    let both = resolve(&["--containerd-worker"], file);
    assert!(both.is_err(), "a value is needed, as upstream has it");
    let both = resolve(&["--containerd-worker=true"], file).unwrap();
    assert_eq!(both.engine.images, None);
    assert_eq!(both.containerd.unwrap().presence, Presence::Required);
    assert!(both.warnings[0].contains("--oci-worker=false"));

    for choice in ["--containerd-worker=true", "--containerd-worker=auto"] {
        let flags = [
            "--oci-worker=false",
            choice,
            "--containerd-max-parallelism=4",
        ];
        let settings = resolve(&flags, file).unwrap();
        let images = settings.engine.images.unwrap();
        assert_eq!(images.address.path(), Path::new("/ctd.sock"));
        assert_eq!(images.namespace, "n");
        assert_eq!(images.snapshotter, "native");
        assert_eq!(settings.engine.max_parallelism, Some(4));
        assert_eq!(settings.labels["from"], "containerd");
        assert_eq!(settings.platforms.len(), 1);
        assert!(matches!(settings.engine.gc, GcSettings::Within(it) if it.reserved == 5));
        assert_eq!(settings.containerd.unwrap().presence, Presence::Required);
        assert_eq!(settings.warnings, [""; 0]);
    }
    let off = resolve(&["--containerd-worker=false"], file).unwrap();
    assert_eq!(off.containerd, None);
    let defaults = resolve(&["--oci-worker=false"], "").unwrap();
    let images = defaults.engine.images.unwrap();
    let default = Path::new("/run/containerd/containerd.sock");
    assert_eq!(images.address.path(), default);
    assert_eq!(images.namespace, "buildkit");
    assert_eq!(images.snapshotter, "overlayfs");
}

#[test]
fn devices_are_described_in_directories() {
    let options = |flags: &[&str], file: &str| resolve(flags, file).unwrap().engine.devices;
    assert_eq!(options(&[], ""), Some(DeviceOptions::default()));
    assert_eq!(options(&["--cdi-disabled"], ""), None);
    let file = "[cdi]\nspecDirs = [\"/a\", \"/b\"]\nautoAllowed = [\"v.com/c\"]\n";
    let found = options(&[], file).unwrap();
    assert_eq!(found.directories, [Path::new("/a"), Path::new("/b")]);
    assert_eq!(found.auto_allowed, ["v.com/c".to_owned()].into());
    let found = options(&["--cdi-disabled=false", "--cdi-spec-dir=/c"], file).unwrap();
    assert_eq!(found.directories, [Path::new("/c")]);
}

#[test]
fn all_steps_may_get_a_proxy() {
    let network = |flags: &[&str], file: &str| resolve(flags, file).unwrap().network;
    assert_eq!(network(&[], ""), StepNetwork::Direct);
    assert_eq!(network(&["--proxy-network"], ""), StepNetwork::Proxied);
    assert_eq!(network(&[], "proxyNetwork = true"), StepNetwork::Proxied);
    let off = network(&["--proxy-network=false"], "proxyNetwork = true");
    assert_eq!(off, StepNetwork::Direct);
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let check = |flags: &[&str], file: &str, part: &str| {
        let error = resolve(flags, file).unwrap_err();
        assert!(error.contains(part), "{part:?} is missing in: {error}");
        assert!(error.contains("not supported: "), "{error}");
    };
    check(&["--save-cache-debug"], "", "--save-cache-debug");
    check(
        &["--otel-socket-path=/x"],
        "",
        "otel.socketPath (--otel-socket-path)",
    );
    check(
        &["--oci-worker=false", "--containerd-worker=false"],
        "",
        "worker.oci.enabled=false (--oci-worker=false)",
    );
    check(
        &["--oci-worker-snapshotter=native"],
        "",
        "worker.oci.snapshotter=\"native\"",
    );
    check(
        &["--oci-worker-proxy-snapshotter-path=/x"],
        "",
        "proxySnapshotterPath",
    );
    check(
        &["--oci-worker-net=bridge"],
        "",
        "worker.oci.networkMode=\"bridge\"",
    );
    check(
        &["--oci-cni-config-path=/x"],
        "",
        "cniConfigPath (--oci-cni-config-path)",
    );
    check(
        &["--oci-cni-binary-dir=/x"],
        "",
        "cniBinaryPath (--oci-cni-binary-dir)",
    );
    check(
        &["--oci-cni-pool-size=3"],
        "",
        "cniPoolSize (--oci-cni-pool-size)",
    );
    check(&["--oci-worker-apparmor-profile=x"], "", "apparmor-profile");
    check(&["--oci-worker-selinux"], "", "worker.oci.selinux");
    check(&["--oci-worker-no-process-sandbox"], "", "noProcessSandbox");
    check(
        &["--containerd-worker-runtime=io.containerd.kata.v2"],
        "",
        "worker.containerd.runtime (--containerd-worker-runtime)",
    );
    check(
        &["--containerd-worker-net=bridge"],
        "",
        "worker.containerd.networkMode=\"bridge\" (--containerd-worker-net)",
    );
    check(
        &["--containerd-cni-pool-size=3"],
        "",
        "worker.containerd.cniPoolSize (--containerd-cni-pool-size)",
    );
    check(
        &["--containerd-worker-apparmor-profile=x"],
        "",
        "worker.containerd.apparmor-profile (--containerd-worker-apparmor-profile)",
    );
    check(
        &["--containerd-worker-selinux"],
        "",
        "worker.containerd.selinux (--containerd-worker-selinux)",
    );
    check(&[], "[cache.gha.verify]\nrequired = true", "cache.gha");
    check(&[], "[ghacache.sign]\ncmd = \"x\"", "ghacache");
    check(
        &[],
        "[grpc]\nsecurityDescriptor = \"x\"",
        "grpc.securityDescriptor",
    );
    check(
        &[],
        "[worker.oci]\nbridgeName = \"x\"",
        "worker.oci.bridgeName",
    );
    check(
        &[],
        "[worker.oci]\ndefaultCgroupParent = \"x\"",
        "defaultCgroupParent",
    );
    check(
        &[],
        "[worker.oci]\nuserRemapUnsupported = \"x\"",
        "userRemapUnsupported",
    );
    check(
        &[],
        "[worker.oci.stargzSnapshotter]\nno_prometheus = true",
        "stargzSnapshotter",
    );
    check(
        &[],
        "[worker.containerd]\ndefaultCgroupParent = \"x\"",
        "worker.containerd.defaultCgroupParent",
    );
    check(
        &[],
        "[worker.containerd.runtime]\npath = \"/x\"",
        "worker.containerd.runtime",
    );
}

#[test]
fn values_without_sense_are_explained() {
    let check = |flags: &[&str], file: &str, part: &str| {
        let error = resolve(flags, file).unwrap_err();
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    };
    check(
        &["--addr=/run/x.sock"],
        "",
        "you meant unix:///run/x.sock ?",
    );
    check(
        &["--addr=npipe:////x"],
        "",
        "addr npipe:////x not supported",
    );
    check(&["--addr=unix://"], "", "names no place");
    check(&["--addr=fd://3"], "", "write fd:// for all");
    check(&["--log-level=loud"], "", "unsupported log level \"loud\"");
    check(&["--log-format=xml"], "", "unsupported log type \"xml\"");
    check(&["--tlscert=/x"], "", "you must specify key and cert file");
    check(&["--tlscacert=/x"], "", "clients cannot be checked");
    check(&["--group=no-such-group"], "", "no-such-group");
    check(&["--allow-insecure-entitlement=root"], "", "root");
    check(&["--oci-worker-labels=x"], "", "write KEY=VALUE");
    check(&["--containerd-worker-labels=x"], "", "write KEY=VALUE");
    check(
        &["--containerd-worker-addr=tcp://127.0.0.1:1"],
        "",
        "worker.containerd.address (--containerd-worker-addr)",
    );
    check(
        &["--containerd-worker=perhaps"],
        "",
        "write true, false or auto",
    );
    check(
        &["--containerd-worker-gc-keepstorage=x"],
        "",
        "RESERVED[,FREE[,MAXIMUM]]",
    );
    check(
        &["--oci-worker-platform=linux/a/b/c/d"],
        "",
        "invalid platforms",
    );
    check(
        &["--oci-worker-gc-keepstorage=x"],
        "",
        "RESERVED[,FREE[,MAXIMUM]]",
    );
    check(&["--stop-timeout=soon"], "", "--stop-timeout");
    check(&["--no-such-flag"], "", "--no-such-flag");
    check(&[], "[dns]\nnameservers = [\"x\"]", "is not an IP address");
    check(
        &[],
        "[system]\nmaxRegistryConcurrency = 0",
        "must be greater than zero",
    );
    check(&[], "[history]\nmaxEntries = -1", "cannot be negative");
}
