//! What an edge does when something around it has changed.

use super::edge::{Asker, Content, Edge, EdgeState, Reach};
use super::lookups::Lookup;
use super::vertex::{Call, InputWork};
use super::{Action, Core, EdgeId, VertexId};
use crate::error::SolveError;

impl<T: Clone, E: std::error::Error + 'static> Core<T, E> {
    /// Brings an edge as far as it gets with what is known, and tells askers.
    pub(super) fn settle(&mut self, id: EdgeId) {
        let Some(mut edge) = self.edges.take(id) else {
            return;
        };
        self.advance(id, &mut edge);
        self.tell(&mut edge);
        self.edges.put_back(id, edge);
    }

    fn advance(&mut self, id: EdgeId, edge: &mut Edge<T, E>) {
        let demand = edge.demand();
        match &edge.state {
            EdgeState::Probing => {}
            EdgeState::Executing if demand == Reach::Result => return self.execute(id, edge),
            EdgeState::Loading { .. } if demand == Reach::Result => return,
            EdgeState::Executing => {
                self.unwant(edge.vertex, id);
                edge.state = EdgeState::Probing;
            }
            EdgeState::Loading { task, .. } => {
                self.tasks.remove(task);
                self.actions.push(Action::Cancel(*task));
                edge.state = EdgeState::Probing;
            }
            EdgeState::Committing { .. }
            | EdgeState::Done { .. }
            | EdgeState::Failed(_)
            | EdgeState::Merged => return,
        }
        if demand == Reach::Nothing {
            self.release(id, edge);
        } else if let Some(fault) = self.fault(edge) {
            self.fail(id, edge, fault);
        } else {
            self.probe(id, edge, demand);
        }
    }

    /// The reason why what we need cannot come.
    fn fault(&self, edge: &Edge<T, E>) -> Option<SolveError<E>> {
        let own = self.vertices.get(edge.vertex)?.fault.clone();
        own.or_else(|| {
            edge.changed.iter().find_map(|index| {
                let dep = &edge.deps[*index];
                let input = self.edges.get(self.resolve(dep.edge))?;
                match &input.state {
                    EdgeState::Failed(fault) if dep.asked > input.reach => Some(fault.clone()),
                    _ => None,
                }
            })
        })
    }

    pub(super) fn fail(&mut self, id: EdgeId, edge: &mut Edge<T, E>, fault: SolveError<E>) {
        self.release(id, edge);
        edge.forget_search();
        edge.state = EdgeState::Failed(fault);
    }

    fn probe(&mut self, id: EdgeId, edge: &mut Edge<T, E>, demand: Reach) {
        if edge.lookups > 0 {
            return;
        }
        self.take_map(id, edge, demand);
        self.take_inputs(id, edge);
        if edge.lookups == 0 {
            self.join(id, edge);
        }
        if edge.lookups > 0 {
            return;
        }
        edge.reach = edge.reach.max(edge.judge_reach());
        if !edge.news.is_empty() && self.merge_if_equal(id, edge) {
            return;
        }
        self.pursue(id, edge, demand);
    }

    /// Takes over the next cache map if it is needed, or asks for it.
    fn take_map(&mut self, id: EdgeId, edge: &mut Edge<T, E>, demand: Reach) {
        let needed = edge.map.is_none()
            || (edge.more_maps() && edge.candidates.is_empty() && edge.reach < demand);
        if !needed {
            return;
        }
        let Some(vertex) = self.vertices.get(edge.vertex) else {
            return;
        };
        let Some(map) = vertex.maps.get(edge.maps_seen).cloned() else {
            let (vertex, index) = (edge.vertex, edge.maps_seen);
            self.want(vertex, Call::CacheMap, id, |task| Action::CacheMap {
                task,
                vertex,
                index,
            });
            return;
        };
        let ignores = vertex.options.ignore_cache;
        edge.maps_seen += 1;
        edge.digests.push(map.digest.clone());
        edge.map = Some(map);
        if edge.deps.is_empty() {
            edge.learn(None);
        }
        for index in 0..edge.deps.len() {
            edge.learn_edge(index);
            edge.changed.insert(index);
        }
        if edge.deps.is_empty() && !ignores {
            self.look_up(id, edge, Lookup::Root);
        } else if edge.more_maps() {
            self.touch(id);
        }
    }

    /// Takes over what inputs have learnt, and asks caches what that leads to.
    fn take_inputs(&mut self, id: EdgeId, edge: &mut Edge<T, E>) {
        if edge.map.is_none() {
            return;
        }
        let ignores = self
            .vertices
            .get(edge.vertex)
            .is_none_or(|state| state.options.ignore_cache);
        for index in std::mem::take(&mut edge.changed) {
            let source = self.resolve(edge.deps[index].edge);
            if edge.deps[index].edge != source {
                // Merged: its keys are other ways to the same thing.
                edge.deps[index].edge = source;
                edge.deps[index].seen = 0;
                edge.learn_edge(index);
            }
            let Some(input) = self.edges.get(source) else {
                continue;
            };
            let dep = &mut edge.deps[index];
            dep.reach = dep.reach.max(input.reach);
            if let EdgeState::Done { output, keys } = &input.state
                && dep.output.is_none()
            {
                dep.output = Some((output.clone(), keys.clone()));
            }
            dep.fresh = input.keys.len() - dep.seen;
            dep.keys.extend(input.keys[dep.seen..].iter().cloned());
            dep.seen = input.keys.len();
            if dep.fresh > 0 && !ignores {
                self.look_up(id, edge, Lookup::Input(index));
            }
        }
    }

    /// Goes after what is still wanted.
    fn pursue(&mut self, id: EdgeId, edge: &mut Edge<T, E>, demand: Reach) {
        if edge.reach >= demand {
            return;
        }
        if demand == Reach::Result {
            if let Some(record) = edge.best_candidate().cloned() {
                return self.load(id, edge, record);
            }
            if edge.inputs_complete() && self.inputs_prepared(edge) {
                return self.execute(id, edge);
            }
        }
        let eased = demand < edge.pursued;
        edge.pursued = demand;
        let survey = edge.survey();
        for index in 0..edge.deps.len() {
            let wish = edge.wish(index, demand, &survey);
            let before = if eased {
                Reach::Nothing
            } else {
                edge.deps[index].asked
            };
            self.ask(id, edge, index, wish.max(before));
        }
        self.work_on_inputs(id, edge, demand);
        self.force_if_stuck(id, edge, demand);
    }

    fn inputs_prepared(&self, edge: &Edge<T, E>) -> bool {
        self.vertices.get(edge.vertex).is_some_and(|vertex| {
            (0..edge.deps.len()).all(|index| vertex.input_done(index).is_some())
        })
    }

    /// Digests of content and preparations that are due.
    fn work_on_inputs(&mut self, id: EdgeId, edge: &mut Edge<T, E>, demand: Reach) {
        if demand < Reach::Content || edge.map.is_none() || !edge.candidates.is_empty() {
            return;
        }
        let hopeless = edge.hopeless();
        let known = edge.deps.iter().all(|dep| dep.reach >= Reach::Definition);
        let evaluating = edge
            .deps
            .iter()
            .all(|dep| dep.output.is_some() || dep.asked == Reach::Result);
        for input in 0..edge.deps.len() {
            let vertex = edge.vertex;
            let Some((output, _)) = &edge.deps[input].output else {
                continue;
            };
            let by_content = edge.by_content(input);
            let due = if by_content {
                matches!(edge.deps[input].content, Content::Open) && (known || hopeless)
            } else {
                demand == Reach::Result
                    && (hopeless || evaluating)
                    && self.has_not_prepared(vertex, input)
            };
            if !due {
                continue;
            }
            let output = output.clone();
            if by_content {
                self.take_content(id, edge, input, output);
            } else {
                self.want(vertex, Call::Input(input), id, |task| Action::Prepare {
                    task,
                    vertex,
                    input,
                    output,
                });
            }
        }
    }

    fn has_not_prepared(&self, vertex: VertexId, input: usize) -> bool {
        let state = self.vertices.get(vertex);
        state.is_some_and(|state| state.input_done(input).is_none())
    }

    /// Takes over an input's content digest, or asks for it.
    fn take_content(&mut self, id: EdgeId, edge: &mut Edge<T, E>, input: usize, output: T) {
        let vertex = edge.vertex;
        let work = self
            .vertices
            .get(vertex)
            .and_then(|state| state.input_done(input))
            .cloned();
        match work {
            None => self.want(vertex, Call::Input(input), id, |task| {
                Action::ContentDigest {
                    task,
                    vertex,
                    input,
                    output,
                }
            }),
            Some(InputWork::Content(Some(key))) => {
                self.look_up(id, edge, Lookup::Content(input, key));
            }
            Some(InputWork::Content(None) | InputWork::Prepared) => {
                edge.deps[input].content = Content::Probed(None);
                self.touch(id);
            }
        }
    }

    /// If nothing is under way that could change anything, evaluates the
    /// inputs, or admits that no more keys will come.
    fn force_if_stuck(&mut self, id: EdgeId, edge: &mut Edge<T, E>, demand: Reach) {
        let waits = self
            .vertices
            .get(edge.vertex)
            .is_some_and(|vertex| vertex.waits(id));
        let asking = edge.deps.iter().any(|dep| dep.asked > dep.reach);
        if waits || asking || edge.lookups > 0 || self.queued.contains(&id) {
            return;
        }
        if demand < Reach::Result {
            edge.reach = demand;
            return;
        }
        for index in 0..edge.deps.len() {
            self.ask(id, edge, index, Reach::Result);
        }
    }

    fn ask(&mut self, id: EdgeId, edge: &mut Edge<T, E>, index: usize, reach: Reach) {
        if edge.deps[index].asked == reach {
            return;
        }
        let source = self.resolve(edge.deps[index].edge);
        let dep = &mut edge.deps[index];
        let Some(input) = self.edges.get_mut(source) else {
            return;
        };
        let asker = Asker::Edge(id, index);
        if reach == Reach::Nothing {
            input.wants.remove(&asker);
        } else {
            input.wants.insert(asker, reach);
        }
        let ahead = source != dep.edge
            || input.reach > dep.reach
            || input.keys.len() > dep.seen
            || input.ended();
        dep.asked = reach;
        self.touch(source);
        // It will not repeat what it told before we asked.
        if ahead && reach != Reach::Nothing {
            edge.changed.insert(index);
            self.touch(id);
        }
    }

    /// Stops wanting anything of others.
    pub(super) fn release(&mut self, id: EdgeId, edge: &mut Edge<T, E>) {
        for index in 0..edge.deps.len() {
            if edge.deps[index].asked != Reach::Nothing {
                self.ask(id, edge, index, Reach::Nothing);
            }
        }
        edge.pursued = Reach::Nothing;
        self.unwant(edge.vertex, id);
    }

    /// Lets askers look again if there is something new.
    fn tell(&mut self, edge: &mut Edge<T, E>) {
        let news = (edge.reach, edge.keys.len(), edge.ended());
        if edge.told != news {
            edge.told = news;
            for asker in edge.wants.keys() {
                if let Asker::Edge(user, input) = asker {
                    self.touch_input(*user, *input);
                }
            }
        }
        let answer = match &edge.state {
            EdgeState::Done { output, keys } => Ok((output.clone(), keys.clone())),
            EdgeState::Failed(fault) => Err(fault.clone()),
            _ => return,
        };
        let requests: Vec<Asker> = edge
            .wants
            .keys()
            .filter(|asker| matches!(asker, Asker::Request(_)))
            .copied()
            .collect();
        for asker in requests {
            edge.wants.remove(&asker);
            if let Asker::Request(request) = asker {
                self.answer(request, answer.clone());
            }
        }
    }
}
