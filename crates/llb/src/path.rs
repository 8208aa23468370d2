//! Slash-separated paths as LLB has them: lexical only, the rules of Go's `path` package, which
//! every client and server of this protocol shares.

/// Whether `path` starts at the root.
pub fn is_abs(path: &str) -> bool {
    path.starts_with('/')
}

/// The shortest equal path: no `.`, no inner `..`, no doubled or trailing slash; empty becomes `.`.
pub fn clean(path: &str) -> String {
    let rooted = is_abs(path);
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".into(),
        (false, false) => joined,
    }
}

/// Joins the non-empty parts with slashes and cleans the result; nothing at all stays empty.
pub fn join<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return String::new();
    }
    clean(&parts.join("/"))
}

/// The last element of `path`; `.` of an empty path, `/` of the root.
pub fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        Some("") | None => "/",
        Some(last) => last,
    }
}
