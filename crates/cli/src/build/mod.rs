//! `buildctl build`.

mod cache;
mod credentials;
mod daemon;
mod dry_run;
mod embedded;
mod interrupt;
mod metadata;
mod options;
mod output;
mod plan;
mod policy;
mod registry_auth;
mod secret;
mod ssh;

use std::collections::BTreeMap;

use crate::arguments::BuildArguments;
use crate::context::{Context, Opened};
use crate::failure::Failure;
use crate::progress::{Display, Record, Stream};
use crate::root;
use plan::BuildPlan;

/// What a build leaves behind beside its outputs.
struct Outcome {
    /// The exporters' answers.
    response: BTreeMap<String, String>,
    /// The frontend's answer to `--opt requestid=…`.
    answer: BTreeMap<String, Vec<u8>>,
}

pub(crate) fn run(context: &Context, build: &BuildArguments) -> Result<(), Failure> {
    let plan = BuildPlan::parse(build)?;
    if build.dry_run {
        return dry_run::run(context, build, plan);
    }
    let id = plan.id.clone();
    let outcome = root::block_on(run_build(context, build, plan));
    if let Some(file) = &build.ref_file {
        metadata::write_atomically(file, id.as_str().as_bytes())?;
    }
    let outcome = outcome?;
    if let Some(file) = &build.metadata_file
        && !outcome.response.is_empty()
    {
        metadata::write(file, &outcome.response)?;
    }
    print_answer(&outcome.answer);
    Ok(())
}

async fn run_build(
    context: &Context,
    build: &BuildArguments,
    mut plan: BuildPlan,
) -> Result<Outcome, Failure> {
    for output in &mut plan.outputs {
        output.connect().await?;
    }
    let opened = context.open().await?;
    let trace = build.trace.clone().map(Record::Trace);
    let metrics = build.debug_json_cache_metrics.clone();
    let records = trace.into_iter().chain(metrics.map(Record::CacheMetrics));
    let display = Display::start(build.progress, Stream::Stderr, records.collect())?;
    let progress = display.sink();
    let outcome = match opened {
        Opened::Embedded(engine) => {
            interrupt::until_interrupted(embedded::build(&engine, plan, progress)).await
        }
        Opened::Daemon(client) => {
            interrupt::until_interrupted(daemon::build(&client, plan, progress)).await
        }
    };
    display.finish();
    outcome
}

/// Prints what a frontend answered to `--opt requestid=…`.
fn print_answer(answer: &BTreeMap<String, Vec<u8>>) {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    // A reader that left is not this command's failure.
    if let Some(text) = answer.get("result.txt") {
        let _ = stdout.write_all(text);
        return;
    }
    for (key, value) in answer.iter().filter(|(key, _)| key.starts_with("result.")) {
        let _ = writeln!(stdout, "{key}\n{}", String::from_utf8_lossy(value));
    }
}
