//! What a path with wildcards, or with include and exclude patterns, covers.

use crate::path;
use crate::pattern::{MatchState, PatternMatcher};
use crate::tree::{Dir, Follow, Metadata, Root, TreeError, level};

use super::tree::{MAX_DEPTH, Part, failed, is_dir, join};
use super::{ChecksumError, ChecksumOptions};

/// One thing that is covered.
#[derive(Clone, Debug)]
pub(super) struct Covered {
    /// Its path as the question names it.
    pub(super) shown: Vec<u8>,
    /// Its path with symlinks resolved.
    pub(super) real: Vec<u8>,
    pub(super) part: Part,
    /// A link that was named itself, not found below something: it is followed if the question says so.
    pub(super) named: bool,
    /// Whether it is a symlink.
    pub(super) symlink: bool,
}

/// What is covered, in the order in which it is hashed.
pub(super) struct Selection {
    /// The part of the path that all covered paths begin with and that is not hashed.
    pub(super) prefix: String,
    pub(super) covered: Vec<Covered>,
}

/// Finds what `given` covers.
pub(super) fn select(
    root: &Root,
    given: &str,
    options: &ChecksumOptions,
) -> Result<Selection, ChecksumError> {
    let clean = path::absolute(given);
    let wanted = if clean == "/" { "" } else { clean.as_str() };
    let mut select = Select {
        wanted,
        wildcard: options.wildcard,
        include: compile("include", &options.include)?,
        exclude: compile("exclude", &options.exclude)?,
        // Of a directory that is named with a slash behind it, only what is in it counts.
        skip_own_header: given.ends_with('/'),
        matched: None,
        parents: Vec::new(),
        covered: Vec::new(),
    };
    let (prefix, follow) = if options.wildcard {
        let (plain, wild) = path::split_wildcards(wanted);
        let follow = if wild.is_empty() {
            Follow::No
        } else {
            Follow::Yes
        };
        (if plain == "/" { String::new() } else { plain }, follow)
    } else {
        (wanted.to_owned(), Follow::No)
    };
    if let Some(real) = root
        .resolve(prefix.as_bytes(), follow)
        .map(Some)
        .or_else(absent)?
        && let Some(metadata) = root.find(&real).or_else(absent)?
    {
        select.start(root, prefix.as_bytes(), &real, &metadata)?;
    }
    let covered = select.covered;
    for required in &options.required {
        if !covered
            .iter()
            .any(|one| one.shown.starts_with(required.as_bytes()))
        {
            return Err(ChecksumError::NotFound(required.clone()));
        }
    }
    Ok(Selection { prefix, covered })
}

/// A path below something that is no directory does not exist.
pub(super) fn absent<T>(error: TreeError) -> Result<Option<T>, TreeError> {
    match &error {
        TreeError::Os { source, .. } if source.kind() == std::io::ErrorKind::NotADirectory => {
            Ok(None)
        }
        _ => Err(error),
    }
}

fn compile(
    list: &'static str,
    patterns: &[String],
) -> Result<Option<PatternMatcher>, ChecksumError> {
    match patterns {
        [] => Ok(None),
        patterns => PatternMatcher::new(patterns)
            .map(Some)
            .map_err(|source| ChecksumError::Patterns { list, source }),
    }
}

struct Select<'a> {
    wanted: &'a str,
    wildcard: bool,
    include: Option<PatternMatcher>,
    exclude: Option<PatternMatcher>,
    skip_own_header: bool,
    /// What a wildcard matched last; everything below it is judged by the patterns alone.
    matched: Option<Vec<u8>>,
    parents: Vec<ParentDir>,
    covered: Vec<Covered>,
}

/// A directory on the way down whose header is covered as soon as something below it is.
struct ParentDir {
    header: Covered,
    covered: bool,
    include: MatchState,
    exclude: MatchState,
}

/// A path that the walk has come to.
struct Visit {
    shown: Vec<u8>,
    real: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dir,
    Symlink,
    Other,
}

/// What the patterns say.
struct Verdict {
    included: bool,
    include: MatchState,
    exclude: MatchState,
}

impl Select<'_> {
    fn start(
        &mut self,
        root: &Root,
        shown: &[u8],
        real: &[u8],
        metadata: &Metadata,
    ) -> Result<(), ChecksumError> {
        let kind = match metadata.kind {
            crate::tree::FileKind::Directory => Kind::Dir,
            crate::tree::FileKind::Symlink => Kind::Symlink,
            _ => Kind::Other,
        };
        let visit = Visit {
            shown: shown.to_owned(),
            real: real.to_vec(),
            kind,
        };
        let is_dir = kind == Kind::Dir;
        let parents = self.parents.len();
        self.visit(&visit)?;
        if is_dir {
            let dir = root.open_dir(real).map_err(|error| failed(real, error))?;
            self.below(&dir, shown, real, 0)?;
        }
        self.parents.truncate(parents);
        Ok(())
    }

    fn below(
        &mut self,
        dir: &Dir,
        shown: &[u8],
        real: &[u8],
        depth: usize,
    ) -> Result<(), ChecksumError> {
        if depth > MAX_DEPTH {
            return Err(TreeError::TooDeep(String::from_utf8_lossy(shown).into_owned()).into());
        }
        let mut entries = dir.entries().map_err(|error| failed(real, error))?;
        entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (name, file_type) in entries {
            let real = join(real, name.to_bytes());
            let is_dir = is_dir(dir, &name, file_type).map_err(|error| failed(&real, error))?;
            let kind = match is_dir {
                true => Kind::Dir,
                false if file_type == rustix::fs::FileType::Symlink => Kind::Symlink,
                false => Kind::Other,
            };
            let visit = Visit {
                shown: [shown, b"/", name.to_bytes()].concat(),
                real,
                kind,
            };
            let parents = self.parents.len();
            self.visit(&visit)?;
            if is_dir && self.may_cover_below(&visit.shown) {
                let child = dir
                    .open_dir(&name)
                    .map_err(|error| failed(&visit.real, error))?;
                level(|| self.below(&child, &visit.shown, &visit.real, depth + 1))?;
            }
            self.parents.truncate(parents);
        }
        Ok(())
    }

    /// A wildcard never matches deeper than it has components.
    fn may_cover_below(&self, shown: &[u8]) -> bool {
        !self.wildcard
            || self.is_below_match(shown)
            || self.matched.as_deref() == Some(shown)
            || slashes(shown) < slashes(self.wanted.as_bytes())
    }

    fn is_below_match(&self, shown: &[u8]) -> bool {
        let matched = self.matched.as_deref();
        matched.is_some_and(|matched| {
            shown
                .strip_prefix(matched)
                .is_some_and(|rest| rest.starts_with(b"/"))
        })
    }

    fn visit(&mut self, visit: &Visit) -> Result<(), ChecksumError> {
        let own_header = visit.kind == Kind::Dir && visit.shown == self.wanted.as_bytes();
        if own_header && self.skip_own_header {
            return Ok(());
        }
        if self.wildcard && !self.wanted.is_empty() && !self.is_below_match(&visit.shown) {
            let matches = path::matches(self.wanted, &String::from_utf8_lossy(&visit.shown))
                .map_err(|_| ChecksumError::Wildcard(self.wanted.to_owned()))?;
            if !matches {
                return Ok(());
            }
            self.matched = Some(visit.shown.clone());
        }
        let verdict = self.judge(&visit.shown);
        let part = if visit.kind == Kind::Dir {
            Part::Header
        } else {
            Part::File
        };
        let covered = Covered {
            shown: visit.shown.clone(),
            real: visit.real.clone(),
            part,
            named: self.parents.is_empty(),
            symlink: visit.kind == Kind::Symlink,
        };
        if verdict.included {
            for parent in self.parents.iter_mut().filter(|parent| !parent.covered) {
                self.covered.push(parent.header.clone());
                parent.covered = true;
            }
            self.covered.push(covered.clone());
        }
        if visit.kind == Kind::Dir {
            let Verdict {
                included,
                include,
                exclude,
            } = verdict;
            self.parents.push(ParentDir {
                header: covered,
                covered: included,
                include,
                exclude,
            });
        }
        Ok(())
    }

    /// Asks the patterns about a path, relative to what was named or matched.
    fn judge(&self, shown: &[u8]) -> Verdict {
        let base = if self.wildcard {
            self.matched.as_deref().unwrap_or_default()
        } else {
            self.wanted.as_bytes()
        };
        let relative = shown.strip_prefix(base).unwrap_or(shown);
        let relative = relative.strip_prefix(b"/").unwrap_or(relative);
        let unknown = MatchState::default();
        let parent = self.parents.last();
        let mut verdict = Verdict {
            included: true,
            include: unknown.clone(),
            exclude: unknown.clone(),
        };
        if let Some(include) = &self.include {
            let state = parent.map_or(&unknown, |parent| &parent.include);
            (verdict.included, verdict.include) = include.enter(relative, state);
            if !verdict.included {
                return verdict;
            }
        }
        if let Some(exclude) = &self.exclude {
            let state = parent.map_or(&unknown, |parent| &parent.exclude);
            let (excluded, state) = exclude.enter(relative, state);
            verdict.included = !excluded;
            verdict.exclude = state;
        }
        verdict
    }
}

fn slashes(path: &[u8]) -> usize {
    path.iter().filter(|&&byte| byte == b'/').count()
}
