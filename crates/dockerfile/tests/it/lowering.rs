//! Lowering text in a made-up world that answers every question.

use bytes::Bytes;
use kiln_dockerfile::options::ContextOptions;
use kiln_dockerfile::subrequest::{Answering, Request, Response, answer, lint_syntax_error};
use kiln_dockerfile::{
    Answer, DockerfileLocation, Known, LowerError, Lowered, Lowering, Options, Question,
    ResolvedConfig, Source, lint_part, load_dockerfile, lower,
};
use kiln_llb::build::SourceMap;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A build and the world around it.
#[derive(Default)]
pub(crate) struct Build {
    pub(crate) text: String,
    pub(crate) attrs: BTreeMap<String, String>,
    /// The context's ignore file.
    pub(crate) ignore: Option<Bytes>,
    /// Configurations of images by full name, of layouts by their store.
    pub(crate) images: BTreeMap<String, String>,
    /// Times of sources by identifier.
    pub(crate) times: BTreeMap<String, i64>,
    /// What every URL serves.
    pub(crate) download: Option<Bytes>,
}

/// What lowering made, or its error's text.
pub(crate) type Outcome = Result<Lowered, String>;

/// Digest of every image here.
pub(crate) const DIGEST: &str =
    "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// The session of every build here.
const SESSION: &str = "golden";

impl Build {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Reads a folder of `tests/cases` or `tests/golden`.
    pub(crate) fn load(case: &Path) -> Self {
        let json = |name: &str| fs::read(case.join(name)).unwrap_or_else(|_| b"{}".to_vec());
        let images: BTreeMap<String, Value> = serde_json::from_slice(&json("images.json")).unwrap();
        // The reference's cases come with their whole context.
        let context = match case.join("context") {
            context if context.is_dir() => context,
            _ => case.to_path_buf(),
        };
        Self {
            text: fs::read_to_string(context.join("Dockerfile")).unwrap(),
            attrs: serde_json::from_slice(&json("opts.json")).unwrap(),
            images: images
                .into_iter()
                .map(|(name, config)| (name, config.to_string()))
                .collect(),
            times: serde_json::from_slice(&json("times.json")).unwrap(),
            ignore: fs::read(context.join(".dockerignore"))
                .or_else(|_| fs::read(case.join("dockerignore")))
                .ok()
                .map(Bytes::from),
            download: fs::read(case.join("download")).ok().map(Bytes::from),
        }
    }

    pub(crate) fn attr(mut self, key: &str, value: &str) -> Self {
        self.attrs.insert(key.into(), value.into());
        self
    }

    pub(crate) fn image(mut self, name: &str, config: &str) -> Self {
        self.images.insert(name.into(), config.into());
        self
    }

    fn answer(&self, question: &Question) -> Answer {
        let config = |name: &str, reference: &str| match self.images.get(name) {
            Some(config) => Answer::Config(ResolvedConfig {
                reference: reference.into(),
                digest: DIGEST.into(),
                config: Bytes::copy_from_slice(config.as_bytes()),
            }),
            None => Answer::Failed(format!("{reference}: not found")),
        };
        match question {
            Question::ImageConfig(image) => config(&image.reference, &image.reference),
            Question::OciLayoutConfig(layout) => config(&layout.store, &layout.reference),
            Question::ReadFile { path, .. } if path == "context" => {
                Answer::File(self.download.clone())
            }
            Question::ReadFile { .. } => Answer::File(self.ignore.clone()),
            Question::SourceTime { identifier, .. } => {
                Answer::Time(self.times.get(identifier).copied())
            }
        }
    }

    /// Answers questions; each of them must be new.
    pub(crate) fn learn(&self, known: &mut Known, questions: Vec<Question>) {
        assert!(!questions.is_empty(), "stopped without a question");
        for question in questions {
            let answer = self.answer(&question);
            assert!(
                known.answers.insert(question, answer).is_none(),
                "asked twice"
            );
        }
    }

    fn options(&self) -> Result<Options, String> {
        let options = Options::from_attrs(&self.attrs).map_err(|error| error.to_string())?;
        Ok(options.with_session(SESSION))
    }

    fn source(
        &self,
        options: &Options,
        known: &mut Known,
    ) -> Result<Source, (String, Option<Response>)> {
        let definition = loop {
            match load_dockerfile(options, known).map_err(|error| (error.to_string(), None))? {
                DockerfileLocation::At { definition, .. } => break definition,
                DockerfileLocation::Needs(questions) => self.learn(known, questions),
            }
        };
        let ContextOptions { filename, .. } = &options.context;
        let text = Bytes::copy_from_slice(self.text.as_bytes());
        let map = SourceMap {
            definition: Some(definition.clone()),
            filename: filename.clone(),
            language: "Dockerfile".into(),
            data: text.clone(),
        };
        Source::parse(filename, text, Some(definition)).map_err(|error| {
            let warnings = lint_part(&map.data, options);
            let lint = lint_syntax_error(&map, &warnings, &error);
            (error.to_string(), Some(lint))
        })
    }
}

/// Lowers, answering questions until there are none.
fn lower_fully(build: &Build) -> Result<Result<Lowered, LowerError>, String> {
    let (options, mut known) = (build.options()?.per_platform().remove(0), Known::new());
    let source = build
        .source(&options, &mut known)
        .map_err(|(error, _)| error)?;
    loop {
        match lower(&source, &options, &known) {
            Ok(Lowering::Done(lowered)) => return Ok(Ok(*lowered)),
            Ok(Lowering::Needs(questions)) => build.learn(&mut known, questions),
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Lowers a file that may be wrong.
pub(crate) fn try_lower(build: &Build) -> Outcome {
    lower_fully(build)?.map_err(|error| error.to_string())
}

/// Lowers what must be read, and then fail.
pub(crate) fn failed(build: &Build) -> LowerError {
    lower_fully(build).unwrap().unwrap_err()
}

/// Lowers what must succeed.
pub(crate) fn lowered(build: &Build) -> Lowered {
    try_lower(build).unwrap_or_else(|error| panic!("{error}\n{}", build.text))
}

/// Answers a request.
pub(crate) fn ask(build: &Build, request: Request) -> Result<Response, String> {
    let (options, mut known) = (build.options()?, Known::new());
    let source = match build.source(&options, &mut known) {
        Ok(source) => source,
        Err((_, Some(lint))) if request == Request::Lint => return Ok(lint),
        Err((error, _)) => return Err(error),
    };
    loop {
        match answer(request, &source, &options, &known).map_err(|error| error.to_string())? {
            Answering::Done(response) => return Ok(response),
            Answering::Needs(questions) => build.learn(&mut known, questions),
        }
    }
}
