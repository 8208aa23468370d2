//! Frontend options.

use kiln_dockerfile::options::{CacheImport, NoCache, Options};
use kiln_llb::build::ResolveMode;
use kiln_llb::pb::NetMode;
use kiln_llb::platform::format;
use std::collections::BTreeMap;

fn attrs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

fn options(pairs: &[(&str, &str)]) -> Options {
    Options::from_attrs(&attrs(pairs)).unwrap()
}

#[test]
fn nothing_asked_for_is_a_plain_build() {
    let plain = options(&[]);
    assert_eq!(plain.context.filename, "Dockerfile");
    assert_eq!(plain.no_cache, NoCache::Nothing);
    assert_eq!(plain.resolve_mode, ResolveMode::Default);
    assert_eq!(plain.network, NetMode::Unset);
    assert!(!plain.multi_platform && plain.platforms.is_empty() && plain.linux_resources.is_none());
    assert_eq!(plain.per_platform().len(), 1);
}

#[test]
fn every_option_is_read() {
    let all = options(&[
        ("target", "t"),
        ("filename", "sub/My.Dockerfile"),
        ("platform", "linux/amd64,arm64"),
        ("no-cache", "a,B"),
        ("image-resolve-mode", "pull"),
        ("add-hosts", "\"H=1.2.3.4\",x=::1"),
        ("hostname", "h"),
        ("shm-size", "7"),
        ("ulimit", "nofile=1:2,core=-1"),
        ("cgroup-parent", "/p"),
        ("force-network-mode", "host"),
        ("memory", "5"),
        ("memswap", "-1"),
        ("cpusetcpus", "0-3,7"),
        ("build-arg:A", "1"),
        ("build-arg:BUILDKIT_CACHE_MOUNT_NS", "ns"),
        ("label:l", "v"),
        ("context", "https://h/r.git"),
        ("contextsubdir", "d"),
        ("dockerfilekey", "df"),
        ("context:n", "local:x"),
        ("local-sessionid:x", "s2"),
        ("sharedkey:localdir:n", "k"),
        ("cache-imports", r#"[{"Type":"local","Attrs":{"src":"d"}}]"#),
        ("cache-from", "r1,r2"),
        ("requestid", "frontend.lint"),
        ("unknown", "ignored"),
    ]);
    assert_eq!(all.target, "t");
    let platforms: Vec<_> = all
        .per_platform()
        .into_iter()
        .map(|it| format(&it.target_platform.unwrap()))
        .collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    assert!(all.multi_platform);
    assert!(all.no_cache.covers("b") && !all.no_cache.covers("c"));
    assert_eq!(
        all.extra_hosts,
        [
            ("h".to_string(), "1.2.3.4".to_string()),
            ("x".into(), "::1".into())
        ]
    );
    assert_eq!(
        all.ulimits
            .iter()
            .map(|it| (it.name.as_str(), it.soft, it.hard))
            .collect::<Vec<_>>(),
        [("nofile", 1, 2), ("core", -1, -1)]
    );
    let resources = all.linux_resources.unwrap();
    assert_eq!(
        (
            resources.memory,
            resources.memory_swap,
            resources.cpuset_cpus.as_str()
        ),
        (5, -1, "0-3,7")
    );
    assert_eq!(all.build_args.get("A").map(String::as_str), Some("1"));
    assert_eq!(all.cache_namespace, "ns");
    assert_eq!(all.context.session_of("x"), "s2");
    assert_eq!(all.context.remote.as_deref(), Some("https://h/r.git"));
    let kinds: Vec<_> = all
        .cache_imports
        .iter()
        .map(|it: &CacheImport| it.kind.as_str())
        .collect();
    assert_eq!(kinds, ["local", "registry", "registry"]);
    assert_eq!(all.request, "frontend.lint");
}

#[test]
fn build_args_may_be_options() {
    assert!(
        options(&[
            ("build-arg:BUILDKIT_MULTI_PLATFORM", "1"),
            ("multi-platform", "0")
        ])
        .multi_platform
    );
    assert_eq!(
        options(&[
            ("build-arg:BUILDKIT_SANDBOX_HOSTNAME", "s"),
            ("hostname", "h")
        ])
        .hostname,
        "s"
    );
    assert!(
        options(&[("build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR", "true")])
            .context
            .keep_git_dir
    );
    let lint = options(&[("build-arg:BUILDKIT_DOCKERFILE_CHECK", "skip=all;error=true")])
        .lint
        .unwrap();
    assert!(lint.return_as_error && lint.skip.contains("UndefinedVar"));
    assert_eq!(options(&[("no-cache", "")]).no_cache, NoCache::All);
}

#[test]
fn values_without_sense_are_refused() {
    for (key, value, text) in [
        (
            "platform",
            "linux/*",
            "failed to parse target platform linux/*",
        ),
        ("image-resolve-mode", "x", "invalid image-resolve-mode: x"),
        ("force-network-mode", "x", "invalid netmode x"),
        (
            "add-hosts",
            "x",
            "failed to parse additional hosts: invalid key-value pair x",
        ),
        (
            "add-hosts",
            "x=y",
            "failed to parse additional hosts: failed to parse IP y",
        ),
        ("shm-size", "x", "failed to parse shm size: \"x\""),
        (
            "ulimit",
            "x",
            "failed to parse ulimit: invalid ulimit argument: x",
        ),
        (
            "ulimit",
            "nofile=1:2:3",
            "failed to parse ulimit: too many limit value arguments",
        ),
        (
            "ulimit",
            "nofile=-1:2",
            "failed to parse ulimit: ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 2",
        ),
        ("memory", "0", "invalid memory value: 0: must be > 0"),
        (
            "memswap",
            "-2",
            "invalid memswap value: -2: must be -1 (unlimited) or > 0",
        ),
        ("cpusetcpus", "3-1", "invalid cpusetcpus value: 3-1"),
        (
            "multi-platform",
            "maybe",
            "invalid boolean value for multi-platform: maybe",
        ),
        (
            "cache-imports",
            "{",
            "failed to unmarshal cache-imports (\"{\")",
        ),
        (
            "override-copy-image",
            "x",
            "support for \"override-copy-image\" was removed in BuildKit 0.11",
        ),
        (
            "build-arg:BUILDKIT_DISABLE_FILEOP",
            "1",
            "support for \"BUILDKIT_DISABLE_FILEOP\" was removed in BuildKit 0.11",
        ),
        (
            "build-arg:BUILDKIT_DOCKERFILE_CHECK",
            "x=y",
            "failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK",
        ),
    ] {
        let error = Options::from_attrs(&attrs(&[(key, value)]))
            .unwrap_err()
            .to_string();
        assert!(error.contains(text), "{key}={value}: {error}");
    }
    let many = attrs(&[
        ("platform", "linux/amd64,linux/arm64"),
        ("multi-platform", "false"),
    ]);
    assert!(Options::from_attrs(&many).is_err());
}
