//! URLs without the credentials in them.

use std::ops::Range;

const MASK: &str = "xxxxx";

/// What comes before images' names, which may have a digest where URLs have a host.
const OF_IMAGES: [&str; 4] = [
    "docker-image",
    "docker-image+blob",
    "oci-layout",
    "oci-layout+blob",
];

/// Fewer digits are no digest in a reference to an image.
const DIGEST_DIGITS: usize = 32;

/// Hides user name and password of a URL; other texts stay as they are.
pub fn credentials(text: &str) -> String {
    let Some(login) = login(text) else {
        return text.to_owned();
    };
    let hidden = match text[login.clone()].split_once(':') {
        Some(("", _)) => format!(":{MASK}"),
        Some(_) => format!("{MASK}:{MASK}"),
        None if login.is_empty() => String::new(),
        None => MASK.to_owned(),
    };
    format!("{}{hidden}{}", &text[..login.start], &text[login.end..])
}

/// Where user name and password stand in a URL, without the `@` behind them; `None` if there is no place for any.
///
/// Texts that are URLs only for those who do not look closely count, too: a password must not be shown because there
/// is a character in it that should have been escaped.
pub fn login(text: &str) -> Option<Range<usize>> {
    let (scheme, rest) = match text.split_once("://") {
        Some(parts) => parts,
        None => ("", text.strip_prefix("//")?),
    };
    let start = text.len() - rest.len();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, host)) = authority.rsplit_once('@') else {
        let is_cut = is_web(scheme) && !has_port(authority);
        let at = rest.rfind('@').filter(|_| is_cut)?;
        return Some(start..start + at);
    };
    let is_pinned_image = OF_IMAGES.contains(&scheme) && is_digest(host);
    (!is_pinned_image).then(|| start..start + user.len())
}

fn is_web(scheme: &str) -> bool {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    is("http") || is("https")
}

/// Whether what follows a host's name can be a port. A password with a slash in it ends the authority too early, and
/// its begin stands there.
fn has_port(authority: &str) -> bool {
    let (_, name) = authority.rsplit_once(']').unwrap_or(("", authority));
    let (_, port) = name.split_once(':').unwrap_or_default();
    port.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_digest(text: &str) -> bool {
    let (algorithm, digits) = text.split_once(':').unwrap_or_default();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_+.".contains(c);
    !algorithm.is_empty()
        && algorithm.chars().all(is_part)
        && digits.len() >= DIGEST_DIGITS
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_credentials_are_hidden() {
        for (text, expected) in [
            (
                "https://u:p@host/x.git#main",
                "https://xxxxx:xxxxx@host/x.git#main",
            ),
            ("https://token@host", "https://xxxxx@host"),
            ("https://u:@host", "https://xxxxx:xxxxx@host"),
            ("https://:p@host", "https://:xxxxx@host"),
            ("https://:@host", "https://:xxxxx@host"),
            ("ssh://git@host/x", "ssh://xxxxx@host/x"),
            ("ssh://git:p@host:22/x", "ssh://xxxxx:xxxxx@host:22/x"),
            ("git://u:p@host:9418/x", "git://xxxxx:xxxxx@host:9418/x"),
            ("HTTPS://u:p@host", "HTTPS://xxxxx:xxxxx@host"),
            ("git+https://u:p@host", "git+https://xxxxx:xxxxx@host"),
            (
                "https://u:p@[::1]:80/a@b",
                "https://xxxxx:xxxxx@[::1]:80/a@b",
            ),
            ("//u:p@host/x", "//xxxxx:xxxxx@host/x"),
            (
                "docker-image://u:p@host:5000/x",
                "docker-image://xxxxx:xxxxx@host:5000/x",
            ),
        ] {
            assert_eq!(credentials(text), expected, "{text}");
        }
    }

    #[test]
    fn odd_urls_hide_them_too() {
        for (text, expected) in [
            ("https://u:p@ss@host/x", "https://xxxxx:xxxxx@host/x"),
            ("https://u:p w^%zz@host", "https://xxxxx:xxxxx@host"),
            ("https://\u{fc}:p@host", "https://xxxxx:xxxxx@host"),
            ("https://u:p@host:port/x", "https://xxxxx:xxxxx@host:port/x"),
            ("https://u:p@ho st/\u{1}", "https://xxxxx:xxxxx@ho st/\u{1}"),
            ("https://u:p@[::1/", "https://xxxxx:xxxxx@[::1/"),
            ("https://u:p@", "https://xxxxx:xxxxx@"),
            ("1http://u:p@host", "1http://xxxxx:xxxxx@host"),
            ("://u:p@host", "://xxxxx:xxxxx@host"),
            ("local:https://u:p@host", "local:https://xxxxx:xxxxx@host"),
            ("https://u:p/w@host/x", "https://xxxxx:xxxxx@host/x"),
            ("https://u:p#w@host/x", "https://xxxxx:xxxxx@host/x"),
            ("http://u:p?w@host", "http://xxxxx:xxxxx@host"),
        ] {
            assert_eq!(credentials(text), expected, "{text}");
        }
    }

    #[test]
    fn texts_without_any_stay_as_they_are() {
        for text in [
            "https://host/a@b?c",
            "https://host:80/a@b",
            "https://host/?mail=a@b",
            "https://[::1]:80/a@b",
            "https://[::1]/a@b",
            "https://@host",
            "ssh://host:path/a@b",
            "https:/u:p@host",
            "git@host:x",
            "u:p@host",
            "dir",
            "a b",
            "",
        ] {
            assert_eq!(credentials(text), text);
        }
    }

    #[test]
    fn digests_of_images_are_no_hosts() {
        let digest = format!("sha256:{}", "ab12".repeat(16));
        for image in [
            "docker-image://alpine:3@",
            "docker-image://alpine@",
            "docker-image://docker.io/library/alpine:3@",
            "docker-image://localhost:5000/alpine:3@",
            "docker-image+blob://alpine@",
            "oci-layout://lay@",
            "oci-layout://lay:tag@",
        ] {
            let text = format!("{image}{digest}");
            assert_eq!(credentials(&text), text);
        }
        for (text, expected) in [
            (
                "docker-image://u:p@host/x@",
                "docker-image://xxxxx:xxxxx@host/x@",
            ),
            ("https://u:p@", "https://xxxxx:xxxxx@"),
        ] {
            let expected = format!("{expected}{digest}");
            assert_eq!(credentials(&format!("{text}{digest}")), expected);
        }
        let text = "docker-image://u:p@sha256:5000";
        assert_eq!(credentials(text), "docker-image://xxxxx:xxxxx@sha256:5000");
    }
}
