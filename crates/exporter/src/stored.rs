//! Names of images in the store.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use kiln_registry::Reference;
use kiln_store::Store;
use kiln_store::database::DatabaseError;

use crate::image::model::Descriptor;
use crate::image::{Assembled, json};
use crate::{ExportError, ExportInput};

const NAMESPACE: &str = "images";
const MIGRATIONS: [&str; 1] = ["CREATE TABLE images_names (
    name TEXT PRIMARY KEY,
    descriptor TEXT NOT NULL,
    refs TEXT NOT NULL,
    updated INTEGER NOT NULL
) STRICT, WITHOUT ROWID"];

/// What a name stands for.
pub(crate) struct Record {
    root: Descriptor,
    /// The refs by platform, so that the image can be found in the store without unpacking it.
    refs: BTreeMap<String, String>,
}

impl Record {
    pub(crate) fn of(input: &ExportInput, image: &Assembled) -> Self {
        let refs = input.platforms.iter().filter_map(|result| {
            let id = result.reference.as_ref()?.id().to_owned();
            Some((kiln_llb::platform::format_all(&result.platform), id))
        });
        Self {
            root: image.root.clone(),
            refs: refs.collect(),
        }
    }
}

/// The form in which a name is kept: complete if it is a reference, else as it is.
pub(crate) fn name_of(name: &str) -> String {
    Reference::parse(name).map_or_else(
        |_| name.to_owned(),
        |reference| reference.with_default_tag().to_string(),
    )
}

/// Gives an image its names, taking them from whatever had them before.
pub(crate) fn put(store: &Store, names: &[String], record: &Record) -> Result<(), ExportError> {
    if names.is_empty() {
        return Ok(());
    }
    let encode = |error: serde_json::Error| ExportError::Config(error.to_string());
    let descriptor =
        String::from_utf8_lossy(&json::compact(&record.root).map_err(encode)?).into_owned();
    let refs = serde_json::to_string(&record.refs).map_err(encode)?;
    let updated = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64);
    let failed = |error: DatabaseError| ExportError::Store(error.into());
    store
        .database()
        .migrate(NAMESPACE, &MIGRATIONS)
        .map_err(failed)?;
    store
        .database()
        .write(|transaction| {
            for name in names {
                transaction.execute(
                    "INSERT OR REPLACE INTO images_names (name, descriptor, refs, updated) VALUES (?1, ?2, ?3, ?4)",
                    (name, &descriptor, &refs, updated),
                )?;
            }
            Ok::<_, DatabaseError>(())
        })
        .map_err(failed)
}
