//! Copying files and trees from one root into another.

mod files;
mod plan;
mod walk;

use super::attributes::Attributes;
use super::error::TreeError;
use super::metadata::{Follow, Metadata, Owner};
use super::mode::ModeChange;
use super::root::Root;
use crate::path;
use crate::pattern::PatternMatcher;
use crate::tar::Timestamp;

/// Permission bits of directories that are made on the way.
const DEFAULT_DIR_MODE: u32 = 0o755;

/// Copies from one root into another; the fields are those of an LLB copy action.
#[derive(Clone, Debug, Default)]
pub struct CopyRequest {
    /// Path or pattern in the source root.
    pub source: String,
    /// Path in the destination root.
    pub dest: String,
    /// Owner of everything copied; otherwise it keeps its own.
    pub owner: Option<Owner>,
    /// Change of the permission bits of everything copied.
    pub mode: Option<ModeChange>,
    /// Time of everything copied; otherwise it keeps its own.
    pub timestamp: Option<Timestamp>,
    /// Follow a symlink at the end of `source`.
    pub follow_symlink: bool,
    /// A source directory's content goes to `dest`, not the directory itself.
    pub dir_copy_contents: bool,
    /// Unpack a source file that is an archive.
    pub unpack_archives: bool,
    /// A missing parent of `dest` is made; otherwise it is an error.
    pub create_dest_path: bool,
    /// `source` may be a pattern.
    pub allow_wildcard: bool,
    /// A pattern that matches nothing is no error.
    pub allow_empty_wildcard: bool,
    /// Whatever stands at a destination path is replaced, unless both sides are directories.
    pub always_replace: bool,
    /// Copy only what matches one of these (paths relative to the source).
    pub include: Vec<String>,
    /// Copy nothing that matches one of these.
    pub exclude: Vec<String>,
}

impl CopyRequest {
    fn follow(&self) -> Follow {
        if self.follow_symlink {
            Follow::Yes
        } else {
            Follow::No
        }
    }

    /// What directories made on the way get.
    pub(super) fn parent_attributes(&self) -> Attributes {
        let mode = self
            .mode
            .as_ref()
            .and_then(ModeChange::for_parents)
            .unwrap_or(DEFAULT_DIR_MODE);
        Attributes {
            owner: self.owner,
            mode: Some(mode),
            times: self.timestamp.map(|time| (time, time)),
            ..Attributes::default()
        }
    }
}

/// The patterns of a request, compiled.
struct Filters {
    include: Option<PatternMatcher>,
    exclude: Option<PatternMatcher>,
}

impl Filters {
    fn new(request: &CopyRequest) -> Result<Self, TreeError> {
        let compile = |list, patterns: &[String]| match patterns {
            [] => Ok(None),
            patterns => PatternMatcher::new(patterns)
                .map(Some)
                .map_err(|source| TreeError::Patterns { list, source }),
        };
        Ok(Self {
            include: compile("include", &request.include)?,
            exclude: compile("exclude", &request.exclude)?,
        })
    }
}

impl Root {
    /// Copies from `source` into this root.
    ///
    /// # Errors
    /// The source is missing, something in the destination is in the way, or the kernel refuses.
    pub fn copy_from(&self, source: &Self, request: &CopyRequest) -> Result<(), TreeError> {
        let from = path::clean_kept(&request.source);
        let to = path::clean_kept(&request.dest);
        if !request.create_dest_path {
            self.require_parent(&request.dest)?;
        }
        let sources = match request.allow_wildcard {
            false => vec![from.clone().into_bytes()],
            true => source.expand(&from, request.follow())?,
        };
        if sources.is_empty() && !request.allow_empty_wildcard {
            return Err(TreeError::NoMatch(from));
        }
        for one in sources {
            let unpacked =
                request.unpack_archives && self.unpack_archive(source, &one, &to, request)?;
            if !unpacked {
                self.copy_one(source, &one, &to, request)?;
            }
        }
        Ok(())
    }

    fn require_parent(&self, dest: &str) -> Result<(), TreeError> {
        let resolved = self.resolve(path::absolute(dest).as_bytes(), Follow::Yes)?;
        let parent = parent_of(&resolved);
        let missing = |error| TreeError::NoDestParent {
            dest: dest.to_owned(),
            source: Box::new(error),
        };
        self.find(parent)
            .map_err(missing)?
            .map(drop)
            .ok_or_else(|| missing(TreeError::os("lstat", parent, rustix::io::Errno::NOENT)))
    }

    /// Copies one file or tree.
    fn copy_one(
        &self,
        source: &Self,
        from: &[u8],
        to: &str,
        request: &CopyRequest,
    ) -> Result<(), TreeError> {
        let mut one = CopyOne {
            source,
            dest: self,
            request,
            made: Vec::new(),
        };
        let result = one.run(from, to);
        // What was put into the directories has changed their times.
        if let Some(time) = request.timestamp {
            for dir in one.made.iter().rev() {
                if let Ok(Some((parent, name))) = self.open_parent(dir) {
                    parent
                        .set_times(&name, time, time)
                        .map_err(|error| TreeError::os("utime", dir, error))?;
                }
            }
        }
        result
    }
}

/// The copy of one source.
struct CopyOne<'a> {
    source: &'a Root,
    dest: &'a Root,
    request: &'a CopyRequest,
    /// Directories made on the way.
    made: Vec<Vec<u8>>,
}

impl CopyOne<'_> {
    fn run(&mut self, from: &[u8], to: &str) -> Result<(), TreeError> {
        let (dest, source, request) = (self.dest, self.source, self.request);
        // `dir/file` needs `dir`; `dir/` and `dir/.` need the directory itself.
        let (dir, file) = path::split(to.as_bytes());
        let ensured = if file.is_empty() || file == b"." {
            to.as_bytes()
        } else {
            dir
        };
        let ensured = dest.resolve(ensured, Follow::Yes)?;
        self.ensure(&ensured)?;

        let filters = Filters::new(request)?;
        let target = dest.resolve(path::clean_str(to).as_bytes(), Follow::Yes)?;
        let resolved = source.resolve(&path::clean(&[b"/", from].concat()), request.follow())?;
        let metadata = source
            .find(&resolved)?
            .ok_or_else(|| TreeError::os("lstat", &resolved, rustix::io::Errno::NOENT))?;
        let target = self.target(&metadata, path::base(from), target)?;
        walk::copy_tree(
            walk::Trees {
                source,
                dest,
                request,
                filters: &filters,
            },
            &resolved,
            &target,
        )
    }

    /// The path that the copy gets: inside `dest` if that is a directory, unless content is merged. Its parent exists
    /// afterwards.
    fn target(
        &mut self,
        source: &Metadata,
        base: &[u8],
        mut dest: Vec<u8>,
    ) -> Result<Vec<u8>, TreeError> {
        let existing = self.dest.find(&dest)?;
        let merge = self.request.dir_copy_contents && source.is_dir();
        let inside = match (existing, source.is_dir()) {
            (None, _) => false,
            (Some(_), true) => !merge,
            (Some(existing), false) => existing.is_dir(),
        };
        if inside && base != b"/" {
            dest = path::clean(&[dest.as_slice(), b"/", base].concat());
        }
        let needed = if merge && existing.is_none() {
            dest.as_slice()
        } else {
            parent_of(&dest)
        };
        self.ensure(needed)?;
        Ok(dest)
    }

    fn ensure(&mut self, dir: &[u8]) -> Result<(), TreeError> {
        self.made.extend(
            self.dest
                .make_dirs(dir, &self.request.parent_attributes())?,
        );
        Ok(())
    }
}

fn parent_of(resolved: &[u8]) -> &[u8] {
    match resolved.iter().rposition(|&byte| byte == b'/') {
        None | Some(0) => b"/",
        Some(slash) => &resolved[..slash],
    }
}
