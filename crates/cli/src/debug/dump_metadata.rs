//! `buildctl debug dump-metadata`: the metadata of the state directory.

use crate::arguments::Arguments;
use crate::context::print;
use crate::failure::Failure;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let root = arguments.root.as_ref();
    let root = root.ok_or_else(|| Failure::usage("no state directory"))?;
    let text = kiln_engine::dump_metadata(root)?;
    print(&text)
}
