//! Requests about a Dockerfile that are no builds: `--opt requestid=…`.

use std::collections::BTreeMap;

use kiln_dockerfile::subrequest::{self, Answering, Request, Response};
use kiln_dockerfile::{Known, Options, Source};

use super::dockerfile::{MAX_ROUNDS, ask, too_many_rounds};
use super::excerpt::lower_error;
use crate::bridge::Bridge;
use crate::error::{BuildError, Kind};

/// Answers the request that the options name, by file name.
pub(super) async fn answer(
    bridge: &Bridge,
    source: &Source,
    options: &Options,
    mut known: Known,
) -> Result<BTreeMap<String, Vec<u8>>, BuildError> {
    let request = Request::parse(&options.request);
    let request = request.map_err(|error| BuildError::wrap(Kind::Input, error))?;
    for _ in 0..MAX_ROUNDS {
        let answering = subrequest::answer(request, source, options, &known);
        match answering.map_err(|error| lower_error(&error, source))? {
            Answering::Done(response) => return Ok(files(response)),
            Answering::Needs(questions) => ask(bridge, questions, &mut known).await?,
        }
    }
    Err(too_many_rounds())
}

fn files(response: Response) -> BTreeMap<String, Vec<u8>> {
    let metadata = response.metadata.into_iter();
    metadata
        .map(|(name, text)| (name.to_owned(), text.into_bytes()))
        .collect()
}
