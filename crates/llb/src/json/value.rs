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

/// An object under construction. Fields with their default value are left out, as protobuf's JSON
/// form wants it.
#[derive(Default)]
pub(super) struct Object(Vec<(String, Value)>);

impl Object {
    pub(super) fn field(mut self, name: &str, value: Value) -> Self {
        self.0.push((name.into(), value));
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

    /// 64-bit integers are strings.
    pub(super) fn long(self, name: &str, number: i64) -> Self {
        let text = number.to_string();
        self.optional(name, (number != 0).then_some(Value::Text(text)))
    }

    pub(super) fn unsigned_long(self, name: &str, number: u64) -> Self {
        let text = number.to_string();
        self.optional(name, (number != 0).then_some(Value::Text(text)))
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
        Value::Object(self.0)
    }
}
