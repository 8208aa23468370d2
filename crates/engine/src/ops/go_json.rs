//! JSON exactly as Go's `encoding/json` prints structs whose fields are all
//! `omitempty`: the form whose SHA-256 is BuildKit's cache key of an op.

use std::fmt::Write as _;

/// An object under construction; fields appear in the order they are added,
/// and empty values are left out.
#[derive(Debug, Default, Clone)]
pub(crate) struct Object {
    body: String,
}

impl Object {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The object's text.
    pub(crate) fn build(self) -> String {
        format!("{{{}}}", self.body)
    }

    /// Adds a field whose value is JSON already, also when it is empty.
    pub(crate) fn raw(mut self, key: &str, json: &str) -> Self {
        if !self.body.is_empty() {
            self.body.push(',');
        }
        push_string(&mut self.body, key);
        self.body.push(':');
        self.body.push_str(json);
        self
    }

    pub(crate) fn string(self, key: &str, value: &str) -> Self {
        if value.is_empty() {
            self
        } else {
            self.raw(key, &quote(value))
        }
    }

    pub(crate) fn number(self, key: &str, value: impl Into<i64>) -> Self {
        match value.into() {
            0 => self,
            value => self.raw(key, &value.to_string()),
        }
    }

    pub(crate) fn boolean(self, key: &str, value: bool) -> Self {
        if value { self.raw(key, "true") } else { self }
    }

    /// A pointer to a struct: left out only when absent.
    pub(crate) fn object(self, key: &str, value: Option<Object>) -> Self {
        match value {
            None => self,
            Some(value) => self.raw(key, &value.build()),
        }
    }

    pub(crate) fn objects(self, key: &str, values: impl IntoIterator<Item = Object>) -> Self {
        self.array(key, values.into_iter().map(Object::build))
    }

    pub(crate) fn strings(self, key: &str, values: &[String]) -> Self {
        self.array(key, values.iter().map(|value| quote(value)))
    }

    pub(crate) fn array(self, key: &str, values: impl Iterator<Item = String>) -> Self {
        let items = values.collect::<Vec<_>>();
        if items.is_empty() {
            self
        } else {
            self.raw(key, &array(&items))
        }
    }
}

/// A JSON array of texts that are JSON already.
pub(crate) fn array(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}

/// A JSON string.
pub(crate) fn quote(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    push_string(&mut out, value);
    out
}

/// Go escapes `<`, `>`, `&` and the two JavaScript line separators as well.
fn push_string(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_fields_are_left_out() {
        let object = Object::new()
            .string("a", "")
            .number("b", 0)
            .boolean("c", false)
            .strings("d", &[])
            .object("e", Some(Object::new()))
            .object("f", None)
            .number("g", -1);
        assert_eq!(object.build(), r#"{"e":{},"g":-1}"#);
    }

    #[test]
    fn strings_are_escaped_like_go() {
        let check = |input: &str, expected: &str| assert_eq!(quote(input), expected);
        check("a&&b <c>", r#""a\u0026\u0026b \u003cc\u003e""#);
        check(
            "\u{1}\t\n\"\\\u{7f}é\u{2028}",
            "\"\\u0001\\t\\n\\\"\\\\\u{7f}é\\u2028\"",
        );
    }
}
