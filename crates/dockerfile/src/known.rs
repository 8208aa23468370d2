//! What lowering must know of the world: its questions, and the answers given so far.
//!
//! Lowering itself reads nothing. When it lacks a fact it says so with a [`Question`]; the caller finds
//! the [`Answer`], adds it to [`Known`] and lowers again.

use bytes::Bytes;
use kiln_llb::build::ResolveMode;
use oci_spec::image::Platform;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};

/// Something lowering must know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// The configuration of an image in a registry.
    ImageConfig(ImageQuestion),
    /// The configuration of an image in an OCI layout of the client.
    OciLayoutConfig(OciLayoutQuestion),
    /// A file of the result of a definition.
    ReadFile {
        /// The encoded definition.
        definition: Bytes,
        /// The file.
        path: String,
        /// How many bytes of it matter, if not all.
        limit: Option<usize>,
    },
    /// When a source last changed: a commit's time, or a `Last-Modified` header.
    SourceTime {
        /// Identifier of the source op.
        identifier: String,
        /// Its attributes.
        attrs: BTreeMap<String, String>,
        /// How progress shows the look-up.
        log_name: String,
    },
}

/// Which image's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageQuestion {
    /// Full name.
    pub reference: String,
    /// For which platform.
    pub platform: Platform,
    /// Where to look first.
    pub resolve_mode: ResolveMode,
    /// How progress shows the look-up.
    pub log_name: String,
}

/// Which OCI layout's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciLayoutQuestion {
    /// Name with digest.
    pub reference: String,
    /// For which platform; the machine's if not said.
    pub platform: Option<Platform>,
    /// Session which has the layout.
    pub session: String,
    /// The layout's name in the session.
    pub store: String,
    /// How progress shows the look-up.
    pub log_name: String,
}

// Platforms do not hash; equal questions have equal names, which is all that hashing asks for.
impl Hash for ImageQuestion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.reference, &self.log_name).hash(state);
    }
}

impl Hash for OciLayoutQuestion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.reference, &self.store).hash(state);
    }
}

/// What the world says.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Question::ImageConfig`] and [`Question::OciLayoutConfig`].
    Config(ResolvedConfig),
    /// To [`Question::ImageConfig`], when a policy put another source in the image's place: its identifier.
    Redirect(String),
    /// To [`Question::ReadFile`]: the content, or none if there is no such file.
    File(Option<Bytes>),
    /// To [`Question::SourceTime`]: seconds since the epoch, or none if the source does not say.
    Time(Option<i64>),
    /// To any question: it could not be answered.
    Failed(String),
}

/// An image's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedConfig {
    /// The image's name, which a policy may have changed.
    pub reference: String,
    /// Digest of its manifest or index.
    pub digest: String,
    /// The configuration.
    pub config: Bytes,
}

/// The answers so far.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// By question.
    pub answers: HashMap<Question, Answer>,
}

impl Known {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an answer.
    pub fn insert(&mut self, question: Question, answer: Answer) {
        self.answers.insert(question, answer);
    }
}

/// Looks answers up and notes the questions that have none.
pub(crate) struct Oracle<'a> {
    known: &'a Known,
    open: RefCell<Vec<Question>>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Nobody asked yet.
    Open,
    /// It was asked in vain.
    Failed(String),
}

impl<'a> Oracle<'a> {
    pub(crate) fn new(known: &'a Known) -> Self {
        Self {
            known,
            open: RefCell::default(),
        }
    }

    /// The answer, or a note that it is needed.
    pub(crate) fn ask(&self, question: Question) -> Result<&'a Answer, NoAnswer> {
        match self.known.answers.get(&question) {
            Some(Answer::Failed(reason)) => Err(NoAnswer::Failed(reason.clone())),
            Some(answer) => Ok(answer),
            None => {
                let mut open = self.open.borrow_mut();
                if !open.contains(&question) {
                    open.push(question);
                }
                Err(NoAnswer::Open)
            }
        }
    }

    /// The questions without answer.
    pub(crate) fn into_open(self) -> Vec<Question> {
        self.open.into_inner()
    }
}
