//! `# syntax=` and `BUILDKIT_SYNTAX`: which frontend reads the Dockerfile.

use bytes::Bytes;
use kiln_dockerfile::directive::detect_syntax;
use kiln_session::progress::{Position, Range, SourceFile};

use crate::error::{BuildError, Location};
use crate::request::Attributes;

/// The built-in frontend's own name.
const BUILT_IN: &str = "dockerfile.v0";

/// Images of the official Dockerfile frontend, which the built-in one stands
/// in for whatever their tag: it reads the same language.
const OFFICIAL: [&str; 2] = ["docker/dockerfile", "docker/dockerfile-upstream"];

/// The build argument that overrides the file.
const ARGUMENT: &str = "build-arg:BUILDKIT_SYNTAX";

/// Another frontend that a build asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Its image.
    pub(super) image: String,
    /// The image with the words after it.
    pub(super) command_line: String,
    /// The line of the file that says so; `None` if an argument does.
    line: Option<u32>,
}

/// The frontend that a Dockerfile or the build's arguments ask for; `None` is
/// the built-in one. A frontend that was called by another one is what was
/// asked for, and reads the file itself.
pub(super) fn wanted(text: &[u8], options: &Attributes) -> Option<Wanted> {
    if options.contains_key("cmdline") {
        return None;
    }
    let wanted = match options.get(ARGUMENT) {
        Some(argument) => Wanted {
            image: argument.trim().split(' ').next()?.to_owned(),
            command_line: argument.clone(),
            line: None,
        },
        None => {
            let directive = detect_syntax(text)?;
            Wanted {
                image: directive.first_word().to_owned(),
                line: Some(directive.line),
                command_line: directive.value,
            }
        }
    };
    let is_built_in = wanted.image == BUILT_IN || is_official(&wanted.image);
    (!wanted.image.is_empty() && !is_built_in).then_some(wanted)
}

impl Wanted {
    /// The options to call the other frontend with.
    pub(super) fn options(&self, options: &Attributes) -> Attributes {
        let mut options = options.clone();
        options.insert("cmdline".into(), self.command_line.clone());
        options.insert("source".into(), self.image.clone());
        options
    }

    /// An error of the other frontend, with what asked for it where the error
    /// itself speaks of no place.
    pub(super) fn explain(&self, error: BuildError, filename: &str, text: &Bytes) -> BuildError {
        if !error.locations.is_empty() {
            return error;
        }
        let Some(line) = self.line else {
            let argument = &self.command_line;
            return error.context(format!("failed with {ARGUMENT} = {argument}"));
        };
        let position = Position {
            line: i32::try_from(line).unwrap_or(i32::MAX),
            character: 0,
        };
        let location = Location {
            file: SourceFile {
                filename: filename.to_owned(),
                data: text.to_vec(),
                language: "Dockerfile".into(),
            },
            ranges: vec![Range {
                start: position,
                end: position,
            }],
        };
        BuildError {
            locations: vec![location],
            ..error
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

    fn check(dockerfile: &str, argument: Option<&str>, expected: Option<&str>) {
        let argument = argument.map(|it| (ARGUMENT.to_owned(), it.to_owned()));
        let options = argument.into_iter().collect::<Attributes>();
        let wanted = wanted(dockerfile.as_bytes(), &options);
        assert_eq!(
            wanted.map(|it| it.image).as_deref(),
            expected,
            "{dockerfile}"
        );
    }

    #[test]
    fn official_frontends_are_built_in() {
        check("FROM scratch\n", None, None);
        for tag in [
            "docker/dockerfile:1",
            "docker.io/docker/dockerfile:1.7-labs",
            "docker/dockerfile",
        ] {
            check(&format!("# syntax={tag}\nFROM scratch\n"), None, None);
        }
        check(
            "# syntax=docker/dockerfile-upstream:master@sha256:ab\nFROM scratch\n",
            None,
            None,
        );
        let other = "# syntax=example.com/other and words\nFROM scratch\n";
        check(other, None, Some("example.com/other"));
        let similar = "# syntax=docker/dockerfiles\nFROM scratch\n";
        check(similar, None, Some("docker/dockerfiles"));
        check(other, Some("dockerfile.v0"), None);
        check(
            "FROM scratch\n",
            Some("example.com/b c"),
            Some("example.com/b"),
        );
        check("FROM scratch\n", Some(""), None);
    }
}
