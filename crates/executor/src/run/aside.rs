//! What is put right in a step's root filesystem once the step is over.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;

use crate::ExecRequest;
use crate::view::bundle::{Extended, Touched};
use crate::view::root::Root;
use crate::view::stubs::Stubs;

/// A second mount of the root filesystem alone: it stays writable, and it outlives the step's namespace.
#[derive(Debug)]
pub(crate) struct Aside {
    root: Root,
    pub(crate) stubs: Stubs,
    extended: Option<Added>,
}

/// A bundle of certificates with more of them.
#[derive(Debug)]
struct Added {
    bundle: Extended,
    /// The overlay's upper directory, if the bundle was copied there to be changed.
    copied_to: Option<PathBuf>,
}

impl Aside {
    pub(crate) fn new(path: &Path, stubs: Stubs) -> io::Result<Aside> {
        Ok(Aside {
            root: Root::detached(path)?,
            stubs,
            extended: None,
        })
    }

    /// Remembers that certificates have been added; `upper` is where the file was copied to for that.
    pub(crate) fn added(&mut self, bundle: Extended, upper: Option<PathBuf>) {
        self.extended = Some(Added {
            bundle,
            copied_to: upper,
        });
    }

    /// Removes what was made or added for the step.
    pub(crate) fn restore(self) {
        let touched = self
            .extended
            .as_ref()
            .map(|added| added.bundle.restore(&self.root));
        self.stubs.remove(&self.root);
        // The overlay has to be gone before somebody changes what it is made of.
        drop(self.root);
        let Some((added, Touched::No)) = self.extended.zip(touched) else {
            return;
        };
        if let Some(upper) = added.copied_to
            && let Err(error) = remove(&upper, added.bundle.path())
        {
            tracing::debug!(%error, upper = %upper.display(), "a copy of a bundle of certificates stays");
        }
    }
}

/// The upper directory of a step's overlay, if `path` is still to be copied there when it is changed.
pub(crate) fn upper_without(request: &ExecRequest, path: &Path) -> Option<PathBuf> {
    let overlay = request
        .rootfs
        .last()
        .filter(|mount| mount.kind == "overlay")?;
    let mut options = overlay.options.iter();
    let upper = options.find_map(|option| option.strip_prefix("upperdir="))?;
    // Escaped in a way that only the kernel needs to know.
    let upper = Some(PathBuf::from(upper)).filter(|_| !upper.contains('\\'))?;
    match Root::open(&upper).and_then(|root| root.stat(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(upper),
        _ => None,
    }
}

/// Removes a file, keeping the times of the directory that it is in.
fn remove(upper: &Path, path: &Path) -> io::Result<()> {
    let root = Root::open(upper)?;
    let (parent, name) = root.parent(path)?;
    let (dir, before) = root.times(path.parent().unwrap_or(Path::new("/")))?;
    rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
    Ok(rustix::fs::futimens(dir, &before)?)
}
