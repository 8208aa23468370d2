//! JSON values whose fields keep their order.

use serde::ser::{Serialize, SerializeMap as _, Serializer};

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Bool(bool),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::List(list) => list.serialize(serializer),
            Self::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

/// Which of the two spellings of keys and numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Go's struct tags: numbers, also for enums.
    Go,
    /// Protobuf's JSON form: camel case, 64-bit numbers as strings, enums by name.
    Proto,
}

impl Style {
    /// Starts an object.
    pub(super) fn object(self) -> Object {
        Object {
            style: self,
            fields: Vec::new(),
        }
    }

    /// The one of two names for a field.
    pub(super) fn name<'a>(self, proto: &'a str, go: &'a str) -> &'a str {
        match self {
            Self::Go => go,
            Self::Proto => proto,
        }
    }

    fn long(self, number: i64) -> Value {
        match self {
            Self::Go => Value::Number(number),
            Self::Proto => Value::Text(number.to_string()),
        }
    }
}

/// An object under construction. Fields with their default value are left out, as both forms want it.
pub(super) struct Object {
    style: Style,
    fields: Vec<(String, Value)>,
}

impl Object {
    pub(super) fn field(mut self, name: &str, value: Value) -> Self {
        self.fields.push((name.into(), value));
        self
    }

    pub(super) fn optional(self, name: &str, value: Option<Value>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    pub(super) fn text(self, name: &str, text: &str) -> Self {
        self.optional(name, (!text.is_empty()).then(|| text.into()))
    }

    /// A 64-bit integer.
    pub(super) fn long(self, name: &str, number: i64) -> Self {
        let value = self.style.long(number);
        self.optional(name, (number != 0).then_some(value))
    }

    pub(super) fn unsigned_long(self, name: &str, number: u64) -> Self {
        let value = match self.style {
            Style::Go => Value::Number(number as i64),
            Style::Proto => Value::Text(number.to_string()),
        };
        self.optional(name, (number != 0).then_some(value))
    }

    pub(super) fn longs(self, name: &str, numbers: &[i64]) -> Self {
        let style = self.style;
        self.list(name, numbers, |number| style.long(*number))
    }

    /// An enum's name on the wire, or its number if it has none; in Go's form always the number.
    pub(super) fn choice<E: TryFrom<i32>>(
        self,
        name: &str,
        number: i32,
        text: impl Fn(E) -> &'static str,
    ) -> Self {
        let value = match (self.style, E::try_from(number)) {
            (Style::Proto, Ok(known)) => Value::from(text(known)),
            _ => Value::Number(i64::from(number)),
        };
        self.optional(name, (number != 0).then_some(value))
    }

    pub(super) fn number(self, name: &str, number: i64) -> Self {
        self.optional(name, (number != 0).then_some(Value::Number(number)))
    }

    pub(super) fn flag(self, name: &str, flag: bool) -> Self {
        self.optional(name, flag.then_some(Value::Bool(true)))
    }

    pub(super) fn texts(self, name: &str, texts: &[String]) -> Self {
        self.list(name, texts, |text| text.as_str().into())
    }

    pub(super) fn list<T>(self, name: &str, items: &[T], value: impl Fn(&T) -> Value) -> Self {
        let list = items.iter().map(value).collect();
        self.optional(name, (!items.is_empty()).then_some(Value::List(list)))
    }

    pub(super) fn done(self) -> Value {
        Value::Object(self.fields)
    }
}
