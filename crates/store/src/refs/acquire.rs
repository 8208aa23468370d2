//! From ids and rows of the database to refs.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

use super::hold::Hold;
use super::record::{Files, Record, State};
use super::{Ref, RefInner};
use crate::lease::locks::Row;
use crate::store::{Store, StoreError};

impl Store {
    /// The ref with this id, or `None` if it does not exist (any more).
    pub fn get(&self, id: &str) -> Result<Option<Ref>, StoreError> {
        Ok(self.look_at(id)?.map(Ref::asked_for))
    }

    /// The same, without counting as a use.
    pub fn look_at(&self, id: &str) -> Result<Option<Ref>, StoreError> {
        match self
            .database()
            .query(|connection| Record::row_of(connection, id))?
        {
            Some(row) => self.acquire(row),
            None => Ok(None),
        }
    }

    /// Whether [`Store::get`] would find a ref. Unlike that it does not count as a use.
    pub fn contains(&self, id: &str) -> Result<bool, StoreError> {
        Ok(self.database().query(|connection| {
            let row = Record::row_of(connection, id)?;
            let record = row.map(|row| Record::find(connection, row)).transpose()?;
            Ok(record
                .flatten()
                .is_some_and(|record| record.state == State::Committed))
        })?)
    }

    /// The ref last stored under an index key, such as `local:<shared key>`, if it still exists.
    pub fn ref_by_key(&self, key: &str) -> Result<Option<Ref>, StoreError> {
        let row = self.database().query(|connection| {
            let mut query =
                connection.prepare_cached("SELECT target FROM ref_keys WHERE key = ?1")?;
            query
                .query([key])?
                .next()?
                .map(|row| row.get::<_, Row>(0))
                .transpose()
        })?;
        match row {
            Some(row) => Ok(self.acquire(row)?.map(Ref::asked_for)),
            None => Ok(None),
        }
    }

    /// Stores a ref under an index key.
    pub fn set_key(&self, key: &str, target: &Ref) -> Result<(), StoreError> {
        self.database().transact(|transaction| {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO ref_keys (key, target) VALUES (?1, ?2)")?
                .execute((key, target.row()))
        })?;
        Ok(())
    }

    /// The ref of a row, unless it was removed.
    pub(crate) fn acquire(&self, row: Row) -> Result<Option<Ref>, StoreError> {
        if let Some(inner) = self.holds().known(row) {
            return Ok(Some(Ref { inner }));
        }
        let hold = self.holds().hold(row)?;
        // Looked up only now: before the hold, another process could have removed it after the look.
        let family = self
            .database()
            .query(|connection| Record::with_ancestors(connection, row))?;
        if !family
            .last()
            .is_some_and(|(record, _)| record.row == row && record.state == State::Committed)
        {
            return Ok(None);
        }
        // Nobody removes what a held ref is built on, so all of it is here and stays.
        let mut made: HashMap<Row, Ref> = HashMap::with_capacity(family.len());
        for (record, parents) in family {
            let known = self.holds().known(record.row).map(|inner| Ref { inner });
            let member = match known {
                Some(known) => known,
                None => {
                    let parents = parents
                        .iter()
                        .filter_map(|parent| made.get(parent).cloned())
                        .collect();
                    self.adopt(self.holds().hold(record.row)?, record, parents)
                }
            };
            made.insert(member.row(), member);
        }
        drop(hold);
        Ok(made.remove(&row))
    }

    /// Makes a ref of a row that is held.
    pub(crate) fn adopt(&self, hold: Hold, record: Record, parents: Vec<Ref>) -> Ref {
        let row = record.row;
        let inner = RefInner {
            store: self.clone(),
            files: known_files(record.files),
            record,
            parents,
            fetchers: Mutex::default(),
            work: Arc::default(),
            asked_for: AtomicBool::new(false),
            _hold: hold,
        };
        Ref {
            inner: self.holds().publish(row, Arc::new(inner)),
        }
    }
}

/// Files that are here stay; lazy ones may arrive.
fn known_files(files: Files) -> OnceLock<Files> {
    match files {
        Files::Lazy => OnceLock::new(),
        known => OnceLock::from(known),
    }
}
