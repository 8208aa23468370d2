//! Changing files: copy, mkdir, mkfile, symlink, rm.

use super::node::Output;
use super::state::State;
use bytes::Bytes;

/// A chain of file changes, made in order in one op.
#[derive(Clone, Debug, Default)]
pub struct FileActions(pub(crate) Vec<FileAction>);

#[derive(Clone, Debug)]
pub(crate) enum FileAction {
    Copy(Box<Copy>),
    MakeFile(MakeFile),
    MakeDir(MakeDir),
    Symlink(Symlink),
    Remove(Remove),
}

/// Copies out of another state.
#[derive(Clone, Debug)]
pub struct Copy {
    /// From which state; relative sources start in its working directory.
    pub from: State,
    /// What.
    pub source: String,
    /// Where to; a trailing slash means into a directory.
    pub dest: String,
    /// Mode of what is copied.
    pub mode: Mode,
    /// Owner of what is copied.
    pub owner: Option<Owner>,
    /// Follows a symlink that is the source itself.
    pub follow_symlinks: bool,
    /// Copies a directory's content rather than the directory.
    pub contents_only: bool,
    /// Only these patterns.
    pub include: Vec<String>,
    /// But not these patterns.
    pub exclude: Vec<String>,
    /// Paths that must exist although patterns select.
    pub required: Vec<String>,
    /// Unpacks archives.
    pub unpack: bool,
    /// Creates the destination's parents.
    pub create_dest: bool,
    /// The source may have wildcards.
    pub wildcard: bool,
    /// Wildcards may match nothing.
    pub empty_wildcard: bool,
    /// Time of what is copied.
    pub time: Time,
    /// Replaces a destination of another type.
    pub always_replace: bool,
}

impl Copy {
    /// A plain copy.
    pub fn new(from: State, source: impl Into<String>, dest: impl Into<String>) -> Self {
        Self {
            from,
            source: source.into(),
            dest: dest.into(),
            mode: Mode::Keep,
            owner: None,
            follow_symlinks: false,
            contents_only: false,
            include: Vec::new(),
            exclude: Vec::new(),
            required: Vec::new(),
            unpack: false,
            create_dest: false,
            wildcard: false,
            empty_wildcard: false,
            time: Time::Keep,
            always_replace: false,
        }
    }
}

/// A mode given to copied files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The source's.
    #[default]
    Keep,
    /// These bits.
    Bits(u32),
    /// A symbolic change such as `u=rwX,go=rX`.
    Symbolic(String),
}

/// A time given to files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Time {
    /// The source's, or the present.
    #[default]
    Keep,
    /// Nanoseconds since the epoch.
    Nanos(i64),
}

impl Time {
    /// Seconds since the epoch, or no fixed time.
    pub fn from_epoch(seconds: Option<i64>) -> Self {
        match seconds {
            Some(seconds) => Self::Nanos(seconds.saturating_mul(1_000_000_000)),
            None => Self::Keep,
        }
    }

    pub(crate) fn to_wire(self) -> i64 {
        match self {
            Self::Keep => -1,
            Self::Nanos(nanos) => nanos,
        }
    }
}

/// An owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub user: Option<User>,
    /// Group.
    pub group: Option<User>,
}

/// A user or group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// By number.
    Id(u32),
    /// By a name which the target filesystem knows.
    Name(String),
}

impl Owner {
    /// Numeric owner.
    pub fn ids(uid: u32, gid: u32) -> Self {
        Self {
            user: Some(User::Id(uid)),
            group: Some(User::Id(gid)),
        }
    }

    /// Reads `user[:group]`, each a number or a name.
    pub fn parse(text: &str) -> Self {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        Self {
            user: Some(User::parse(user)),
            group: group.map(User::parse),
        }
    }
}

impl User {
    /// A number is an id even where a user of that name exists; anything else is a name.
    fn parse(text: &str) -> Self {
        match text.parse::<i32>() {
            _ if text == "root" || text.is_empty() => Self::Id(0),
            Ok(id) => Self::Id(id as u32),
            Err(_) => Self::Name(text.into()),
        }
    }
}

/// Creates a file.
#[derive(Clone, Debug, Default)]
pub struct MakeFile {
    /// Where.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Content.
    pub data: Bytes,
    /// Owner.
    pub owner: Option<Owner>,
    /// Time.
    pub time: Time,
}

/// Creates a directory.
#[derive(Clone, Debug, Default)]
pub struct MakeDir {
    /// Where.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Creates its parents, and accepts that it exists.
    pub parents: bool,
    /// Owner.
    pub owner: Option<Owner>,
    /// Time.
    pub time: Time,
}

/// Creates a symlink.
#[derive(Clone, Debug, Default)]
pub struct Symlink {
    /// What it points at.
    pub target: String,
    /// Where.
    pub path: String,
    /// Owner.
    pub owner: Option<Owner>,
    /// Time.
    pub time: Time,
}

/// Removes files.
#[derive(Clone, Debug, Default)]
pub struct Remove {
    /// What.
    pub path: String,
    /// Accepts that it does not exist.
    pub allow_not_found: bool,
    /// The path may have wildcards.
    pub wildcard: bool,
}

impl FileActions {
    /// No changes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a copy.
    pub fn copy(&mut self, copy: Copy) -> &mut Self {
        self.add(FileAction::Copy(Box::new(copy)))
    }

    /// Adds a new file.
    pub fn make_file(&mut self, file: MakeFile) -> &mut Self {
        self.add(FileAction::MakeFile(file))
    }

    /// Adds a new directory.
    pub fn make_dir(&mut self, dir: MakeDir) -> &mut Self {
        self.add(FileAction::MakeDir(dir))
    }

    /// Adds a new symlink.
    pub fn symlink(&mut self, link: Symlink) -> &mut Self {
        self.add(FileAction::Symlink(link))
    }

    /// Adds a removal.
    pub fn remove(&mut self, remove: Remove) -> &mut Self {
        self.add(FileAction::Remove(remove))
    }

    fn add(&mut self, action: FileAction) -> &mut Self {
        self.0.push(action);
        self
    }
}

#[derive(Debug)]
pub(crate) struct FileNode {
    pub(crate) base: State,
    pub(crate) actions: FileActions,
}

impl FileNode {
    /// Moves the outputs that the base and the copies hold on to.
    pub(crate) fn take_outputs(&mut self) -> impl Iterator<Item = Output> {
        let copied = self.actions.0.drain(..).filter_map(|action| match action {
            FileAction::Copy(mut copy) => copy.from.output.take(),
            _ => None,
        });
        self.base.output.take().into_iter().chain(copied)
    }

    /// The base first, then the copies' sources from the last action to the first.
    pub(crate) fn inputs(&self) -> Vec<&Output> {
        let copied = self
            .actions
            .0
            .iter()
            .rev()
            .filter_map(|action| match action {
                FileAction::Copy(copy) => copy.from.output.as_ref(),
                _ => None,
            });
        self.base.output.iter().chain(copied).collect()
    }
}
