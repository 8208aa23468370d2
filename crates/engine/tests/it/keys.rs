//! Cache keys in the store's database.

use kiln_engine::DatabaseKeys;
use kiln_solver::{KeyStore, Link, StoredResult, conformance};
use kiln_store::{Store, StoreOptions};

fn open(root: &std::path::Path) -> DatabaseKeys {
    let store = Store::open(StoreOptions { root: root.into() }).unwrap();
    DatabaseKeys::open(store.database().clone()).unwrap()
}

#[test]
fn conforms_to_the_solver() {
    let root = tempfile::tempdir().unwrap();
    conformance::key_store(&open(root.path()));
}

#[test]
fn keys_are_there_for_the_next_process() {
    let root = tempfile::tempdir().unwrap();
    let link = Link {
        input: 3,
        digest: kiln_llb::digest_of("op"),
        selector: Some(kiln_llb::digest_of("selector")),
    };
    // Before and after the epoch, with nanoseconds.
    let created = [
        std::time::UNIX_EPOCH + std::time::Duration::new(1_700_000_000, 123_456_789),
        std::time::UNIX_EPOCH - std::time::Duration::new(5, 1),
    ];
    let keys = open(root.path());
    keys.add_link("a", &link, "b").unwrap();
    for (id, created) in created.iter().enumerate() {
        let result = StoredResult {
            id: id.to_string(),
            created: *created,
        };
        keys.add_result("b", &result).unwrap();
    }
    drop(keys);
    let keys = open(root.path());
    assert_eq!(keys.links("a", &link).unwrap(), ["b"]);
    assert_eq!(keys.backlinks("b").unwrap(), [("a".to_owned(), link)]);
    let found = keys
        .results("b")
        .unwrap()
        .into_iter()
        .map(|result| result.created);
    assert_eq!(found.collect::<Vec<_>>(), created);
}
