//! `buildctl debug logs`: what a build said, while it runs or later.

use futures::TryStreamExt as _;
use kiln_client::{Client, HistoryRequest};

use super::get::write_content;
use crate::arguments::LogsArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::progress::{Display, Stream};
use crate::root;

pub(super) fn run(context: &Context, arguments: &LogsArguments) -> Result<(), Failure> {
    let reference = arguments.reference.as_deref();
    let reference = reference.ok_or_else(|| Failure::usage("build ref must be specified"))?;
    root::block_on(async {
        let client = context.daemon("the history of builds").await?;
        match arguments.trace {
            true => trace(&client, reference).await,
            false => logs(&client, reference, arguments).await,
        }
    })
}

async fn logs(client: &Client, reference: &str, arguments: &LogsArguments) -> Result<(), Failure> {
    let mut updates = std::pin::pin!(client.status(reference).await?);
    let display = Display::start(arguments.progress, Stream::Stdout, Vec::new())?;
    let sink = display.sink();
    let outcome = loop {
        match updates.try_next().await {
            Ok(Some(update)) => sink.update(update),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.into()),
        }
    };
    display.finish();
    outcome
}

async fn trace(client: &Client, reference: &str) -> Result<(), Failure> {
    let request = HistoryRequest {
        reference: reference.to_owned(),
        ..HistoryRequest::default()
    };
    let event = {
        let mut events = std::pin::pin!(client.histories(request).await?);
        events.try_next().await?
    };
    let record = event.and_then(|event| event.record);
    let record = record.ok_or_else(|| Failure::usage(format!("ref {reference} not found")))?;
    let trace = record
        .trace
        .ok_or_else(|| Failure::usage(format!("ref {reference} does not have trace")))?;
    write_content(client, &trace.digest).await
}
