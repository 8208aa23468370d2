//! `--progress=rawjson` and `--trace`: every update as a line of JSON.

use std::io::Write;

use kiln_session::progress::Update;

use super::View;

pub(super) struct RawJson<W> {
    out: W,
}

impl<W: Write> RawJson<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> View for RawJson<W> {
    fn update(&mut self, update: &Update) {
        if let Ok(mut line) = serde_json::to_string(update) {
            line.push('\n');
            super::put(&mut self.out, &line);
        }
    }

    fn refresh(&mut self) {}

    fn finish(&mut self) {
        let _ = self.out.flush();
    }
}
