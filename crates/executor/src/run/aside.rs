//! What is put right in a step's root filesystem once the step is over.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;

use crate::ExecRequest;
use crate::view::bundle::{Extended, Touched, Untouched};
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
        let copy = self.extended.and_then(|added| added.restore(&self.root));
        self.stubs.remove(&self.root);
        // The overlay has to be gone before somebody changes what it is made of.
        drop(self.root);
        if let Some(copy) = copy {
            copy.remove();
        }
    }
}

/// A bundle that was copied to an overlay's upper directory for nothing.
struct UselessCopy {
    bundle: Extended,
    upper: PathBuf,
}

impl Added {
    /// Takes the certificates out; what is left to be done without the overlay is the answer.
    fn restore(self, root: &Root) -> Option<UselessCopy> {
        let untouched = match self.copied_to {
            Some(_) => Untouched::Leave,
            None => Untouched::PutBack,
        };
        let touched = self.bundle.restore(root, untouched);
        let upper = self.copied_to.filter(|_| touched == Touched::No)?;
        let bundle = self.bundle;
        Some(UselessCopy { bundle, upper })
    }
}

impl UselessCopy {
    fn remove(self) {
        let remove = |root: &Root| {
            let removed = remove(root, self.bundle.path());
            removed.or_else(|_| self.bundle.put_back(root))
        };
        if let Err(error) = Root::open(&self.upper).and_then(|root| remove(&root)) {
            let bundle = self.bundle.path().display();
            tracing::warn!(%bundle, %error, "a step's certificates stay in its bundle");
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
fn remove(root: &Root, path: &Path) -> io::Result<()> {
    let (parent, name) = root.parent(path)?;
    let (dir, before) = root.times(path.parent().unwrap_or(Path::new("/")))?;
    rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
    Ok(rustix::fs::futimens(dir, &before)?)
}
