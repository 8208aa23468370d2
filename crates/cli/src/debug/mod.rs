//! `buildctl debug`: looks into an engine.

mod builds;
mod control;
mod dump_llb;
mod dump_metadata;
mod events;
mod get;
mod history_value;
mod info;
mod logs;
mod monitor;
mod workers;

use crate::arguments::DebugCommand;
use crate::context::Context;
use crate::failure::Failure;

pub(crate) use events::prune_histories;

pub(crate) fn run(context: &Context, command: &DebugCommand) -> Result<(), Failure> {
    match command {
        DebugCommand::DumpLlb(dump) => dump_llb::run(dump),
        DebugCommand::DumpMetadata => dump_metadata::run(&context.arguments),
        DebugCommand::Workers(workers) => workers::run(context, workers),
        DebugCommand::Info(info) => info::run(context, info),
        DebugCommand::Monitor(monitor) => monitor::run(context, monitor),
        DebugCommand::Logs(logs) => logs::run(context, logs),
        DebugCommand::Ctl(control) => control::run(context, control),
        DebugCommand::Get(get) => get::run(context, get),
        DebugCommand::Histories(histories) => builds::run(context, histories),
    }
}
