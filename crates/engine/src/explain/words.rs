//! Values as they are kept: short, and without credentials.

use kiln_llb::digest_of;

use crate::history::mask_url;

/// Bytes of a value that are kept.
const LONGEST: usize = 300;

/// Stands before the hash of what a value leaves out.
const CUT: &str = "\u{2026}#";

/// A value as it is kept. Equal values are kept equal, others are not.
pub(super) fn kept(text: &str) -> String {
    let masked = masked(text);
    let end = text_end(&masked);
    if end == masked.len() && masked == text {
        return masked;
    }
    format!("{}{CUT}{}", &masked[..end], hash(text))
}

/// The part of a kept value that can be shown.
pub(super) fn shown(kept: &str) -> String {
    match kept.rsplit_once(CUT) {
        Some((text, hash)) if hash.len() == HASH && is_hex(hash) => format!("{text}\u{2026}"),
        _ => kept.to_owned(),
    }
}

/// Characters of a hash.
const HASH: usize = 16;

/// A short hash.
pub(super) fn hash(text: impl AsRef<[u8]>) -> String {
    let digest = digest_of(text.as_ref());
    digest.digest().chars().take(HASH).collect()
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn text_end(text: &str) -> usize {
    match text.len() <= LONGEST {
        true => text.len(),
        false => text.floor_char_boundary(LONGEST),
    }
}

/// The text without user names and passwords in the URLs in it.
fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let begin = rest[..at].trim_end_matches(is_scheme).len();
        let authority = at + "://".len();
        let ends = |c: char| c.is_whitespace() || "/?#\"'`".contains(c);
        let end = rest[authority..].find(ends);
        let end = end.map_or(rest.len(), |length| authority + length);
        out.push_str(&rest[..begin]);
        out.push_str(&mask_url(&rest[begin..end]));
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_long_tails_are_left_out_but_tell_values_apart() {
        let one = kept("git clone https://user:first@host.tld/a 'https://token@b.tld'");
        let other = kept("git clone https://user:other@host.tld/a 'https://token@b.tld'");
        assert_ne!(one, other);
        let text = "git clone https://xxxxx:xxxxx@host.tld/a 'https://xxxxx@b.tld'\u{2026}";
        assert_eq!(shown(&one), text);
        assert_eq!(shown(&other), text);
        let long = kept(&"é".repeat(400));
        assert!(long.len() < 340, "{}", long.len());
        assert_ne!(long, kept(&"é".repeat(401)));
        for plain in ["", "make -j2", "a://b", "50%\u{2026}#no"] {
            assert_eq!(kept(plain), plain);
            assert_eq!(shown(plain), plain);
        }
    }
}
