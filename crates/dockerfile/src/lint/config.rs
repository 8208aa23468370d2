//! Which rules run: the value of the `check` directive, of `# check=` comments and of the builder's own option.

use kiln_llb::git_url::parse_bool;

use crate::error::quoted;

/// Which rules run and what their warnings mean.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LintConfig {
    /// The rules that do not run.
    pub skip: Selection,
    /// The experimental rules that run.
    pub experimental: Selection,
    /// Whether a build with warnings fails.
    pub return_as_error: bool,
}

/// A set of rules by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every rule.
    All,
    /// These; names of rules that do not exist are allowed.
    Rules(Vec<String>),
}

/// A check option that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckOptionError {
    /// There is no such option, or it has no value.
    #[error("invalid check option {}", quoted(option))]
    Invalid {
        /// The option.
        option: String,
    },
    /// The value of `error` is not a truth value.
    #[error(
        "failed to parse check option {}: strconv.ParseBool: parsing {}: invalid syntax",
        quoted(option),
        quoted(value)
    )]
    NotBool {
        /// The option with its value.
        option: String,
        /// The value.
        value: String,
    },
}

/// Options beyond this many are read as part of the last one.
const MAX_OPTIONS: usize = 3;

impl LintConfig {
    /// Reads `skip=<rules>;experimental=<rules>;error=<bool>`, rules being `all` or names with commas between.
    ///
    /// # Errors
    /// The first option that cannot be read.
    pub fn parse(options: &str) -> Result<Self, CheckOptionError> {
        let mut config = Self::default();
        let options = options.trim();
        if options.is_empty() {
            return Ok(config);
        }
        for option in options.splitn(MAX_OPTIONS, ';') {
            let Some((key, value)) = option.split_once('=') else {
                return Err(CheckOptionError::Invalid {
                    option: option.to_owned(),
                });
            };
            let value = value.trim();
            match key.trim() {
                "skip" => config.skip = Selection::parse(value),
                "experimental" => config.experimental = Selection::parse(value),
                "error" => {
                    config.return_as_error =
                        parse_bool(value).ok_or_else(|| CheckOptionError::NotBool {
                            option: option.to_owned(),
                            value: value.to_owned(),
                        })?;
                }
                key => {
                    return Err(CheckOptionError::Invalid {
                        option: key.to_owned(),
                    });
                }
            }
        }
        Ok(config)
    }

    /// The configuration of one instruction, whose comment adds to that of the file. Whether warnings are errors is
    /// a matter of the whole file.
    pub(super) fn merged(&self, comment: Self) -> Self {
        Self {
            skip: self.skip.clone().union(comment.skip),
            experimental: self.experimental.clone().union(comment.experimental),
            return_as_error: self.return_as_error,
        }
    }
}

impl Selection {
    fn parse(value: &str) -> Self {
        if value == "all" {
            Self::All
        } else {
            Self::Rules(
                value
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect(),
            )
        }
    }

    /// Whether the rule of that name is in the set.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Rules(rules) => rules.iter().any(|rule| rule == name),
        }
    }

    fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Rules(mut ours), Self::Rules(theirs)) => {
                ours.extend(theirs);
                Self::Rules(ours)
            }
            _ => Self::All,
        }
    }
}

impl Default for Selection {
    fn default() -> Self {
        Self::Rules(Vec::new())
    }
}
