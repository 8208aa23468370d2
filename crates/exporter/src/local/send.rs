//! `type=local` for a client elsewhere: the files are sent, and the client puts them into its directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use kiln_session::transfer::{
    Announced, Clash, EntryKind, Link, OutgoingTree, Owners, SendProgress, Sockets, StopFlag,
    TransferError, TreeEntry, send,
};
use kiln_store::walk::{Filter, WalkRoot};

use super::duplicate;
use crate::ExportError;
use crate::opened::{OpenTree, attestation_in_the_way, folder_name};
use crate::progress::Step;

/// How often a step's progress is told, in bytes.
const PERIOD: u64 = 1 << 20;

/// How trees are sent.
#[derive(Clone, Copy)]
pub(crate) struct SendPlan {
    /// Whether every tree gets a folder of its own.
    pub(crate) split: bool,
    /// The time that every file gets, in seconds.
    pub(crate) epoch: Option<i64>,
}

/// Sends the trees as one.
pub(crate) async fn send_trees(
    link: Link,
    trees: Vec<OpenTree>,
    plan: SendPlan,
    step: &Step,
) -> Result<(), ExportError> {
    // Why two trees do not fit together is for the user; the client is told in general.
    let misfit = Arc::new(std::sync::Mutex::new(None));
    let found = Arc::clone(&misfit);
    // They must be there until all is sent.
    let trees = Arc::new(trees);
    let listed = Arc::clone(&trees);
    let make = move |stop: &StopFlag| {
        let joined = join(&listed, plan, stop)?;
        joined.map_err(|error| {
            let text = error.to_string();
            *found
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
            TransferError::Protocol(text)
        })
    };
    let sent = send(link, make, progress(step)).await;
    drop(trees);
    let misfit = misfit
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .take();
    match (misfit, sent) {
        (Some(error), _) => Err(error),
        (None, sent) => sent.map_err(ExportError::Transfer),
    }
}

fn progress(step: &Step) -> SendProgress {
    let report = step.reporter();
    let sent = AtomicU64::new(0);
    Arc::new(move |bytes| {
        let before = sent.fetch_add(bytes, Ordering::Relaxed);
        if before / PERIOD != (before + bytes) / PERIOD {
            report(before + bytes);
        }
    })
}

/// All trees in one list, each in its folder if they are split.
fn join(
    trees: &[OpenTree],
    plan: SendPlan,
    stop: &StopFlag,
) -> Result<Result<OutgoingTree, ExportError>, TransferError> {
    let mut all = Vec::with_capacity(trees.len());
    for tree in trees {
        let layers: Result<Vec<_>, _> =
            tree.layers().map(|layer| scan(layer, plan, stop)).collect();
        let joined = match OutgoingTree::join(layers?) {
            Ok(joined) => joined,
            Err(Clash { path, .. }) => {
                return Ok(Err(attestation_in_the_way(&String::from_utf8_lossy(&path))));
            }
        };
        all.push(match plan.split {
            true => joined.into_folder(folder(&tree.platform, plan.epoch)),
            false => joined,
        });
    }
    Ok(OutgoingTree::join(all).map_err(|clash| {
        let (one, other) = clash.trees;
        ExportError::Result(format!(
            "cannot overwrite {} from {} with {} when split option is disabled",
            String::from_utf8_lossy(&clash.path),
            trees[one].platform,
            trees[other].platform,
        ))
    }))
}

fn scan(
    layer: &std::os::fd::OwnedFd,
    plan: SendPlan,
    stop: &StopFlag,
) -> Result<OutgoingTree, TransferError> {
    let layer = duplicate(layer).map_err(|error| TransferError::File {
        action: "open",
        path: ".".into(),
        source: error.into(),
    })?;
    let announced = Announced {
        owners: Owners::Kept,
        mtime: plan.epoch.map(nanoseconds),
        // Nothing listens on a socket that lies in a result.
        sockets: Sockets::LeftOut,
    };
    OutgoingTree::scan(WalkRoot::from(layer), &Filter::default(), announced, stop)
}

fn folder(platform: &str, epoch: Option<i64>) -> TreeEntry {
    let now = || {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    };
    TreeEntry {
        path: folder_name(platform).into_bytes(),
        kind: EntryKind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: epoch.map_or_else(now, nanoseconds),
        xattrs: Vec::new(),
    }
}

fn nanoseconds(seconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000)
}
