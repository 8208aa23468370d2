//! The ids that a frontend knows results by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_protocol::frontend;
use kiln_session::SessionId;
use tonic::Status;

use crate::frontend::LazyRef;

/// More results than any build asks for: a frontend that runs wild ends here.
const MAX_REFS: usize = 100_000;

/// Results by id.
#[derive(Default)]
pub(super) struct RefTable(Mutex<HashMap<String, Arc<LazyRef>>>);

impl RefTable {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<LazyRef>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, reference: Arc<LazyRef>) -> Result<String, Status> {
        let id = SessionId::random().as_str().to_owned();
        let mut table = self.lock();
        if table.len() >= MAX_REFS {
            let message =
                format!("more than {MAX_REFS} results in one build: end it and start anew");
            return Err(Status::resource_exhausted(message));
        }
        table.insert(id.clone(), reference);
        Ok(id)
    }

    /// A result as the frontend gets it; an empty tree has no id.
    pub(super) fn add(&self, reference: Option<&Arc<LazyRef>>) -> Result<frontend::Ref, Status> {
        let Some(reference) = reference else {
            return Ok(frontend::Ref::default());
        };
        Ok(frontend::Ref {
            id: self.insert(reference.clone())?,
            def: Some(reference.definition().to_wire()),
        })
    }

    /// What an id stands for.
    pub(super) fn get(&self, id: &str) -> Result<Arc<LazyRef>, Status> {
        let reference = self.lock().get(id).cloned();
        reference.ok_or_else(|| Status::unknown(format!("no such ref: {id:?}")))
    }

    /// The result that a frontend returns by id; an empty id is an empty
    /// tree.
    pub(super) fn returned(&self, id: &str) -> Result<Option<Arc<LazyRef>>, Status> {
        if id.is_empty() {
            return Ok(None);
        }
        let reference = self.lock().get(id).cloned();
        let missing = || Status::unknown(format!("return reference {id} not found"));
        reference.map(Some).ok_or_else(missing)
    }
}
