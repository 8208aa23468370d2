//! `# syntax=` and `BUILDKIT_SYNTAX`: which frontend reads the Dockerfile.

use std::collections::BTreeMap;

use kiln_dockerfile::Location;
use kiln_dockerfile::directive::detect_syntax;
use kiln_llb::pb;

use crate::failure::Place;

type Attributes = BTreeMap<String, String>;

/// The built-in frontend's own name.
const BUILT_IN: &str = "dockerfile.v0";

/// Images of the official Dockerfile frontend, which the built-in one stands
/// in for whatever their tag: it reads the same language.
const OFFICIAL: [&str; 2] = ["docker/dockerfile", "docker/dockerfile-upstream"];

/// The build argument that overrides the file.
const ARGUMENT: &str = "build-arg:BUILDKIT_SYNTAX";

/// Another frontend that a build asks for.
#[derive(Debug)]
pub struct Wanted {
    /// Its image.
    pub image: String,
    /// The image with the words after it.
    pub command_line: String,
    /// The line of the file that says so; `None` if an argument does.
    line: Option<u32>,
}

/// The frontend that a Dockerfile or the build's arguments ask for; `None` is
/// the built-in one. A frontend that was called by another one is what was
/// asked for, and reads the file itself.
pub(crate) fn wanted(text: &[u8], options: &Attributes) -> Option<Wanted> {
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
    pub fn options(&self, options: &Attributes) -> Attributes {
        let mut options = options.clone();
        options.insert("cmdline".into(), self.command_line.clone());
        options.insert("source".into(), self.image.clone());
        options
    }

    /// What asked for the other frontend, for errors that speak of no place
    /// themselves.
    pub fn asker(&self, file: pb::SourceInfo) -> Asker {
        match self.line {
            Some(line) => Asker::Line(Place::new(file, &[Location::line(line)])),
            None => Asker::Argument(format!("failed with {ARGUMENT} = {}", self.command_line)),
        }
    }
}

/// What asked for another frontend.
#[derive(Debug)]
pub enum Asker {
    /// A line of the Dockerfile.
    Line(Place),
    /// An argument: what to say in front of an error.
    Argument(String),
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
