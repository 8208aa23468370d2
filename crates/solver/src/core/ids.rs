//! Names of things inside the core. They are never used twice, so an answer
//! for something that is gone finds nothing.

use std::collections::HashMap;
use std::hash::Hash;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(pub(crate) u64);

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }
    )*};
}

ids! {
    /// A vertex shared by jobs.
    VertexId,
    /// An output of a vertex.
    EdgeId,
    /// Something asked of the outside.
    TaskId,
    /// A solve of a job.
    RequestId
}

/// Items by id.
#[derive(Debug)]
pub(crate) struct Arena<I, V> {
    next: u64,
    items: HashMap<I, V>,
}

impl<I, V> Default for Arena<I, V> {
    fn default() -> Self {
        Self {
            next: 0,
            items: HashMap::new(),
        }
    }
}

impl<I: From<u64> + Copy + Eq + Hash, V> Arena<I, V> {
    pub(crate) fn add(&mut self, value: V) -> I {
        let id = I::from(self.next);
        self.next += 1;
        self.items.insert(id, value);
        id
    }

    pub(crate) fn get(&self, id: I) -> Option<&V> {
        self.items.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: I) -> Option<&mut V> {
        self.items.get_mut(&id)
    }

    /// Removes an item, for good or to work on it for a while.
    pub(crate) fn take(&mut self, id: I) -> Option<V> {
        let item = self.items.remove(&id);
        if self.items.is_empty() {
            self.items.shrink_to_fit();
        }
        item
    }

    pub(crate) fn put_back(&mut self, id: I, value: V) {
        self.items.insert(id, value);
    }

    /// All items, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (I, &V)> {
        self.items.iter().map(|(id, item)| (*id, item))
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}
