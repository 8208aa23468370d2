//! `--progress=quiet`: silence, and what failed steps said at the end.

use kiln_session::progress::Update;

use super::View;
use super::state::State;

#[derive(Default)]
pub(super) struct Quiet {
    state: State,
}

impl View for Quiet {
    fn update(&mut self, update: &Update) {
        self.state.update(update);
        // Nobody else takes the lines.
        for step in self.state.steps.values_mut() {
            step.lines.clear();
        }
    }

    fn refresh(&mut self) {}

    fn finish(&mut self) {
        super::put(&mut std::io::stderr(), &self.state.failures());
    }
}
