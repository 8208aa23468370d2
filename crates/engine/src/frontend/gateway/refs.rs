//! The ids that a frontend knows results by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_protocol::frontend;
use kiln_session::SessionId;
use tonic::Status;

use crate::error::BuildError;
use crate::frontend::LazyRef;
use crate::lost::Need;
use crate::ops::Output;

/// More results than any build asks for: a frontend that runs wild ends here.
const MAX_REFS: usize = 100_000;

/// Results by id.
#[derive(Default)]
pub(super) struct RefTable(Mutex<HashMap<String, Held>>);

/// What an id stands for.
#[derive(Clone)]
pub(super) enum Held {
    /// The result of a definition.
    Lazy(Arc<LazyRef>),
    /// What a failed step left, for those who look into it.
    Tree(Output),
}

impl Held {
    /// The result, computed now if it was not before, with what is needed of it.
    pub(super) async fn output(&self, need: Need) -> Result<Output, BuildError> {
        match self {
            Self::Lazy(reference) => Ok(reference.brought(need).await?.output),
            Self::Tree(output) => {
                need.bring(output).await?;
                Ok(output.clone())
            }
        }
    }
}

impl RefTable {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, held: Held) -> Result<String, Status> {
        let id = SessionId::random().as_str().to_owned();
        let mut table = self.lock();
        if table.len() >= MAX_REFS {
            let message =
                format!("more than {MAX_REFS} results in one build: end it and start anew");
            return Err(Status::resource_exhausted(message));
        }
        table.insert(id.clone(), held);
        Ok(id)
    }

    /// A result as the frontend gets it; an empty tree has no id.
    pub(super) fn add(&self, reference: Option<&Arc<LazyRef>>) -> Result<frontend::Ref, Status> {
        let Some(reference) = reference else {
            return Ok(frontend::Ref::default());
        };
        Ok(frontend::Ref {
            id: self.insert(Held::Lazy(reference.clone()))?,
            def: Some(reference.definition().to_wire()),
        })
    }

    /// An id for what a failed step left; empty for nothing.
    pub(super) fn hold(&self, output: &Output) -> String {
        let held = output.is_some().then(|| Held::Tree(output.clone()));
        held.and_then(|held| self.insert(held).ok())
            .unwrap_or_default()
    }

    /// What an id stands for.
    pub(super) fn get(&self, id: &str) -> Result<Held, Status> {
        let held = self.lock().get(id).cloned();
        held.ok_or_else(|| Status::unknown(format!("no such ref: {id:?}")))
    }

    /// The result that a frontend returns by id; an empty id is an empty
    /// tree.
    pub(super) fn returned(&self, id: &str) -> Result<Option<Arc<LazyRef>>, Status> {
        if id.is_empty() {
            return Ok(None);
        }
        match self.lock().get(id) {
            Some(Held::Lazy(reference)) => Ok(Some(reference.clone())),
            Some(Held::Tree(_)) | None => {
                Err(Status::unknown(format!("return reference {id} not found")))
            }
        }
    }
}
