//! Keys of stores: defaults, what is refused, and that secrets stay in.

use std::time::Duration;

use kiln_remote_cache::{
    Destination, ExportOptions, GhaProtocol, ImportOptions, StoreEnvironment, StoreOptions,
};
use rstest::rstest;

use crate::fixture::attributes;

const S3: &[(&str, &str)] = &[("bucket", "b"), ("region", "r")];
const AZURE: &[(&str, &str)] = &[("account_url", "https://acc.blob.core.windows.net")];
const GHA: &[(&str, &str)] = &[("url", "https://cache/"), ("token", "hush")];
const HTTP: &[(&str, &str)] = &[("url", "https://cache/a")];

fn store(kind: &str, keys: &[(&str, &str)]) -> StoreOptions {
    match ImportOptions::parse(kind, &attributes(keys)).unwrap() {
        ImportOptions::Store(options) => *options,
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case("s3", &[], "s3 cache exporter requires bucket or $AWS_BUCKET")]
#[case("s3", &[("bucket", "b")], "s3 cache exporter requires region or $AWS_REGION")]
#[case("azblob", &[], "azblob cache exporter requires account_url or $BUILDKIT_AZURE_STORAGE_ACCOUNT_URL")]
#[case("gcs", &[], "gcs cache exporter requires bucket")]
#[case("gha", &[], "gha cache exporter requires url or $ACTIONS_CACHE_URL or $ACTIONS_RESULTS_URL")]
#[case("gha", &[("url", "https://h")], "gha cache exporter requires token or $ACTIONS_RUNTIME_TOKEN")]
#[case("http", &[], "http cache exporter requires url")]
#[case("http", &[("url", "ftp://h")], "failed to parse url: \"ftp://h/\" is no URL of a web server: it must begin with http:// or https://")]
#[case("http", &[("url", "http://me:hush@h/")], "failed to parse url: \"http://h/\" holds credentials: there are keys for them")]
#[case("http", &[("url", "http://h"), ("username", "me")], "failed to parse username: it is of no use without password")]
#[case("http", &[("url", "http://h"), ("header.a b", "hush")], "failed to parse header.a b: \"a b\" is no name of a header")]
#[case("s3", &[("bucket", "b"), ("region", "r"), ("upload_parallelism", "0")], "failed to parse upload_parallelism: \"0\" is not a positive integer of at most 256")]
#[case("s3", &[("bucket", "b"), ("region", "r"), ("touch_refresh", "soon")], "failed to parse touch_refresh: \"soon\" is no duration such as 30m or 24h")]
#[case("s3", &[("bucket", "b"), ("region", "r"), ("retry_mode", "often")], "failed to parse retry_mode: \"often\" is neither standard nor adaptive")]
#[case("s3", &[("bucket", "b"), ("region", "r"), ("use_path_stile", "true")], "unknown key \"use_path_stile\" for cache export type=s3; did you mean \"use_path_style\"?")]
#[case("s3", &[("bucket", "b"), ("region", "r"), ("access_key_id", "id")], "failed to parse access_key_id: it is of no use without secret_access_key")]
#[case("s3", &[("bucket", "b"), ("region", "r"), ("access_key_id", "id"), ("secret_access_key", "hu\nsh")], "failed to parse secret_access_key: it has characters that no credential has; is there a line break in it?")]
#[case("s3", &[("bucket", "b"), ("region", "r"), ("name", "a;")], "failed to parse name: \"a;\" has an empty name")]
#[case("s3", &[("bucket", "b/c"), ("region", "r")], "failed to parse bucket: \"b/c\" is no name of a bucket")]
#[case("gha", &[("url", "https://h"), ("token", "t"), ("version", "3")], "failed to parse version: \"3\" is neither 1 nor 2")]
#[case("gha", &[("url", "https://h"), ("token", "t"), ("repository", "a"), ("ghtoken", "t")], "failed to parse repository: \"a\" is no owner/name")]
fn refused(#[case] kind: &str, #[case] keys: &[(&str, &str)], #[case] expected: &str) {
    let error = ExportOptions::parse(kind, &attributes(keys)).unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert!(!error.to_string().contains("hush"));
}

#[test]
fn odd_object_keys_are_refused() {
    for prefix in ["/a/", "a//b/", "../a/"] {
        let keys = [S3, &[("prefix", prefix)]].concat();
        let error = ExportOptions::parse("s3", &attributes(&keys)).unwrap_err();
        assert!(
            error.to_string().contains("empty or relative part"),
            "{error}"
        );
    }
}

#[test]
fn defaults_of_s3() {
    let StoreOptions::S3(options) = store("s3", S3) else {
        panic!()
    };
    assert_eq!(options.layout.blobs, "blobs/");
    assert_eq!(options.layout.manifests, "manifests/");
    assert_eq!(options.layout.names, ["buildkit"]);
    assert_eq!(options.touch_refresh, Duration::from_hours(24));
    assert_eq!(options.upload_parallelism, 4);
}

#[test]
fn defaults_of_azure() {
    let keys = [AZURE, &[("prefix", "x//y/"), ("name", "a;b")]].concat();
    let StoreOptions::Azblob(options) = store("azblob", &keys) else {
        panic!()
    };
    assert_eq!(options.account_name, "acc");
    assert_eq!(options.container, "buildkit-cache");
    assert_eq!(options.layout.blobs, "x/y/blobs/");
    assert_eq!(options.layout.manifests, "x/y/manifests/");
    assert_eq!(options.layout.names, ["a", "b"]);
}

#[rstest]
#[case(&[], "https://cache/", GhaProtocol::V1)]
#[case(&[("version", "2")], "https://cache/", GhaProtocol::V2)]
#[case(&[("url_v2", "https://two/")], "https://two/", GhaProtocol::V2)]
#[case(&[("url_v2", "https://two/"), ("version", "1")], "https://cache/", GhaProtocol::V1)]
#[case(&[("url", "https://results-receiver.actions.githubusercontent.com/")], "https://results-receiver.actions.githubusercontent.com/", GhaProtocol::V2)]
fn protocols_of_github(
    #[case] more: &[(&str, &str)],
    #[case] url: &str,
    #[case] protocol: GhaProtocol,
) {
    let StoreOptions::Gha(options) = store("gha", &[GHA, more].concat()) else {
        panic!()
    };
    assert_eq!((options.url.as_str(), options.protocol), (url, protocol));
    assert_eq!(options.scope, "buildkit");
    assert_eq!(options.timeout, Duration::from_mins(10));
}

#[test]
fn compression_and_mode_are_for_every_type() {
    for (kind, keys) in [("s3", S3), ("azblob", AZURE), ("gha", GHA), ("http", HTTP)] {
        let more = [
            ("mode", "max"),
            ("compression", "zstd"),
            ("ignore-error", "true"),
        ];
        let options = ExportOptions::parse(kind, &attributes(&[keys, &more].concat())).unwrap();
        assert!(matches!(options.destination, Destination::Store(_)));
        assert_eq!(options.compression, attributes(&[("compression", "zstd")]));
        assert!(options.ignore_error);
    }
}

#[test]
fn variables_stand_for_missing_keys() {
    let variables = |name: &str| {
        let value = match name {
            "AWS_BUCKET" => "from-variable",
            "AWS_REGION" => "eu-central-1",
            "AWS_SECRET_ACCESS_KEY" => "hush",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let environment = StoreEnvironment::from_variables(variables);
    let completed = environment.complete("s3", &attributes(&[("region", "r")]));
    assert_eq!(
        completed,
        attributes(&[("bucket", "from-variable"), ("region", "r")])
    );
    assert_eq!(
        environment.complete("http", &attributes(&[])),
        attributes(&[])
    );
    assert!(!format!("{environment:?}").contains("hush"));
}

#[test]
fn secrets_do_not_show() {
    let keys = [HTTP, &[("token", "hush"), ("header.X-Key", "hush")]].concat();
    assert!(!format!("{:?}", store("http", &keys)).contains("hush"));
    assert!(!format!("{:?}", store("gha", GHA)).contains("hush"));
}
