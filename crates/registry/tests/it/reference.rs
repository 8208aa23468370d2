//! Names and their errors.

use kiln_registry::Reference;
use rstest::rstest;

const HEX: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[rstest]
#[case("alpine", "docker.io/library/alpine", "alpine")]
#[case("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20")]
#[case("user/app", "docker.io/user/app", "user/app")]
#[case("docker.io/alpine", "docker.io/library/alpine", "alpine")]
#[case("index.docker.io/alpine", "docker.io/library/alpine", "alpine")]
#[case("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b")]
#[case("localhost/app", "localhost/app", "localhost/app")]
#[case("localhost:5000/app:x", "localhost:5000/app:x", "localhost:5000/app:x")]
#[case("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app")]
#[case("127.0.0.1/app", "127.0.0.1/app", "127.0.0.1/app")]
#[case("Host/app", "Host/app", "Host/app")]
#[case(
    "reg.example.com/a/b/c__d-e--f.g",
    "reg.example.com/a/b/c__d-e--f.g",
    "reg.example.com/a/b/c__d-e--f.g"
)]
#[case("foo:5000", "docker.io/library/foo:5000", "foo:5000")]
fn names(#[case] text: &str, #[case] full: &str, #[case] familiar: &str) {
    let reference = Reference::parse(text).expect(text);
    assert_eq!(reference.to_string(), full);
    assert_eq!(reference.familiar(), familiar);
    assert_eq!(Reference::parse(full).expect(full), reference);
}

#[test]
fn tag_and_digest_are_both_kept() {
    let reference = Reference::parse(&format!("alpine:3@sha256:{HEX}")).expect("reference");
    assert_eq!(reference.tag(), Some("3"));
    assert_eq!(
        reference.digest().map(AsRef::as_ref),
        Some(format!("sha256:{HEX}").as_str())
    );
    assert_eq!(
        reference.with_default_tag().to_string(),
        format!("docker.io/library/alpine:3@sha256:{HEX}")
    );
}

#[rstest]
#[case("", "invalid reference format")]
#[case(":tag", "invalid reference format")]
#[case("a//b", "invalid reference format")]
#[case("-a", "invalid reference format")]
#[case("a-", "invalid reference format")]
#[case("a..b", "invalid reference format")]
#[case("a___b", "invalid reference format")]
#[case("a:", "invalid reference format")]
#[case("a:.x", "invalid reference format")]
#[case("a@sha256:123", "invalid reference format")]
#[case("a b", "invalid reference format")]
#[case("-host.com/a", "invalid reference format")]
#[case("../etc/passwd", "invalid reference format")]
#[case(
    "Alpine",
    "invalid reference format: repository name (library/Alpine) must be lowercase"
)]
#[case(
    "docker.io/Foo",
    "invalid reference format: repository name (library/Foo) must be lowercase"
)]
fn errors(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(
        Reference::parse(text).expect_err(text).to_string(),
        expected
    );
}

#[test]
fn errors_of_length_and_digest() {
    let check = |text: String, expected: &str| {
        assert_eq!(
            Reference::parse(&text).expect_err(&text).to_string(),
            expected
        );
    };
    check(
        HEX.to_owned(),
        &format!("invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"),
    );
    check(
        format!("a/{}", "b".repeat(255)),
        "repository name must not be more than 255 characters",
    );
    check(format!("a:{}", "t".repeat(129)), "invalid reference format");
    check(
        format!("a@md5:{}", "a".repeat(32)),
        "unsupported digest algorithm",
    );
    check(
        format!("a@sha256:{}", "a".repeat(63)),
        "invalid checksum digest length",
    );
    check(
        format!("a@sha256:{}", "A".repeat(64)),
        "invalid checksum digest format",
    );
}
