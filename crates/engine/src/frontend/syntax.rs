//! `# syntax=` and `BUILDKIT_SYNTAX`: which frontend reads the Dockerfile.

use kiln_dockerfile::directive::detect_syntax;

use crate::error::{BuildError, Kind};
use crate::request::Attributes;

/// The built-in frontend's own name.
const BUILT_IN: &str = "dockerfile.v0";

/// Images of the official Dockerfile frontend, which the built-in one stands
/// in for whatever their tag: it reads the same language.
const OFFICIAL: [&str; 2] = ["docker/dockerfile", "docker/dockerfile-upstream"];

/// Checks that the Dockerfile asks for no other frontend than the built-in
/// one.
pub(super) fn check(text: &[u8], options: &Attributes) -> Result<(), BuildError> {
    let chosen = match options.get("build-arg:BUILDKIT_SYNTAX") {
        Some(option) => option.split_whitespace().next().map(str::to_owned),
        None => detect_syntax(text).map(|directive| directive.first_word().to_owned()),
    };
    match chosen.as_deref() {
        None | Some(BUILT_IN) => Ok(()),
        Some(reference) if is_official(reference) => Ok(()),
        Some(reference) => {
            let message =
                format!("frontend image {reference:?}: frontends as images are not supported yet");
            Err(BuildError::new(Kind::Input, message).hint(
                "remove the # syntax line, or use docker/dockerfile, which the built-in frontend serves",
            ))
        }
    }
}

fn is_official(reference: &str) -> bool {
    let name = reference.split('@').next().unwrap_or_default();
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    OFFICIAL.contains(&name.split(':').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dockerfile: &str, argument: Option<&str>, is_built_in: bool) {
        let argument = argument.map(|it| ("build-arg:BUILDKIT_SYNTAX".to_owned(), it.to_owned()));
        let options = argument.into_iter().collect::<Attributes>();
        assert_eq!(
            super::check(dockerfile.as_bytes(), &options).is_ok(),
            is_built_in,
            "{dockerfile}"
        );
    }

    #[test]
    fn official_frontends_are_built_in() {
        check("FROM scratch\n", None, true);
        for tag in [
            "docker/dockerfile:1",
            "docker.io/docker/dockerfile:1.7-labs",
            "docker/dockerfile",
        ] {
            check(&format!("# syntax={tag}\nFROM scratch\n"), None, true);
        }
        check(
            "# syntax=docker/dockerfile-upstream:master@sha256:ab\nFROM scratch\n",
            None,
            true,
        );
        check("# syntax=example.com/other\nFROM scratch\n", None, false);
        check("# syntax=docker/dockerfiles\nFROM scratch\n", None, false);
        check(
            "# syntax=example.com/other\nFROM scratch\n",
            Some("dockerfile.v0"),
            true,
        );
        check("FROM scratch\n", Some("example.com/other"), false);
    }
}
