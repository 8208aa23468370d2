//! Many patterns, of which the last one that matches decides.

use super::{Pattern, PatternError};

/// An ordered list of patterns.
#[derive(Debug, Clone, Default)]
pub struct PatternMatcher {
    patterns: Vec<Pattern>,
    exceptions: bool,
}

/// Which patterns a directory matched. Handed down a tree walk, it spares testing every path's directories again.
/// The default knows nothing; a path tested with it is tested with its directories.
#[derive(Debug, Clone, Default)]
pub struct MatchState {
    /// One bit per pattern; `None` if nothing is known.
    matched: Option<Vec<u64>>,
}

impl PatternMatcher {
    /// Compiles the patterns; empty ones are left out.
    ///
    /// # Errors
    /// The first pattern whose syntax is wrong.
    pub fn new(patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, PatternError> {
        let patterns = patterns
            .into_iter()
            .filter_map(|pattern| Pattern::new(pattern.as_ref()).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let exceptions = patterns.iter().any(Pattern::is_exception);
        Ok(Self {
            patterns,
            exceptions,
        })
    }

    /// The patterns, in order.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Whether some pattern is an exception (`!`): then a path may be out although its directory is in.
    pub fn has_exceptions(&self) -> bool {
        self.exceptions
    }

    /// Whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the path, by itself or by one of the directories above it, is matched.
    pub fn matches(&self, path: impl AsRef<[u8]>) -> bool {
        self.matches_under(path, &MatchState::default())
    }

    /// The same during a tree walk: `parent` is what [`PatternMatcher::enter`] said about the directory above.
    pub fn matches_under(&self, path: impl AsRef<[u8]>, parent: &MatchState) -> bool {
        self.decide(path.as_ref(), parent, |_| {})
    }

    /// The same for a directory: also the state for what is in it.
    pub fn enter(&self, path: impl AsRef<[u8]>, parent: &MatchState) -> (bool, MatchState) {
        let mut bits = vec![0; self.patterns.len().div_ceil(64)];
        let matched = self.decide(path.as_ref(), parent, |index| {
            bits[index / 64] |= 1 << (index % 64)
        });
        (
            matched,
            MatchState {
                matched: Some(bits),
            },
        )
    }

    /// Goes through the patterns in order, tells `matched` about each that matches.
    fn decide(&self, path: &[u8], parent: &MatchState, mut matched: impl FnMut(usize)) -> bool {
        let mut decision = false;
        for (index, pattern) in self.patterns.iter().enumerate() {
            let known = parent.get(index);
            // A pattern can only turn the decision over: an exception what is in, any other what is out. What the
            // directory above is known to match counts in any case, since it must reach the levels below.
            let can_turn = pattern.is_exception() == decision;
            let matches = known == Some(true)
                || can_turn
                    && (pattern.test_path(path)
                        || known.is_none() && directories(path).any(|dir| pattern.test_path(dir)));
            if matches {
                matched(index);
                decision = !pattern.is_exception();
            }
        }
        decision
    }
}

impl MatchState {
    fn get(&self, index: usize) -> Option<bool> {
        let word = self.matched.as_ref()?.get(index / 64)?;
        Some(word >> (index % 64) & 1 == 1)
    }
}

/// The directories above a path, outermost first.
fn directories(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter()
        .enumerate()
        .filter(|&(_, &byte)| byte == b'/')
        .map(|(end, _)| &path[..end])
}
