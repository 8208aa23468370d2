//! Requests about a Dockerfile that are no builds: `--opt requestid=…`.

use std::collections::BTreeMap;

use bytes::Bytes;
use kiln_dockerfile::subrequest::{self, Answering, Request, Response};
use kiln_dockerfile::{Known, Options, Source, SyntaxError, Warning};
use kiln_llb::build::SourceMap;

use crate::door::Door;
use crate::failure::{Failure, Missing};
use crate::questions::{MAX_ROUNDS, Told, too_many_rounds};
use crate::warnings;

/// Answers the request that the options name, by file name.
pub(crate) async fn answer<D: Door>(
    door: &D,
    source: &Source,
    options: &Options,
    known: Known,
) -> Result<BTreeMap<String, Bytes>, D::Error> {
    let request = Request::parse(&options.request);
    let request = request.map_err(|error| {
        let name = Missing::Subrequest(options.request.clone());
        Failure::wrap(&error).missing(name)
    })?;
    let mut told = Told::new(door, known);
    for _ in 0..MAX_ROUNDS {
        match subrequest::answer(request, source, options, &told.known) {
            Ok(Answering::Done(response)) => {
                warnings::report(door, &source.map, &response.warnings).await;
                return Ok(files(response));
            }
            Ok(Answering::Needs(questions)) => told.ask(questions).await?,
            Err(error) => {
                warnings::report(door, &source.map, &error.warnings).await;
                return Err(told.error(Failure::lower(&error, source)));
            }
        }
    }
    Err(too_many_rounds().into())
}

/// Whether the Dockerfile is to be judged, which works without it being
/// right.
pub(crate) fn is_lint(options: &Options) -> bool {
    Request::parse(&options.request) == Ok(Request::Lint)
}

/// Judges a Dockerfile that cannot even be read.
pub(crate) fn lint_syntax_error(
    map: &SourceMap,
    warnings: &[Warning],
    error: &SyntaxError,
) -> BTreeMap<String, Bytes> {
    files(subrequest::lint_syntax_error(map, warnings, error))
}

fn files(response: Response) -> BTreeMap<String, Bytes> {
    let metadata = response.metadata.into_iter();
    metadata
        .map(|(name, text)| (name.to_owned(), text.into()))
        .collect()
}
