//! All records at one moment: what they take, who is built on whom, who is in use.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use super::UsageRecord;
use crate::filter::Filters;
use crate::lease::locks::{Purpose, Row};
use crate::refs::record::{State, from_nanoseconds};
use crate::store::{Core, Store, StoreError};

/// Which records to list.
#[derive(Debug, Clone, Default)]
pub struct UsageOptions {
    /// Filters in containerd's syntax, of which one must match: `type==source.local,inuse`.
    pub filters: Vec<String>,
    /// Only records not used for this long.
    pub age: Option<Duration>,
}

impl Store {
    /// Every record with its size. Sizes not known yet are measured, which may take a while.
    pub fn disk_usage(&self, options: &UsageOptions) -> Result<Vec<UsageRecord>, StoreError> {
        let filters = Filters::parse(&options.filters)?;
        let mut census = Census::take(self.core())?;
        census.measure(self.core())?;
        let limit = options
            .age
            .and_then(|age| SystemTime::now().checked_sub(age));
        let is_old = |record: &UsageRecord| match (limit, record.last_used) {
            (Some(limit), Some(last_used)) => last_used <= limit,
            _ => true,
        };
        let mut records = census.into_records();
        records.retain(|record| filters.matches(|name| record.field(name)) && is_old(record));
        records.sort_by(|a, b| (a.size, &a.id).cmp(&(b.size, &b.id)));
        Ok(records)
    }
}

impl Store {
    /// Bytes that no record tells of: trees that are being written, blobs that no ref has, and the database. What
    /// named images share is not part of it. Walks the trees that are being written.
    pub fn unaccounted(&self) -> Result<u64, StoreError> {
        Census::take(self.core())?.unaccounted(self.core())
    }

    /// All bytes that the store takes but those of the manifests of named images. Sizes not known yet are measured.
    pub fn space_used(&self) -> Result<u64, StoreError> {
        let core = self.core();
        let mut census = Census::take(core)?;
        let unaccounted = census.unaccounted(core)?;
        census.measure(core)?;
        Ok(census.size() + unaccounted)
    }
}

/// A record and what the database adds to it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: UsageRecord,
    pub(super) parents: Vec<Row>,
    pub(super) state: State,
    /// Whether a process holds it directly.
    pub(super) held: bool,
    /// Bytes of its files, if they were measured before and cannot have changed.
    files: Option<u64>,
    blobs: Vec<String>,
}

/// All entries.
#[derive(Debug, Default)]
pub(super) struct Census {
    pub(super) entries: HashMap<Row, Entry>,
}

impl Census {
    /// Reads all records and finds out which are in use and which are shared.
    pub(super) fn take(core: &Core) -> Result<Census, StoreError> {
        let mut census = core.database.query(Census::read)?;
        let locks = core.new_lock_owner()?;
        for (row, entry) in &mut census.entries {
            entry.held = locks.is_held(Purpose::Use, *row)?;
        }
        census.spread_use();
        census.spread_shared(&core.image_blobs()?);
        Ok(census)
    }

    fn read(connection: &Connection) -> rusqlite::Result<Census> {
        let mut census = Census::default();
        let mut query = connection.prepare_cached(
            "SELECT row, id, state, description, record_type, created, last_used, usage_count, size, linked
             FROM refs",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let state: State = row.get(2)?;
            let (files, linked): (Option<u64>, bool) = (row.get(8)?, row.get(9)?);
            let record = UsageRecord {
                id: row.get(1)?,
                mutable: state != State::Committed,
                in_use: false,
                size: 0,
                parents: Vec::new(),
                created: from_nanoseconds(row.get(5)?),
                last_used: row.get::<_, Option<i64>>(6)?.map(from_nanoseconds),
                usage_count: row.get(7)?,
                description: row.get(3)?,
                record_type: row.get(4)?,
                shared: false,
            };
            let files = files.filter(|_| !linked && state == State::Committed);
            let entry = Entry {
                record,
                parents: Vec::new(),
                state,
                held: false,
                files,
                blobs: Vec::new(),
            };
            census.entries.insert(row.get(0)?, entry);
        }
        census.read_parents(connection)?;
        census.read_blobs(connection)?;
        Ok(census)
    }

    fn read_parents(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut query = connection
            .prepare_cached("SELECT child, parent FROM ref_parents ORDER BY child, position")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (child, parent): (Row, Row) = (row.get(0)?, row.get(1)?);
            let parent_id = self
                .entries
                .get(&parent)
                .map(|entry| entry.record.id.clone());
            if let (Some(entry), Some(parent_id)) = (self.entries.get_mut(&child), parent_id) {
                entry.parents.push(parent);
                entry.record.parents.push(parent_id);
            }
        }
        Ok(())
    }

    fn read_blobs(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut query = connection.prepare_cached(
            "SELECT owner, digest FROM ref_blobs UNION SELECT owner, digest FROM ref_attachments ORDER BY owner",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(entry) = self.entries.get_mut(&row.get::<_, Row>(0)?) {
                entry.blobs.push(row.get(1)?);
            }
        }
        Ok(())
    }

    /// See [`Store::unaccounted`].
    fn unaccounted(&self, core: &Core) -> Result<u64, StoreError> {
        let mut bytes = core.database.size();
        for (row, entry) in &self.entries {
            if entry.record.mutable && entry.held {
                bytes += core.snapshots.usage(*row)?.bytes;
            }
        }
        let images = core.image_blobs()?;
        let blobs = self.entries.values().flat_map(|entry| &entry.blobs);
        let accounted: HashSet<&String> = blobs.chain(&images).collect();
        for (digest, _) in core.content.list()? {
            if !accounted.contains(&digest.to_string()) {
                bytes += core.content.size_on_disk(digest.as_ref());
            }
        }
        Ok(bytes)
    }

    /// The bytes of measured records.
    pub(super) fn size(&self) -> u64 {
        self.entries.values().map(|entry| entry.record.size).sum()
    }

    /// The bytes of measured records that no named image shares.
    pub(super) fn private_size(&self) -> u64 {
        let private = self.entries.values().filter(|entry| !entry.record.shared);
        private.map(|entry| entry.record.size).sum()
    }

    /// A ref in use uses what it is built on.
    fn spread_use(&mut self) {
        let mut pending: Vec<Row> = self.rows_where(|entry| entry.held);
        while let Some(row) = pending.pop() {
            if let Some(entry) = self.entries.get_mut(&row)
                && !std::mem::replace(&mut entry.record.in_use, true)
            {
                pending.extend(&entry.parents);
            }
        }
    }

    /// What an image of the store consists of is shared with it, and so is what that is built on.
    fn spread_shared(&mut self, image_blobs: &HashSet<String>) {
        let mut pending =
            self.rows_where(|entry| entry.blobs.iter().any(|blob| image_blobs.contains(blob)));
        while let Some(row) = pending.pop() {
            if let Some(entry) = self.entries.get_mut(&row)
                && !std::mem::replace(&mut entry.record.shared, true)
            {
                pending.extend(&entry.parents);
            }
        }
    }

    fn rows_where(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Row> {
        self.entries
            .iter()
            .filter(|(_, entry)| wanted(entry))
            .map(|(row, _)| *row)
            .collect()
    }

    /// Finds the sizes, and remembers those that cannot change.
    pub(super) fn measure(&mut self, core: &Core) -> Result<(), StoreError> {
        let mut rows: Vec<Row> = self.entries.keys().copied().collect();
        rows.sort_unstable();
        let mut measured = Vec::new();
        // A blob that several records have counts with the oldest.
        let mut counted = HashSet::new();
        for row in rows {
            let Some(entry) = self.entries.get_mut(&row) else {
                continue;
            };
            let files = match entry.files {
                Some(known) => known,
                // Whatever is read while it is written means nothing.
                None if entry.record.mutable && entry.held => 0,
                None => {
                    let usage = core.snapshots.usage(row)?;
                    if entry.state == State::Committed {
                        measured.push((row, usage));
                    }
                    usage.bytes
                }
            };
            let blobs: Vec<&String> = entry
                .blobs
                .iter()
                .filter(|blob| counted.insert((*blob).clone()))
                .collect();
            let blobs: u64 = blobs
                .into_iter()
                .map(|blob| core.content.size_on_disk(blob))
                .sum();
            entry.record.size = files + blobs;
        }
        if measured.is_empty() {
            return Ok(());
        }
        core.database.transact(|transaction| {
            let mut update = transaction.prepare_cached(
                "UPDATE refs SET size = ?2, linked = ?3 WHERE row = ?1 AND files IN ('written', 'unpacked')",
            )?;
            for (row, usage) in measured {
                update.execute((row, usage.bytes, usage.linked))?;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn into_records(self) -> Vec<UsageRecord> {
        self.entries
            .into_values()
            .map(|entry| entry.record)
            .collect()
    }
}
