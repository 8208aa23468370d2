//! Reading, printing and comparing platforms.

use kiln_llb::platform::{
    compatible, format, format_all, from_pb, matches, normalize, parse, platform, preference, to_pb,
};
use proptest::prelude::*;

#[test]
fn parses_into_the_form_people_write() {
    for (text, parsed, normal) in [
        ("linux/amd64", "linux/amd64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3", "linux/amd64/v3"),
        ("LINUX/x86_64", "linux/amd64", "linux/amd64"),
        ("aarch64", "linux/arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm", "linux/arm/v7"),
        ("linux/arm/v7", "linux/arm/v7", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6", "linux/arm/v6"),
        ("armhf", "linux/arm", "linux/arm/v7"),
        ("armel", "linux/arm/v6", "linux/arm/v6"),
        ("i386", "linux/386", "linux/386"),
        ("macos/arm64", "darwin/arm64", "darwin/arm64"),
        (
            "windows(10.0.17763+win32k)/amd64",
            "windows(10.0.17763+win32k)/amd64",
            "windows(10.0.17763+win32k)/amd64",
        ),
        (
            "linux(+b+a)/amd64",
            "linux(+a+b)/amd64",
            "linux(+a+b)/amd64",
        ),
        (
            "linux(1%2F2)/riscv64",
            "linux(1%2F2)/riscv64",
            "linux(1%2F2)/riscv64",
        ),
    ] {
        let read = parse(text).unwrap();
        assert_eq!(format_all(&read), parsed, "{text}");
        assert_eq!(format_all(&normalize(&read)), normal, "{text}");
    }
}

#[test]
fn refuses_what_is_no_platform() {
    for text in [
        "",
        "foo",
        "linux/*",
        "a/b/c/d",
        "linux/",
        "linux//v7",
        "li nux/amd64",
        "linux(1/amd64",
        "linux(%zz)/amd64",
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(
            error.contains("linux/arm64/v8"),
            "{text:?} has no way out: {error}"
        );
    }
}

#[test]
fn newer_machines_run_older_images() {
    for (machine, image, expected) in [
        ("linux/amd64", "linux/amd64", Some(0)),
        ("linux/amd64", "linux/386", Some(1)),
        ("linux/amd64/v3", "linux/amd64", Some(2)),
        ("linux/amd64", "linux/amd64/v2", None),
        ("linux/arm/v7", "linux/arm/v5", Some(2)),
        ("linux/arm/v5", "linux/arm/v7", None),
        ("linux/arm64", "linux/arm64/v8", Some(0)),
        ("linux/arm64", "linux/arm/v7", Some(2)),
        ("linux/arm64/v9", "linux/arm64", Some(6)),
        ("linux/arm64", "linux/amd64", None),
        ("linux/s390x", "linux/s390x", Some(0)),
        ("windows/amd64", "linux/amd64", None),
        ("linux(+a)/amd64", "linux/amd64", Some(0)),
        ("linux/amd64", "linux(+a)/amd64", None),
    ] {
        let (machine, image) = (parse(machine).unwrap(), parse(image).unwrap());
        assert_eq!(
            preference(&machine, &image),
            expected,
            "{machine:?} {image:?}"
        );
        assert_eq!(matches(&machine, &image), expected.is_some());
    }
}

#[test]
fn unknown_operating_system_prints_as_such() {
    assert_eq!(format(&platform("", "amd64", "")), "unknown");
}

proptest! {
    #[test]
    fn printing_and_reading_are_inverse(os in "[a-z]{1,8}", arch in "[a-z0-9]{1,8}", variant in "(v[0-9])?") {
        let built = normalize(&platform(&os, &arch, &variant));
        let read = parse(&format_all(&built)).unwrap();
        prop_assert_eq!(normalize(&read), built.clone());
        prop_assert_eq!(from_pb(&to_pb(&built)), built.clone());
        prop_assert_eq!(compatible(&built).first().is_none_or(|first| matches(&built, first)), true);
    }

    #[test]
    fn reading_never_panics(text in ".{0,30}") {
        let _ = parse(&text);
    }
}
