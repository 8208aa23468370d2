//! `FileOp`: copies, makes and removes files without running anything.

use std::sync::Arc;

use kiln_llb::pb::file_action::Action;
use kiln_llb::{digest_of, pb};
use kiln_solver::{CacheDep, CacheMap, OpContext};
use kiln_store::checksum::ChecksumOptions;

use super::content::dedupe_paths;
use super::file_actions::{self, Debris, Run};
use super::{Output, digest};
use crate::checksums::Selector;
use crate::error::{BuildError, Kind};
use crate::tree::store_error;
use crate::worker::Worker;

pub(super) struct FileOp {
    op: pb::FileOp,
    name: String,
    /// For each input the paths that decide its content key; `None` when the
    /// whole input does, because something is written on top of it.
    selectors: Vec<Option<Vec<Selector>>>,
}

impl FileOp {
    pub(super) fn new(op: &pb::FileOp, inputs: usize, name: &str) -> Self {
        Self {
            op: op.clone(),
            name: name.into(),
            selectors: selectors(op, inputs),
        }
    }

    pub(super) fn cache_map(&self) -> Result<CacheMap, BuildError> {
        let deps = self.selectors.iter().map(|selectors| match selectors {
            None => CacheDep::default(),
            Some(selectors) => {
                let mut paths = selectors
                    .iter()
                    .map(|s| s.path.as_str())
                    .collect::<Vec<_>>();
                // Descending, as the keys have always been made.
                paths.sort_unstable_by(|a, b| b.cmp(a));
                CacheDep {
                    selector: Some(digest_of(paths.join("\0"))),
                    content: true,
                }
            }
        });
        let digest = digest::file(&self.op, self.selectors.len());
        Ok(CacheMap {
            digest,
            deps: deps.collect(),
            more: false,
        })
    }

    /// What to look at in an input for its content key, paths from its root.
    pub(super) fn content_selectors(&self, input: usize) -> Vec<Selector> {
        let selectors = self.selectors.get(input).and_then(Option::as_ref);
        let mut selectors = selectors.map_or(Vec::new(), |selectors| dedupe(selectors));
        for selector in &mut selectors {
            selector.path = file_actions::absolute(&selector.path);
        }
        selectors
    }

    pub(super) async fn execute(
        &self,
        worker: &Arc<Worker>,
        cx: &OpContext,
        inputs: Vec<Output>,
    ) -> Result<Vec<Output>, BuildError> {
        for input in inputs.iter().flatten() {
            input.materialize().await.map_err(store_error)?;
        }
        let debris = match worker.jobs.are_inspected(cx) {
            true => Debris::Kept,
            false => Debris::Discarded,
        };
        let run = Run::new(worker.clone(), inputs, self.name.clone(), debris);
        let actions = self.op.actions.clone();
        let task = tokio::task::spawn_blocking(move || run.actions(&actions));
        task.await
            .map_err(|error| BuildError::wrap(Kind::Internal, error))?
    }
}

fn selectors(op: &pb::FileOp, inputs: usize) -> Vec<Option<Vec<Selector>>> {
    let mut found = vec![Vec::new(); inputs];
    let mut written = vec![false; inputs];
    for action in &op.actions {
        if let Ok(index) = usize::try_from(action.input)
            && index < inputs
        {
            written[index] = true;
        }
        let owner = match &action.action {
            Some(Action::Copy(copy)) => {
                if let Some(paths) = slot(&mut found, action.secondary_input) {
                    paths.push(copy_selector(copy));
                }
                copy.owner.as_ref()
            }
            Some(Action::Mkfile(file)) => file.owner.as_ref(),
            Some(Action::Mkdir(dir)) => dir.owner.as_ref(),
            _ => None,
        };
        if let Some(owner) = owner {
            owner_selectors(owner, &mut found);
        }
    }
    let known = found.into_iter().zip(written);
    known
        .map(|(paths, written)| (!written && !paths.is_empty()).then_some(paths))
        .collect()
}

fn slot(found: &mut [Vec<Selector>], index: i64) -> Option<&mut Vec<Selector>> {
    found.get_mut(usize::try_from(index).ok()?)
}

fn copy_selector(copy: &pb::FileActionCopy) -> Selector {
    Selector {
        path: copy.src.clone(),
        options: ChecksumOptions {
            follow_links: copy.follow_symlink,
            wildcard: copy.allow_wildcard && has_wildcards(&copy.src),
            include: copy.include_patterns.clone(),
            exclude: copy.exclude_patterns.clone(),
            required: copy.required_paths.clone(),
        },
    }
}

/// Owners given by name are looked up in the input's user database.
fn owner_selectors(owner: &pb::ChownOpt, found: &mut [Vec<Selector>]) {
    let databases = [(&owner.user, "/etc/passwd"), (&owner.group, "/etc/group")];
    for (user, path) in databases {
        let user = user.as_ref().and_then(|user| user.user.as_ref());
        if let Some(pb::user_opt::User::ByName(named)) = user
            && let Some(paths) = slot(found, named.input)
        {
            let options = ChecksumOptions {
                follow_links: true,
                ..ChecksumOptions::default()
            };
            paths.push(Selector {
                path: path.into(),
                options,
            });
        }
    }
}

fn has_wildcards(path: &str) -> bool {
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// Plain paths below other plain paths add nothing; patterns always count.
fn dedupe(selectors: &[Selector]) -> Vec<Selector> {
    let is_plain = |selector: &Selector| {
        let options = &selector.options;
        !options.wildcard && options.include.is_empty() && options.exclude.is_empty()
    };
    let plain = |follow_links: bool| {
        let of_kind = selectors
            .iter()
            .filter(|s| is_plain(s) && s.options.follow_links == follow_links)
            .map(|s| s.path.clone())
            .collect::<Vec<_>>();
        let options = ChecksumOptions {
            follow_links,
            ..ChecksumOptions::default()
        };
        let paths = dedupe_paths(&of_kind).into_iter();
        paths.map(move |path| Selector {
            path,
            options: options.clone(),
        })
    };
    let mut all = plain(false).chain(plain(true)).collect::<Vec<_>>();
    all.extend(
        selectors
            .iter()
            .filter(|selector| !is_plain(selector))
            .cloned(),
    );
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}
