//! `frontend.caps`: what a request needs the Dockerfile frontend to be able to.

use crate::failure::{Failure, Missing};

/// What the built-in frontend can do.
const KNOWN: [&str; 4] = [
    "moby.buildkit.frontend.inputs",
    "moby.buildkit.frontend.subrequests",
    "moby.buildkit.frontend.contexts",
    "moby.buildkit.frontend.gitquerystring",
];

/// Checks a list of capabilities. One that is missing but marked `+forward`
/// comes back as the error that it is unless the request is handed on to
/// another frontend.
pub(crate) fn check(wanted: &str) -> Result<Option<Failure>, Failure> {
    let mut forwardable = None;
    for item in wanted.split(',').filter(|item| !item.is_empty()) {
        let (name, marks) = item.split_once('+').unwrap_or((item, ""));
        if KNOWN.contains(&name) {
            continue;
        }
        if !marks.split('+').any(|mark| mark == "forward") {
            return Err(unsupported(name));
        }
        forwardable.get_or_insert_with(|| unsupported(name));
    }
    Ok(forwardable)
}

/// The names in a list of capabilities, without what the marks add.
pub fn names(list: &str) -> impl Iterator<Item = &str> {
    let names = list.split(',').filter_map(|item| item.split('+').next());
    names.filter(|name| !name.is_empty())
}

/// One that is missing.
pub fn unsupported(name: &str) -> Failure {
    let message = format!("unsupported frontend capability {name}");
    Failure::new(message).missing(Missing::Cap(name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        let check = |list: &str| match check(list) {
            Ok(None) => "all there".to_owned(),
            Ok(Some(error)) => format!("unless forwarded: {error}"),
            Err(error) => error.to_string(),
        };
        let missing = "unsupported frontend capability x.y";
        for (list, expected) in [
            ("", "all there"),
            ("moby.buildkit.frontend.inputs", "all there"),
            (
                "moby.buildkit.frontend.contexts+forward,moby.buildkit.frontend.subrequests",
                "all there",
            ),
            ("x.y", missing),
            ("moby.buildkit.frontend.inputs,x.y", missing),
            ("x.y+forward,z", "unsupported frontend capability z"),
            ("x.y+forward", &format!("unless forwarded: {missing}")),
        ] {
            assert_eq!(check(list), expected, "{list:?}");
        }
    }
}
