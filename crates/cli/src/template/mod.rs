//! `--format`: Go templates, of which the parts are known that command lines
//! use: fields, `json`, `range`, `if`, `with`, comparisons and printing.

mod parse;
mod run;
mod scan;
mod value;

use crate::failure::Failure;

pub(crate) use value::{Value, field, go_duration, go_time, optional};

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// It is not a template.
    #[error("{0}")]
    Syntax(String),
    /// It has a part of Go's templates that is not known here.
    #[error(
        "{0} is not supported; known are fields, if, range, with, and the functions json, len, eq, ne, \
         and, or, not, print and println"
    )]
    Unsupported(String),
    /// It does not fit the value.
    #[error("{0}")]
    Value(String),
}

impl TemplateError {
    fn syntax(message: impl Into<String>) -> Self {
        Self::Syntax(message.into())
    }
}

/// A template that has been read.
#[derive(Debug)]
pub(crate) struct Template {
    written: String,
    nodes: Vec<parse::Node>,
}

impl Template {
    /// Reads a `--format` value; `json` stands for `{{json .}}`.
    pub(crate) fn parse(written: &str) -> Result<Self, Failure> {
        let text = match written {
            "json" => "{{json .}}",
            text => text,
        };
        let nodes = parse::parse(text).map_err(|error| failed(written, &error))?;
        Ok(Self {
            written: written.to_owned(),
            nodes,
        })
    }

    /// The template's text for a value.
    pub(crate) fn fill(&self, value: &Value) -> Result<String, Failure> {
        run::run(&self.nodes, value).map_err(|error| failed(&self.written, &error))
    }
}

fn failed(template: &str, error: &TemplateError) -> Failure {
    Failure::usage(format!("--format {template:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Value {
        let item = |id: &str, size: i64, used: bool| {
            Value::Struct(vec![
                field("ID", "id", id),
                field("Size", "size", size),
                optional("InUse", "inUse", used),
                field("Parents", "parents", Value::Nil),
            ])
        };
        Value::List(vec![item("a", 1, true), item("b<&>", 0, false)])
    }

    fn check(template: &str, expected: &str) {
        let filled = Template::parse(template).and_then(|template| template.fill(&sample()));
        match filled {
            Ok(text) => assert_eq!(text, expected, "{template}"),
            Err(Failure::Usage(message)) => {
                assert!(message.contains(expected), "{template}: {message}");
            }
            Err(other) => panic!("{template}: {other:?}"),
        }
    }

    #[test]
    fn templates_are_filled() {
        let json = r#"[{"id":"a","size":1,"inUse":true,"parents":null},{"id":"b<&>","size":0,"parents":null}]"#;
        check("json", json);
        check("{{json .}}", json);
        check("{{. | json}}", json);
        check(
            "{{range .}}{{.ID}} {{.Size}} {{.InUse}};{{end}}",
            "a 1 true;b<&> 0 false;",
        );
        check("{{range .}}{{if .InUse}}+{{else}}-{{end}}{{end}}", "+-");
        check("{{range . -}}  {{.ID}}  {{- end}}!", "ab<&>!");
        check(
            "{{len .}} {{/* nothing */}}{{printed}}",
            "function \"printed\" is not supported",
        );
        check(
            "{{range .}}{{if eq .ID \"a\"}}first{{else if .Parents}}x{{else}}y{{end}}{{end}}",
            "firsty",
        );
        check("{{range .}}{{with .Parents}}p{{else}}n{{end}}{{end}}", "nn");
        check(
            "{{range .}}{{if and (ne .ID \"a\") (not .InUse)}}{{$}}{{end}}{{end}}",
            "[{a 1 true <nil>} {b<&> 0 false <nil>}]",
        );
        check("{{println \"a b\" 3}}", "a b 3\n");
        check("{{`}}`}}", "}}");
    }

    #[test]
    fn wrong_templates_are_explained() {
        check("{{.ID", "unclosed action");
        check("{{if .}}", "{{if}} without {{end}}");
        check("{{end}}", "unexpected {{end}}");
        check("{{template \"x\"}}", "{{template}} is not supported");
        check(
            "{{range .}}{{.Nam}}{{end}}",
            "can't evaluate field Nam (known: ID, Size, InUse, Parents)",
        );
        check("{{$x}}", "variable \"$x\" is not supported");
        check("{{json}}", "wrong number of arguments for json");
        check("{{. 5}}", "can't give argument to non-function");
        check("{{a..b}}", "unexpected \"a..b\"");
        check("{{.a..b}}", "unexpected \".a..b\"");
        check("{{\"a}}", "unclosed action");
        check(&"{{if 1}}".repeat(100), "too deeply nested");
    }

    #[test]
    fn durations_and_times_are_printed_as_go_does() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (172_800_000_000_000, "48h0m0s"),
            (90_000_000_000, "1m30s"),
            (1_500_000_000, "1.5s"),
            (20_000_000, "20ms"),
            (1_500, "1.5µs"),
            (-7, "-7ns"),
        ] {
            assert_eq!(go_duration(nanoseconds), expected);
        }
        let time = "2026-01-02T03:04:05.5Z".parse().unwrap();
        assert_eq!(go_time(time), "2026-01-02 03:04:05.5 +0000 UTC");
    }
}
