//! Refs as rows of the database.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oci_spec::image::{Descriptor, Digest};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::{MutableOptions, RecordType, new_id};
use crate::lease::locks::Row;

/// How a ref is made of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One layer on top of its only parent, or of nothing.
    Layer,
    /// The layers of its parents on top of each other.
    Merge,
    /// The layers that its second parent has above its first.
    Slice,
    /// One layer: the comparison of its first parent with its second.
    Diff,
}

/// Where a row is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// A tree being made by the process that holds it.
    Mutable,
    /// A ref.
    Committed,
    /// A cache directory.
    Cache,
}

/// Where the files of a row's own layer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    /// It has no layer of its own.
    None,
    /// Not here yet.
    Lazy,
    /// Here, written by a build step or a comparison.
    Written,
    /// Here, unpacked from a blob.
    Unpacked,
}

/// Gives an enum its names in the database.
macro_rules! names {
    ($type:ty { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                match value.as_str()? { $($name => Ok(Self::$variant),)+ _ => Err(FromSqlError::InvalidType) }
            }
        }
        impl ToSql for $type {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.name().into())
            }
        }
    };
}

names!(Kind { Layer = "layer", Merge = "merge", Slice = "slice", Diff = "diff" });
names!(State { Mutable = "mutable", Committed = "committed", Cache = "cache" });
names!(Files { None = "none", Lazy = "lazy", Written = "written", Unpacked = "unpacked" });
names!(RecordType {
    Regular = "regular",
    Internal = "internal",
    Frontend = "frontend",
    SourceLocal = "source.local",
    SourceGitCheckout = "source.git.checkout",
    ExecCacheMount = "exec.cachemount",
});

/// What is fixed about a ref.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) row: Row,
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) state: State,
    pub(crate) files: Files,
    pub(crate) description: String,
    pub(crate) record_type: RecordType,
    pub(crate) created: SystemTime,
}

/// A record that has no row yet.
#[derive(Debug)]
pub(crate) struct NewRecord {
    record: Record,
    parents: Vec<Row>,
}

impl NewRecord {
    /// A record with a name of its own.
    pub(crate) fn new(
        kind: Kind,
        state: State,
        files: Files,
        parents: Vec<Row>,
        options: MutableOptions,
    ) -> NewRecord {
        let record = Record {
            row: 0,
            id: new_id(),
            kind,
            state,
            files,
            description: options.description,
            record_type: options.record_type,
            created: options.created.unwrap_or_else(SystemTime::now),
        };
        NewRecord { record, parents }
    }

    /// Inserts the row and its parents. `boot` names the running boot.
    pub(crate) fn insert(&self, connection: &Connection, boot: &str) -> rusqlite::Result<Record> {
        let new = &self.record;
        connection
            .prepare_cached(
                "INSERT INTO refs (id, kind, state, files, description, record_type, created, boot)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                new.id,
                new.kind,
                new.state,
                new.files,
                new.description,
                new.record_type,
                nanoseconds(new.created),
                boot,
            ])?;
        let row = connection.last_insert_rowid();
        let mut link = connection.prepare_cached(
            "INSERT INTO ref_parents (child, position, parent) VALUES (?1, ?2, ?3)",
        )?;
        for (position, parent) in self.parents.iter().enumerate() {
            link.execute(params![row, position, parent])?;
        }
        Ok(Record { row, ..new.clone() })
    }
}

impl Record {
    const COLUMNS: &'static str = "row, id, kind, state, files, description, record_type, created";

    fn from_sql(row: &SqlRow<'_>) -> rusqlite::Result<Record> {
        Ok(Record {
            row: row.get(0)?,
            id: row.get(1)?,
            kind: row.get(2)?,
            state: row.get(3)?,
            files: row.get(4)?,
            description: row.get(5)?,
            record_type: row.get(6)?,
            created: from_nanoseconds(row.get(7)?),
        })
    }

    /// The record of a row, unless it was removed.
    pub(crate) fn find(connection: &Connection, row: Row) -> rusqlite::Result<Option<Record>> {
        let query = format!("SELECT {} FROM refs WHERE row = ?1", Self::COLUMNS);
        connection
            .prepare_cached(&query)?
            .query_row([row], Self::from_sql)
            .optional()
    }

    /// The row of an id.
    pub(crate) fn row_of(connection: &Connection, id: &str) -> rusqlite::Result<Option<Row>> {
        connection
            .prepare_cached("SELECT row FROM refs WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()
    }

    /// The record of a row and all it is made of, parents before their children, each with its parents in order.
    /// Empty if the row was removed.
    pub(crate) fn with_ancestors(
        connection: &Connection,
        row: Row,
    ) -> rusqlite::Result<Vec<(Record, Vec<Row>)>> {
        const FAMILY: &str = "WITH RECURSIVE family (member) AS (
            SELECT ?1 UNION SELECT parent FROM ref_parents JOIN family ON child = member
        )";
        let query = format!(
            "{FAMILY} SELECT {} FROM refs WHERE row IN family ORDER BY row",
            Self::COLUMNS
        );
        let mut records = connection.prepare_cached(&query)?;
        let mut found = records
            .query_map([row], |row| Ok((Self::from_sql(row)?, Vec::new())))?
            .collect::<rusqlite::Result<Vec<(Record, Vec<Row>)>>>()?;
        let query = format!(
            "{FAMILY} SELECT child, parent FROM ref_parents WHERE child IN family ORDER BY child, position"
        );
        let mut links = connection.prepare_cached(&query)?;
        let mut links = links.query([row])?;
        while let Some(link) = links.next()? {
            let (child, parent): (Row, Row) = (link.get(0)?, link.get(1)?);
            if let Ok(position) = found.binary_search_by_key(&child, |(record, _)| record.row) {
                found[position].1.push(parent);
            }
        }
        Ok(found)
    }
}

/// What is known so far of a layer as it is exported.
#[derive(Debug, Clone, Default)]
pub(crate) struct LayerFacts {
    pub(crate) diff_id: Option<Digest>,
    pub(crate) blobs: Vec<Descriptor>,
}

impl LayerFacts {
    pub(crate) fn find(connection: &Connection, row: Row) -> rusqlite::Result<LayerFacts> {
        let diff_id: Option<String> = connection
            .prepare_cached("SELECT diff_id FROM refs WHERE row = ?1")?
            .query_row([row], |row| row.get(0))
            .optional()?
            .flatten();
        let mut query = connection.prepare_cached(
            "SELECT descriptor FROM ref_blobs WHERE owner = ?1 ORDER BY position",
        )?;
        let texts = query.query_map([row], |row| row.get::<_, String>(0))?;
        let mut blobs = Vec::new();
        for text in texts {
            blobs.extend(serde_json::from_str::<Descriptor>(&text?).ok());
        }
        Ok(LayerFacts {
            diff_id: diff_id.and_then(|text| Digest::from_str(&text).ok()),
            blobs,
        })
    }

    /// Adds a blob; the first one stays first.
    pub(crate) fn add_blob(
        connection: &Connection,
        row: Row,
        blob: &Descriptor,
    ) -> rusqlite::Result<()> {
        let text = serde_json::to_string(blob).unwrap_or_default();
        connection
            .prepare_cached(
                "INSERT INTO ref_blobs (owner, position, digest, descriptor)
                 VALUES (?1, (SELECT count(*) FROM ref_blobs WHERE owner = ?1), ?2, ?3)
                 ON CONFLICT (owner, digest) DO UPDATE SET descriptor = excluded.descriptor",
            )?
            .execute(params![row, blob.digest().as_ref(), text])?;
        Ok(())
    }
}

/// A time as the database holds it.
pub(crate) fn nanoseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => {
            i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |before| -before)
        }
    }
}

/// A time from the database.
pub(crate) fn from_nanoseconds(nanoseconds: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    if nanoseconds < 0 {
        UNIX_EPOCH - distance
    } else {
        UNIX_EPOCH + distance
    }
}
