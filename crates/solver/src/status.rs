//! What observers are told, and what those who come late have missed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::context::LiveJobs;
use crate::core::VertexId;
use crate::observe::{JobId, Observer, Progress, VertexEvent, VertexInfo};

/// The observers of all jobs, and how far vertices have come.
#[derive(Default)]
pub(crate) struct Status {
    observers: HashMap<JobId, Arc<dyn Observer>>,
    vertices: HashMap<VertexId, History>,
}

struct History {
    info: Arc<VertexInfo>,
    jobs: LiveJobs,
    inputs: Vec<VertexId>,
    begin: Option<VertexEvent>,
    end: Option<VertexEvent>,
}

impl Status {
    /// Adds a job, unless the name is taken.
    pub(crate) fn add_job(&mut self, job: &JobId, observer: Arc<dyn Observer>) -> bool {
        if self.observers.contains_key(job) {
            return false;
        }
        self.observers.insert(job.clone(), observer);
        true
    }

    /// A job ends: what is in work is cancelled as far as it is concerned.
    pub(crate) fn ending(&self, job: &JobId) {
        let Some(observer) = self.observers.get(job) else {
            return;
        };
        for history in self.vertices.values() {
            let open = history.begin.is_some() && history.end.is_none();
            if open && history.jobs.list().contains(job) {
                observer.vertex(event(&history.info, Progress::Cancelled));
            }
        }
    }

    pub(crate) fn remove_job(&mut self, job: &JobId) {
        self.observers.remove(job);
    }

    pub(crate) fn add_vertex(
        &mut self,
        vertex: VertexId,
        info: Arc<VertexInfo>,
        jobs: LiveJobs,
        inputs: Vec<VertexId>,
    ) {
        let history = History {
            info,
            jobs,
            inputs,
            begin: None,
            end: None,
        };
        self.vertices.insert(vertex, history);
    }

    pub(crate) fn forget(&mut self, vertex: VertexId) {
        self.vertices.remove(&vertex);
    }

    /// A vertex became part of a job, maybe while it is in work for others.
    pub(crate) fn added(&self, vertex: VertexId, job: &JobId) {
        let (Some(history), Some(observer)) = (self.vertices.get(&vertex), self.observers.get(job))
        else {
            return;
        };
        observer.vertex(event(&history.info, Progress::Added));
        for missed in history.begin.iter().chain(&history.end) {
            observer.vertex(missed.clone());
        }
    }

    /// A result that a job had is lost. The job will hear of the vertex again.
    pub(crate) fn lost(&self, vertex: VertexId, job: &JobId) {
        if let (Some(history), Some(observer)) =
            (self.vertices.get(&vertex), self.observers.get(job))
        {
            observer.vertex(event(&history.info, Progress::CacheMissed));
        }
    }

    /// Something happened to a vertex.
    pub(crate) fn tell(&mut self, vertex: VertexId, progress: Progress) {
        if matches!(progress, Progress::Started | Progress::CacheStarted) {
            self.skip_inputs(vertex);
        }
        let Some(history) = self.vertices.get_mut(&vertex) else {
            return;
        };
        let event = event(&history.info, progress);
        match event.progress {
            Progress::Started | Progress::CacheStarted => {
                history.begin = Some(event.clone());
                history.end = None;
            }
            _ => history.end = Some(event.clone()),
        }
        for job in history.jobs.list() {
            if let Some(observer) = self.observers.get(&job) {
                observer.vertex(event.clone());
            }
        }
    }

    /// Once a vertex begins, what it builds on and was not touched itself is
    /// not going to be: the cache has made it needless.
    fn skip_inputs(&mut self, vertex: VertexId) {
        let mut open = vec![vertex];
        while let Some(user) = open.pop() {
            let Some(history) = self.vertices.get(&user) else {
                continue;
            };
            for input in history.inputs.clone() {
                let untouched = self
                    .vertices
                    .get(&input)
                    .is_some_and(|history| history.begin.is_none() && history.end.is_none());
                if untouched {
                    self.tell(input, Progress::Cached);
                    open.push(input);
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.observers.len() + self.vertices.len()
    }
}

fn event(vertex: &Arc<VertexInfo>, progress: Progress) -> VertexEvent {
    VertexEvent {
        vertex: vertex.clone(),
        progress,
        time: SystemTime::now(),
    }
}
