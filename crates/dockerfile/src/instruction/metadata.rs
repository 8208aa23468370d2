//! Instructions that only change what later steps or the image's configuration know.

/// `ARG name[=default]...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// The variables, in order.
    pub args: Vec<ArgDefinition>,
}

/// One variable of `ARG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDefinition {
    /// Its name.
    pub name: String,
    /// Its default value, if there is one; not the same as an empty default.
    pub value: Option<String>,
    /// The text of a comment `# <name> <description>` directly above.
    pub description: Option<String>,
}

/// `ENV name=value...` or the old `ENV name value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Env {
    /// The variables, in order.
    pub variables: Vec<KeyValue>,
}

/// `LABEL name=value...` or the old `LABEL name value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The labels, in order.
    pub labels: Vec<KeyValue>,
}

/// A name with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The name, never empty as written.
    pub key: String,
    /// The value.
    pub value: String,
    /// What stands between them.
    pub delimiter: Delimiter,
}

/// What stands between a name and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delimiter {
    /// `name=value`
    Equals,
    /// `name value`: the old form, which holds one pair only.
    Space,
}

/// `EXPOSE port[/protocol]...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expose {
    /// The words, sorted; each may expand to several ports.
    pub ports: Vec<String>,
}

/// `MAINTAINER name`, deprecated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintainer {
    /// The image's author.
    pub name: String,
}

/// `ONBUILD instruction`: a trigger that builds on the resulting image run first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onbuild {
    /// The instruction's text with its heredocs; [`crate::parse_trigger`] reads it again when it fires.
    pub expression: String,
}

/// `SHELL ["program", "argument"...]`: what the shell form of command lines runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shell {
    /// The program and its arguments, never empty.
    pub shell: Vec<String>,
}

/// `STOPSIGNAL signal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopsignal {
    /// A signal's name or number.
    pub signal: String,
}

/// `USER user[:group]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user, by name or number.
    pub user: String,
}

/// `VOLUME path...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The mount points, none of them empty as written.
    pub volumes: Vec<String>,
}

/// `WORKDIR path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workdir {
    /// The directory, absolute or relative to the previous one.
    pub path: String,
}
