//! `buildctl debug get`: a blob of the daemon's content store.

use std::io::Write as _;

use futures::TryStreamExt as _;
use kiln_client::Client;

use crate::arguments::GetArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::root;

pub(super) fn run(context: &Context, arguments: &GetArguments) -> Result<(), Failure> {
    let digest = arguments.digest.as_deref();
    let digest = digest.ok_or_else(|| Failure::usage("blob digest must be specified"))?;
    if digest.parse::<oci_spec::image::Digest>().is_err() {
        return Err(Failure::usage(format!(
            "{digest:?} is not a digest like sha256:…"
        )));
    }
    root::block_on(async {
        let client = context.daemon("the content store").await?;
        write_content(&client, digest).await
    })
}

/// Writes a blob to standard output.
pub(super) async fn write_content(client: &Client, digest: &str) -> Result<(), Failure> {
    let mut pieces = std::pin::pin!(client.content(digest).await?);
    let mut stdout = std::io::stdout();
    while let Some(piece) = pieces.try_next().await? {
        let written = stdout.write_all(&piece);
        written.map_err(|error| Failure::usage(format!("standard output: {error}")))?;
    }
    let flushed = stdout.flush();
    flushed.map_err(|error| Failure::usage(format!("standard output: {error}")))
}
