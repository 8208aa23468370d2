//! Fills templates with values.

use super::TemplateError;
use super::parse::{Command, Node, Pipeline, Term};
use super::value::Value;

/// Values that names refer to.
#[derive(Clone, Copy)]
struct Scope<'a> {
    root: &'a Value,
    dot: &'a Value,
}

/// The template's text for a value.
pub(super) fn run(nodes: &[Node], value: &Value) -> Result<String, TemplateError> {
    let mut out = String::new();
    let scope = Scope {
        root: value,
        dot: value,
    };
    write(nodes, scope, &mut out)?;
    Ok(out)
}

fn write(nodes: &[Node], scope: Scope<'_>, out: &mut String) -> Result<(), TemplateError> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(pipeline) => out.push_str(&evaluate(pipeline, scope)?.to_text()),
            Node::If {
                condition,
                then,
                otherwise,
            } => match evaluate(condition, scope)?.is_empty() {
                false => write(then, scope, out)?,
                true => write(otherwise, scope, out)?,
            },
            Node::With {
                value,
                body,
                otherwise,
            } => {
                let dot = &evaluate(value, scope)?;
                match dot.is_empty() {
                    false => write(body, Scope { dot, ..scope }, out)?,
                    true => write(otherwise, scope, out)?,
                }
            }
            Node::Range {
                over,
                body,
                otherwise,
            } => {
                let items = items(evaluate(over, scope)?)?;
                if items.is_empty() {
                    write(otherwise, scope, out)?;
                }
                for dot in &items {
                    write(body, Scope { dot, ..scope }, out)?;
                }
            }
        }
    }
    Ok(())
}

fn items(value: Value) -> Result<Vec<Value>, TemplateError> {
    match value {
        Value::Nil => Ok(Vec::new()),
        Value::List(items) => Ok(items),
        Value::Map(entries) => Ok(entries.into_values().collect()),
        other => Err(TemplateError::Value(format!(
            "range can't iterate over {}",
            other.to_text()
        ))),
    }
}

fn evaluate(pipeline: &Pipeline, scope: Scope<'_>) -> Result<Value, TemplateError> {
    let mut result = None;
    for command in pipeline {
        result = Some(evaluate_command(command, result, scope)?);
    }
    result.ok_or_else(|| TemplateError::syntax("missing value for command"))
}

fn evaluate_command(
    command: &Command,
    last: Option<Value>,
    scope: Scope<'_>,
) -> Result<Value, TemplateError> {
    let Some((first, rest)) = command.split_first() else {
        return Err(TemplateError::syntax("missing value for command"));
    };
    let mut arguments = rest
        .iter()
        .map(|term| evaluate_term(term, scope))
        .collect::<Result<Vec<_>, _>>()?;
    arguments.extend(last);
    match first {
        Term::Name(name) => call(name, &arguments),
        _ if arguments.is_empty() => evaluate_term(first, scope),
        _ => Err(TemplateError::syntax("can't give argument to non-function")),
    }
}

fn evaluate_term(term: &Term, scope: Scope<'_>) -> Result<Value, TemplateError> {
    match term {
        Term::Path { from_root, fields } => {
            let mut value = if *from_root { scope.root } else { scope.dot };
            for name in fields {
                value = field(value, name)?;
            }
            Ok(value.clone())
        }
        Term::Name(name) => call(name, &[]),
        Term::Text(text) => Ok(Value::Text(text.clone())),
        Term::Int(number) => Ok(Value::Int(*number)),
        Term::Bool(value) => Ok(Value::Bool(*value)),
        Term::Parenthesis(pipeline) => evaluate(pipeline, scope),
    }
}

fn field<'a>(value: &'a Value, name: &str) -> Result<&'a Value, TemplateError> {
    match value {
        Value::Struct(fields) => {
            let found = fields.iter().find(|field| field.name == name);
            let found = found.ok_or_else(|| {
                let known = fields.iter().map(|field| field.name).collect::<Vec<_>>();
                TemplateError::Value(format!(
                    "can't evaluate field {name} (known: {})",
                    known.join(", ")
                ))
            })?;
            Ok(&found.value)
        }
        Value::Map(entries) => Ok(entries.get(name).unwrap_or(&Value::Nil)),
        Value::Nil => Err(TemplateError::Value(format!(
            "nil pointer evaluating field {name}"
        ))),
        other => Err(TemplateError::Value(format!(
            "can't evaluate field {name} in {}",
            other.to_text()
        ))),
    }
}

fn call(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    let wrong = || TemplateError::Value(format!("wrong number of arguments for {name}"));
    match (name, arguments) {
        ("json", [value]) => Ok(Value::Text(value.to_json())),
        ("len", [value]) => length(value),
        ("not", [value]) => Ok(Value::Bool(value.is_empty())),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            Ok(Value::Bool(others.iter().any(|other| other == first)))
        }
        ("ne", [one, other]) => Ok(Value::Bool(one != other)),
        ("and", [.., last]) => Ok(arguments
            .iter()
            .find(|it| it.is_empty())
            .unwrap_or(last)
            .clone()),
        ("or", [.., last]) => Ok(arguments
            .iter()
            .find(|it| !it.is_empty())
            .unwrap_or(last)
            .clone()),
        ("print" | "println", values) => {
            let texts = values.iter().map(Value::to_text).collect::<Vec<_>>();
            let end = if name == "println" { "\n" } else { "" };
            Ok(Value::Text(texts.join(" ") + end))
        }
        ("json" | "len" | "not" | "eq" | "ne" | "and" | "or", _) => Err(wrong()),
        _ => Err(TemplateError::Unsupported(format!("function {name:?}"))),
    }
}

fn length(value: &Value) -> Result<Value, TemplateError> {
    let length = match value {
        Value::Nil => 0,
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(entries) => entries.len(),
        other => {
            return Err(TemplateError::Value(format!("len of {}", other.to_text())));
        }
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}
