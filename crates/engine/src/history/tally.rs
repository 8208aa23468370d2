//! What the steps of a build came to, counted as they report.

use std::collections::HashMap;

use kiln_protocol::control::{StatusResponse, Vertex};
use prost_types::Timestamp;

/// The steps seen so far.
#[derive(Default)]
pub(super) struct Tally {
    steps: Vec<StepFacts>,
    by_digest: HashMap<String, usize>,
    warnings: usize,
}

/// One step as it was last reported.
#[derive(Debug, Clone, Default)]
pub(super) struct StepFacts {
    pub(super) digest: String,
    pub(super) name: String,
    pub(super) started: Option<Timestamp>,
    pub(super) completed: Option<Timestamp>,
    pub(super) cached: bool,
    pub(super) error: String,
}

/// The numbers in a record.
pub(super) struct Counts {
    pub(super) total: i32,
    pub(super) completed: i32,
    pub(super) cached: i32,
    pub(super) warnings: i32,
}

impl Tally {
    pub(super) fn add(&mut self, news: &StatusResponse) {
        self.warnings += news.warnings.len();
        for vertex in &news.vertexes {
            self.add_vertex(vertex);
        }
    }

    fn add_vertex(&mut self, vertex: &Vertex) {
        let index = match self.by_digest.get(&vertex.digest) {
            Some(index) => *index,
            None => {
                let index = self.steps.len();
                self.by_digest.insert(vertex.digest.clone(), index);
                self.steps.push(StepFacts::default());
                index
            }
        };
        self.steps[index] = StepFacts {
            digest: vertex.digest.clone(),
            name: vertex.name.clone(),
            started: vertex.started,
            completed: vertex.completed,
            cached: vertex.cached,
            error: vertex.error.clone(),
        };
    }

    pub(super) fn steps(&self) -> &[StepFacts] {
        &self.steps
    }

    pub(super) fn counts(&self) -> Counts {
        let count = |wanted: fn(&StepFacts) -> bool| {
            number(self.steps.iter().filter(|step| wanted(step)).count())
        };
        Counts {
            total: number(self.steps.len()),
            completed: count(|step| step.completed.is_some()),
            cached: count(|step| step.cached),
            warnings: number(self.warnings),
        }
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
