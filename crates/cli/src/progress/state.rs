//! What is known about the steps of a build so far.

use std::collections::{BTreeMap, HashMap, VecDeque};

use kiln_session::progress::{Log, Status, Timestamp, Update, Vertex, Warning};

/// How many of a step's last lines are kept for the report of its failure.
const LAST_LINES: usize = 10;

/// All steps that have started, in the order in which they did.
#[derive(Default)]
pub(super) struct State {
    /// Steps by digest.
    pub(super) steps: HashMap<String, Step>,
    /// Digests of started steps.
    pub(super) order: Vec<String>,
    /// Members of progress groups: the digest of the step that stands for them.
    members: HashMap<String, String>,
    /// When the first step started.
    pub(super) started: Option<Timestamp>,
}

/// One step, or a group of steps shown as one.
#[derive(Default)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) cached: bool,
    pub(super) error: String,
    /// Start and end of its periods of work, by start.
    intervals: BTreeMap<Timestamp, Option<Timestamp>>,
    /// The vertices of a group that have not ended.
    running_members: BTreeMap<String, bool>,
    /// Transfers and other activities, in the order in which they appeared.
    pub(super) statuses: Vec<Status>,
    /// Activities that changed since the plain view last looked.
    pub(super) changed_statuses: Vec<String>,
    pub(super) warnings: Vec<Warning>,
    /// Lines of output not taken by a view yet, each with its time; the last
    /// may go on.
    pub(super) lines: Vec<String>,
    /// Whether the last line is not finished.
    pub(super) line_is_open: bool,
    pub(super) last_lines: VecDeque<String>,
    /// Whether something happened that the plain view has not shown.
    pub(super) has_news: bool,
}

impl Step {
    pub(super) fn is_completed(&self) -> bool {
        !self.intervals.is_empty()
            && self.intervals.values().all(Option::is_some)
            && self.running_members.values().all(|running| !running)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.error.ends_with("context canceled")
    }

    /// Seconds of work so far, periods that overlap counted once.
    pub(super) fn seconds(&self) -> f64 {
        let now = Timestamp::now();
        let mut total = 0.0;
        let mut covered: Option<Timestamp> = None;
        for (start, stop) in &self.intervals {
            let stop = stop.unwrap_or(now);
            let start = covered.map_or(*start, |covered| covered.max(*start));
            if stop > start {
                total += stop.duration_since(start).as_secs_f64();
                covered = Some(stop);
            }
        }
        total
    }

    fn apply(&mut self, vertex: &Vertex) {
        let Some(started) = vertex.started else {
            return;
        };
        self.intervals.insert(started, vertex.completed);
        self.cached = vertex.cached;
        self.error.clone_from(&vertex.error);
        self.has_news = true;
    }

    fn add_output(&mut self, log: &Log) {
        self.has_news = true;
        let since = self
            .intervals
            .last_key_value()
            .map_or(log.timestamp, |(start, _)| *start);
        let seconds = log.timestamp.duration_since(since).as_secs_f64().max(0.0);
        let digits = if seconds < 10.0 {
            3
        } else if seconds < 100.0 {
            2
        } else {
            1
        };
        let mut rest = log.data.as_slice();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
            let text = String::from_utf8_lossy(line);
            match self.lines.last_mut() {
                Some(open) if self.line_is_open => open.push_str(&text),
                _ if self.line_is_open => self.lines.push(text.clone().into_owned()),
                _ => self.lines.push(format!("{seconds:.digits$} {text}")),
            }
            self.remember(&text, seconds, digits);
            self.line_is_open = end.is_none();
            rest = after.get(1..).unwrap_or_default();
        }
    }

    fn remember(&mut self, text: &str, seconds: f64, digits: usize) {
        match self.last_lines.back_mut() {
            Some(open) if self.line_is_open => open.push_str(text),
            _ => self
                .last_lines
                .push_back(format!("{seconds:.digits$} {text}")),
        }
        if self.last_lines.len() > LAST_LINES {
            self.last_lines.pop_front();
        }
    }
}

impl State {
    /// Takes one batch of news.
    pub(super) fn update(&mut self, update: &Update) {
        update
            .vertexes
            .iter()
            .for_each(|vertex| self.vertex(vertex));
        for status in &update.statuses {
            if let Some(step) = self.step(&status.vertex) {
                match step.statuses.iter_mut().find(|known| known.id == status.id) {
                    Some(known) => known.clone_from(status),
                    None => step.statuses.push(status.clone()),
                }
                if !step.changed_statuses.contains(&status.id) {
                    step.changed_statuses.push(status.id.clone());
                }
                step.has_news = true;
            }
        }
        for warning in &update.warnings {
            if let Some(step) = self.step(&warning.vertex) {
                step.warnings.push(warning.clone());
                step.has_news = true;
            }
        }
        for log in &update.logs {
            if let Some(step) = self.step(&log.vertex) {
                step.add_output(log);
            }
        }
    }

    fn step(&mut self, digest: &str) -> Option<&mut Step> {
        let digest = self.members.get(digest).map_or(digest, String::as_str);
        self.steps.get_mut(digest)
    }

    fn vertex(&mut self, vertex: &Vertex) {
        let group = vertex.progress_group.as_ref();
        let key = group.map_or(&vertex.digest, |group| &group.id).clone();
        if group.is_some() {
            self.members.insert(vertex.digest.clone(), key.clone());
        }
        let step = self.steps.entry(key.clone()).or_default();
        step.name = group.map_or(&vertex.name, |group| &group.name).clone();
        if group.is_some() {
            step.running_members
                .insert(vertex.digest.clone(), vertex.completed.is_none());
        }
        let first = step.intervals.is_empty();
        step.apply(vertex);
        if first && vertex.started.is_some() {
            self.order.push(key);
            self.started = self.started.or(vertex.started);
        }
    }

    /// Number of ended and of all known steps.
    pub(super) fn counts(&self) -> (usize, usize) {
        let completed = self
            .steps
            .values()
            .filter(|step| step.is_completed())
            .count();
        (completed, self.steps.len())
    }

    /// What the last lines of failed steps said.
    pub(super) fn failures(&self) -> String {
        let mut out = String::new();
        for step in self
            .order
            .iter()
            .filter_map(|digest| self.steps.get(digest))
        {
            if step.error.is_empty() || step.is_cancelled() {
                continue;
            }
            out.push_str(&format!("------\n > {}:\n", step.name));
            for line in &step.last_lines {
                out.push_str(line);
                out.push('\n');
            }
            out.push_str("------\n");
        }
        out
    }
}

/// Progress of an activity, such as `1.00MB / 2.00MB`; empty if unknown.
pub(super) fn amount(status: &Status) -> String {
    let size = |bytes: i64| crate::bytes_text::size(bytes.max(0));
    match (status.current, status.total) {
        (0, 0) => String::new(),
        (current, 0) => size(current),
        (current, total) => format!("{} / {}", size(current), size(total)),
    }
}
