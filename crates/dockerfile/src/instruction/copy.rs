//! `ADD` and `COPY`.

/// `ADD [flags] <source>... <destination>`: files from the context, URLs, git repositories, archives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Add {
    /// What goes where.
    pub sources: Sources,
    /// `--chown=user[:group]`, empty if not given.
    pub chown: String,
    /// `--chmod=mode` (octal or symbolic), empty if not given.
    pub chmod: String,
    /// `--link`: the files become a layer that does not depend on what is below.
    pub link: bool,
    /// `--exclude=pattern`, any number of times.
    pub exclude: Vec<String>,
    /// `--keep-git-dir[=bool]`; `None` if the flag is absent, then the source's own default counts.
    pub keep_git_dir: Option<bool>,
    /// `--checksum=digest`, empty if not given.
    pub checksum: String,
    /// `--unpack[=bool]`; `None` if the flag is absent, then only local archives are unpacked.
    pub unpack: Option<bool>,
}

/// `COPY [flags] <source>... <destination>`: files from the context, another stage or an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copy {
    /// What goes where.
    pub sources: Sources,
    /// `--from=stage|index|context|image`, empty if not given.
    pub from: String,
    /// `--chown=user[:group]`, empty if not given.
    pub chown: String,
    /// `--chmod=mode` (octal or symbolic), empty if not given.
    pub chmod: String,
    /// `--link`: the files become a layer that does not depend on what is below.
    pub link: bool,
    /// `--exclude=pattern`, any number of times.
    pub exclude: Vec<String>,
    /// `--parents`: keep the directories of a source's path below the destination.
    pub parents: bool,
}

/// The operands of `ADD` and `COPY`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// Paths, patterns and URLs, in order.
    pub paths: Vec<String>,
    /// Files written inline as heredocs, in order.
    pub contents: Vec<SourceContent>,
    /// The destination, always the last operand.
    pub destination: String,
}

/// A file written inline as a heredoc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceContent {
    /// The heredoc's word, which names the file.
    pub path: String,
    /// The file's content; leading tabs are gone already if the heredoc asked for it (`<<-`).
    pub data: String,
    /// Whether variables in `data` are expanded: yes, unless the heredoc's word is quoted.
    pub expand: bool,
}
