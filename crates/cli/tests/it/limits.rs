//! The limit on a daemon's store holds while builds run, on the disk itself.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::daemon::Daemon;
use crate::world::World;

const MEGABYTE: u64 = 1_000_000;
const LIMIT: u64 = 100 * MEGABYTE;
/// What each build writes, in one step.
const STEP: u64 = 20 * MEGABYTE;
const BUILDS: usize = 15;

#[test]
fn a_store_exceeds_its_limit_by_one_step_at_most() {
    let world = World::with_busybox();
    world.on_busybox(&format!(
        "ARG NUMBER\nRUN echo $NUMBER && head -c {STEP} /dev/urandom > /big\nRUN wc -c < /big | grep {STEP}\n"
    ));
    let policy = format!("[[worker.oci.gcpolicy]]\nall = true\nmaxUsedSpace = {LIMIT}\n");
    let daemon = Daemon::configured(&world, &policy);
    let root = world.path("daemon");
    let is_over = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(size_on_disk(&root, &mut HashSet::new()));
            }
            most
        });
        for number in 0..BUILDS {
            let argument = format!("build-arg:NUMBER={number}");
            daemon.must_build(&world, &["--opt", &argument]);
        }
        is_over.store(true, Ordering::Relaxed);
        sampler.join().unwrap()
    });
    assert!(most > LIMIT - STEP, "the builds never came near: {most}");
    assert!(most <= LIMIT + STEP + MEGABYTE, "{most}");
}

/// Bytes of all files below a directory, whatever comes and goes meanwhile.
fn size_on_disk(path: &Path, counted: &mut HashSet<u64>) -> u64 {
    let Ok(found) = path.symlink_metadata() else {
        return 0;
    };
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let inner: u64 = entries
        .map(|entry| size_on_disk(&entry.path(), counted))
        .sum();
    match counted.insert(found.ino()) {
        true => found.blocks() * 512 + inner,
        false => inner,
    }
}
