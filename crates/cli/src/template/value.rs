//! Values that templates print: what a Go program would hold in structures,
//! with the names of their fields there and in JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use kiln_session::progress::Timestamp;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing: a null pointer or list.
    Nil,
    Bool(bool),
    Int(i64),
    /// A number that templates print by name.
    Enum {
        number: i32,
        name: &'static str,
    },
    Text(String),
    Bytes(Vec<u8>),
    Time(Timestamp),
    /// Nanoseconds, printed as Go prints durations.
    Duration(i64),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
    Struct(Vec<Field>),
}

/// A field of a structure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// Its name in templates.
    pub(crate) name: &'static str,
    /// Its name in JSON.
    pub(crate) key: &'static str,
    /// JSON leaves it out when it is empty.
    pub(crate) optional: bool,
    pub(crate) value: Value,
}

/// A field that JSON always has.
pub(crate) fn field(name: &'static str, key: &'static str, value: impl Into<Value>) -> Field {
    Field {
        name,
        key,
        optional: false,
        value: value.into(),
    }
}

/// A field that JSON leaves out when it is empty.
pub(crate) fn optional(name: &'static str, key: &'static str, value: impl Into<Value>) -> Field {
    Field {
        optional: true,
        ..field(name, key, value)
    }
}

impl Value {
    /// Whether `if` takes it for false.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Nil => true,
            Self::Bool(value) => !value,
            Self::Int(value) | Self::Duration(value) => *value == 0,
            Self::Enum { number, .. } => *number == 0,
            Self::Text(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Map(entries) => entries.is_empty(),
            Self::Time(_) | Self::Struct(_) => false,
        }
    }

    /// Its JSON on one line, fields in the structure's order.
    pub(super) fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Self::Nil => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(value) | Self::Duration(value) => {
                let _ = write!(out, "{value}");
            }
            Self::Enum { number, .. } => {
                let _ = write!(out, "{number}");
            }
            Self::Text(text) => write_quoted(text, out),
            Self::Bytes(bytes) => {
                write_quoted(
                    &base64::engine::general_purpose::STANDARD.encode(bytes),
                    out,
                );
            }
            Self::Time(time) => write_quoted(&time.to_string(), out),
            Self::List(items) => {
                let items = items.iter().map(|item| (None, item));
                write_sequence(('[', ']'), items, out);
            }
            Self::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|(key, value)| (Some(key.as_str()), value));
                write_sequence(('{', '}'), entries, out);
            }
            Self::Struct(fields) => {
                let shown = fields
                    .iter()
                    .filter(|field| !field.optional || !field.value.is_empty());
                let shown = shown.map(|field| (Some(field.key), &field.value));
                write_sequence(('{', '}'), shown, out);
            }
        }
    }

    /// How Go prints it.
    pub(super) fn to_text(&self) -> String {
        let joined = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(" ");
        match self {
            Self::Nil => "<nil>".into(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Enum { name, .. } => (*name).to_owned(),
            Self::Text(text) => text.clone(),
            Self::Bytes(bytes) => {
                format!("[{}]", joined(&mut bytes.iter().map(u8::to_string)))
            }
            Self::Time(time) => go_time(*time),
            Self::Duration(nanoseconds) => go_duration(*nanoseconds),
            Self::List(items) => format!("[{}]", joined(&mut items.iter().map(Self::to_text))),
            Self::Map(entries) => {
                let mut entries = entries
                    .iter()
                    .map(|(key, value)| format!("{key}:{}", value.to_text()));
                format!("map[{}]", joined(&mut entries))
            }
            Self::Struct(fields) => {
                let mut values = fields.iter().map(|field| field.value.to_text());
                format!("{{{}}}", joined(&mut values))
            }
        }
    }
}

fn write_sequence<'a>(
    (open, close): (char, char),
    items: impl Iterator<Item = (Option<&'a str>, &'a Value)>,
    out: &mut String,
) {
    out.push(open);
    for (index, (key, value)) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        if let Some(key) = key {
            write_quoted(key, out);
            out.push(':');
        }
        value.write_json(out);
    }
    out.push(close);
}

fn write_quoted(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// `2026-01-02 03:04:05.678 +0000 UTC`
pub(crate) fn go_time(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{} +0000 UTC", text.trim_end_matches('Z').replace('T', " "))
}

/// `48h0m0s`, `1m30s`, `1.5s`, `20ms`
pub(crate) fn go_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let fraction = |unit: u64| {
        let text = format!("{}", (total % (unit * 1000)) as f64 / unit as f64);
        text
    };
    let text = match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{total}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(1_000_000)),
        _ => {
            let seconds = (total % 60_000_000_000) as f64 / 1e9;
            match (total / 3_600_000_000_000, total / 60_000_000_000 % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, Into::into)
    }
}

/// Go tells a list that is not there from an empty one; lists of its
/// protocol are not there when they are empty.
impl From<&[String]> for Value {
    fn from(items: &[String]) -> Self {
        match items {
            [] => Self::Nil,
            items => Self::List(items.iter().map(|item| item.as_str().into()).collect()),
        }
    }
}

impl From<&BTreeMap<String, String>> for Value {
    fn from(entries: &BTreeMap<String, String>) -> Self {
        match entries.is_empty() {
            true => Self::Nil,
            false => Self::Map(
                entries
                    .iter()
                    .map(|(key, value)| (key.clone(), value.as_str().into()))
                    .collect(),
            ),
        }
    }
}
