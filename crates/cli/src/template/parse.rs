//! Reads Go templates: text with actions in double braces.

use super::TemplateError;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    /// `if`, `else`, `end`
    If {
        condition: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    /// `range`, `else`, `end`
    Range {
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    /// `with`, `else`, `end`
    With {
        value: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// Commands, each of which gets the result of the one before as its last
/// argument.
pub(super) type Pipeline = Vec<Command>;

/// A function or a value with arguments.
pub(super) type Command = Vec<Term>;

/// A part of a command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Term {
    /// `.`, `.A.B` or, from the outermost value, `$.A`
    Path {
        from_root: bool,
        fields: Vec<String>,
    },
    /// A function's name.
    Name(String),
    Text(String),
    Int(i64),
    Bool(bool),
    Parenthesis(Pipeline),
}

/// Deeper nesting than anybody writes.
const DEPTH_LIMIT: usize = 64;

pub(super) fn parse(template: &str) -> Result<Vec<Node>, TemplateError> {
    let mut pieces = pieces(template)?.into_iter();
    let (nodes, end) = block(&mut pieces, 0)?;
    match end {
        End::Template => Ok(nodes),
        End::Else(_) => Err(TemplateError::syntax("unexpected {{else}}")),
        End::Word => Err(TemplateError::syntax("unexpected {{end}}")),
    }
}

/// Text or the inside of an action.
#[derive(Debug)]
enum Piece {
    Text(String),
    Action(String),
}

fn pieces(template: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut trim_next = false;
    while let Some(start) = rest.find("{{") {
        let (text, after) = (&rest[..start], &rest[start + 2..]);
        let trims = after.starts_with("- ");
        let after = if trims { &after[1..] } else { after };
        pieces.push(Piece::Text(trimmed(text, trim_next, trims)));
        let end = action_end(after).ok_or_else(|| TemplateError::syntax("unclosed action"))?;
        let action = &after[..end];
        trim_next = action.ends_with(" -");
        let action = if trim_next {
            &action[..end - 1]
        } else {
            action
        };
        pieces.push(Piece::Action(action.trim().to_owned()));
        rest = &after[end + 2..];
    }
    pieces.push(Piece::Text(trimmed(rest, trim_next, false)));
    Ok(pieces)
}

fn trimmed(text: &str, start: bool, end: bool) -> String {
    let text = if start { text.trim_start() } else { text };
    let text = if end { text.trim_end() } else { text };
    text.to_owned()
}

/// Where the closing braces are; those in strings do not count.
fn action_end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if text[index..].starts_with("}}") => return Some(index),
            None => {}
        }
    }
    None
}

/// What ended a block.
enum End {
    Template,
    /// `else`, or `else if …` with what stands behind `else`.
    Else(String),
    /// `end`.
    Word,
}

fn block(
    pieces: &mut std::vec::IntoIter<Piece>,
    depth: usize,
) -> Result<(Vec<Node>, End), TemplateError> {
    if depth > DEPTH_LIMIT {
        return Err(TemplateError::syntax("too deeply nested"));
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let action = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(action) => action,
        };
        let (word, rest) = action
            .split_once(char::is_whitespace)
            .unwrap_or((&action, ""));
        match word {
            _ if action.starts_with("/*") => {}
            "end" => return Ok((nodes, End::Word)),
            "else" => return Ok((nodes, End::Else(rest.trim().to_owned()))),
            "if" | "range" | "with" => nodes.push(control(word, rest, pieces, depth)?),
            "define" | "template" | "block" | "break" | "continue" => {
                return Err(TemplateError::Unsupported(format!("{{{{{word}}}}}")));
            }
            _ => nodes.push(Node::Print(pipeline(&action)?)),
        }
    }
    Ok((nodes, End::Template))
}

fn control(
    word: &str,
    rest: &str,
    pieces: &mut std::vec::IntoIter<Piece>,
    depth: usize,
) -> Result<Node, TemplateError> {
    let subject = pipeline(rest)?;
    let (body, end) = block(pieces, depth + 1)?;
    let otherwise = match end {
        End::Word => Vec::new(),
        End::Template => return Err(unfinished(word)),
        End::Else(next) if next.is_empty() => match block(pieces, depth + 1)? {
            (nodes, End::Word) => nodes,
            _ => return Err(unfinished(word)),
        },
        End::Else(next) => match next.split_once(char::is_whitespace) {
            Some(("if", rest)) if word == "if" => vec![control("if", rest, pieces, depth + 1)?],
            _ => {
                return Err(TemplateError::syntax(format!(
                    "unexpected {next:?} after else"
                )));
            }
        },
    };
    Ok(match word {
        "if" => Node::If {
            condition: subject,
            then: body,
            otherwise,
        },
        "range" => Node::Range {
            over: subject,
            body,
            otherwise,
        },
        _ => Node::With {
            value: subject,
            body,
            otherwise,
        },
    })
}

fn unfinished(word: &str) -> TemplateError {
    TemplateError::syntax(format!("{{{{{word}}}}} without {{{{end}}}}"))
}

fn pipeline(text: &str) -> Result<Pipeline, TemplateError> {
    let mut scanner = super::scan::Scanner::new(text);
    let pipeline = scanner.pipeline(0)?;
    match scanner.rest().is_empty() {
        true => Ok(pipeline),
        false => Err(TemplateError::syntax(format!(
            "unexpected {:?}",
            scanner.rest()
        ))),
    }
}
