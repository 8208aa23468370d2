//! Slash-separated paths as byte strings, by the lexical rules that LLB paths and archive names follow.

mod wildcard;

pub(crate) use wildcard::{matches, split_wildcards};

/// The shortest equal path: no empty, `.` or inner `..` components and no trailing slash; `.` for nothing.
pub(crate) fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if rooted => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

/// The same for text.
pub(crate) fn clean_str(path: &str) -> String {
    String::from_utf8_lossy(&clean(path.as_bytes())).into_owned()
}

/// `path` as an absolute clean path.
pub(crate) fn absolute(path: &str) -> String {
    clean_str(&format!("/{path}"))
}

/// `path` as an absolute clean path that keeps what its end says: `dir/` is the directory, `dir/.` what is in it.
pub(crate) fn clean_kept(path: &str) -> String {
    let cleaned = absolute(path);
    let ending = match (path.ends_with("/."), path.ends_with('/'), cleaned == "/") {
        (true, _, false) => "/.",
        (true, _, true) => ".",
        (_, true, false) => "/",
        _ => "",
    };
    cleaned + ending
}

/// Two paths joined; an empty side does not count.
pub(crate) fn join(base: &[u8], rest: &[u8]) -> Vec<u8> {
    match (base, rest) {
        (b"", rest) => rest.to_vec(),
        (base, b"") => base.to_vec(),
        (base, rest) => clean(&[base, b"/", rest].concat()),
    }
}

/// Everything up to and including the last slash, and what follows it.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.split_at(
        path.iter()
            .rposition(|&byte| byte == b'/')
            .map_or(0, |slash| slash + 1),
    )
}

/// The last component; `.` for an empty path and `/` for the root.
pub(crate) fn base(path: &[u8]) -> &[u8] {
    let end = path
        .iter()
        .rposition(|&byte| byte != b'/')
        .map_or(0, |last| last + 1);
    match (path.is_empty(), end) {
        (true, _) => b".",
        (false, 0) => b"/",
        (false, end) => split(&path[..end]).1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_like_the_field() {
        for (path, expected) in [
            ("", "."),
            ("/", "/"),
            ("//a//b/", "/a/b"),
            ("a/../..", ".."),
            ("/../a", "/a"),
            ("../../a/./b/..", "../../a"),
            ("./", "."),
            ("a/..", "."),
        ] {
            assert_eq!(clean_str(path), expected, "{path:?}");
        }
        assert_eq!(
            (base(b"/a/b/"), base(b"/"), base(b"")),
            (&b"b"[..], &b"/"[..], &b"."[..])
        );
    }
}
