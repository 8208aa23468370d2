//! Takes credentials out of what is recorded.

use std::collections::BTreeMap;

use kiln_llb::redact;

/// Attributes without the user names and passwords in their URLs.
pub(super) fn attributes(attributes: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    attributes
        .iter()
        .map(|(key, value)| (key.clone(), url(value)))
        .collect()
}

/// The text, with user name and password masked if it is a URL that has them.
/// A user without a password may be a token, except where logins are public:
/// `ssh://git@…`.
pub(crate) fn url(text: &str) -> String {
    let Some(login) = redact::login(text) else {
        return text.to_owned();
    };
    let scheme = text[..login.start].strip_suffix("://");
    let is_scheme = scheme.is_none_or(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    let is_public = scheme == Some("ssh") && !text[login].contains(':');
    match is_scheme && !is_public {
        true => redact::credentials(text),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn credentials_in_urls_are_masked() {
        let cases = [
            (
                "https://user:pw@host.tld/a.git#main",
                "https://xxxxx:xxxxx@host.tld/a.git#main",
            ),
            (
                "https://token@host.tld/a.git",
                "https://xxxxx@host.tld/a.git",
            ),
            ("https://:pw@host.tld", "https://:xxxxx@host.tld"),
            (
                "https://u:p@ss@host.tld/x",
                "https://xxxxx:xxxxx@host.tld/x",
            ),
            ("ssh://git@host.tld/a.git", "ssh://git@host.tld/a.git"),
            (
                "ssh://git:pw@host.tld/a.git",
                "ssh://xxxxx:xxxxx@host.tld/a.git",
            ),
            ("https://host.tld/user@name", "https://host.tld/user@name"),
            ("git@github.com:a/b.git", "git@github.com:a/b.git"),
            ("//user:pw@host.tld/x", "//xxxxx:xxxxx@host.tld/x"),
            ("not a://url@all", "not a://url@all"),
            (
                "docker-image://alpine:3@sha256:0123456789abcdef0123456789abcdef",
                "docker-image://alpine:3@sha256:0123456789abcdef0123456789abcdef",
            ),
            ("", ""),
        ];
        for (text, masked) in cases {
            assert_eq!(url(text), masked, "{text}");
        }
    }
}
