//! The built-in Dockerfile frontend: finds the answers to what lowering asks,
//! until nothing is open.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use kiln_dockerfile::known::{ImageQuestion, OciLayoutQuestion};
use kiln_dockerfile::{
    Answer, DockerfileLocation, Known, Lowered, Lowering, Options, Question, ResolvedConfig,
    Source, load_dockerfile, lower,
};
use kiln_llb::Definition;
use kiln_source::{ImageIdentifier, LayoutIdentifier, ResolvedImage};

use super::excerpt::{lower_error, syntax_error};
use super::result::{FrontendResult, ResultBuilder};
use super::{Call, answers, caps, run_nested, syntax, warnings};
use crate::bridge::Bridge;
use crate::error::{BuildError, Kind};
use crate::request::{Attributes, CacheEntry, Frontend};

/// More rounds of questions than any build needs: contexts that name each
/// other end here.
pub(super) const MAX_ROUNDS: usize = 100;

pub(super) async fn run(
    bridge: &Arc<Bridge>,
    attributes: &Attributes,
    inputs: BTreeMap<String, Definition>,
) -> Result<FrontendResult, BuildError> {
    let wanted_caps = attributes.get("frontend.caps").map_or("", String::as_str);
    let missing_cap = caps::check(wanted_caps)?;
    let options = options(bridge, attributes, &inputs)?;
    let mut known = Known::new();
    let (definition, file) = find_dockerfile(bridge, &options, &mut known).await?;
    if let Some(other) = syntax::wanted(&file.text, attributes) {
        let call = Call {
            frontend: Frontend::Gateway,
            options: other.options(attributes),
            inputs,
        };
        let result = run_nested(bridge, call).await;
        return result.map_err(|error| other.explain(error, &file.name, &file.text));
    }
    if let Some(error) = missing_cap {
        return Err(error);
    }
    let source = match Source::parse(&file.name, file.text.clone(), Some(definition.clone())) {
        Ok(source) => source,
        Err(error) if answers::is_lint(&options) => {
            let answer = answers::lint_syntax_error(&file.name, file.text, definition, &error);
            return Ok(FrontendResult::answer(answer));
        }
        Err(error) => return Err(syntax_error(&error, &file.name, &file.text)),
    };
    let source = source.with_ignore(file.ignore);
    if !options.request.is_empty() {
        let answer = answers::answer(bridge, &source, &options, known).await?;
        return Ok(FrontendResult::answer(answer));
    }
    build(bridge, &source, &options, known).await
}

fn options(
    bridge: &Bridge,
    attributes: &Attributes,
    inputs: &BTreeMap<String, Definition>,
) -> Result<Options, BuildError> {
    let options = Options::from_attrs(attributes);
    let options = options.map_err(|error| BuildError::wrap(Kind::Input, error))?;
    let mut options = options.with_session(bridge.session.id.as_str());
    options.context.inputs = inputs.clone();
    Ok(options)
}

/// Lowers for all platforms. What they come to is computed when it is needed.
async fn build(
    bridge: &Arc<Bridge>,
    source: &Source,
    options: &Options,
    known: Known,
) -> Result<FrontendResult, BuildError> {
    let imports = options.cache_imports.iter().map(|import| CacheEntry {
        kind: import.kind.clone(),
        attributes: import.attrs.clone(),
    });
    let caches = bridge.import(&imports.collect::<Vec<_>>()).await?;
    let platforms = options.per_platform();
    let lowered = platforms.iter().enumerate().map(|(index, options)| {
        let known = known.clone();
        async move {
            let lowered = lower_fully(bridge, source, options, known).await?;
            // Warnings are the same for all platforms.
            if index == 0 {
                warnings::report(bridge, source, &lowered.warnings);
            }
            Ok::<_, BuildError>(lowered)
        }
    });
    let mut result = ResultBuilder::new(bridge.clone(), options.multi_platform);
    for lowered in try_join_all(lowered).await? {
        result.add(lowered, &caches);
    }
    Ok(result.finish())
}

/// A Dockerfile as it was read.
struct File {
    name: String,
    text: Bytes,
    /// The ignore file that belongs to it alone.
    ignore: Option<Bytes>,
}

async fn find_dockerfile(
    bridge: &Bridge,
    options: &Options,
    known: &mut Known,
) -> Result<(Definition, File), BuildError> {
    for _ in 0..MAX_ROUNDS {
        match load_dockerfile(options, known)
            .map_err(|error| BuildError::wrap(Kind::Input, error))?
        {
            DockerfileLocation::Needs(questions) => ask(bridge, questions, known).await?,
            DockerfileLocation::At {
                definition,
                filename,
            } => {
                let file = read_dockerfile(bridge, &definition, &filename).await?;
                return Ok((definition, file));
            }
        }
    }
    Err(too_many_rounds())
}

async fn read_dockerfile(
    bridge: &Bridge,
    definition: &Definition,
    filename: &str,
) -> Result<File, BuildError> {
    let output = bridge.solve(definition).await?.output;
    let mut text = bridge.read_file(&output, filename, None).await?;
    if text.is_none() && filename.rsplit('/').next() == Some("Dockerfile") {
        let lower_case = format!("{}dockerfile", filename.trim_end_matches("Dockerfile"));
        text = bridge.read_file(&output, &lower_case, None).await?;
    }
    let text = text.ok_or_else(|| {
        let message = format!("failed to read dockerfile: open {filename}: no such file or directory");
        BuildError::new(Kind::Input, message).hint(
            "name the directory with --local dockerfile=DIR, and another file name with --opt filename=NAME",
        )
    })?;
    let ignore = bridge
        .read_file(&output, &format!("{filename}.dockerignore"), None)
        .await?;
    Ok(File {
        name: filename.to_owned(),
        text,
        ignore,
    })
}

/// Lowers, answering questions until there are none.
async fn lower_fully(
    bridge: &Bridge,
    source: &Source,
    options: &Options,
    mut known: Known,
) -> Result<Lowered, BuildError> {
    for _ in 0..MAX_ROUNDS {
        match lower(source, options, &known).map_err(|error| lower_error(&error, source))? {
            Lowering::Done(lowered) => return Ok(*lowered),
            Lowering::Needs(questions) => ask(bridge, questions, &mut known).await?,
        }
    }
    Err(too_many_rounds())
}

pub(super) fn too_many_rounds() -> BuildError {
    BuildError::new(Kind::Input, "contexts refer to each other without end")
}

/// Answers all questions, side by side.
pub(super) async fn ask(
    bridge: &Bridge,
    questions: Vec<Question>,
    known: &mut Known,
) -> Result<(), BuildError> {
    let answers = try_join_all(questions.iter().map(|question| answer(bridge, question))).await?;
    for (question, answer) in questions.into_iter().zip(answers) {
        known.insert(question, answer);
    }
    Ok(())
}

async fn answer(bridge: &Bridge, question: &Question) -> Result<Answer, BuildError> {
    match question {
        Question::ImageConfig(image) => Ok(config_answer(image_config(bridge, image).await)),
        Question::OciLayoutConfig(layout) => Ok(config_answer(layout_config(bridge, layout).await)),
        Question::ReadFile {
            definition,
            path,
            limit,
        } => {
            let definition = Definition::decode(definition.clone());
            let definition = definition.map_err(|error| BuildError::wrap(Kind::Internal, error))?;
            let output = bridge.solve(&definition).await?.output;
            Ok(Answer::File(bridge.read_file(&output, path, *limit).await?))
        }
        Question::SourceTime { identifier, .. } => Ok(Answer::Failed(format!(
            "the time of {identifier} is not known: git and http sources are not supported yet"
        ))),
    }
}

/// What cannot be resolved is an answer too: lowering knows which line asked.
fn config_answer(resolved: Result<ResolvedImage, BuildError>) -> Answer {
    match resolved {
        Ok(image) => Answer::Config(ResolvedConfig {
            reference: image.reference.to_string(),
            digest: image.digest.to_string(),
            config: image.config,
        }),
        Err(error) => Answer::Failed(error.message),
    }
}

async fn image_config(
    bridge: &Bridge,
    question: &ImageQuestion,
) -> Result<ResolvedImage, BuildError> {
    let attributes = [(
        "image.resolvemode".to_owned(),
        question.resolve_mode.as_str().to_owned(),
    )];
    let identifier = ImageIdentifier::parse(
        &question.reference,
        &attributes.into_iter().collect(),
        question.platform.clone(),
    );
    let identifier = identifier.map_err(crate::ops::source::source_error)?;
    let resolved = bridge.image_config(&identifier, &question.log_name).await;
    resolved.map_err(|error| resolve_error(error, &question.reference))
}

async fn layout_config(
    bridge: &Bridge,
    question: &OciLayoutQuestion,
) -> Result<ResolvedImage, BuildError> {
    let attributes = [
        ("oci.session".to_owned(), question.session.clone()),
        ("oci.store".to_owned(), question.store.clone()),
    ];
    let platform = question.platform.clone();
    let identifier = LayoutIdentifier::parse(
        &question.reference,
        &attributes.into_iter().collect(),
        platform.unwrap_or_else(|| bridge.engine.worker.platform.clone()),
    );
    let identifier = identifier.map_err(crate::ops::source::source_error)?;
    let resolved = bridge.layout_config(&identifier, &question.log_name).await;
    resolved.map_err(|error| resolve_error(error, &question.reference))
}

fn resolve_error(error: BuildError, reference: &str) -> BuildError {
    error.context(format!("failed to resolve source metadata for {reference}"))
}
