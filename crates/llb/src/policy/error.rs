//! What is wrong with a policy, or with a source in its eyes.

/// Why a policy or a source is refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The source may not be used. Tools match on the words.
    #[error("source {0:?} denied by policy: source denied by policy")]
    Denied(String),
    /// Rules replace a source without end.
    #[error("too many mutations on a single source: too many operations")]
    Circles,
    /// A rule says nothing about which sources it is for.
    #[error("invalid nil selector in policy")]
    NoSelector,
    /// A rule that replaces, but by nothing.
    #[error("rule for {0:?}: missing destination for convert rule: give it \"updates\"")]
    NoReplacement(String),
    /// A number that stands for nothing.
    #[error("rule for {selector:?}: unknown {what} {number}")]
    Unknown {
        /// Identifier of the rule's selector.
        selector: String,
        /// Kind of number.
        what: &'static str,
        /// The number.
        number: i32,
    },
    /// `**` in a wildcard.
    #[error("invalid wildcard {0:?}: \"**\" means no more than \"*\" here; write one star")]
    Wildcard(String),
    /// A regular expression that is none.
    #[error("invalid regex {pattern:?}: {source}")]
    Regex {
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        source: Box<regex::Error>,
    },
}
