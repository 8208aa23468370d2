//! `buildctl prune-histories`: forgets builds that are not pinned.

use futures::TryStreamExt as _;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use kiln_client::{Client, HistoryChange, HistoryRequest};

use super::history_value::event_value;
use crate::arguments::FormatArguments;
use crate::context::{Context, print, print_filled, template};
use crate::failure::Failure;
use crate::root;
use crate::table::align;
use crate::template::Template;

const HEADER: [&str; 5] = ["TYPE", "REF", "CREATED", "COMPLETED", "GENERATION"];

pub(crate) fn prune_histories(
    context: &Context,
    arguments: &FormatArguments,
) -> Result<(), Failure> {
    let template = template(arguments.format.as_deref())?;
    root::block_on(async {
        let client = context.daemon("the history of builds").await?;
        forget_all(&client, template.as_ref()).await
    })
}

/// A record that cannot be deleted does not keep the others.
async fn forget_all(client: &Client, template: Option<&Template>) -> Result<(), Failure> {
    let request = HistoryRequest {
        known_only: true,
        ..HistoryRequest::default()
    };
    let mut events = std::pin::pin!(client.histories(request).await?);
    let mut rows = vec![columns(HEADER)];
    let mut failures = Vec::new();
    while let Some(event) = events.try_next().await? {
        let Some(record) = event.record.as_ref().filter(|record| !record.pinned) else {
            continue;
        };
        if let Err(error) = client
            .update_history(&record.r#ref, HistoryChange::Delete)
            .await
        {
            failures.push(format!("{}: {error}", record.r#ref));
            continue;
        }
        if let Some(template) = template {
            print_filled(template, &event_value(&event))?;
            continue;
        }
        rows.push(columns([
            event.r#type().as_str_name(),
            &record.r#ref,
            &time(record.created_at.as_ref()),
            &time(record.completed_at.as_ref()),
            &record.generation.to_string(),
        ]));
    }
    if template.is_none() {
        print(&align(&rows))?;
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Failure::usage(failures.join("\n"))),
    }
}

/// Cells of a row.
pub(super) fn columns<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// A time in the user's time zone, to the second; empty if there is none.
pub(super) fn time(time: Option<&prost_types::Timestamp>) -> String {
    let time = time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok());
    let Some(time) = time else {
        return String::new();
    };
    let local = time.to_zoned(TimeZone::system());
    let format = match local.offset().is_zero() {
        true => "%Y-%m-%dT%H:%M:%SZ",
        false => "%Y-%m-%dT%H:%M:%S%:z",
    };
    local.strftime(format).to_string()
}
