//! What can go wrong while a Dockerfile is lowered.

use crate::error::{Excerpt, SyntaxError, quoted};
use crate::image::ConfigError;
use crate::instruction::MountError;
use crate::known::NoAnswer;
use crate::lint::{Violations, Warning};
use crate::position::Location;
use crate::shell::ExpandError;
use crate::suggest::hint;
use kiln_llb::git_url::GitUrlError;
use kiln_llb::platform::PlatformError;
use kiln_llb::reference::ReferenceError;

/// A Dockerfile that cannot be built as asked, with the lines that say why.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct LowerError {
    /// What is wrong.
    pub kind: Box<LowerErrorKind>,
    /// The instructions it is about; none if it is about the file or the options.
    pub locations: Vec<Location>,
    /// What should be written otherwise, as far as lowering came.
    pub warnings: Vec<Warning>,
}

/// What is wrong. Texts that tools match on are BuildKit's.
#[derive(Debug, thiserror::Error)]
pub enum LowerErrorKind {
    /// A variable or quote in a word.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// A mount of `RUN`.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A trigger of a base image.
    #[error(transparent)]
    Trigger(#[from] SyntaxError),
    /// Warnings that are errors here.
    #[error(transparent)]
    Lint(#[from] Violations),
    /// An image configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A git source.
    #[error(transparent)]
    Git(#[from] GitUrlError),
    /// The step cannot be encoded.
    #[error("failed to marshal LLB definition: {0}")]
    Marshal(#[from] kiln_llb::build::MarshalError),
    /// A definition given as context is broken.
    #[error("invalid input {name}: {source}")]
    InputDefinition {
        /// The input.
        name: String,
        /// What is wrong.
        source: kiln_llb::LoadError,
    },
    /// A lint option in the file.
    #[error("failed to parse check options: {0}")]
    CheckOptions(#[from] crate::lint::CheckOptionError),
    /// An ignore file.
    #[error("failed parsing {name}: {reason}")]
    IgnoreFile {
        /// The file.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The base of a stage is empty once its variables are filled in.
    #[error("base name ({0}) should not be blank")]
    BlankBase(String),
    /// The base of a stage is no image name.
    #[error("failed to parse stage name {}: {source}", quoted(name))]
    BaseName {
        /// The name.
        name: String,
        /// What is wrong.
        source: ReferenceError,
    },
    /// `FROM --platform` cannot be expanded.
    #[error("failed to process arguments for platform {word}: {source}")]
    PlatformArguments {
        /// The value.
        word: String,
        /// What is wrong.
        source: ExpandError,
    },
    /// `FROM --platform` is empty once its variables are filled in.
    #[error("empty platform value from expression {word}{}", hint(suggestion.as_deref()))]
    EmptyPlatform {
        /// The value as written.
        word: String,
        /// The argument that was probably meant.
        suggestion: Option<String>,
    },
    /// `FROM --platform` is no platform.
    #[error("failed to parse platform {word}: {source}{}", hint(suggestion.as_deref()))]
    Platform {
        /// The value as written.
        word: String,
        /// What is wrong.
        source: PlatformError,
        /// The argument that was probably meant.
        suggestion: Option<String>,
    },
    /// There is no such stage.
    #[error("target stage {} could not be found{}", quoted(name), hint(suggestion.as_deref()))]
    Target {
        /// The target.
        name: String,
        /// The stage that was probably meant.
        suggestion: Option<String>,
    },
    /// `COPY --from` with a number that is no stage.
    #[error("invalid stage index {0}")]
    StageIndex(i64),
    /// `COPY --from` with a variable.
    #[error(
        "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround"
    )]
    VariableFrom,
    /// A stage needs itself.
    #[error("circular dependency detected on stage: {0}")]
    Circular(String),
    /// `COPY --from` a stage further down.
    #[error(
        "cannot copy from stage {}, it needs to be defined before current stage {}",
        quoted(from),
        quoted(stage)
    )]
    CopyFromLater {
        /// The stage to copy from.
        from: String,
        /// The stage with the instruction.
        stage: String,
    },
    /// `RUN --mount=from` a stage further down.
    #[error(
        "cannot mount from stage {} to {}, stage needs to be defined before current command",
        quoted(from),
        quoted(target)
    )]
    MountFromLater {
        /// The stage to mount from.
        from: String,
        /// Where.
        target: String,
    },
    /// A Windows path that is a drive and nothing else.
    #[error("removing drive letter: No relative path specified in {}", quoted(.0))]
    DriveOnly(String),
    /// A Windows path on a network share.
    #[error("removing drive letter: UNC paths are not supported")]
    UncPath,
    /// A Windows path on another drive than the system's.
    #[error("removing drive letter: The specified path is not on the system drive (C:)")]
    OtherDrive,
    /// Something is mounted over the root.
    #[error("invalid mount target {}", quoted(.0))]
    MountTarget(String),
    /// A secret without a name.
    #[error("one of source, target required")]
    SecretNameless,
    /// An ssh mount with a source.
    #[error("ssh does not support source")]
    SshSource,
    /// `--chmod` is no mode.
    #[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
    ChmodNumber(String),
    /// `--chmod` is no symbolic mode.
    #[error(
        "invalid chmod parameter: '{0}'. write it in octal, such as 0755, or symbolically, such as u=rwX,go=rX"
    )]
    Chmod(String),
    /// `--checksum` with several sources.
    #[error("checksum can't be specified for multiple sources")]
    ChecksumSources,
    /// `--checksum` of something that is not downloaded.
    #[error("checksum requires HTTP(S) or Git sources")]
    ChecksumLocal,
    /// `--checksum` is no digest.
    #[error("invalid checksum digest format: {0}; write it like sha256:<64 hexadecimal digits>")]
    Checksum(String),
    /// `--checksum` is a digest by an algorithm of which nobody knows.
    #[error("unsupported digest algorithm: {0}; use sha256, sha384 or sha512")]
    ChecksumAlgorithm(String),
    /// Two checksums of one git source.
    #[error("checksum mismatch {} != {}", quoted(flag), quoted(url))]
    ChecksumMismatch {
        /// The flag's.
        flag: String,
        /// The URL's.
        url: String,
    },
    /// Flag and URL disagree about `.git`.
    #[error("inconsistent keep-git-dir configuration")]
    KeepGitDir,
    /// `COPY` of a repository.
    #[error("source can't be a git ref for COPY")]
    CopyGit,
    /// `COPY` of a URL.
    #[error("source can't be a URL for COPY")]
    CopyUrl,
    /// A word of `EXPOSE`.
    #[error("{0}")]
    Port(String),
    /// `STOPSIGNAL` with an unknown signal.
    #[error("invalid signal: {0}")]
    Signal(String),
    /// A mount point of `VOLUME` is empty.
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    /// A heredoc of `RUN` among other words in exec form.
    #[error("parsing produced an invalid run command: {0}")]
    RunHeredoc(String),
    /// An image's configuration could not be had.
    #[error("{name}: {reason}{}", hint(suggestion.as_deref()))]
    BaseImage {
        /// The image as written.
        name: String,
        /// What the registry said.
        reason: String,
        /// The stage or image that was probably meant.
        suggestion: Option<String>,
    },
    /// Something else could not be had.
    #[error("{0}")]
    Unanswered(String),
    /// A named context has no scheme.
    #[error(
        "invalid context specifier {specifier} for {name}; write it like docker-image://alpine or local:dir"
    )]
    ContextSpecifier {
        /// The specifier.
        specifier: String,
        /// The context.
        name: String,
    },
    /// A named context has an unknown scheme.
    #[error(
        "unsupported context source {scheme} for {name}; use docker-image, oci-layout, local, git, http, https or input"
    )]
    ContextScheme {
        /// The scheme.
        scheme: String,
        /// The context.
        name: String,
    },
    /// A context's name is no image name.
    #[error("invalid context name {name}: {source}")]
    ContextName {
        /// The name.
        name: String,
        /// What is wrong.
        source: ReferenceError,
    },
    /// Policies send a context from image to image.
    #[error(
        "context recursion limit exceeded; this may indicate a cycle in the provided source policies: {0}"
    )]
    ContextRecursion(String),
    /// A git context is no repository.
    #[error("invalid git context {0}")]
    GitContext(String),
    /// An OCI layout context without digest.
    #[error("oci-layout reference {} has no digest", quoted(.0))]
    OciLayoutDigest(String),
    /// A context refers to an input that was not given.
    #[error("invalid input {input} for {name}")]
    Input {
        /// The input.
        input: String,
        /// The context.
        name: String,
    },
    /// Metadata of an input cannot be read.
    #[error("failed to parse input metadata {0}")]
    InputMetadata(String),
    /// `SOURCE_DATE_EPOCH` is no number, context or stage.
    #[error("invalid SOURCE_DATE_EPOCH: {0}")]
    Epoch(String),
    /// The stage that `SOURCE_DATE_EPOCH` names is not made of one download.
    #[error("{0}")]
    EpochStage(&'static str),
    /// The stage that `SOURCE_DATE_EPOCH` names has another instruction.
    #[error(
        "SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported {0} instruction"
    )]
    EpochInstruction(String),
}

impl LowerError {
    /// Adds the lines of an instruction, unless some are known already.
    pub(crate) fn at(mut self, location: Location) -> Self {
        if self.locations.is_empty() {
            self.locations.push(location);
        }
        self
    }

    /// The lines of `text`, the file of that name, that the error is about.
    pub fn excerpt(&self, filename: &str, text: &[u8]) -> Option<Excerpt> {
        Excerpt::new(filename, text, &self.locations)
    }
}

impl<K: Into<LowerErrorKind>> From<K> for LowerError {
    fn from(kind: K) -> Self {
        let kind = kind.into();
        let locations = match &kind {
            LowerErrorKind::Trigger(SyntaxError { location, .. }) => {
                location.iter().copied().collect()
            }
            _ => Vec::new(),
        };
        Self {
            kind: Box::new(kind),
            locations,
            warnings: Vec::new(),
        }
    }
}

/// Why lowering stops before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A question is open.
    Open,
    /// There is an error.
    Error(LowerError),
}

impl Stop {
    pub(crate) fn at(self, location: Location) -> Self {
        match self {
            Self::Open => Self::Open,
            Self::Error(error) => Self::Error(error.at(location)),
        }
    }
}

impl<E: Into<LowerError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl From<NoAnswer> for Stop {
    fn from(missing: NoAnswer) -> Self {
        match missing {
            NoAnswer::Open => Self::Open,
            NoAnswer::Failed(reason) => Self::Error(LowerErrorKind::Unanswered(reason).into()),
        }
    }
}
