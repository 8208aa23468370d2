//! Which worker a step may run on, where its definition says so.

use kiln_store::filter::Filters;

use crate::error::{BuildError, Kind};
use crate::options::WorkerInfo;

impl WorkerInfo {
    /// Whether filters on `id` and `labels.NAME` leave this worker in.
    pub fn matches(&self, filters: &Filters) -> bool {
        filters.matches(|field| match field.split_once('.') {
            None if field == "id" => Some(self.id.clone()),
            Some(("labels", label)) => self.labels.get(label).cloned(),
            _ => None,
        })
    }

    /// Refuses what must run elsewhere: there is no other worker.
    pub(crate) fn check(&self, filters: &[String]) -> Result<(), BuildError> {
        if filters.is_empty() {
            return Ok(());
        }
        let wrong = |reason: String| {
            let filters = filters.join("; ");
            BuildError::new(Kind::Input, format!("worker filter {filters:?}: {reason}"))
        };
        let parsed = Filters::parse(filters).map_err(|error| wrong(error.to_string()))?;
        match self.matches(&parsed) {
            true => Ok(()),
            false => Err(
                wrong(format!("the only worker, {}, does not match", self.id))
                    .hint("list its labels with: buildctl debug workers -v"),
            ),
        }
    }
}
