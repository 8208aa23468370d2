//! Performs what the core wants done: calls of ops on async tasks, work on
//! cache keys on a blocking thread, in order.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::call::Call;
use crate::context::{LiveJobs, OpContext};
use crate::core::{Action, Core, Event, Outcome, RequestId, Solve, TaskId, VertexId};
use crate::error::{JobError, SolveError};
use crate::graph::Graph;
use crate::observe::{JobId, Observer, Progress, VertexInfo};
use crate::op::Op;
use crate::solver::Solved;
use crate::status::Status;

/// How long a cancelled call may take to clean up before it is dropped.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// What comes with a solve and is not the core's business.
pub(crate) struct Given<'a, O: Op> {
    pub graph: &'a Graph<O>,
    pub caches: &'a [Cache<O::Output>],
}

type Answer<O> = Result<Solved<<O as Op>::Output>, SolveError<<O as Op>::Error>>;

/// The shared part of a solver.
pub(crate) struct Driver<O: Op> {
    local: Cache<O::Output>,
    runtime: Handle,
    state: Mutex<State<O>>,
    /// Work on keys; order matters, since a key must be saved before it is asked for.
    ledger: mpsc::UnboundedSender<Box<dyn FnOnce() + Send>>,
    /// How many tasks are out.
    running: watch::Sender<usize>,
}

struct State<O: Op> {
    core: Core<O::Output, O::Error>,
    vertices: HashMap<VertexId, Work<O>>,
    tasks: HashMap<TaskId, CancellationToken>,
    requests: HashMap<RequestId, oneshot::Sender<Answer<O>>>,
    next_request: u64,
    status: Status,
}

/// A vertex as far as it is not the core's business.
pub(crate) struct Work<O: Op> {
    pub op: Arc<O>,
    pub info: Arc<VertexInfo>,
    pub jobs: LiveJobs,
    pub imported: Arc<Vec<Cache<O::Output>>>,
}

impl<O: Op> Clone for Work<O> {
    fn clone(&self) -> Self {
        Self {
            op: self.op.clone(),
            info: self.info.clone(),
            jobs: self.jobs.clone(),
            imported: self.imported.clone(),
        }
    }
}

impl<O: Op> Driver<O> {
    pub(crate) fn start(local: Cache<O::Output>) -> Arc<Self> {
        let runtime = Handle::current();
        let (ledger, mut work) = mpsc::unbounded_channel::<Box<dyn FnOnce() + Send>>();
        runtime.spawn(async move {
            let mut batch = Vec::new();
            while work.recv_many(&mut batch, 64).await > 0 {
                let jobs = std::mem::take(&mut batch);
                // One panic must not take the others with it.
                let all = || jobs.into_iter().for_each(or_default);
                if let Err(error) = tokio::task::spawn_blocking(all).await {
                    tracing::error!(%error, "the runtime of the solver is gone");
                }
            }
        });
        let state = State {
            core: Core::default(),
            vertices: HashMap::new(),
            tasks: HashMap::new(),
            requests: HashMap::new(),
            next_request: 0,
            status: Status::default(),
        };
        Arc::new(Self {
            local,
            runtime,
            state: Mutex::new(state),
            ledger,
            running: watch::Sender::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs work on keys after all that was given before.
    pub(crate) fn in_order(&self, job: impl FnOnce() + Send + 'static) {
        if self.ledger.send(Box::new(job)).is_err() {
            tracing::error!("the runtime of the solver is gone");
        }
    }

    pub(crate) fn add_job(&self, id: &JobId, observer: Arc<dyn Observer>) -> Result<(), JobError> {
        let mut state = self.lock();
        if state.status.add_job(id, observer) {
            Ok(())
        } else {
            Err(JobError::Exists(id.clone()))
        }
    }

    pub(crate) fn end_job(self: &Arc<Self>, id: &JobId) {
        self.apply(Event::EndJob(id.clone()));
        self.lock().status.remove_job(id);
    }

    pub(crate) async fn idle(&self) {
        // The sender lives as long as we do.
        let _ = self
            .running
            .subscribe()
            .wait_for(|running| *running == 0)
            .await;
    }

    pub(crate) fn local(&self) -> &Cache<O::Output> {
        &self.local
    }

    pub(crate) fn tell(&self, vertex: VertexId, progress: Progress) {
        self.lock().status.tell(vertex, progress);
    }

    pub(crate) fn size(&self) -> usize {
        let state = self.lock();
        state.core.size() + state.vertices.len() + state.requests.len() + state.status.len()
    }

    /// Starts a request, unless its job has ended.
    pub(crate) fn solve(
        self: &Arc<Self>,
        ended: &CancellationToken,
        solve: impl FnOnce(RequestId) -> Solve,
        given: Given<'_, O>,
        answer: oneshot::Sender<Answer<O>>,
    ) -> RequestId {
        let mut state = self.lock();
        let request = RequestId(state.next_request);
        state.next_request += 1;
        if !ended.is_cancelled() {
            state.requests.insert(request, answer);
            self.step(&mut state, Event::Solve(solve(request)), Some(&given));
        }
        request
    }

    /// What a job's vertices have come to.
    pub(crate) fn outputs(&self, job: &JobId) -> Vec<(VertexId, O::Output)> {
        self.lock().core.outputs(job)
    }

    pub(crate) fn apply(self: &Arc<Self>, event: Event<O::Output, O::Error>) {
        self.step(&mut self.lock(), event, None);
    }

    /// Steps the core and starts what it wants. Both under one lock, so that
    /// a task is never cancelled before it is started.
    fn step(
        self: &Arc<Self>,
        state: &mut State<O>,
        event: Event<O::Output, O::Error>,
        given: Option<&Given<'_, O>>,
    ) {
        match &event {
            Event::GiveUp(request) => {
                state.requests.remove(request);
            }
            Event::EndJob(job) => state.status.ending(job),
            Event::Solve(_) | Event::Finished(..) | Event::Disown(..) => {}
        }
        for action in state.core.step(event) {
            self.perform(state, action, given);
        }
    }

    fn perform(
        self: &Arc<Self>,
        state: &mut State<O>,
        action: Action<O::Output, O::Error>,
        given: Option<&Given<'_, O>>,
    ) {
        match action {
            Action::Created {
                vertex,
                position,
                info,
                jobs,
                inputs,
            } => {
                let Some(given) = given else { return };
                let (known, set) = (info.clone(), jobs.clone());
                state.status.add_vertex(vertex, known, set, inputs);
                let op = given.graph.vertices()[position].op.clone();
                let imported = Arc::default();
                state.vertices.insert(
                    vertex,
                    Work {
                        op,
                        info,
                        jobs,
                        imported,
                    },
                );
                self.add_caches(state, vertex, given.caches);
            }
            Action::Shared { vertex } => {
                let Some(given) = given else { return };
                self.add_caches(state, vertex, given.caches);
            }
            Action::Added { vertex, job } => {
                state.status.added(vertex, &job);
            }
            Action::Merged { from, into } => {
                let name = |id| {
                    state
                        .vertices
                        .get(&id)
                        .map(|work| work.info.digest.to_string())
                };
                tracing::debug!(from = name(from), into = name(into), "merged equal edges");
            }
            Action::Lost { vertex, job } => state.status.lost(vertex, &job),
            Action::Forget(vertex) => {
                state.vertices.remove(&vertex);
                state.status.forget(vertex);
            }
            Action::Cancel(task) => {
                if let Some(token) = state.tasks.get(&task) {
                    token.cancel();
                }
            }
            Action::Answer(request, answer) => {
                if let Some(sender) = state.requests.remove(&request) {
                    let caches = self.all_caches(state);
                    let answer = answer.map(|(output, keys)| Solved {
                        output,
                        keys,
                        caches,
                    });
                    // Nobody listening is fine: the solve was given up.
                    let _ = sender.send(answer);
                }
            }
            action => self.start_task(state, action),
        }
    }

    fn start_task(self: &Arc<Self>, state: &mut State<O>, action: Action<O::Output, O::Error>) {
        let Some((vertex, task)) = action.task() else {
            return;
        };
        let Some(work) = state.vertices.get(&vertex).cloned() else {
            return;
        };
        let call = Call {
            driver: self.clone(),
            cx: OpContext {
                vertex: work.info.digest.clone(),
                name: work.info.name.clone(),
                jobs: work.jobs.clone(),
                cancelled: CancellationToken::new(),
            },
            work,
            vertex,
        };
        match action {
            Action::CacheMap { index, .. } => {
                self.spawn(state, task, call, move |call| async move {
                    call.cache_map(index).await
                });
            }
            Action::ContentDigest { input, output, .. } => {
                self.spawn(state, task, call, move |call| async move {
                    call.content_digest(input, output).await
                });
            }
            Action::Prepare { input, output, .. } => {
                self.spawn(state, task, call, move |call| async move {
                    call.prepare(input, output).await
                });
            }
            Action::Execute { inputs, .. } => {
                self.spawn(state, task, call, move |call| async move {
                    call.execute(inputs).await
                });
            }
            Action::Load { record, .. } => {
                self.spawn(state, task, call, move |call| async move {
                    call.load(record).await
                });
            }
            Action::Commit { keys, output, .. } => {
                self.spawn(state, task, call, move |call| async move {
                    call.commit(keys, output).await
                });
            }
            Action::Query { query, .. } => self.in_order(move || {
                let keys = or_default(|| call.ledger().query(&query));
                let finished = Event::Finished(task, Outcome::Matches(keys));
                call.driver.apply(finished);
            }),
            Action::Records { key, .. } => self.in_order(move || {
                let records = or_default(|| call.ledger().records(&key));
                let finished = Event::Finished(task, Outcome::Records(records));
                call.driver.apply(finished);
            }),
            _ => {}
        }
    }

    fn spawn<F>(
        self: &Arc<Self>,
        state: &mut State<O>,
        task: TaskId,
        call: Call<O>,
        run: impl FnOnce(Call<O>) -> F,
    ) where
        F: Future<Output = Outcome<O::Output, O::Error>> + Send + 'static,
    {
        state.tasks.insert(task, call.cx.cancelled.clone());
        self.running.send_modify(|running| *running += 1);
        let (driver, watched) = (self.clone(), call.clone());
        let run = AssertUnwindSafe(run(call)).catch_unwind();
        self.runtime.spawn(async move {
            let outcome = tokio::select! {
                outcome = run => outcome.unwrap_or_else(|panic| {
                    let message = panic_message(&*panic);
                    watched.tell(Progress::Failed(message.as_str().into()));
                    Outcome::Panicked(message)
                }),
                () = overdue(&watched.cx.cancelled) => {
                    watched.tell(Progress::Cancelled);
                    Outcome::Abandoned
                }
            };
            {
                let mut state = driver.lock();
                state.tasks.remove(&task);
                driver.step(&mut state, Event::Finished(task, outcome), None);
            }
            drop(watched);
            driver.running.send_modify(|running| *running -= 1);
        });
    }

    fn add_caches(&self, state: &mut State<O>, vertex: VertexId, caches: &[Cache<O::Output>]) {
        let Some(work) = state.vertices.get_mut(&vertex) else {
            return;
        };
        for cache in caches {
            let known = work.imported.iter().any(|other| other.id == cache.id);
            if !known && cache.id != self.local.id {
                Arc::make_mut(&mut work.imported).push(cache.clone());
            }
        }
    }

    /// All caches from which live vertices may have taken something.
    fn all_caches(&self, state: &State<O>) -> Vec<Cache<O::Output>> {
        let mut caches = vec![self.local.clone()];
        for cache in state
            .vertices
            .values()
            .flat_map(|work| work.imported.iter())
        {
            if !caches.iter().any(|other| other.id == cache.id) {
                caches.push(cache.clone());
            }
        }
        caches
    }
}

/// Ends when a call has been cancelled and has had its time to clean up.
async fn overdue(cancelled: &CancellationToken) {
    cancelled.cancelled().await;
    tokio::time::sleep(CLEAN_UP).await;
}

/// A panic in a store is a failure of the cache, like others.
fn or_default<T: Default>(work: impl FnOnce() -> T) -> T {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = panic_message(&*panic);
        tracing::error!(message, "cache key store panicked; going on without");
        T::default()
    })
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}
