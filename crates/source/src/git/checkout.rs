//! Puts the files of a commit into a directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use super::command::{Git, Reach};
use super::error::GitError;
use super::identifier::GitDirectory;
use super::repository::{Repository, object_format, on_thread};

/// The list of files of a checkout without `.git`; a part of our repository, which nobody else has.
const INDEX: &str = "kiln-index";

/// What goes where.
pub(super) struct Checkout<'a> {
    pub(super) git: &'a Git,
    pub(super) repository: &'a Repository<'a>,
    /// A commit or a tag.
    pub(super) object: &'a str,
    /// The full name of the reference that it was found by.
    pub(super) name: Option<&'a str>,
    pub(super) git_directory: GitDirectory,
    /// An empty directory.
    pub(super) target: &'a Path,
}

impl Checkout<'_> {
    pub(super) async fn write(&self) -> Result<(), GitError> {
        match self.git_directory {
            GitDirectory::Dropped | GitDirectory::Bundled => self.write_files().await,
            GitDirectory::Kept => self.write_with_repository().await,
        }
    }

    async fn write_files(&self) -> Result<(), GitError> {
        let index = self.repository.path().join(INDEX);
        self.forget(&index).await?;
        let commit = format!("{}^{{commit}}", self.object);
        let run = self.repository.run("read-tree").work_tree(self.target);
        let run = run.index(&index).args(["--reset", "-u", &commit]);
        run.must("checkout remote").await?;
        self.forget(&index).await
    }

    async fn forget(&self, index: &Path) -> Result<(), GitError> {
        let files = [index.to_owned(), index.with_extension("lock")];
        let forgotten = spawn_blocking(move || {
            for file in files {
                match fs::remove_file(file) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        });
        on_thread(forgotten.await, self.git, "remove the list of files")
    }

    /// With a repository of its own, which has this one commit and knows where it is from.
    async fn write_with_repository(&self) -> Result<(), GitError> {
        let (target, object) = (self.target, self.object);
        let git_dir = target.join(".git");
        let run = |subcommand| {
            let run = self.git.run(subcommand);
            run.git_dir(&git_dir).work_tree(target)
        };
        let format = format!("--object-format={}", object_format(object));
        run("init")
            .args(["--quiet", &format])
            .must("make a repository for")
            .await?;
        // As a remote repository: the ways that are shorter on one machine have led to foreign files before.
        let mut source = std::ffi::OsString::from("file://");
        source.push(self.repository.path());
        let spec = match self.name {
            Some(name) => format!("+{object}:{name}"),
            None => object.to_owned(),
        };
        let fetch = run("fetch").reaching(Reach::Local);
        let fetch = fetch.args(["--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head"]);
        let fetch = fetch.args(["--update-head-ok", "--"]);
        fetch
            .args([source, spec.into()])
            .must("copy the repository of")
            .await?;
        let checkout = run("checkout").args(["--quiet", "--detach", object]);
        checkout.must("checkout remote").await?;
        let origin = run("remote").args(["add", "origin", &self.git.remote]);
        origin.must("name the origin of").await.map(drop)
    }
}

/// Makes a directory of a checkout the root: what is in it moves up into `root`, which is empty.
pub(super) fn move_up(checkout: &Path, subdir: &str, root: &Path) -> io::Result<Result<(), Wrong>> {
    let directory = match real_directory(checkout, subdir)? {
        Ok(directory) => directory,
        Err(wrong) => return Ok(Err(wrong)),
    };
    for entry in fs::read_dir(&directory)? {
        let name = entry?.file_name();
        fs::rename(directory.join(&name), root.join(&name))?;
    }
    Ok(Ok(()))
}

/// A part of a path that is not as it should be.
pub(super) struct Wrong {
    pub(super) place: String,
    pub(super) reason: &'static str,
}

/// A directory below a checkout that is reached by directories only: no symlink of it leads anywhere.
pub(super) fn real_directory(checkout: &Path, below: &str) -> io::Result<Result<PathBuf, Wrong>> {
    let mut path = checkout.to_owned();
    let mut place = String::new();
    for name in below.split('/').filter(|name| !name.is_empty()) {
        if !place.is_empty() {
            place.push('/');
        }
        place.push_str(name);
        path.push(name);
        let wrong = |reason| {
            let place = place.clone();
            Ok(Err(Wrong { place, reason }))
        };
        if matches!(name, "." | ".." | ".git") {
            return wrong("is no directory of a repository");
        }
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return wrong("is no directory"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return wrong("does not exist: no such file or directory");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Ok(path))
}
