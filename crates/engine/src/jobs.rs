//! The builds in flight: which client stands behind each solver job.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use kiln_llb::Definition;
use kiln_session::progress::{Log, ProgressSink, Status, Timestamp, Update, Warning};
use kiln_session::{Session, SessionError};
use kiln_solver::{JobId, LiveJobs, OpContext};
use oci_spec::image::Digest;

use crate::cache_transfer::BuildMounts;
use crate::error::BuildError;
use crate::explain::FactBook;
use crate::ops::Output;
use crate::revisions::Revisions;

/// One build's client.
#[derive(Clone)]
struct Client {
    session: Session,
    progress: ProgressSink,
    facts: Arc<dyn Notebook>,
    scrutiny: Scrutiny,
    /// Whether it wants to know what steps use.
    is_measured: bool,
    /// The way back to the engine, for steps that are builds themselves.
    builder: Option<Weak<dyn Builder>>,
    revisions: Arc<Revisions>,
    mounts: Arc<BuildMounts>,
}

/// Has things built on behalf of a build.
///
/// A trait, so that the type of a build's bridge, which leads to all jobs, is not part of theirs: for every future that
/// reports something the compiler would go round that circle.
#[async_trait]
pub(crate) trait Builder: Send + Sync {
    /// The beginning of a file, at most `limit` bytes; `None` if there is none.
    async fn read(
        &self,
        tree: &Output,
        path: &str,
        limit: usize,
    ) -> Result<Option<Bytes>, BuildError>;

    /// What a definition comes to.
    async fn build(&self, definition: &Definition) -> Result<Output, BuildError>;

    /// The URL to be fetched instead of `url`, `None` if that itself may be.
    async fn judge_request(&self, url: &str) -> Result<Option<String>, BuildError>;
}

/// What is noted of a build: another circle that the types of jobs stay out of, because notes have ops in them.
trait Notebook: Send + Sync {
    fn book(&self) -> &FactBook;
}

impl Notebook for FactBook {
    fn book(&self) -> &FactBook {
        self
    }
}

/// Whether anybody may look into what a failed step leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scrutiny {
    None,
    Inspected,
}

/// All builds in flight. Ops ask here, through the jobs that want them at
/// that moment, so one client leaving never breaks another's build.
#[derive(Clone, Default)]
pub(crate) struct Jobs(Arc<Mutex<HashMap<JobId, Client>>>);

/// Keeps a build registered; dropping it forgets the build's client.
pub(crate) struct Registration {
    jobs: Jobs,
    id: JobId,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.jobs.lock().remove(&self.id);
    }
}

impl Jobs {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Client>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a build for as long as the answer lives.
    pub(crate) fn register(
        &self,
        id: JobId,
        session: Session,
        progress: ProgressSink,
        facts: Arc<FactBook>,
    ) -> Registration {
        let client = Client {
            session,
            progress,
            facts,
            scrutiny: Scrutiny::None,
            is_measured: false,
            builder: None,
            revisions: Arc::default(),
            mounts: Arc::default(),
        };
        self.lock().insert(id.clone(), client);
        Registration {
            jobs: self.clone(),
            id,
        }
    }

    /// From now on steps of a build can have something built.
    pub(crate) fn lend(&self, id: &JobId, builder: Weak<dyn Builder>) {
        if let Some(client) = self.lock().get_mut(id) {
            client.builder = Some(builder);
        }
    }

    /// What has things built for the builds that want a vertex now.
    pub(crate) fn builders(&self, cx: &OpContext) -> Vec<Arc<dyn Builder>> {
        let clients = self.lock();
        let live = cx.jobs.list();
        let live = live.iter().filter_map(|id| clients.get(id));
        live.filter_map(|client| client.builder.as_ref()?.upgrade())
            .collect()
    }

    /// From now on what failed steps of a build leave is kept.
    pub(crate) fn inspect(&self, id: &JobId) {
        if let Some(client) = self.lock().get_mut(id) {
            client.scrutiny = Scrutiny::Inspected;
        }
    }

    /// From now on what steps of a build use is noted.
    pub(crate) fn measure(&self, id: &JobId) {
        if let Some(client) = self.lock().get_mut(id) {
            client.is_measured = true;
        }
    }

    /// Whether one of the builds that want a vertex now wants to know what it uses.
    pub(crate) fn are_measured(&self, cx: &OpContext) -> bool {
        let clients = self.lock();
        let live = cx.jobs.list();
        let mut live = live.iter().filter_map(|id| clients.get(id));
        live.any(|client| client.is_measured)
    }

    /// Whether one of the builds that want a vertex now may look into what it
    /// leaves.
    pub(crate) fn are_inspected(&self, cx: &OpContext) -> bool {
        let clients = self.lock();
        let live = cx.jobs.list();
        let mut live = live.iter().filter_map(|id| clients.get(id));
        live.any(|client| client.scrutiny == Scrutiny::Inspected)
    }

    /// Takes a note of a vertex for all builds that want it now.
    pub(crate) fn note(&self, cx: &OpContext, note: impl Fn(&FactBook)) {
        let clients = self.lock();
        for client in cx.jobs.list().iter().filter_map(|id| clients.get(id)) {
            note(client.facts.book());
        }
    }

    /// The cache mounts of a build; of one that has ended, none.
    pub(crate) fn mounts(&self, id: &JobId) -> Arc<BuildMounts> {
        let clients = self.lock();
        let found = clients.get(id).map(|client| client.mounts.clone());
        found.unwrap_or_default()
    }

    /// The sessions of the builds that want a vertex now.
    pub(crate) fn sessions(&self, cx: &OpContext) -> Vec<Session> {
        let clients = self.lock();
        let live = cx.jobs.list();
        live.iter()
            .filter_map(|id| clients.get(id).map(|client| client.session.clone()))
            .collect()
    }

    /// The first session of the builds that want a vertex now.
    pub(crate) fn session(&self, cx: &OpContext) -> Result<Session, SessionError> {
        self.sessions(cx)
            .into_iter()
            .next()
            .ok_or_else(|| SessionError::Provider {
                what: "session".into(),
                message: "no client is left that wants this step".into(),
            })
    }

    /// The revisions of repositories in the first of the builds that want a vertex now.
    pub(crate) fn revisions(&self, cx: &OpContext) -> Arc<Revisions> {
        let live = cx.jobs.list();
        live.first()
            .map(|id| self.revisions_of(id))
            .unwrap_or_default()
    }

    /// The revisions of repositories in a build.
    pub(crate) fn revisions_of(&self, id: &JobId) -> Arc<Revisions> {
        let clients = self.lock();
        let client = clients.get(id);
        client.map(|it| it.revisions.clone()).unwrap_or_default()
    }

    /// Where news about a vertex goes.
    pub(crate) fn reporter(&self, cx: &OpContext) -> Reporter {
        Reporter {
            vertex: cx.vertex.clone(),
            target: Target::Live(self.clone(), cx.jobs.clone()),
        }
    }

    fn send(&self, jobs: &LiveJobs, update: &Update) {
        let sinks: Vec<ProgressSink> = {
            let clients = self.lock();
            let live = jobs.list();
            live.iter()
                .filter_map(|id| clients.get(id).map(|client| client.progress.clone()))
                .collect()
        };
        for sink in sinks {
            sink.update(update.clone());
        }
    }
}

/// Who lends secrets and agents to a process.
pub(crate) enum Lenders<'a> {
    /// Whoever wants a vertex when they are needed.
    Live(&'a Jobs, &'a OpContext),
    /// One client.
    One(&'a Session),
}

impl Lenders<'_> {
    pub(crate) fn sessions(&self) -> Vec<Session> {
        match self {
            Self::Live(jobs, cx) => jobs.sessions(cx),
            Self::One(session) => vec![Session::clone(session)],
        }
    }

    /// Whose imported caches may have the mounts of a vertex, and whom to tell of it.
    pub(crate) fn mounts(&self) -> Option<(Vec<Arc<BuildMounts>>, Reporter)> {
        let Self::Live(jobs, cx) = self else {
            return None;
        };
        let live = cx.jobs.list();
        let mounts = live.iter().map(|id| jobs.mounts(id)).collect();
        Some((mounts, jobs.reporter(cx)))
    }
}

/// Reports what happens inside one vertex.
#[derive(Clone)]
pub(crate) struct Reporter {
    vertex: Digest,
    target: Target,
}

#[derive(Clone)]
enum Target {
    /// Whoever wants the vertex when the news comes.
    Live(Jobs, LiveJobs),
    /// One build, for steps that are not ops.
    One(ProgressSink),
}

impl Reporter {
    /// A reporter for a step of one build that is not an op.
    pub(crate) fn single(vertex: Digest, progress: ProgressSink) -> Self {
        Self {
            vertex,
            target: Target::One(progress),
        }
    }

    fn send(&self, update: Update) {
        match &self.target {
            Target::Live(clients, jobs) => clients.send(jobs, &update),
            Target::One(sink) => sink.update(update),
        }
    }

    /// Passes on output of a step; `stream` is 1 for standard output, 2 for
    /// standard error.
    pub(crate) fn log(&self, stream: u8, data: &Bytes) {
        let log = Log {
            vertex: self.vertex.to_string(),
            stream,
            data: data.to_vec(),
            timestamp: Timestamp::now(),
        };
        self.send(Update {
            logs: vec![log],
            ..Update::default()
        });
    }

    /// Warns of something that did not fail the step.
    pub(crate) fn warn(&self, message: &str) {
        let warning = Warning {
            vertex: self.vertex.to_string(),
            level: 1,
            short: message.as_bytes().to_vec(),
            detail: Vec::new(),
            url: String::new(),
            source: None,
            ranges: Vec::new(),
        };
        self.send(Update {
            warnings: vec![warning],
            ..Update::default()
        });
    }

    /// Begins an activity inside the step.
    pub(crate) fn activity(&self, id: impl Into<String>) -> Activity {
        let activity = Activity {
            reporter: self.clone(),
            id: id.into(),
            started: Timestamp::now(),
        };
        activity.report(0, 0, None);
        activity
    }
}

/// Something going on inside a step, such as a transfer.
#[derive(Clone)]
pub(crate) struct Activity {
    reporter: Reporter,
    id: String,
    started: Timestamp,
}

impl Activity {
    fn report(&self, current: u64, total: u64, completed: Option<Timestamp>) {
        let status = Status {
            id: self.id.clone(),
            vertex: self.reporter.vertex.to_string(),
            name: String::new(),
            total: i64::try_from(total).unwrap_or(i64::MAX),
            current: i64::try_from(current).unwrap_or(i64::MAX),
            timestamp: Timestamp::now(),
            started: Some(self.started),
            completed,
        };
        self.reporter.send(Update {
            statuses: vec![status],
            ..Update::default()
        });
    }

    /// `current` of `total` bytes are done; `total` 0 means unknown.
    pub(crate) fn progress(&self, current: u64, total: u64) {
        self.report(current, total, None);
    }

    /// The activity ended well.
    pub(crate) fn done(self, current: u64, total: u64) {
        self.report(current, total, Some(Timestamp::now()));
    }
}
