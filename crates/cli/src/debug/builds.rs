//! `buildctl debug histories`: builds that the daemon remembers.

use futures::TryStreamExt as _;
use kiln_client::HistoryRequest;

use super::events::{columns, time};
use super::history_value::event_value;
use crate::arguments::FormatArguments;
use crate::context::{Context, print, print_filled, template};
use crate::failure::Failure;
use crate::root;
use crate::table::align;

const HEADER: [&str; 6] = [
    "TYPE",
    "REF",
    "CREATED",
    "COMPLETED",
    "GENERATION",
    "PINNED",
];

pub(super) fn run(context: &Context, arguments: &FormatArguments) -> Result<(), Failure> {
    let template = template(arguments.format.as_deref())?;
    root::block_on(async {
        let client = context.daemon("the history of builds").await?;
        let request = HistoryRequest {
            known_only: true,
            ..HistoryRequest::default()
        };
        let mut events = std::pin::pin!(client.histories(request).await?);
        let mut rows = vec![columns(HEADER)];
        while let Some(event) = events.try_next().await? {
            if let Some(template) = &template {
                print_filled(template, &event_value(&event))?;
                continue;
            }
            let kind = event.r#type().as_str_name();
            let record = event.record.unwrap_or_default();
            rows.push(columns([
                kind,
                &record.r#ref,
                &time(record.created_at.as_ref()),
                &time(record.completed_at.as_ref()),
                &record.generation.to_string(),
                if record.pinned { "*" } else { "" },
            ]));
        }
        match template {
            Some(_) => Ok(()),
            None => print(&align(&rows)),
        }
    })
}
