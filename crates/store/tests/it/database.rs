//! The database for other crates' tables, and what a power failure does to the store's own.

use kiln_store::database::DatabaseError;
use kiln_store::{StoreError, StoreErrorKind};

use super::setup::{Rig, open, options, write};

const STEPS: &[&str] = &[
    "CREATE TABLE solver_a (x INTEGER)",
    "ALTER TABLE solver_a ADD COLUMN y TEXT",
];

#[test]
fn migrations_run_once() {
    let rig = Rig::new();
    let database = rig.store.database();
    database.migrate("solver", &STEPS[..1]).unwrap();
    database
        .write(|transaction| transaction.execute("INSERT INTO solver_a VALUES (1)", []))
        .unwrap();
    let other = open(rig.root());
    other.database().migrate("solver", STEPS).unwrap();
    other.database().migrate("solver", STEPS).unwrap();
    let found: i64 = database
        .read(|connection| {
            connection.query_row("SELECT x FROM solver_a WHERE y IS NULL", [], |row| {
                row.get(0)
            })
        })
        .unwrap();
    assert_eq!(found, 1);
    let error = database.migrate("solver", &STEPS[..1]).unwrap_err();
    assert!(
        matches!(
            error,
            DatabaseError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("kiln.db"), "{error}");
}

#[test]
fn failed_writes_change_nothing() {
    let rig = Rig::new();
    let database = rig.store.database();
    database.migrate("solver", STEPS).unwrap();
    let error = database
        .write(|transaction| {
            transaction.execute("INSERT INTO solver_a (x) VALUES (1)", [])?;
            transaction.execute("INSERT INTO nonsense VALUES (1)", [])
        })
        .unwrap_err();
    assert!(
        error.to_string().contains("kiln.db") && error.to_string().contains("nonsense"),
        "{error}"
    );
    let count: i64 = database
        .read(|connection| {
            connection.query_row("SELECT count(*) FROM solver_a", [], |row| row.get(0))
        })
        .unwrap();
    assert_eq!(count, 0);
}

/// Makes the store believe that all it knows is of an earlier boot of the machine.
fn reboot(rig: &Rig) {
    let database = rig.store.database();
    database
        .write(|transaction| {
            transaction.execute("UPDATE settings SET value = 'x' WHERE name = 'boot'", [])
        })
        .unwrap();
    database
        .write(|transaction| {
            transaction.execute("UPDATE refs SET boot = 'x' WHERE boot IS NOT NULL", [])
        })
        .unwrap();
}

#[test]
fn only_synced_trees_outlive_a_power_failure() {
    let rig = Rig::new();
    let kept = rig.layer(None, |tree| write(tree, "a", "a"));
    rig.store.sync().unwrap();
    let lost = rig.layer(Some(&kept), |tree| write(tree, "b", "b"));
    let merged = rig
        .store
        .merge(&[Some(kept.clone()), Some(lost.clone())], options(""))
        .unwrap()
        .unwrap();
    let blob = rig.store.content().put(b"a blob").unwrap();
    let ids = [
        kept.id().to_owned(),
        lost.id().to_owned(),
        merged.id().to_owned(),
    ];
    drop((kept, lost, merged));
    rig.store.settle();
    reboot(&rig);
    let store = open(rig.root());
    let found = ids.map(|id| store.get(&id).unwrap().is_some());
    assert_eq!(found, [true, false, false]);
    assert!(
        store.content().exists(&blob.digest).unwrap(),
        "an intact blob stays"
    );
    store.settle();
    assert_eq!(rig.snapshots(), 1);
}

#[test]
fn torn_blobs_do_not_outlive_a_power_failure() {
    let rig = Rig::new();
    let blob = rig.store.content().put(b"a blob").unwrap();
    std::fs::remove_file(rig.store.content().path(&blob.digest)).unwrap();
    std::fs::write(rig.store.content().path(&blob.digest), b"a bl").unwrap();
    reboot(&rig);
    assert!(!open(rig.root()).content().exists(&blob.digest).unwrap());
}

#[test]
fn a_damaged_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("kiln.db"),
        "this is no database, however long one looks at it",
    )
    .unwrap();
    let error = kiln_store::Store::open(kiln_store::StoreOptions {
        root: dir.path().to_owned(),
    })
    .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Environment);
    assert!(matches!(error, StoreError::Database(_)));
    assert!(
        error.to_string().contains(dir.path().to_str().unwrap()),
        "{error}"
    );
}
