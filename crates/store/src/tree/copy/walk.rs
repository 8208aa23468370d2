//! Walking a source tree and rebuilding it at the destination.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io;
use std::sync::Arc;

use super::files::{FileJob, FilePool};
use super::plan::{Existing, Item, LateDir, Level, Parent, Place, Rules, Verdict};
use super::{CopyRequest, Filters, parent_of};
use crate::tree::attributes::{Attributes, copied_times};
use crate::tree::dir::{Dir, MAX_DEPTH, Name};
use crate::tree::error::TreeError;
use crate::tree::metadata::{FileKind, Metadata};
use crate::tree::root::Root;

/// The two roots of a copy and how to copy.
#[derive(Clone, Copy)]
pub(super) struct Trees<'a> {
    pub(super) source: &'a Root,
    pub(super) dest: &'a Root,
    pub(super) request: &'a CopyRequest,
    pub(super) filters: &'a Filters,
}

/// Copies what is at a resolved source path to a resolved destination path, whose parent exists.
pub(super) fn copy_tree(trees: Trees<'_>, from: &[u8], to: &[u8]) -> Result<(), TreeError> {
    let stat_failed = |error: io::Error| TreeError::os("lstat", from, error);
    let (source, name, metadata) = match trees.source.open_parent(from).map_err(stat_failed)? {
        Some((dir, name)) => {
            let metadata = dir.metadata(&name).map_err(stat_failed)?;
            (dir, name, metadata)
        }
        None => {
            let root = trees.source.open_dir(b"/").map_err(stat_failed)?;
            let metadata = root.own_metadata().map_err(stat_failed)?;
            (root, c".".to_owned(), metadata)
        }
    };
    std::thread::scope(|scope| {
        let mut walk = Walk {
            trees,
            pool: FilePool::new(scope),
            links: HashMap::new(),
            levels: Vec::new(),
            late: Vec::new(),
        };
        let place = walk.top_place(to)?;
        let item = Item {
            source: Arc::new(source),
            name,
            relative: Vec::new(),
            place,
        };
        let walked = walk.visit(item, Some(metadata), &Rules::top());
        let late = std::mem::take(&mut walk.late);
        // A failed file is why the walk stopped, so it is reported first.
        walk.pool.finish()?;
        walked?;
        finish_dirs(trees.dest, &late)
    })
}

struct Walk<'scope, 'env, 'a> {
    trees: Trees<'a>,
    pool: FilePool<'scope, 'env>,
    /// Where inodes with several names went.
    links: HashMap<(u64, u64), (Arc<Dir>, Name)>,
    levels: Vec<Level>,
    late: Vec<LateDir>,
}

impl Walk<'_, '_, '_> {
    fn top_place(&self, to: &[u8]) -> Result<Place, TreeError> {
        let fail = |error: io::Error| TreeError::os("open", parent_of(to), error);
        let (parent, name) = match self.trees.dest.open_parent(to).map_err(fail)? {
            Some(found) => found,
            None => (
                self.trees.dest.open_dir(b"/").map_err(fail)?,
                c".".to_owned(),
            ),
        };
        Ok(Place {
            parent: Parent::Open(Arc::new(parent)),
            name,
            path: to.to_vec(),
        })
    }

    fn visit(
        &mut self,
        item: Item,
        known: Option<Metadata>,
        rules: &Rules,
    ) -> Result<(), TreeError> {
        let verdict = self.judge(&item.relative, rules);
        if !verdict.included && self.skips_children() {
            return Ok(());
        }
        let metadata = match known {
            Some(metadata) => metadata,
            None => item
                .source
                .metadata(&item.name)
                .map_err(|error| self.source_error("lstat", &item, error))?,
        };
        if metadata.is_dir() {
            return self.directory(item, metadata, rules, verdict);
        }
        if !verdict.included {
            return Ok(());
        }
        let parent = self.parent(&item.place.parent, rules.existing)?;
        self.clear_for_file(&item, &parent)?;
        self.leaf(&item, &metadata, parent)
    }

    fn judge(&self, relative: &[u8], rules: &Rules) -> Verdict {
        let mut below = Rules {
            existing: Existing::Overwrite,
            ..Rules::top()
        };
        if relative.is_empty() {
            return Verdict {
                included: true,
                excluded: false,
                below,
            };
        }
        let (mut included, mut excluded) = (true, false);
        if let Some(include) = &self.trees.filters.include {
            (included, below.include) = include.enter(relative, &rules.include);
        }
        if let Some(exclude) = &self.trees.filters.exclude {
            (excluded, below.exclude) = exclude.enter(relative, &rules.exclude);
        }
        Verdict {
            included: included && !excluded,
            excluded,
            below,
        }
    }

    /// Whether nothing below a path that is out can be in.
    fn skips_children(&self) -> bool {
        self.trees.filters.include.is_none() && !self.has_exceptions()
    }

    /// Whether something below an excluded path may be in after all.
    fn has_exceptions(&self) -> bool {
        self.trees
            .filters
            .exclude
            .as_ref()
            .is_some_and(|exclude| exclude.has_exceptions())
    }

    fn directory(
        &mut self,
        item: Item,
        metadata: Metadata,
        rules: &Rules,
        verdict: Verdict,
    ) -> Result<(), TreeError> {
        if self.levels.len() >= MAX_DEPTH {
            return Err(TreeError::TooDeep(lossy(&item.relative)));
        }
        if verdict.included && self.trees.request.always_replace {
            let parent = self.parent(&item.place.parent, rules.existing)?;
            self.replace_unless_dir(&item.place, &parent)?;
        }
        let Item {
            source,
            name,
            relative,
            place,
        } = item;
        let path = place.path.clone();
        let level = self.levels.len();
        self.levels.push(Level {
            source: source.clone(),
            name: name.clone(),
            metadata,
            place,
            existing: rules.existing,
            dest: None,
        });
        let made = if verdict.included {
            Some(self.make_level(level)?.0)
        } else {
            None
        };
        if !verdict.excluded || self.has_exceptions() {
            let failed = |error| TreeError::os("open", &relative, error);
            let dir = Arc::new(source.open_dir(&name).map_err(failed)?);
            self.children(&dir, level, &relative, &verdict.below)?;
        }
        self.levels.pop();
        let attributes = match (made, rules.existing) {
            (Some(Made::New), _) | (Some(Made::Existing), Existing::Overwrite) => {
                self.dir_attributes(&source, &name, &metadata)
            }
            (Some(Made::Existing), Existing::Keep) => Attributes {
                times: Some(copied_times(self.trees.request, &metadata)),
                ..Attributes::default()
            },
            (None, _) => return Ok(()),
        };
        self.late.push(LateDir { path, attributes });
        Ok(())
    }

    fn children(
        &mut self,
        dir: &Arc<Dir>,
        level: usize,
        relative: &[u8],
        rules: &Rules,
    ) -> Result<(), TreeError> {
        let names = dir
            .names()
            .map_err(|error| TreeError::os("readdir", relative, error))?;
        for name in names {
            let item = Item {
                source: dir.clone(),
                relative: join(relative, &name),
                place: Place {
                    parent: Parent::Level(level),
                    path: join(&self.levels[level].place.path, &name),
                    name: name.clone(),
                },
                name,
            };
            crate::tree::level(|| self.visit(item, None, rules))?;
        }
        Ok(())
    }

    fn dir_attributes(&self, source: &Dir, name: &CStr, metadata: &Metadata) -> Attributes {
        let xattrs = source.xattrs(name).unwrap_or_default();
        Attributes {
            xattrs,
            ..Attributes::of_copy(self.trees.request, metadata)
        }
    }

    /// The open destination directory of a parent; made now if nothing below it was copied before.
    fn parent(&mut self, parent: &Parent, existing: Existing) -> Result<Arc<Dir>, TreeError> {
        let level = match parent {
            Parent::Open(dir) => return Ok(dir.clone()),
            Parent::Level(level) => *level,
        };
        if let Some(dir) = &self.levels[level].dest {
            return Ok(dir.clone());
        }
        // The directory itself is not among what the patterns name; only what is below it is.
        let (made, dir) = self.make_level(level)?;
        let Level {
            source,
            name,
            metadata,
            place,
            ..
        } = &self.levels[level];
        let attributes = match (made, existing) {
            // What is put into it changes its time, and the field's copies leave it at that: with another time, a
            // layer would have another digest.
            (Made::New, _) => Attributes {
                times: None,
                ..self.dir_attributes(source, name, metadata)
            },
            (Made::Existing, Existing::Overwrite) => Attributes {
                mode: Some(metadata.mode),
                ..Attributes::default()
            },
            (Made::Existing, Existing::Keep) => return Ok(dir),
        };
        let path = place.path.clone();
        self.late.push(LateDir { path, attributes });
        Ok(dir)
    }

    /// Makes the destination directory of a level, or takes the one that is there.
    fn make_level(&mut self, level: usize) -> Result<(Made, Arc<Dir>), TreeError> {
        let Level {
            place: Place { parent, .. },
            existing,
            ..
        } = &self.levels[level];
        let (parent, existing) = (parent.clone(), *existing);
        let parent = self.parent(&parent, existing)?;
        let Place { name, path, .. } = &self.levels[level].place;
        let fail = |error: io::Error| TreeError::os("mkdir", path, error);
        let made = match parent.make_dir(name) {
            Ok(()) => Made::New,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !parent.metadata(name).map_err(fail)?.is_dir() {
                    return Err(TreeError::NotADirectory(lossy(path)));
                }
                Made::Existing
            }
            Err(error) => return Err(fail(error)),
        };
        let dir = Arc::new(parent.open_dir(name).map_err(fail)?);
        self.levels[level].dest = Some(dir.clone());
        Ok((made, dir))
    }

    fn replace_unless_dir(&self, place: &Place, parent: &Dir) -> Result<(), TreeError> {
        let fail = |error: io::Error| TreeError::os("unlinkat", &place.path, error);
        match parent.find(&place.name).map_err(fail)? {
            Some(existing) if !existing.is_dir() => parent.unlink(&place.name).map_err(fail),
            _ => Ok(()),
        }
    }

    /// Removes what is in the way of something that is no directory.
    fn clear_for_file(&self, item: &Item, parent: &Dir) -> Result<(), TreeError> {
        let Place { name, path, .. } = &item.place;
        let fail = |error: io::Error| TreeError::os("unlinkat", path, error);
        match parent.find(name).map_err(fail)? {
            None => Ok(()),
            Some(existing) if !existing.is_dir() => parent.unlink(name).map_err(fail),
            Some(_) if self.trees.request.always_replace => parent.remove_all(name).map_err(fail),
            Some(_) => Err(TreeError::IsADirectory(lossy(path))),
        }
    }

    fn leaf(
        &mut self,
        item: &Item,
        metadata: &Metadata,
        parent: Arc<Dir>,
    ) -> Result<(), TreeError> {
        let Place { name, path, .. } = &item.place;
        let write_failed = |error: io::Error| TreeError::os("create", path, error);
        if metadata.kind == FileKind::File {
            return self.file(item, metadata, parent);
        }
        let mut attributes = Attributes::of_copy(self.trees.request, metadata);
        if metadata.kind == FileKind::Symlink {
            let target = item
                .source
                .read_link(&item.name)
                .map_err(|error| self.source_error("readlink", item, error))?;
            parent.make_symlink(&target, name).map_err(write_failed)?;
        } else {
            parent
                .make_node(name, metadata.kind, metadata.rdev)
                .map_err(write_failed)?;
        }
        attributes.xattrs = item.source.xattrs(&item.name).unwrap_or_default();
        attributes.set(&parent, name).map_err(write_failed)
    }

    fn file(
        &mut self,
        item: &Item,
        metadata: &Metadata,
        parent: Arc<Dir>,
    ) -> Result<(), TreeError> {
        let job = FileJob {
            source: item.source.clone(),
            source_name: item.name.clone(),
            dest: parent.clone(),
            dest_name: item.place.name.clone(),
            path: item.place.path.clone(),
            metadata: *metadata,
            attributes: Attributes::of_copy(self.trees.request, metadata),
        };
        if !metadata.is_hard_linked() {
            return self.pool.submit(job);
        }
        if let Some((dir, name)) = self.links.get(&metadata.identity()) {
            return parent
                .make_link(dir, name, &job.dest_name)
                .map_err(|error| TreeError::os("link", &job.path, error));
        }
        // Later names need it to be there, so it is not left to another thread.
        self.links
            .insert(metadata.identity(), (parent, job.dest_name.clone()));
        job.run()
    }

    fn source_error(&self, op: &'static str, item: &Item, error: io::Error) -> TreeError {
        let base = super::path::absolute(&self.trees.request.source);
        TreeError::os(
            op,
            join(
                base.as_bytes(),
                &CString::new(item.relative.clone()).unwrap_or_default(),
            ),
            error,
        )
    }
}

/// Whether a directory was made or found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    New,
    Existing,
}

fn finish_dirs(dest: &Root, late: &[LateDir]) -> Result<(), TreeError> {
    for LateDir { path, attributes } in late.iter().rev() {
        let fail = |error: io::Error| TreeError::os("set attributes of", path, error);
        match dest.open_parent(path).map_err(fail)? {
            Some((parent, name)) => attributes.set(&parent, &name).map_err(fail)?,
            None => attributes
                .set(&dest.open_dir(b"/").map_err(fail)?, c".")
                .map_err(fail)?,
        }
    }
    Ok(())
}

fn join(base: &[u8], name: &CStr) -> Vec<u8> {
    match base {
        b"" => name.to_bytes().to_vec(),
        base if base.ends_with(b"/") => [base, name.to_bytes()].concat(),
        base => [base, b"/", name.to_bytes()].concat(),
    }
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
