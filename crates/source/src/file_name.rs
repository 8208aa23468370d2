//! Names of single files.

/// The name that fits nothing else.
const DEFAULT: &str = "download";

/// The last part of a path, if a file can be called so.
pub(crate) fn safe(path: &str) -> String {
    let name = path.trim().trim_end_matches('/');
    let name = name.rsplit('/').next().unwrap_or_default();
    match name {
        "" | "." | ".." => DEFAULT.to_owned(),
        name if name.chars().any(char::is_control) => DEFAULT.to_owned(),
        name => name.to_owned(),
    }
}
