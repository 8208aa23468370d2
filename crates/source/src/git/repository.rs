//! The repository of our own that keeps what was fetched from a remote one.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use kiln_store::Store;
use kiln_store::cache_mount::CacheMount;
use tokio::task::spawn_blocking;

use super::command::{Failed, Git, Reach, Run};
use super::error::GitError;
use super::identifier::is_commit;
use crate::attribute::sha256;
use crate::error::SourceError;

/// Locks that a process which was killed may have left; only one process at a time is here.
const STALE: [&str; 4] = [
    "shallow.lock",
    "config.lock",
    "packed-refs.lock",
    "HEAD.lock",
];

/// Where references are kept. Each is called by the hash of its name: names may come to contradict each other.
const REFERENCES: &str = "refs/kept";
/// Where all branches and tags are kept if a commit cannot be had by itself.
const EVERYTHING: [&str; 2] = [
    "+refs/heads/*:refs/all/heads/*",
    "+refs/tags/*:refs/all/tags/*",
];

/// Our repository for a remote one. Nobody else has it while this is there.
pub(super) struct Repository<'a> {
    pub(super) git: &'a Git,
    directory: Arc<CacheMount>,
}

/// What an object is fetched by.
enum Wanted<'a> {
    Name(&'a str),
    Object(&'a str),
}

impl<'a> Repository<'a> {
    /// Waits until nobody else has it, and makes it if it is new.
    pub(super) async fn open(
        store: &Store,
        git: &'a Git,
        url: &str,
        object: &str,
    ) -> Result<Self, SourceError> {
        let format = object_format(object);
        let name = format!("git:{format}:{url}");
        let description = format!("shared git repo for {}", git.remote);
        let directory = Arc::new(store.source_dir(&name, description).await?);
        let repository = Self { git, directory };
        repository.make(format).await?;
        Ok(repository)
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.dir()
    }

    /// git in this repository.
    pub(super) fn run(&self, subcommand: &'static str) -> Run<'a> {
        self.git.run(subcommand).holding(&self.directory)
    }

    async fn make(&self, format: &str) -> Result<(), GitError> {
        let path = self.path().to_owned();
        let is_made = spawn_blocking(move || {
            for lock in STALE {
                remove_if_there(&path.join(lock))?;
            }
            path.join("HEAD").try_exists()
        });
        if on_thread(is_made.await, self.git, "look into the shared repository")? {
            return Ok(());
        }
        let format = format!("--object-format={format}");
        let run = self.run("init").args(["--quiet", "--bare", &format]);
        run.must("make a repository for").await.map(drop)
    }

    /// Sees to it that an object is here, fetching as little as the server lets us: by its name, if it has one, or
    /// else by itself.
    pub(super) async fn bring(
        &self,
        url: &str,
        object: &str,
        name: Option<&str>,
    ) -> Result<(), GitError> {
        if self.has(object).await? {
            return Ok(());
        }
        match self.fetch(url, object, name).await {
            // What a killed process left is not worth mending.
            Err(GitError::Failed { failed, .. }) if is_damage(&failed) => {
                self.clear().await?;
                self.make(object_format(object)).await?;
                self.fetch(url, object, name).await
            }
            outcome => outcome,
        }
    }

    async fn fetch(&self, url: &str, object: &str, name: Option<&str>) -> Result<(), GitError> {
        if let Some(name) = name {
            let fetched = self.fetch_one(url, Wanted::Name(name)).await?;
            if fetched.is_ok() && self.has(object).await? {
                return Ok(());
            }
            // The name has moved on since we asked.
        }
        let fetched = self.fetch_one(url, Wanted::Object(object)).await?;
        if fetched.is_ok() && self.has(object).await? {
            return Ok(());
        }
        if let Err(failed) = fetched
            && !failed.says(&["not our ref", "unadvertised object", "find remote ref"])
        {
            return Err(self.git.failed("fetch remote", failed));
        }
        self.fetch_all(url).await?;
        match self.has(object).await? {
            true => Ok(()),
            false => Err(GitError::NoCommit {
                remote: self.git.remote.clone(),
                commit: object.to_owned(),
            }),
        }
    }

    async fn fetch_one(
        &self,
        url: &str,
        wanted: Wanted<'_>,
    ) -> Result<Result<(), Failed>, GitError> {
        let (source, name) = match wanted {
            Wanted::Name(name) => (name, sha256(name.as_bytes()).replace(':', "-")),
            Wanted::Object(object) => (object, object.to_owned()),
        };
        let spec = format!("+{source}:{REFERENCES}/{name}");
        let fetch = |depth: &[&str]| {
            let run = self.run("fetch").reaching(Reach::Network);
            let run = run.args(["--no-tags", "--no-write-fetch-head"]).args(depth);
            run.args(["--", url, &spec]).outcome()
        };
        let mut fetched = fetch(&["--depth=1"]).await?;
        // Servers of plain files know whole histories only.
        if fetched
            .as_ref()
            .is_err_and(|it| it.says(&["--depth", "shallow"]))
        {
            fetched = fetch(&[]).await?;
        }
        Ok(fetched.map(drop))
    }

    pub(super) async fn fetch_all(&self, url: &str) -> Result<(), GitError> {
        let is_shallow = self.is_shallow().await?;
        let run = self.run("fetch").reaching(Reach::Network);
        let run = run.args(["--no-tags", "--no-write-fetch-head", "--prune"]);
        let run = run.args(is_shallow.then_some("--unshallow"));
        let run = run.args(["--", url]).args(EVERYTHING);
        run.must("fetch remote").await.map(drop)
    }

    /// Whether some history is missing.
    pub(super) async fn is_shallow(&self) -> Result<bool, GitError> {
        let path = self.path().join("shallow");
        let is_shallow = spawn_blocking(move || path.try_exists()).await;
        on_thread(is_shallow, self.git, "look into the shared repository")
    }

    /// Whether an object is here and leads to a commit.
    pub(super) async fn has(&self, object: &str) -> Result<bool, GitError> {
        let commit = format!("{object}^{{commit}}");
        let found = self.run("cat-file").args(["-e", &commit]).outcome().await?;
        Ok(found.is_ok())
    }

    /// The commit that an object leads to.
    pub(super) async fn commit_of(&self, object: &str) -> Result<String, GitError> {
        let commit = format!("{object}^{{commit}}");
        let run = self.run("rev-parse").args(["--verify", "--quiet", &commit]);
        let answer = run.must("find the commit in").await?;
        let commit = String::from_utf8_lossy(&answer).trim().to_owned();
        match is_commit(&commit) {
            true => Ok(commit),
            false => Err(GitError::BadAnswer {
                remote: self.git.remote.clone(),
                text: commit,
            }),
        }
    }

    /// When a commit was made, in seconds since the epoch.
    pub(super) async fn time_of(&self, commit: &str) -> Result<i64, GitError> {
        let run = self
            .run("show")
            .args(["--no-patch", "--format=%ct", commit]);
        let answer = run.must("find the time of a commit of").await?;
        let time = String::from_utf8_lossy(&answer).trim().parse();
        time.map_err(|_| GitError::Object {
            what: "commit",
            name: commit.to_owned(),
            remote: self.git.remote.clone(),
        })
    }

    /// An object as it is stored.
    pub(super) async fn object(&self, kind: &'static str, name: &str) -> Result<Vec<u8>, GitError> {
        let run = self.run("cat-file").args([kind, name]);
        run.must("read an object of").await
    }

    async fn clear(&self) -> Result<(), GitError> {
        let path = self.path().to_owned();
        let cleared = spawn_blocking(move || {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                match entry.file_type()?.is_dir() {
                    true => fs::remove_dir_all(entry.path())?,
                    false => fs::remove_file(entry.path())?,
                }
            }
            Ok(())
        });
        on_thread(cleared.await, self.git, "clear the shared repository")
    }
}

pub(super) fn object_format(object: &str) -> &'static str {
    match object.len() {
        64 => "sha256",
        _ => "sha1",
    }
}

fn is_damage(failed: &Failed) -> bool {
    failed.says(&[
        ".lock': File exists",
        "corrupt",
        "bad object",
        "is empty",
        "unable to read",
        "not a git repository",
        "bad config",
        "did not send all necessary objects",
    ])
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The outcome of disk work on a thread of its own.
pub(super) fn on_thread<T>(
    outcome: Result<io::Result<T>, tokio::task::JoinError>,
    git: &Git,
    action: &str,
) -> Result<T, GitError> {
    let outcome = outcome.unwrap_or_else(|error| Err(io::Error::other(error)));
    outcome.map_err(|source| GitError::Write {
        remote: git.remote.clone(),
        action: action.to_owned(),
        source,
    })
}
