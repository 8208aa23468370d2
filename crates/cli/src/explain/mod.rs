//! `buildctl explain`: why the steps of a build ran.

mod cause;
mod text;

use futures::TryStreamExt as _;
use kiln_client::{BuildHistoryEventType, BuildHistoryRecord, Client, HistoryRequest};
use kiln_engine::Engine;
use kiln_engine::explain::Account;
use kiln_engine::history::{ListenOptions, Until};
use oci_spec::image::Digest;
use serde_json::json;

use crate::arguments::{ExplainArguments, ReportFormat};
use crate::context::{Context, Opened, print};
use crate::failure::Failure;
use crate::root;

pub(crate) fn run(context: &Context, arguments: &ExplainArguments) -> Result<(), Failure> {
    let wanted = arguments.reference.as_deref();
    let (build, account) = root::block_on(async {
        let opened = context.open().await?;
        find(&opened, wanted).await
    })?;
    match arguments.format {
        ReportFormat::Text => print(&text::account(&build, &account)),
        ReportFormat::Json => {
            let mut document = json!(account);
            document["build"] = json!(build);
            print(&format!("{document:#}\n"))
        }
    }
}

async fn find(opened: &Opened, wanted: Option<&str>) -> Result<(String, Account), Failure> {
    let records = match opened {
        Opened::Embedded(engine) => own_records(engine).await?,
        Opened::Daemon(client) => records_of(client).await?,
    };
    let record = pick(&records, wanted)?;
    let build = record.r#ref.clone();
    let Some(blob) = &record.kiln_facts else {
        return Err(unaccounted(&records, &build, opened));
    };
    let bytes = match opened {
        Opened::Embedded(engine) => own_content(engine, &blob.digest)?,
        Opened::Daemon(client) => content_of(client, &blob.digest).await?,
    };
    let account = Account::from_bytes(&bytes);
    let account = account.map_err(|error| Failure::usage(format!("build {build}: {error}")))?;
    Ok((build, account))
}

/// Builds that have ended, in the history of the engine in this process.
async fn own_records(engine: &Engine) -> Result<Vec<BuildHistoryRecord>, Failure> {
    let options = ListenOptions {
        until: Until::Listed,
        ..ListenOptions::default()
    };
    let mut listener = engine.history().listen(options).map_err(Failure::usage)?;
    let mut records = Vec::new();
    while let Some(event) = listener.next().await {
        records.extend(finished(event.map_err(Failure::usage)?));
    }
    Ok(records)
}

async fn records_of(client: &Client) -> Result<Vec<BuildHistoryRecord>, Failure> {
    let request = HistoryRequest {
        known_only: true,
        ..HistoryRequest::default()
    };
    let mut events = std::pin::pin!(client.histories(request).await?);
    let mut records = Vec::new();
    while let Some(event) = events.try_next().await? {
        records.extend(finished(event));
    }
    Ok(records)
}

fn finished(event: kiln_client::BuildHistoryEvent) -> Option<BuildHistoryRecord> {
    let is_finished = event.r#type() == BuildHistoryEventType::Complete;
    event.record.filter(|_| is_finished)
}

/// The record that is meant: by its name, by the beginning of it, or the newest.
fn pick<'a>(
    records: &'a [BuildHistoryRecord],
    wanted: Option<&str>,
) -> Result<&'a BuildHistoryRecord, Failure> {
    let Some(wanted) = wanted else {
        let created = |record: &&BuildHistoryRecord| {
            let time = record.created_at.unwrap_or_default();
            (time.seconds, time.nanos)
        };
        let newest = records.iter().max_by_key(created);
        return newest.ok_or_else(|| {
            Failure::usage("the history has no build that has ended: build something first")
        });
    };
    // docker buildx writes BUILDER/NODE/REF.
    let name = wanted.rsplit('/').next().unwrap_or(wanted);
    if let Some(record) = records.iter().find(|record| record.r#ref == name) {
        return Ok(record);
    }
    let mut found = records
        .iter()
        .filter(|record| record.r#ref.starts_with(name));
    match (found.next(), found.next()) {
        (Some(record), None) => Ok(record),
        (Some(_), Some(_)) => Err(Failure::usage(format!(
            "several builds have a ref that begins with {name:?}; give more of it"
        ))),
        _ => Err(Failure::usage(format!(
            "no build {wanted:?} that has ended is in the history: `buildctl debug histories` or \
             `docker buildx history ls` list what a daemon has"
        ))),
    }
}

fn unaccounted(records: &[BuildHistoryRecord], build: &str, opened: &Opened) -> Failure {
    let others = records.iter().any(|record| record.kiln_facts.is_some());
    match opened {
        Opened::Daemon(_) if !others => Failure::usage(
            "this daemon does not record why steps ran: Kiln's buildkitd does, BuildKit does not",
        ),
        _ => Failure::usage(format!(
            "nothing is recorded of the steps of build {build}: it had none, or was cut short"
        )),
    }
}

fn own_content(engine: &Engine, digest: &str) -> Result<Vec<u8>, Failure> {
    let digest = digest.parse::<Digest>().map_err(Failure::usage)?;
    let bytes = engine.content().read(&digest, Account::limit() as u64);
    bytes.map_err(Failure::usage)
}

async fn content_of(client: &Client, digest: &str) -> Result<Vec<u8>, Failure> {
    let mut pieces = std::pin::pin!(client.content(digest).await?);
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.try_next().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > Account::limit() {
            break;
        }
    }
    Ok(bytes)
}
