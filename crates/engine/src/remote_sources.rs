//! What frontends ask of git repositories and files of web servers.

use std::sync::Arc;

use kiln_llb::pb;
use kiln_source::{
    ChecksumRequest, GitIdentifier, GitLog, GitObjects, GitRevision, HttpFile, HttpIdentifier,
    SourceError,
};

use crate::bridge::Bridge;
use crate::error::BuildError;
use crate::jobs::Reporter;
use crate::ops::source::source_error;
use crate::ops::transfer::Download;
use crate::step::Step;

/// A source that is asked for over the network and is no image.
pub(crate) enum Remote {
    Git(Box<GitIdentifier>),
    Http(HttpIdentifier),
}

impl Remote {
    /// `None` if it is another kind of source.
    pub(crate) fn parse(source: &pb::SourceOp) -> Result<Option<Self>, BuildError> {
        let remote = match source.identifier.split_once("://") {
            Some(("git", rest)) => {
                GitIdentifier::parse(rest, &source.attrs).map(|git| Self::Git(Box::new(git)))
            }
            Some((scheme @ ("http" | "https"), rest)) => {
                HttpIdentifier::parse(scheme, rest, &source.attrs).map(Self::Http)
            }
            _ => return Ok(None),
        };
        remote.map(Some).map_err(source_error)
    }
}

/// Whether a commit itself is wanted, which has to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectsWanted {
    Yes,
    No,
}

/// A revision of a repository.
pub(crate) struct FoundRevision {
    pub(crate) revision: GitRevision,
    /// If they are wanted.
    pub(crate) objects: Option<GitObjects>,
}

impl Bridge {
    /// Finds out what a reference of a repository is, shown as a step called `name`.
    pub(crate) async fn revision(
        &self,
        git: &GitIdentifier,
        wanted: ObjectsWanted,
        name: &str,
    ) -> Result<FoundRevision, BuildError> {
        let step = Step::start(&self.progress, name);
        let log = || git_log(step.reporter.clone());
        let repositories = &self.engine.worker.sources.repositories;
        let sessions = [self.session.clone()];
        let revisions = self.engine.worker.jobs.revisions_of(self.job.id());
        let find = async {
            let revision = revisions
                .resolve(repositories, git, &sessions, log())
                .await?;
            let objects = match wanted {
                ObjectsWanted::No => None,
                ObjectsWanted::Yes => {
                    let objects = repositories.objects(git, &revision, &sessions, log());
                    Some(objects.await?)
                }
            };
            Ok::<_, SourceError>(FoundRevision { revision, objects })
        };
        let found = find.await;
        step.finish(found.map_err(source_error))
    }

    /// Finds out what a file of a web server is, and a further checksum of it if one is wanted, shown as a step called
    /// `name`.
    pub(crate) async fn file(
        &self,
        http: &HttpIdentifier,
        wanted: Option<ChecksumRequest>,
        name: &str,
    ) -> Result<(HttpFile, Option<String>), BuildError> {
        let step = Step::start(&self.progress, name);
        let download = Download::start(step.reporter.clone(), &http.url);
        let sessions = [self.session.clone()];
        let files = &self.engine.worker.sources.files;
        let find = async {
            let file = files.resolve(http, &sessions, download.progress()).await?;
            let checksum = match wanted {
                None => None,
                Some(wanted) => {
                    let checksum = files.checksum(http, wanted, &sessions, download.progress());
                    Some(checksum.await?)
                }
            };
            Ok::<_, SourceError>((file, checksum))
        };
        let found = find.await;
        download.done();
        step.finish(found.map_err(source_error))
    }
}

/// What git says is output of the step.
pub(crate) fn git_log(reporter: Reporter) -> GitLog {
    Arc::new(move |stream, data| reporter.log(stream, &data))
}
