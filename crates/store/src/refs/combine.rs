//! Refs made of others: merges and diffs.

use super::record::{Files, Kind, NewRecord, State};
use super::{MutableOptions, Ref};
use crate::store::{Store, StoreError};

impl Store {
    /// The layers of all `inputs` on top of each other, the last topmost; `None` stands for an empty tree.
    pub fn merge(
        &self,
        inputs: &[Option<Ref>],
        options: MutableOptions,
    ) -> Result<Option<Ref>, StoreError> {
        let mut parents = Vec::new();
        for input in inputs.iter().flatten() {
            match input.inner.record.kind {
                // Merging is associative: no need to keep the one in the middle.
                Kind::Merge => parents.extend(input.parents().iter().cloned()),
                _ => parents.push(input.clone()),
            }
        }
        match parents.len() {
            0 => Ok(None),
            1 => Ok(parents.pop().map(Ref::asked_for)),
            _ => self
                .combine(Kind::Merge, Files::None, parents, options)
                .map(Some),
        }
    }

    /// What leads from `lower` to `upper`; `None` stands for an empty tree. The layers of `upper` above `lower` if
    /// it is built on it, a comparison of the two trees otherwise (made by [`Ref::materialize`]).
    pub fn diff(
        &self,
        lower: Option<&Ref>,
        upper: Option<&Ref>,
        options: MutableOptions,
    ) -> Result<Option<Ref>, StoreError> {
        let Some(lower) = lower else {
            return Ok(upper.cloned().map(Ref::asked_for));
        };
        let Some(upper) = upper else {
            return self
                .combine(Kind::Diff, Files::Lazy, vec![lower.clone()], options)
                .map(Some);
        };
        let (below, above) = (lower.stack(), upper.stack());
        let is_built_on_it = below.len() <= above.len()
            && below
                .iter()
                .map(Ref::row)
                .eq(above[..below.len()].iter().map(Ref::row));
        let parents = vec![lower.clone(), upper.clone()];
        match is_built_on_it {
            true if below.len() == above.len() => Ok(None),
            true => self
                .combine(Kind::Slice, Files::None, parents, options)
                .map(Some),
            false => self
                .combine(Kind::Diff, Files::Lazy, parents, options)
                .map(Some),
        }
    }

    fn combine(
        &self,
        kind: Kind,
        files: Files,
        parents: Vec<Ref>,
        options: MutableOptions,
    ) -> Result<Ref, StoreError> {
        let rows = parents.iter().map(Ref::row).collect();
        let (record, hold) = self.insert(&NewRecord::new(
            kind,
            State::Committed,
            files,
            rows,
            options,
        ))?;
        Ok(self.adopt(hold, record, parents).asked_for())
    }
}
