//! Keys of outputs: what is taken and what is refused, with which words.

use kiln_exporter::options::EpochOption;
use kiln_exporter::{Algorithm, Compression, Output};
use rstest::rstest;

use crate::fixture::parse;

#[rstest]
#[case(
    "oci,compresion=zstd",
    "unknown key \"compresion\" for output type=oci; did you mean \"compression\"?"
)]
#[case("local,tar=true", "unknown key \"tar\" for output type=local")]
#[case("tar,mode=copy", "unknown key \"mode\" for output type=tar")]
#[case(
    "image,puhs=true",
    "unknown key \"puhs\" for output type=image; did you mean \"push\"?"
)]
#[case(
    "ocy",
    "exporter \"ocy\" could not be found; the output types are image, registry, oci, docker, local, tar; did you mean \"oci\"?"
)]
#[case(
    "image,name=a:b:c",
    "failed to parse image name \"a:b:c\": invalid reference format; a name is [REGISTRY/]REPOSITORY[:TAG]"
)]
#[case(
    "oci,compression=lzma",
    "unsupported compression type lzma; use gzip, estargz, zstd, zstd:chunked or uncompressed"
)]
#[case(
    "oci,compression=zstd:chunked,oci-mediatypes=false",
    "exporter option \"compression=zstd:chunked\" conflicts with \"oci-mediatypes=false\""
)]
#[case(
    "oci,compression=estargz,oci-mediatypes=false",
    "exporter option \"compression=estargz\" conflicts with \"oci-mediatypes=false\""
)]
#[case(
    "docker,compression=estargz,compression-level=10",
    "invalid compression-level 10: it must be between 0 and 9 for compression=estargz"
)]
#[case(
    "image,compression-level=-1",
    "invalid compression-level -1: it must be between 0 and 9 for compression=gzip"
)]
#[case(
    "oci,compression=uncompressed,compression-level=1",
    "exporter option \"compression-level=1\" conflicts with \"compression=uncompressed\": a plain tar has no levels; leave compression-level out"
)]
#[case(
    "oci,compression-level=x",
    "non-integer value x specified for compression-level"
)]
#[case(
    "oci,compression-level=10",
    "invalid compression-level 10: it must be between 0 and 9 for compression=gzip"
)]
#[case(
    "oci,compression=zstd,compression-level=23",
    "invalid compression-level 23: it must be between 0 and 22 for compression=zstd"
)]
#[case(
    "image,push=perhaps",
    "non-bool value specified for push: \"perhaps\"; use true or false"
)]
#[case(
    "image,unpack,rewrite-timestamp=true",
    "exporter option \"rewrite-timestamp\" conflicts with \"unpack\""
)]
#[case(
    "oci,oci-artifact=true,oci-mediatypes=false",
    "exporter option \"oci-artifact=true\" conflicts with \"oci-mediatypes=false\""
)]
#[case(
    "local,attestation-prefix=../x",
    "invalid attestation-prefix \"../x\": it begins file names and cannot have a slash"
)]
#[case(
    "oci,buildinfo=yes",
    "invalid buildinfo \"yes\": use all, imageconfig, metadata or none"
)]
#[case(
    "registry,push=false",
    "exporter option \"type=registry\" conflicts with \"push=false\""
)]
#[case(
    "oci,annotation-foo.a=b",
    "unrecognized annotation type foo; use manifest, manifest-descriptor, index or index-descriptor"
)]
#[case(
    "local,mode=mirror",
    "invalid local exporter mode \"mirror\"; use copy or delete"
)]
#[case(
    "local,source-date-epoch=now",
    "non-integer value now specified for source-date-epoch"
)]
fn refused(#[case] keys: &str, #[case] expected: &str) {
    assert_eq!(parse(keys).unwrap_err().to_string(), expected);
}

#[test]
fn images() {
    let keys = "image,name=a;b,push,push-by-digest=1,registry.insecure=T,name-canonical=,danging-name-empty-only,\
                dangling-name-prefix=none,store=false,oci-mediatypes=false,buildinfo=none,force-compression,\
                compression=zstd,compression-level=22";
    let Output::Image(options) = parse(keys).unwrap() else {
        panic!("not an image")
    };
    assert_eq!(options.image.names, ["a", "b"]);
    assert!(options.push && options.push_by_digest && options.insecure && options.name_canonical);
    assert!(options.dangling_empty_only && !options.store && !options.image.use_oci_types());
    assert_eq!(options.dangling_prefix.as_deref(), Some("none"));
    assert_eq!(
        options.image.compression,
        Compression {
            algorithm: Algorithm::Zstd,
            level: Some(22),
            force: true
        }
    );
    let Output::Image(options) = parse("image,dangling-name-empty-only=true").unwrap() else {
        panic!("not an image")
    };
    assert!(
        options.dangling_empty_only
            && options.store
            && !options.push
            && options.image.use_oci_types()
    );
}

#[test]
fn epochs() {
    for (keys, expected) in [
        ("tar", EpochOption::Inherit),
        ("local,source-date-epoch=", EpochOption::Off),
        ("docker,source-date-epoch=-5", EpochOption::At(-5)),
    ] {
        assert_eq!(parse(keys).unwrap().epoch(), expected);
    }
    assert_eq!(EpochOption::Off.resolve(Some(1)), None);
    assert_eq!(EpochOption::Inherit.resolve(Some(1)), Some(1));
    assert_eq!(EpochOption::At(2).resolve(Some(1)), Some(2));
}

#[test]
fn annotations() {
    let keys = "oci,annotation.a.b=1,annotation-manifest.c=2,annotation-index.d=3,annotation[linux/arm64].e.f=4,\
                annotation-manifest-descriptor[linux/arm64/v8].g=5,annotation-index-descriptor.h=6";
    let Output::Archive(options) = parse(keys).unwrap() else {
        panic!("not an archive")
    };
    let all = options.image.annotations;
    let map = |map: &std::collections::BTreeMap<String, String>| {
        map.iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let amd = all.resolve(Some("linux/amd64"));
    assert_eq!(map(&amd.manifest), "a.b=1 c=2");
    assert_eq!(
        (map(&amd.index), map(&amd.index_descriptor)),
        ("d=3".into(), "h=6".into())
    );
    let arm = all.resolve(Some("linux/arm64"));
    assert_eq!(
        (map(&arm.manifest), map(&arm.manifest_descriptor)),
        ("a.b=1 c=2 e.f=4".into(), "g=5".into())
    );
}

#[test]
fn a_registry_is_an_image_that_is_pushed() {
    assert_eq!(
        parse("registry,name=a").unwrap(),
        parse("image,name=a,push=true").unwrap()
    );
}

#[test]
fn unknown_keys_may_be_let_pass() {
    let keys = [("name", "a"), ("compresion", "zstd"), ("x", "y")];
    let keys = keys.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let (output, unknown) = Output::parse_known("image", &keys.into()).unwrap();
    assert_eq!(output, parse("image,name=a").unwrap());
    let said: Vec<_> = unknown.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "unknown key \"compresion\" for output type=image; did you mean \"compression\"?",
            "unknown key \"x\" for output type=image"
        ]
    );
}
