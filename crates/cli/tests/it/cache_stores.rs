//! Caches in buckets, on web servers and with GitHub: what one machine builds, another one does not.

use kiln_testkit::actions_cache::ActionsCache;
use kiln_testkit::azure::{self, AzureServer};
use kiln_testkit::s3::{self, S3Server};
use kiln_testkit::web_cache::WebCache;

use crate::world::{World, assert_has, outcome, ran};

const OUT: &[&str] = &["--output", "type=local,dest=out"];

fn world() -> World {
    let world = World::with_busybox();
    world.on_busybox(
        "COPY src /src\nRUN cat /src/a.txt > /result\nFROM busybox AS other\nRUN echo other > /other\n\
         FROM scratch\nCOPY --from=busybox /result /\nCOPY --from=other /other /\n",
    );
    world.write("context/src/a.txt", "one\n");
    world
}

/// Takes the store away, as on a new machine.
fn forget(world: &World, number: usize) {
    std::fs::rename(world.path("root"), world.path(&format!("old-{number}"))).unwrap();
}

/// Builds, exports, forgets, and builds with the import.
fn round_trip(cache: &str, variables: &[(&str, &str)]) {
    let world = world();
    let build = |flag: &str, cache: &str| {
        let arguments = [&[flag, cache], OUT].concat();
        let mut command = world.build_command(&arguments);
        command.envs(variables.iter().copied());
        let ran = ran(command.output().unwrap());
        assert!(ran.success, "{}", ran.stderr);
        ran.stderr
    };
    let progress = build("--export-cache", &format!("{cache},mode=max"));
    assert!(!progress.contains("hush"), "{progress}");
    forget(&world, 0);
    std::fs::remove_dir_all(world.path("out")).unwrap();
    let progress = build("--import-cache", cache);
    for step in ["RUN cat", "RUN echo other", "COPY --from=other"] {
        assert_eq!(outcome(&progress, step), "CACHED", "{progress}");
    }
    assert!(!progress.contains("hush"), "{progress}");
    assert_eq!(world.read("out/result"), "one\n");
    assert_eq!(world.read("out/other"), "other\n");
}

fn s3_keys(host: &str) -> String {
    format!("type=s3,bucket=builds,region=us-east-1,endpoint_url=http://{host},use_path_style=true")
}

const S3_LOGIN: &[(&str, &str)] = &[
    ("AWS_ACCESS_KEY_ID", s3::KEY_ID),
    ("AWS_SECRET_ACCESS_KEY", s3::KEY),
];

#[test]
fn s3() {
    let server = S3Server::start("builds").unwrap();
    round_trip(&s3_keys(&server.host()), S3_LOGIN);
}

#[test]
fn azblob() {
    let server = AzureServer::start().unwrap();
    let (host, account, key) = (server.host(), azure::ACCOUNT, azure::KEY);
    let cache = format!("type=azblob,account_name={account},secret_access_key={key}");
    let url = format!("http://{host}/{account}");
    round_trip(&cache, &[("BUILDKIT_AZURE_STORAGE_ACCOUNT_URL", &url)]);
}

#[test]
fn gcs() {
    let server = S3Server::start_open("builds").unwrap();
    let host = server.host();
    round_trip(
        &format!("type=gcs,bucket=builds,endpoint_url=http://{host},prefix=p/"),
        &[],
    );
}

#[test]
fn http() {
    let server = WebCache::start(Some("Basic bWU6aHVzaA==")).unwrap();
    let host = server.host();
    round_trip(
        &format!("type=http,url=http://{host}/x,username=me,password=hush"),
        &[],
    );
    assert!(server.objects().keys().all(|path| path.starts_with("/x/")));
}

#[test]
fn gha_in_both_protocols() {
    for (service, url) in [
        ("false", "ACTIONS_CACHE_URL"),
        ("true", "ACTIONS_RESULTS_URL"),
    ] {
        let server = ActionsCache::start().unwrap();
        let address = format!("http://{}/", server.host());
        let variables = [
            ("ACTIONS_CACHE_SERVICE_V2", service),
            (url, address.as_str()),
            ("ACTIONS_RUNTIME_TOKEN", &ActionsCache::token()),
        ];
        round_trip("type=gha,scope=test", &variables);
        let is_second = |call: &String| call == "CreateCacheEntry";
        assert_eq!(
            server.entries().calls.iter().any(is_second),
            service == "true"
        );
    }
}

#[test]
fn exports_that_fail_do_so_loudly_unless_told_otherwise() {
    let world = world();
    let cache = "type=http,url=http://127.0.0.1:1/,token=hush";
    let failed = world.must_fail(&["--export-cache", cache]);
    assert_has(&failed, "export cache: ");
    assert!(!failed.contains("hush"), "{failed}");
    world.must_build(&["--export-cache", &format!("{cache},ignore-error=true")]);
    world.must_build(&["--import-cache", cache]);
}

#[test]
fn compressions_make_the_round() {
    for compression in ["zstd", "estargz", "uncompressed"] {
        let world = world();
        let export = format!("type=local,dest=cache,mode=max,compression={compression}");
        world.must_build(&[
            "--export-cache",
            &format!("{export},force-compression=true"),
        ]);
        forget(&world, 0);
        let arguments = [&["--import-cache", "type=local,src=cache"], OUT].concat();
        let progress = world.must_build(&arguments);
        assert_eq!(
            outcome(&progress, "RUN echo other"),
            "CACHED",
            "{compression}"
        );
        assert_eq!(world.read("out/result"), "one\n");
    }
}
