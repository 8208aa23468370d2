//! Directories with a `hosts.toml` for each registry.

use std::fs;
use std::path::Path;

use kiln_engine::read_host_directories;
use kiln_registry::{Capability, Certificates, EndpointScheme, HostEndpoint};

fn write(dir: &Path, folder: &str, text: &str) {
    fs::create_dir_all(dir.join(folder)).unwrap();
    fs::write(dir.join(folder).join("hosts.toml"), text).unwrap();
}

fn read(folder: &str, text: &str) -> Result<Vec<HostEndpoint>, String> {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), folder, text);
    let hosts = read_host_directories(&[dir.path().to_owned()]);
    let mut hosts = hosts.map_err(|error| error.to_string())?;
    Ok(hosts.remove(folder).unwrap().endpoints)
}

fn addresses(endpoints: &[HostEndpoint]) -> Vec<String> {
    let shown = |endpoint: &HostEndpoint| {
        let scheme = match endpoint.scheme {
            EndpointScheme::Https => "https",
            EndpointScheme::Http => "http",
        };
        format!("{scheme}://{}{}", endpoint.host, endpoint.path)
    };
    endpoints.iter().map(shown).collect()
}

#[test]
fn hosts_in_their_order_and_the_server_last() {
    let text = r#"
        server = "https://docker.io"
        [host."https://z.example"]
        capabilities = ["pull", "resolve"]
        [host."http://a.example:5000/prefix/"]
        skip_verify = true
        [host."https://m.example/api/custom"]
        override_path = true
    "#;
    let endpoints = read("docker.io", text).unwrap();
    assert_eq!(
        addresses(&endpoints),
        [
            "https://z.example/v2",
            "http://a.example:5000/prefix/v2",
            "https://m.example/api/custom",
            "https://registry-1.docker.io/v2",
        ]
    );
    assert!(endpoints[0].capabilities.has(Capability::Pull));
    assert!(!endpoints[0].capabilities.has(Capability::Push));
    assert!(endpoints[3].capabilities.has(Capability::Push));
    assert_eq!(endpoints[1].certificates, Certificates::Any);
}

#[test]
fn without_a_server_it_is_the_registry_itself() {
    let shown = |folder: &str| addresses(&read(folder, "").unwrap());
    assert_eq!(shown("r.example:5000"), ["https://r.example:5000/v2"]);
    assert_eq!(shown("docker.io"), ["https://registry-1.docker.io/v2"]);
    assert_eq!(shown("127.0.0.1:5000"), ["http://127.0.0.1:5000/v2"]);
    assert_eq!(shown("[::1]:5000"), ["http://[::1]:5000/v2"]);
}

#[test]
fn files_and_headers() {
    let text = r#"
        ca = "server.pem"
        [host."https://m.example"]
        ca = ["a.pem", "/etc/b.pem"]
        client = [["c.cert", "c.key"], "both.pem"]
        [host."https://m.example".header]
        x-one = "1"
        x-many = ["a", "b"]
    "#;
    let endpoints = read("r.example", text).unwrap();
    let names = |endpoint: &HostEndpoint| {
        let name = |path: &std::path::PathBuf| path.file_name().unwrap().to_owned();
        endpoint.ca.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&endpoints[0]), ["a.pem", "b.pem"]);
    assert!(endpoints[0].ca[0].is_absolute());
    assert_eq!(endpoints[0].ca[1], Path::new("/etc/b.pem"));
    assert_eq!(names(&endpoints[1]), ["server.pem"]);
    let pairs = &endpoints[0].keypairs;
    assert!(pairs[0].certificate.ends_with("c.cert") && pairs[0].key.ends_with("c.key"));
    assert_eq!(pairs[1].certificate, pairs[1].key);
    let mut headers = endpoints[0].headers.clone();
    headers.sort();
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        headers,
        [
            header("x-many", "a"),
            header("x-many", "b"),
            header("x-one", "1")
        ]
    );
}

#[test]
fn folders() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(
        one.path(),
        "a.example_5000_",
        "server = \"https://first.example\"",
    );
    write(
        two.path(),
        "a.example:5000",
        "server = \"https://second.example\"",
    );
    write(two.path(), "_default", "[host.\"https://m.example\"]");
    fs::create_dir(two.path().join("docker.example")).unwrap();
    fs::write(two.path().join("README"), "").unwrap();
    let directories = [one.path().to_owned(), two.path().to_owned()];
    let hosts = read_host_directories(&directories).unwrap();
    assert_eq!(hosts.len(), 3);
    let shown = |name: &str| addresses(&hosts[name].endpoints);
    assert_eq!(shown("a.example:5000"), ["https://first.example/v2"]);
    assert_eq!(shown("_default"), ["https://m.example/v2"]);
    let folder = two.path().join("docker.example");
    assert_eq!(hosts["docker.example"].tls_config_dirs, [folder]);
}

#[test]
fn what_is_wrong_is_named() {
    for (text, expected) in [
        ("server = [", "TOML parse error at line 1"),
        ("server = 1", "server is not a string"),
        ("sever = \"x\"", "unknown field `sever`"),
        ("host = \"x\"", "host is not a table"),
        (
            "[host.\"ftp://x\"]",
            "host \"ftp://x\": unknown scheme \"ftp\"",
        ),
        ("[host.\"https://\"]", "not an address"),
        ("[host.\"https://user@x\"]", "not an address"),
        (
            "[host.\"https://x\"]\ncapabilities = [\"write\"]",
            "unknown capability \"write\"",
        ),
        (
            "[host.\"https://x\"]\nclient = [[\"a\", \"b\", \"c\"]]",
            "one file with certificate and key",
        ),
        (
            "[host.\"https://x\"]\ndial_timeout = \"1s\"",
            "unknown field `dial_timeout`",
        ),
        (
            "[host.\"https://x\"]\nheader = { \"a b\" = \"c\" }",
            "header \"a b\" cannot be sent",
        ),
    ] {
        let error = read("r.example", text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(error.contains("r.example/hosts.toml"), "{error}");
    }
    let missing = read_host_directories(&["/nowhere/certs.d".into()]).unwrap_err();
    let text = missing.to_string();
    assert!(text.starts_with("cannot read /nowhere/certs.d: "), "{text}");
}
