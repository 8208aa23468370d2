//! Keys of caches: what is taken and what is refused, with which words.

use kiln_remote_cache::{Destination, ExportOptions, Format, ImportOptions, Version};
use kiln_solver::ExportMode;
use rstest::rstest;

use crate::fixture::attributes;

#[rstest]
#[case("local", &[], "local cache exporter requires dest")]
#[case("registry", &[], "registry cache exporter requires ref")]
#[case("gopher", &[], "unknown cache exporter: \"gopher\"; the types are local, registry, inline, s3, azblob, gcs, gha, http")]
#[case("local", &[("dest", "d"), ("mod", "max")], "unknown key \"mod\" for cache export type=local; did you mean \"mode\"?")]
#[case("inline", &[("dest", "d")], "unknown key \"dest\" for cache export type=inline")]
#[case("local", &[("dest", "d"), ("mode", "most")], "failed to parse mode: \"most\" is neither min nor max")]
#[case("local", &[("dest", "d"), ("ignore-error", "perhaps")], "failed to parse ignore-error: \"perhaps\" is neither true nor false")]
#[case("local", &[("dest", "d"), ("oci-mediatypes", "false"), ("image-manifest", "true")], "invalid configuration for remote cache, OCI mediatypes are required for image-manifest cache format")]
#[case("registry", &[("ref", "UPPER")], "failed to parse ref: \"UPPER\" invalid reference format: repository name (library/UPPER) must be lowercase")]
fn refused_exports(#[case] kind: &str, #[case] keys: &[(&str, &str)], #[case] expected: &str) {
    assert_eq!(
        ExportOptions::parse(kind, &attributes(keys))
            .unwrap_err()
            .to_string(),
        expected
    );
}

#[rstest]
#[case("local", &[], "local cache importer requires src")]
#[case("local", &[("src", "d"), ("digest", "x")], "failed to parse digest: \"x\" is no digest")]
#[case("inline", &[], "unknown cache importer: \"inline\"; the types are local, registry, s3, azblob, gcs, gha, http")]
#[case("registry", &[("ref", "a"), ("tag", "b")], "unknown key \"tag\" for cache import type=registry")]
fn refused_imports(#[case] kind: &str, #[case] keys: &[(&str, &str)], #[case] expected: &str) {
    let error = ImportOptions::parse(kind, &attributes(keys))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn exports() {
    let keys = [
        ("dest", "d"),
        ("mode", "max"),
        ("compression", "zstd"),
        ("force-compression", ""),
        ("reset", "1"),
        ("ignore-error", "true"),
    ];
    let options = ExportOptions::parse("local", &attributes(&keys)).unwrap();
    assert_eq!(
        options.destination,
        Destination::Directory {
            path: "d".into(),
            tag: "latest".into(),
            reset: true
        }
    );
    assert_eq!(
        (options.mode, options.ignore_error, options.format),
        (ExportMode::Max, true, Format::ImageManifest)
    );
    assert_eq!(
        options.compression,
        attributes(&[("compression", "zstd"), ("force-compression", "")])
    );
    let inline = ExportOptions::parse("inline", &attributes(&[("mode", "max")]));
    assert_eq!(inline.unwrap().mode, ExportMode::Min, "it has no others");
    let options = ExportOptions::parse(
        "registry",
        &attributes(&[("ref", "a"), ("oci-mediatypes", "false")]),
    )
    .unwrap();
    assert_eq!(
        (options.mode, options.format),
        (ExportMode::Min, Format::DockerList)
    );
    let Destination::Registry {
        reference,
        insecure: false,
    } = options.destination
    else {
        panic!("no registry")
    };
    assert_eq!(reference.to_string(), "docker.io/library/a:latest");
}

#[test]
fn imports() {
    let parsed = ImportOptions::parse("local", &attributes(&[("src", "d"), ("tag", "t")])).unwrap();
    assert_eq!(
        parsed,
        ImportOptions::Directory {
            path: "d".into(),
            version: Version::Tag("t".into())
        }
    );
}
