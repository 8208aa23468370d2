//! Collects warnings, leaving out those that the configuration does not want.

use super::{Finding, LintConfig, Rule};
use crate::directive::{DirectiveName, parse_comment};
use crate::position::Location;

/// A violation of a rule at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The rule.
    pub rule: &'static Rule,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub location: Location,
}

/// Collects warnings.
#[derive(Debug, Clone, Default)]
pub struct Linter {
    config: LintConfig,
    warnings: Vec<Warning>,
}

/// The error of a build whose warnings are errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("lint violation found for rules: {}", rules.join(", "))]
pub struct Violations {
    /// The violated rules, each once, in order of appearance.
    pub rules: Vec<&'static str>,
}

impl Linter {
    /// A linter without warnings.
    pub fn new(config: LintConfig) -> Self {
        Self {
            config,
            warnings: Vec::new(),
        }
    }

    /// Takes a finding about an instruction with these comments above, among which a `check=` comment may silence it.
    /// Findings about the file as a whole come without comments.
    pub fn report(&mut self, finding: Finding, location: Location, comments: &[String]) {
        let runs = match comment_config(comments) {
            Some(comment) => runs(&self.config.merged(comment), finding.rule),
            None => runs(&self.config, finding.rule),
        };
        if runs {
            self.warnings.push(Warning {
                rule: finding.rule,
                message: finding.message,
                location,
            });
        }
    }

    /// The warnings so far, in order.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The warnings, in order.
    pub fn into_warnings(self) -> Vec<Warning> {
        self.warnings
    }

    /// Fails if there are warnings and the configuration makes them errors.
    ///
    /// # Errors
    /// The violated rules.
    pub fn verdict(&self) -> Result<(), Violations> {
        if !self.config.return_as_error || self.warnings.is_empty() {
            return Ok(());
        }
        let mut rules = Vec::new();
        for warning in &self.warnings {
            if !rules.contains(&warning.rule.name) {
                rules.push(warning.rule.name);
            }
        }
        Err(Violations { rules })
    }
}

impl Warning {
    /// The message as clients show it among build progress: `Rule: message (line 3)`.
    pub fn short(&self) -> String {
        format!(
            "{}: {} (line {})",
            self.rule.name, self.message, self.location.first
        )
    }
}

fn runs(config: &LintConfig, rule: &Rule) -> bool {
    if rule.experimental {
        config.experimental.contains(rule.name)
    } else {
        !config.skip.contains(rule.name)
    }
}

/// The configuration of the first `check=` comment, if it can be read.
fn comment_config(comments: &[String]) -> Option<LintConfig> {
    let options = comments
        .iter()
        .find_map(|comment| match parse_comment(comment) {
            Some((DirectiveName::Check, options)) => Some(options),
            _ => None,
        })?;
    LintConfig::parse(options.split(' ').next().unwrap_or_default()).ok()
}
