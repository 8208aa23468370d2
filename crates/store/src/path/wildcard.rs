//! Shell patterns over paths: `*`, `?`, `[a-z]`, `[^a]` and `\`; none of them matches a slash.

/// The pattern is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub(crate) struct BadPattern;

/// Whether any character of `text` is special.
fn contains_wildcards(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return true,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
    false
}

/// The leading components without special characters, and the rest from the first component with one.
pub(crate) fn split_wildcards(path: &str) -> (String, String) {
    let path = if path.is_empty() {
        String::new()
    } else {
        super::clean_str(path)
    };
    let parts: Vec<&str> = path.split('/').collect();
    let plain = parts
        .iter()
        .position(|part| contains_wildcards(part))
        .unwrap_or(parts.len());
    let join = |parts: &[&str], rooted: bool| match (parts.join("/"), rooted) {
        (text, true) if text.is_empty() => "/".to_owned(),
        (text, _) => text,
    };
    (
        join(&parts[..plain], path.starts_with('/') && plain > 0),
        join(&parts[plain..], false),
    )
}

/// Whether the whole of `name` matches `pattern`. Malformed parts of a pattern count only if matching reaches them.
pub(crate) fn matches(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    let mut pattern = pattern;
    let mut name = name;
    while !pattern.is_empty() {
        let (star, chunk, rest) = next_chunk(pattern);
        pattern = rest;
        if star && chunk.is_empty() {
            return Ok(!name.contains('/'));
        }
        match match_chunk(chunk, name)? {
            // The last chunk must reach the end of the name, unless a star may try further on.
            Some(tail) if tail.is_empty() || !rest.is_empty() => {
                name = tail;
                continue;
            }
            _ => {}
        }
        match star
            .then(|| skip_and_match(chunk, rest, name))
            .transpose()?
            .flatten()
        {
            Some(tail) => name = tail,
            None => {
                check_syntax(pattern)?;
                return Ok(false);
            }
        }
    }
    Ok(name.is_empty())
}

/// What follows a star may match anywhere before the next slash.
fn skip_and_match<'a>(
    chunk: &str,
    rest: &str,
    name: &'a str,
) -> Result<Option<&'a str>, BadPattern> {
    for (at, character) in name.char_indices() {
        if character == '/' {
            break;
        }
        let after = &name[at + character.len_utf8()..];
        if let Some(tail) = match_chunk(chunk, after)?
            && (!rest.is_empty() || tail.is_empty())
        {
            return Ok(Some(tail));
        }
    }
    Ok(None)
}

/// Leading stars, then everything up to the next star outside brackets.
fn next_chunk(pattern: &str) -> (bool, &str, &str) {
    let chunk = pattern.trim_start_matches('*');
    let star = chunk.len() != pattern.len();
    let mut in_range = false;
    let mut bytes = chunk.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'[' => in_range = true,
            b']' => in_range = false,
            b'*' if !in_range => return (star, &chunk[..at], &chunk[at..]),
            _ => {}
        }
    }
    (star, chunk, "")
}

/// Matches a chunk without stars against the start of `name`; gives what remains of it.
fn match_chunk<'a>(mut chunk: &str, mut name: &'a str) -> Result<Option<&'a str>, BadPattern> {
    // After a mismatch the rest of the chunk is still checked for syntax.
    let mut failed = false;
    while let Some(symbol) = chunk.chars().next() {
        let after_symbol = &chunk[symbol.len_utf8()..];
        failed |= name.is_empty();
        let character = name.chars().next();
        match symbol {
            '[' => {
                let (hit, rest) = match_class(after_symbol, if failed { None } else { character })?;
                chunk = rest;
                failed |= !hit;
            }
            '?' => {
                failed |= character == Some('/');
                chunk = after_symbol;
            }
            _ => {
                let (literal, rest) = if symbol == '\\' {
                    literal(after_symbol)?
                } else {
                    (symbol, after_symbol)
                };
                failed |= character != Some(literal);
                chunk = rest;
            }
        }
        if !failed {
            name = &name[character.map_or(0, char::len_utf8)..];
        }
    }
    Ok((!failed).then_some(name))
}

/// Matches one character against the ranges up to `]`.
fn match_class(mut class: &str, character: Option<char>) -> Result<(bool, &str), BadPattern> {
    let negated = class.starts_with('^');
    class = &class[usize::from(negated)..];
    let mut hit = false;
    let mut ranges = 0;
    loop {
        if ranges > 0
            && let Some(rest) = class.strip_prefix(']')
        {
            return Ok((hit != negated, rest));
        }
        let (low, rest) = class_bound(class)?;
        let (high, rest) = match rest.strip_prefix('-') {
            Some(rest) => class_bound(rest)?,
            None => (low, rest),
        };
        hit |= character.is_some_and(|character| (low..=high).contains(&character));
        class = rest;
        ranges += 1;
    }
}

fn class_bound(class: &str) -> Result<(char, &str), BadPattern> {
    let (bound, rest) = match class.chars().next() {
        None | Some('-' | ']') => return Err(BadPattern),
        Some('\\') => literal(&class[1..])?,
        Some(character) => (character, &class[character.len_utf8()..]),
    };
    // A class that is not closed is malformed.
    if rest.is_empty() {
        Err(BadPattern)
    } else {
        Ok((bound, rest))
    }
}

fn literal(text: &str) -> Result<(char, &str), BadPattern> {
    let character = text.chars().next().ok_or(BadPattern)?;
    Ok((character, &text[character.len_utf8()..]))
}

fn check_syntax(mut pattern: &str) -> Result<(), BadPattern> {
    while !pattern.is_empty() {
        let (_, chunk, rest) = next_chunk(pattern);
        match_chunk(chunk, "")?;
        pattern = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_whole_names() {
        for (pattern, name, expected) in [
            ("abc", "abc", Ok(true)),
            ("*", "abc", Ok(true)),
            ("*c", "abc", Ok(true)),
            ("a*", "a", Ok(true)),
            ("a*", "ab/c", Ok(false)),
            ("a*/b", "abc/b", Ok(true)),
            ("a*/b", "a/c/b", Ok(false)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Ok(true)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", Ok(false)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Ok(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Ok(false)),
            ("ab[c]", "abc", Ok(true)),
            ("ab[b-d]", "abc", Ok(true)),
            ("ab[^c]", "abc", Ok(false)),
            ("ab[^e-g]", "abc", Ok(true)),
            ("a\\*b", "a*b", Ok(true)),
            ("a\\*b", "ab", Ok(false)),
            ("a?b", "a☺b", Ok(true)),
            ("a[^a]b", "a☺b", Ok(true)),
            ("a???b", "a☺b", Ok(false)),
            ("[a-ζ]*", "α", Ok(true)),
            ("*[a-ζ]", "A", Ok(false)),
            ("a?b", "a/b", Ok(false)),
            ("a*b", "a/b", Ok(false)),
            ("[\\]a]", "]", Ok(true)),
            ("[]a]", "]", Err(BadPattern)),
            ("[-]", "-", Err(BadPattern)),
            ("[a-b-c]", "a", Err(BadPattern)),
            ("[", "a", Err(BadPattern)),
            ("a[", "a", Err(BadPattern)),
            ("a[", "ab", Err(BadPattern)),
            ("*x", "xxx", Ok(true)),
            ("\\", "a", Err(BadPattern)),
            ("", "", Ok(true)),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn splits_at_the_first_pattern() {
        for (path, plain, wild) in [
            ("/a/b*/c", "/a", "b*/c"),
            ("/*.txt", "/", "*.txt"),
            ("/a/b", "/a/b", ""),
            ("a\\*/b?", "a\\*", "b?"),
        ] {
            assert_eq!(split_wildcards(path), (plain.into(), wild.into()), "{path}");
        }
    }
}
