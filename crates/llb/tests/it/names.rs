//! Names of images.

use kiln_llb::reference::{normalize, parse};
use proptest::prelude::*;

#[test]
fn fills_in_what_is_left_out() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let digested = format!("docker.io/library/a@{digest}");
    for (short, full, familiar) in [
        (
            "busybox",
            "docker.io/library/busybox:latest",
            "busybox:latest",
        ),
        (
            "busybox:1.0",
            "docker.io/library/busybox:1.0",
            "busybox:1.0",
        ),
        ("foo/bar", "docker.io/foo/bar:latest", "foo/bar:latest"),
        (
            "index.docker.io/x",
            "docker.io/library/x:latest",
            "x:latest",
        ),
        ("docker.io/x", "docker.io/library/x:latest", "x:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        (
            "localhost:5000/x",
            "localhost:5000/x:latest",
            "localhost:5000/x:latest",
        ),
        ("Registry/x", "Registry/x:latest", "Registry/x:latest"),
        (
            "r.io/a/b-c_d__e.f:T-1.x",
            "r.io/a/b-c_d__e.f:T-1.x",
            "r.io/a/b-c_d__e.f:T-1.x",
        ),
        ("[::1]:80/x", "[::1]:80/x:latest", "[::1]:80/x:latest"),
        (
            "library/x/y",
            "docker.io/library/x/y:latest",
            "library/x/y:latest",
        ),
        (&format!("a@{digest}"), &digested, &format!("a@{digest}")),
    ] {
        assert_eq!(normalize(short).unwrap(), full);
        assert_eq!(parse(full).unwrap().familiar(), familiar);
    }
}

#[test]
fn refuses_what_no_registry_could_have() {
    for name in [
        "",
        "a//b",
        "a/",
        "/a",
        "a:",
        "a@",
        "a@sha256:12",
        "a___b",
        "a..b",
        "-a",
        "a-",
        "foo/Bar",
        "a b",
        "r_x:80/..",
        "a:b:c",
        "a:-x",
        &"f".repeat(64),
        "bad host/x.y/z",
        "h:port/x",
    ] {
        assert!(parse(name).is_err(), "{name:?} parsed");
    }
}

proptest! {
    #[test]
    fn normal_form_is_stable(name in "[a-z]{1,5}(\\.[a-z]{2})?(/[a-z0-9]{1,6}){0,3}(:[a-zA-Z0-9_.]{1,8})?") {
        if let Ok(full) = normalize(&name) {
            prop_assert_eq!(normalize(&full).unwrap(), full);
        }
    }

    #[test]
    fn reading_never_panics(name in ".{0,40}") {
        if let Ok(parsed) = parse(&name) {
            let _ = parsed.familiar();
        }
    }
}
