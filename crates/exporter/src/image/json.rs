//! JSON as Go's `encoding/json` prints it.

use serde::Serialize;

/// Compact JSON.
pub(crate) fn compact(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_string(value).map(|text| escape(&text).into_bytes())
}

/// Compact JSON of something that holds JSON text as it was written.
pub(crate) fn compact_raw(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_string(value).map(|text| squeeze(&escape(&text)).into_bytes())
}

/// JSON indented by two spaces.
pub(crate) fn indented(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_string_pretty(value).map(|text| escape(&text).into_bytes())
}

/// JSON indented by two spaces, of something that holds JSON text as it was written.
pub(crate) fn indented_raw(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_string(value).map(|text| indent(&squeeze(&escape(&text))).into_bytes())
}

/// Indents JSON that has no white space between tokens.
fn indent(compact: &str) -> String {
    let mut indented = String::with_capacity(compact.len() * 2);
    let (mut in_string, mut escaped, mut depth) = (false, false, 0);
    let new_line = |indented: &mut String, depth: usize| {
        indented.push('\n');
        indented.push_str(&"  ".repeat(depth));
    };
    let mut previous = ' ';
    for character in compact.chars() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
            indented.push(character);
        } else {
            let is_end = matches!(character, '}' | ']');
            if is_end {
                depth -= 1;
            }
            let after_start = matches!(previous, '{' | '[');
            if is_end != after_start || previous == ',' {
                new_line(&mut indented, depth);
            }
            in_string = character == '"';
            indented.push(character);
            match character {
                '{' | '[' => depth += 1,
                ':' => indented.push(' '),
                _ => {}
            }
        }
        previous = character;
    }
    indented
}

/// Escapes what may not stand in HTML or in a JavaScript line. Such characters only occur inside of strings.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Removes the white space between tokens.
fn squeeze(text: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in text.chars() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if matches!(character, ' ' | '\t' | '\n' | '\r') {
            continue;
        } else {
            in_string = character == '"';
        }
        squeezed.push(character);
    }
    squeezed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_escaped() {
        assert_eq!(compact(&"a<b>&\u{2028}é\"\u{1}\n").unwrap(), br#""a\u003cb\u003e\u0026\u2028"#.iter().chain("é".as_bytes()).chain(br#"\"\u0001\n""#).copied().collect::<Vec<_>>());
    }

    #[test]
    fn indenting() {
        for text in [
            r#"{"a":[],"b":{},"c":[1,{"d":"x{,:\"}"},[[]]],"e":{"f":-1.5,"g":null}}"#,
            "[]",
            "1",
            r#"["a","b"]"#,
        ] {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            let expected = serde_json::to_string_pretty(&value).unwrap();
            assert_eq!(indent(text), expected);
        }
    }

    #[test]
    fn white_space_goes_only_between_tokens() {
        assert_eq!(
            squeeze("{ \"a b\\\" c\" :\n [1 , 2],\t\"\\\\\" : \" \"}"),
            "{\"a b\\\" c\":[1,2],\"\\\\\":\" \"}"
        );
    }
}
