//! Package URLs of images.

use kiln_registry::Reference;
use oci_spec::image::Platform;

/// Where an image is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageKind {
    /// A registry.
    Docker,
    /// A layout of the client.
    Oci,
}

/// The package URL of an image: `pkg:docker/alpine@3.20?platform=linux%2Famd64`. `qualifiers` come last.
pub fn package_url(
    kind: PackageKind,
    image: &Reference,
    platform: Option<&Platform>,
    qualifiers: &[(&str, &str)],
) -> String {
    let kind = match kind {
        PackageKind::Docker => "docker",
        PackageKind::Oci => "oci",
    };
    let image = image.clone().with_default_tag();
    let path = image.without_version().familiar();
    let mut url = format!("pkg:{kind}");
    for part in path.split('/') {
        url.push('/');
        escape(&mut url, part, Reserved::None);
    }
    if let Some(tag) = image.tag() {
        url.push('@');
        escape(&mut url, tag, Reserved::InPath);
    }
    let digest = image.digest().map(|digest| ("digest", digest.to_string()));
    let platform = platform.map(|platform| {
        let platform = kiln_llb::platform::normalize(platform);
        ("platform", kiln_llb::platform::format(&platform))
    });
    let given = qualifiers
        .iter()
        .map(|(key, value)| (*key, (*value).to_owned()));
    let all = digest.into_iter().chain(platform).chain(given);
    for (number, (key, value)) in all.enumerate() {
        url.push(if number == 0 { '?' } else { '&' });
        url.push_str(key);
        url.push('=');
        escape(&mut url, &value, Reserved::InPath);
    }
    url
}

/// Which reserved characters stay as they are.
#[derive(Clone, Copy, PartialEq)]
enum Reserved {
    None,
    /// Those that mean nothing inside one segment of a path.
    InPath,
}

fn escape(url: &mut String, text: &str, keep: Reserved) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                url.push(char::from(byte));
            }
            b'$' | b'&' | b'+' | b':' | b'=' | b'@' if keep == Reserved::InPath => {
                url.push(char::from(byte));
            }
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: PackageKind, image: &str, platform: Option<&str>, expected: &str) {
        let image = Reference::parse(image).unwrap();
        let platform = platform.map(|text| kiln_llb::platform::parse(text).unwrap());
        assert_eq!(package_url(kind, &image, platform.as_ref(), &[]), expected);
    }

    #[test]
    fn images_by_name() {
        use PackageKind::{Docker, Oci};
        check(Docker, "alpine", None, "pkg:docker/alpine@latest");
        check(
            Docker,
            "docker.io/library/alpine:3.20",
            Some("linux/arm64/v8"),
            "pkg:docker/alpine@3.20?platform=linux%2Farm64",
        );
        check(
            Docker,
            "a/b",
            Some("linux/arm/v7"),
            "pkg:docker/a/b@latest?platform=linux%2Farm%2Fv7",
        );
        check(
            Oci,
            "localhost:5000/x/y:t",
            None,
            "pkg:oci/localhost%3A5000/x/y@t",
        );
        let digest = format!("sha256:{}", "a".repeat(64));
        check(
            Docker,
            &format!("x@{digest}"),
            None,
            &format!("pkg:docker/x?digest={digest}"),
        );
        check(
            Docker,
            &format!("x:1@{digest}"),
            Some("linux/amd64"),
            &format!("pkg:docker/x@1?digest={digest}&platform=linux%2Famd64"),
        );
    }

    #[test]
    fn qualifiers_come_last() {
        let image = Reference::parse("x").unwrap();
        let url = package_url(
            PackageKind::Docker,
            &image,
            None,
            &[("ref_type", "blob"), ("u", "a b/?")],
        );
        assert_eq!(url, "pkg:docker/x@latest?ref_type=blob&u=a%20b%2F%3F");
    }
}
