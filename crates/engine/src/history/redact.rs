//! Takes credentials out of what is recorded.

use std::collections::BTreeMap;

const MASK: &str = "xxxxx";

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
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some(at) = rest[..authority_end].rfind('@').filter(|_| is_scheme) else {
        return text.to_owned();
    };
    let (user, host) = (&rest[..at], &rest[at..]);
    match user.split_once(':') {
        Some(("", _)) => format!("{scheme}://:{MASK}{host}"),
        Some(_) => format!("{scheme}://{MASK}:{MASK}{host}"),
        None if user.is_empty() || scheme == "ssh" => text.to_owned(),
        None => format!("{scheme}://{MASK}{host}"),
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
            ("not a://url@all", "not a://url@all"),
            ("", ""),
        ];
        for (text, masked) in cases {
            assert_eq!(url(text), masked, "{text}");
        }
    }
}
