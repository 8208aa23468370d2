//! Performs what the core wants done: calls of ops on async tasks, work on
//! cache keys on a blocking thread, in order.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::context::{LiveJobs, OpContext};
use crate::core::{Action, Core, Event, Outcome, RequestId, Solve, TaskId, VertexId};
use crate::error::{JobError, SolveError};
use crate::graph::Graph;
use crate::key::{Key, Record};
use crate::ledger::{self, Ledger};
use crate::observe::{JobId, Observer, Progress, VertexEvent, VertexInfo};
use crate::op::Op;
use crate::promote;
use crate::solver::Solved;

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
    observers: HashMap<JobId, Arc<dyn Observer>>,
}

/// A vertex as far as it is not the core's business.
struct Work<O: Op> {
    op: Arc<O>,
    info: Arc<VertexInfo>,
    jobs: LiveJobs,
    imported: Arc<Vec<Cache<O::Output>>>,
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
                let done = tokio::task::spawn_blocking(|| jobs.into_iter().for_each(|job| job()));
                if let Err(error) = done.await {
                    tracing::error!(%error, "work on cache keys failed");
                }
            }
        });
        let state = State {
            core: Core::default(),
            vertices: HashMap::new(),
            tasks: HashMap::new(),
            requests: HashMap::new(),
            next_request: 0,
            observers: HashMap::new(),
        };
        let cleaned = local.clone();
        let driver = Self {
            local,
            runtime,
            state: Mutex::new(state),
            ledger,
            running: watch::Sender::new(0),
        };
        driver.in_order(move || ledger::release_unreferenced(&cleaned));
        Arc::new(driver)
    }

    fn lock(&self) -> MutexGuard<'_, State<O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_order(&self, job: impl FnOnce() + Send + 'static) {
        if self.ledger.send(Box::new(job)).is_err() {
            tracing::error!("the runtime of the solver is gone");
        }
    }

    pub(crate) fn add_job(&self, id: &JobId, observer: Arc<dyn Observer>) -> Result<(), JobError> {
        let mut state = self.lock();
        if state.observers.contains_key(id) {
            return Err(JobError::Exists(id.clone()));
        }
        state.observers.insert(id.clone(), observer);
        Ok(())
    }

    pub(crate) fn end_job(self: &Arc<Self>, id: &JobId) {
        self.apply(Event::EndJob(id.clone()));
        self.lock().observers.remove(id);
    }

    pub(crate) async fn idle(&self) {
        // The sender lives as long as we do.
        let _ = self
            .running
            .subscribe()
            .wait_for(|running| *running == 0)
            .await;
    }

    pub(crate) fn size(&self) -> usize {
        let state = self.lock();
        state.core.size() + state.vertices.len() + state.requests.len() + state.observers.len()
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
        if let Event::GiveUp(request) = &event {
            state.requests.remove(request);
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
            } => {
                let Some(given) = given else { return };
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
                let work = state.vertices.get(&vertex);
                if let (Some(work), Some(observer)) = (work, state.observers.get(&job)) {
                    observer.vertex(event(&work.info, Progress::Added));
                }
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
            Action::Forget(vertex) => {
                state.vertices.remove(&vertex);
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
                let keys = call.ledger().query(&query);
                call.driver
                    .apply(Event::Finished(task, Outcome::Matches(keys)));
            }),
            Action::Records { key, .. } => self.in_order(move || {
                let records = call.ledger().records(&key);
                call.driver
                    .apply(Event::Finished(task, Outcome::Records(records)));
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
            let outcome = run.await.unwrap_or_else(|panic| {
                let message = panic_message(&*panic);
                watched.tell(Progress::Failed(message.as_str().into()));
                Outcome::Panicked(message)
            });
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

fn event(vertex: &Arc<VertexInfo>, progress: Progress) -> VertexEvent {
    VertexEvent {
        vertex: vertex.clone(),
        progress,
        time: SystemTime::now(),
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}

/// One task for one vertex.
struct Call<O: Op> {
    driver: Arc<Driver<O>>,
    work: Work<O>,
    cx: OpContext,
}

impl<O: Op> Clone for Call<O> {
    fn clone(&self) -> Self {
        Self {
            driver: self.driver.clone(),
            work: self.work.clone(),
            cx: self.cx.clone(),
        }
    }
}

impl<O: Op> Call<O> {
    fn ledger(&self) -> Ledger<'_, O::Output> {
        Ledger {
            local: &self.driver.local,
            imported: &self.work.imported,
        }
    }

    fn tell(&self, progress: Progress) {
        let observers: Vec<Arc<dyn Observer>> = {
            let state = self.driver.lock();
            let jobs = self.work.jobs.list();
            jobs.iter()
                .filter_map(|job| state.observers.get(job).cloned())
                .collect()
        };
        let event = event(&self.work.info, progress);
        observers
            .iter()
            .for_each(|observer| observer.vertex(event.clone()));
    }

    /// Tells how a call ended if it failed, and how it ended at all if observers
    /// know that it began.
    fn ended<T>(&self, result: Result<T, O::Error>, told: Told) -> Result<T, Arc<O::Error>> {
        match (&result, told) {
            (Ok(_), Told::Nothing) => {}
            (Ok(_), Told::Started) => self.tell(Progress::Completed),
            (Err(_), Told::Nothing) if self.cx.cancelled.is_cancelled() => {}
            (Err(_), Told::Started) if self.cx.cancelled.is_cancelled() => {
                self.tell(Progress::Cancelled);
            }
            (Err(error), _) => self.tell(Progress::Failed(error.to_string().into())),
        }
        result.map_err(Arc::new)
    }

    async fn cache_map(self, index: usize) -> Outcome<O::Output, O::Error> {
        // Finding out what a source stands for may take long; for others it is nothing.
        let told = if self.work.info.inputs.is_empty() {
            Told::Started
        } else {
            Told::Nothing
        };
        if told == Told::Started {
            self.tell(Progress::Started);
        }
        let result = self.work.op.cache_map(&self.cx, index).await;
        Outcome::CacheMap(self.ended(result, told))
    }

    async fn content_digest(self, input: usize, output: O::Output) -> Outcome<O::Output, O::Error> {
        let result = self.work.op.content_digest(&self.cx, input, &output).await;
        Outcome::ContentDigest(self.ended(result, Told::Nothing))
    }

    async fn prepare(self, input: usize, output: O::Output) -> Outcome<O::Output, O::Error> {
        let result = self.work.op.prepare(&self.cx, input, &output).await;
        Outcome::Prepared(self.ended(result, Told::Nothing))
    }

    async fn execute(self, inputs: Vec<O::Output>) -> Outcome<O::Output, O::Error> {
        let permit = match self.work.op.acquire(&self.cx).await {
            Ok(permit) => permit,
            Err(error) => return Outcome::Executed(self.ended(Err(error), Told::Nothing)),
        };
        self.tell(Progress::Started);
        let result = self.work.op.execute(&self.cx, inputs).await;
        drop(permit);
        Outcome::Executed(self.ended(result, Told::Started))
    }

    /// Takes a result out of a cache; an imported one is kept in the local cache.
    async fn load(self, record: Record) -> Outcome<O::Output, O::Error> {
        self.tell(Progress::CacheStarted);
        let mut caches = std::iter::once(&self.driver.local).chain(self.work.imported.iter());
        let loaded = match caches.find(|cache| *cache.id == *record.cache) {
            Some(cache) => match cache.results.load(&record.id).await {
                Ok(output) => Some((cache, output)),
                Err(error) => {
                    let (cache, id) = (&cache.id, &record.id);
                    tracing::warn!(cache, id, %error, "cannot load cached result; going on without");
                    None
                }
            },
            None => None,
        };
        let Some((cache, output)) = loaded else {
            self.tell(Progress::CacheMissed);
            return Outcome::Loaded(None);
        };
        if cache.id != self.driver.local.id {
            let saved = promote::save(&self.driver.local, cache, &record, &output).await;
            let local = self.driver.local.clone();
            // Before anybody can ask for the keys: order does that.
            self.driver.in_order(move || promote::commit(&local, saved));
        }
        self.tell(Progress::Cached);
        Outcome::Loaded(Some(output))
    }

    async fn commit(self, keys: Vec<Arc<Key>>, output: O::Output) -> Outcome<O::Output, O::Error> {
        let created = SystemTime::now();
        let local = self.driver.local.clone();
        let id = match local.results.save(&output, created).await {
            Ok(id) => id,
            Err(error) => {
                tracing::warn!(cache = local.id, %error, "cannot save result; going on without");
                return Outcome::Committed(Vec::new());
            }
        };
        let (sender, records) = oneshot::channel();
        self.driver.in_order(move || {
            let records = keys
                .iter()
                .map(|key| ledger::commit(&local, key, &id, created));
            let _ = sender.send(records.collect());
        });
        Outcome::Committed(records.await.unwrap_or_default())
    }
}

/// Whether observers know that a call began.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    Nothing,
    Started,
}
