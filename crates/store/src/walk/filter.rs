//! Which paths of a walked directory are wanted.

use crate::pattern::{MatchState, Pattern, PatternMatcher};

use crate::pattern::PatternError;

/// A list of patterns of which one is malformed.
#[derive(Debug, thiserror::Error)]
#[error("invalid {kind} {patterns:?}: {source}")]
pub struct FilterError {
    /// `includepatterns` or `excludepatterns`.
    pub kind: &'static str,
    /// The list.
    pub patterns: Vec<String>,
    /// What is wrong with it.
    pub source: PatternError,
}

/// Include and exclude patterns, ready to match. The default keeps everything.
#[derive(Debug, Default)]
pub struct Filter {
    include: Option<Side>,
    exclude: Option<Side>,
}

#[derive(Debug)]
struct Side {
    matcher: PatternMatcher,
    /// What each pattern that lets something in begins with, if it is a plain path in all
    /// of them: then a directory is walked only where one of them leads.
    leads: Option<Vec<Vec<u8>>>,
}

/// What the directories above have matched.
#[derive(Debug, Clone, Default)]
pub struct FilterState {
    include: MatchState,
    exclude: MatchState,
}

/// What becomes of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is wanted.
    Keep,
    /// It is only if something below it is.
    Pass,
    /// Neither it nor anything below it is.
    Skip,
}

impl Filter {
    /// What matches one of `include`, or is one of `followed` (which [`super::follow`] gives), or
    /// anything if there are neither; without what matches `exclude`.
    ///
    /// # Errors
    /// A pattern is malformed.
    pub fn new(
        include: &[String],
        followed: Option<Vec<String>>,
        exclude: &[String],
    ) -> Result<Self, FilterError> {
        let mut include = include.to_vec();
        if let Some(followed) = followed {
            include.extend(followed);
            include = without_nested(include).unwrap_or_default();
        }
        Ok(Self {
            include: Side::new("includepatterns", &include, |pattern| {
                !pattern.is_exception()
            })?,
            exclude: Side::new("excludepatterns", exclude, Pattern::is_exception)?,
        })
    }

    /// Judges a file, or anything else that is no directory.
    pub fn file(&self, path: &[u8], parent: &FilterState) -> Verdict {
        let included = self
            .include
            .as_ref()
            .is_none_or(|side| side.matcher.matches_under(path, &parent.include));
        let excluded = || {
            self.exclude
                .as_ref()
                .is_some_and(|side| side.matcher.matches_under(path, &parent.exclude))
        };
        if included && !excluded() {
            Verdict::Keep
        } else {
            Verdict::Skip
        }
    }

    /// Judges a directory.
    pub fn directory(&self, path: &[u8], parent: &FilterState) -> (Verdict, FilterState) {
        let mut state = FilterState::default();
        let mut verdict = Verdict::Keep;
        if let Some(side) = &self.include {
            let (matched, below) = side.matcher.enter(path, &parent.include);
            state.include = below;
            if !matched {
                verdict = Verdict::Pass;
                if !side.leads_into(path) {
                    return (Verdict::Skip, state);
                }
            }
        }
        if let Some(side) = &self.exclude {
            let (matched, below) = side.matcher.enter(path, &parent.exclude);
            state.exclude = below;
            if matched {
                verdict = Verdict::Pass;
                if !side.leads_into(path) {
                    return (Verdict::Skip, state);
                }
            }
        }
        (verdict, state)
    }
}

impl Side {
    fn new(
        kind: &'static str,
        patterns: &[String],
        opens: impl Fn(&Pattern) -> bool,
    ) -> Result<Option<Self>, FilterError> {
        if patterns.is_empty() {
            return Ok(None);
        }
        let matcher = PatternMatcher::new(patterns).map_err(|source| FilterError {
            kind,
            patterns: patterns.to_vec(),
            source,
        })?;
        let opening = matcher.patterns().iter().filter(|pattern| opens(pattern));
        let leads = opening.map(|pattern| lead(pattern.as_str())).collect();
        Ok(Some(Self { matcher, leads }))
    }

    fn leads_into(&self, directory: &[u8]) -> bool {
        let Some(leads) = &self.leads else {
            return true;
        };
        leads.iter().any(|lead| {
            lead.strip_prefix(directory)
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        })
    }
}

/// The path a pattern is, but for `/*` or `/**` at its end; `None` if it is no plain path.
fn lead(pattern: &str) -> Option<Vec<u8>> {
    let plain = pattern.strip_suffix("/**").unwrap_or(pattern);
    let plain = plain.strip_suffix("/*").unwrap_or(plain);
    (!plain.contains(['*', '[', ']', '?', '^', '\\'])).then(|| plain.as_bytes().to_vec())
}

/// Leaves out paths inside the one before; `None` if the root itself is among them.
pub(super) fn without_nested(paths: Vec<String>) -> Option<Vec<String>> {
    let mut kept: Vec<String> = Vec::with_capacity(paths.len());
    for path in paths {
        if path == "." {
            return None;
        }
        let last = kept.last().map(String::as_str).unwrap_or_default();
        let is_inside = path
            .strip_prefix(last)
            .is_some_and(|rest| rest.starts_with('/'));
        if !is_inside {
            kept.push(path);
        }
    }
    Some(kept)
}
