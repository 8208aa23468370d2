//! Requests about a Dockerfile that are no builds: `--opt requestid=…`.

use std::collections::BTreeMap;

use bytes::Bytes;
use kiln_dockerfile::subrequest::{self, Answering, Request, Response};
use kiln_dockerfile::{Known, Options, Source, SyntaxError};
use kiln_llb::Definition;
use kiln_llb::build::SourceMap;

use super::dockerfile::{MAX_ROUNDS, ask, too_many_rounds};
use super::excerpt::lower_error;
use crate::bridge::Bridge;
use crate::error::{BuildError, Detail, Kind};

/// Answers the request that the options name, by file name.
pub(super) async fn answer(
    bridge: &Bridge,
    source: &Source,
    options: &Options,
    mut known: Known,
) -> Result<BTreeMap<String, Bytes>, BuildError> {
    let request = Request::parse(&options.request);
    let request = request.map_err(|error| {
        let name = Detail::Subrequest(options.request.clone());
        BuildError::wrap(Kind::Input, error).detail(name)
    })?;
    for _ in 0..MAX_ROUNDS {
        let answering = subrequest::answer(request, source, options, &known);
        match answering.map_err(|error| lower_error(&error, source))? {
            Answering::Done(response) => return Ok(files(response)),
            Answering::Needs(questions) => ask(bridge, questions, &mut known).await?,
        }
    }
    Err(too_many_rounds())
}

/// Whether the Dockerfile is to be judged, which works without it being
/// right.
pub(super) fn is_lint(options: &Options) -> bool {
    Request::parse(&options.request) == Ok(Request::Lint)
}

/// Judges a Dockerfile that cannot even be read.
pub(super) fn lint_syntax_error(
    filename: &str,
    text: Bytes,
    definition: Definition,
    error: &SyntaxError,
) -> BTreeMap<String, Bytes> {
    let map = SourceMap {
        definition: Some(definition),
        filename: filename.to_owned(),
        language: "Dockerfile".into(),
        data: text,
    };
    files(subrequest::lint_syntax_error(&map, error))
}

fn files(response: Response) -> BTreeMap<String, Bytes> {
    let metadata = response.metadata.into_iter();
    metadata
        .map(|(name, text)| (name.to_owned(), text.into()))
        .collect()
}
