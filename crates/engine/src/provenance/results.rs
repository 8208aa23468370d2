//! Which requests made what other requests are given as inputs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use kiln_llb::Definition;
use oci_spec::image::Digest;

use super::ledger::Ledger;
use super::request::{Inputs, Request};

/// How many requests the inputs of one may come to, theirs included. What builds on itself a few dozen times would
/// otherwise double each time.
const MOST: usize = 100;

/// Requests of frontends by what they came to, for as long as their builds go on: the inputs of one build may come
/// from another one.
#[derive(Clone, Default)]
pub(crate) struct KnownResults(Arc<Mutex<HashMap<Digest, Vec<Weak<Ledger>>>>>);

impl KnownResults {
    /// Notes what the request behind a ledger came to.
    pub(crate) fn add(&self, definition: &Definition, ledger: &Arc<Ledger>) {
        let Some(head) = definition.head().filter(|_| ledger.request.is_some()) else {
            return;
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, makers| {
            makers.retain(|maker| maker.strong_count() > 0);
            !makers.is_empty()
        });
        let makers = known.entry(head).or_default();
        let ledger = Arc::downgrade(ledger);
        if !makers.iter().any(|maker| maker.ptr_eq(&ledger)) {
            makers.push(ledger);
        }
    }

    /// The requests that made these, as far as they are known.
    pub(crate) fn makers(&self, inputs: &BTreeMap<String, Definition>) -> Inputs {
        let mut room = MOST;
        let found = inputs.iter().filter_map(|(name, definition)| {
            let maker = self.maker(definition)?;
            room = room.checked_sub(maker.size())?;
            Some((name.clone(), maker))
        });
        found.collect()
    }

    /// `None` also where it could be one of several that differ.
    fn maker(&self, definition: &Definition) -> Option<Request> {
        let head = definition.head()?;
        let makers: Vec<_> = {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&head)?.iter().filter_map(Weak::upgrade).collect()
        };
        let mut requests = makers
            .iter()
            .filter_map(|maker| maker.request.as_deref())
            .map(Request::of);
        let first = requests.next()?;
        requests.all(|other| other == first).then_some(first)
    }
}
