//! Lowering text with a made-up world that answers every question.

use bytes::Bytes;
use kiln_dockerfile::{
    Answer, Known, LowerError, Lowered, Lowering, Options, Question, ResolvedConfig, Source, lower,
};
use std::collections::BTreeMap;

/// A build.
pub struct Build {
    pub text: String,
    pub attrs: BTreeMap<String, String>,
    /// The context's ignore file.
    pub ignore: Option<Bytes>,
    /// Configurations of images by full name.
    pub images: BTreeMap<String, String>,
    pub epochs: BTreeMap<String, i64>,
    pub options: fn(&mut Options),
}

impl Build {
    pub fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            attrs: BTreeMap::new(),
            ignore: None,
            images: BTreeMap::new(),
            epochs: BTreeMap::new(),
            options: |_| {},
        }
    }

    pub fn attr(mut self, key: &str, value: &str) -> Self {
        self.attrs.insert(key.into(), value.into());
        self
    }

    pub fn image(mut self, name: &str, config: &str) -> Self {
        self.images.insert(name.into(), config.into());
        self
    }

    pub fn ignore(mut self, text: &str) -> Self {
        self.ignore = Some(Bytes::copy_from_slice(text.as_bytes()));
        self
    }

    fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::ImageConfig(image) => match self.images.get(&image.reference) {
                Some(config) => Answer::Config(ResolvedConfig {
                    reference: image.reference.clone(),
                    digest: DIGEST.into(),
                    config: Bytes::copy_from_slice(config.as_bytes()),
                }),
                None => Answer::Failed(format!("{}: not found", image.reference)),
            },
            Question::OciLayoutConfig(layout) => match self.images.get(&layout.store) {
                Some(config) => Answer::Config(ResolvedConfig {
                    reference: layout.reference.clone(),
                    digest: DIGEST.into(),
                    config: Bytes::copy_from_slice(config.as_bytes()),
                }),
                None => Answer::Failed("no such layout".into()),
            },
            Question::ReadFile { .. } => Answer::File(self.ignore.clone()),
            Question::SourceTime { identifier, .. } => Answer::Time(self.epochs.get(identifier).copied()),
        }
    }
}

/// Digest of every image here.
pub const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Lowers, answering questions until there are none. Each round must ask something new.
pub fn try_lower(build: &Build) -> Result<Lowered, LowerError> {
    let source = Source::parse("Dockerfile", Bytes::copy_from_slice(build.text.as_bytes()), None).unwrap();
    let mut options = Options::from_attrs(&build.attrs).unwrap();
    (build.options)(&mut options);
    let options = options.per_platform().remove(0);
    let mut known = Known::new();
    loop {
        match lower(&source, &options, &known)? {
            Lowering::Done(lowered) => return Ok(*lowered),
            Lowering::Needs(questions) => {
                assert!(!questions.is_empty(), "lowering stopped without a question");
                for question in questions {
                    let answer = build.answer(&question);
                    let known_before = known.answers.insert(question, answer);
                    assert!(known_before.is_none(), "asked twice");
                }
            }
        }
    }
}

/// Lowers what must succeed.
pub fn lowered(build: &Build) -> Lowered {
    try_lower(build).unwrap_or_else(|error| panic!("{error}\n{}", build.text))
}
