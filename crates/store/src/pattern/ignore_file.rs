//! Reading `.dockerignore` files.

use super::clean;

/// An ignore file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreFileError {
    /// A line is longer than any sane pattern.
    #[error("line {line} is longer than {limit} bytes")]
    LineTooLong {
        /// The line, counted from one.
        line: usize,
        /// The longest allowed line in bytes.
        limit: usize,
    },
}

const LINE_LIMIT: usize = 64 * 1024 - 1;

/// The patterns of an ignore file: comments and empty lines are gone, paths are clean and relative. Bytes that are not
/// UTF-8 read as U+FFFD.
///
/// # Errors
/// If a line is too long.
pub fn read_ignore_file(text: &[u8]) -> Result<Vec<String>, IgnoreFileError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut patterns = Vec::new();
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        if line.len() > LINE_LIMIT {
            return Err(IgnoreFileError::LineTooLong {
                line: index + 1,
                limit: LINE_LIMIT,
            });
        }
        patterns.extend(read_line(&String::from_utf8_lossy(line)));
    }
    Ok(patterns)
}

fn read_line(line: &str) -> Option<String> {
    let pattern = line.trim();
    // A comment starts in the first column; further in, `#` is part of a name.
    if line.starts_with('#') || pattern.is_empty() {
        return None;
    }
    Some(match pattern.strip_prefix('!') {
        Some(exception) => format!("!{}", relative(exception.trim())),
        None => relative(pattern),
    })
}

fn relative(pattern: &str) -> String {
    if pattern.is_empty() {
        return String::new();
    }
    let cleaned = clean(pattern);
    match cleaned.strip_prefix('/') {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => cleaned,
    }
}
