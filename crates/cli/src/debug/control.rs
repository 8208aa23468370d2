//! `buildctl debug ctl`: pins and deletes records of builds.

use kiln_client::HistoryChange;

use crate::arguments::ControlArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::root;

pub(super) fn run(context: &Context, arguments: &ControlArguments) -> Result<(), Failure> {
    let reference = arguments.reference.as_deref();
    let reference = reference.ok_or_else(|| Failure::usage("build ref must be specified"))?;
    let change = match (arguments.pin, arguments.unpin, arguments.delete) {
        (true, false, false) => HistoryChange::Pin,
        (false, true, false) => HistoryChange::Unpin,
        (false, false, true) => HistoryChange::Delete,
        (false, false, false) => {
            return Err(Failure::usage(
                "must specify one of --pin, --unpin, --delete",
            ));
        }
        (true, true, _) => {
            return Err(Failure::usage("cannot specify both --pin and --unpin"));
        }
        (_, _, true) => {
            return Err(Failure::usage(
                "cannot specify --delete with --pin or --unpin",
            ));
        }
    };
    root::block_on(async {
        let client = context.daemon("the history of builds").await?;
        Ok(client.update_history(reference, change).await?)
    })
}
