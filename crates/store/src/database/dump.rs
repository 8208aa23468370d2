//! The whole database as text, for people who look for a fault.

use std::fmt::Write as _;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::DatabaseError;

/// Longer texts and blobs are cut.
const SHOWN: usize = 256;

/// All tables of the database below a root, row by row. Reads only, and also works beside builds.
pub fn dump(root: &Path) -> Result<String, DatabaseError> {
    let path = root.join(super::FILE);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags);
    let text = connection.and_then(|connection| tables(&connection));
    text.map_err(|error| DatabaseError::of(&path, error))
}

fn tables(connection: &Connection) -> rusqlite::Result<String> {
    let mut names =
        connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")?;
    let names = names.query_map([], |row| row.get::<_, String>(0))?;
    let names = names.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut out = String::new();
    for name in names {
        let _ = writeln!(out, "table {name:?}:");
        // The name comes from the database itself.
        let mut all =
            connection.prepare(&format!("SELECT * FROM \"{}\"", name.replace('"', "\"\"")))?;
        let columns = all.column_names().map(str::to_owned).collect::<Vec<_>>();
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            out.push(' ');
            for (index, column) in columns.iter().enumerate() {
                let _ = write!(out, " {column}={}", shown(row.get_ref(index)?));
            }
            out.push('\n');
        }
    }
    Ok(out)
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".into(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(text);
            match text.char_indices().nth(SHOWN) {
                Some((end, _)) => format!("{:?}…", &text[..end]),
                None => format!("{text:?}"),
            }
        }
        ValueRef::Blob(bytes) => {
            let digits = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}"));
            let cut = if bytes.len() > SHOWN { "…" } else { "" };
            format!("0x{}{cut}", digits.collect::<String>())
        }
    }
}
