//! Checks that every implementation of a storage trait must pass. They panic
//! at the first difference and are meant to be called from tests.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, SystemTime};

use oci_spec::image::Digest;

use crate::cache::{KeyStore, Link, StoredResult};
use crate::digest::derived;

/// Checks a [`KeyStore`], which must be empty and writable.
///
/// # Panics
/// If the store does not do what its trait says.
pub fn key_store(store: &dyn KeyStore) {
    an_unknown_key_is_empty(store);
    results_hang_on_keys(store);
    links_lead_from_key_to_key(store);
    release_removes_what_leads_nowhere(store);
    work_is_done_together(store);
}

fn an_unknown_key_is_empty(store: &dyn KeyStore) {
    assert!(!store.exists("unknown").unwrap());
    assert_eq!(store.results("unknown").unwrap(), []);
    assert_eq!(
        store.links("unknown", &link(0, None)).unwrap(),
        Vec::<String>::new()
    );
    assert!(!store.has_link("unknown", &link(0, None), "other").unwrap());
    assert_eq!(store.backlinks("unknown").unwrap(), []);
    assert_eq!(
        store.keys_of_result("unknown").unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(store.result_ids().unwrap(), Vec::<String>::new());
    store.release("unknown").unwrap();
}

fn results_hang_on_keys(store: &dyn KeyStore) {
    // An odd number of nanoseconds: the newest of several results wins.
    let first = result("first", Duration::new(1_700_000_000, 123_456_789));
    let second = result("second", Duration::new(1_700_000_001, 1));
    store.add_result("key", &first).unwrap();
    store.add_result("key", &second).unwrap();
    store.add_result("alias", &first).unwrap();
    assert!(store.exists("key").unwrap());
    assert_eq!(
        by_id(store.results("key").unwrap()),
        [first.clone(), second.clone()]
    );
    assert_eq!(
        sorted(store.keys_of_result("first").unwrap()),
        ["alias", "key"]
    );
    assert_eq!(sorted(store.result_ids().unwrap()), ["first", "second"]);

    let newer = result("first", Duration::new(1_700_000_002, 0));
    store.add_result("key", &newer).unwrap();
    assert_eq!(
        by_id(store.results("key").unwrap()),
        [newer, second.clone()]
    );

    store.release("first").unwrap();
    assert_eq!(store.results("key").unwrap(), [second]);
    assert!(!store.exists("alias").unwrap());
    assert_eq!(store.keys_of_result("first").unwrap(), Vec::<String>::new());
    store.release("second").unwrap();
    assert!(!store.exists("key").unwrap());
    assert_eq!(store.result_ids().unwrap(), Vec::<String>::new());
}

fn links_lead_from_key_to_key(store: &dyn KeyStore) {
    let plain = link(0, None);
    let selected = link(0, Some("selector"));
    let second = link(1, None);
    let other_op = Link {
        digest: digest("another op"),
        ..plain.clone()
    };
    for (from, link, to) in [
        ("base", &plain, "app"),
        ("base", &plain, "tool"),
        ("base", &selected, "app"),
        ("data", &second, "app"),
    ] {
        store.add_link(from, link, to).unwrap();
        // Doing it again changes nothing.
        store.add_link(from, link, to).unwrap();
    }
    assert!(store.exists("base").unwrap());
    assert!(
        !store.exists("app").unwrap(),
        "leads nowhere and has no result"
    );
    assert_eq!(
        sorted(store.links("base", &plain).unwrap()),
        ["app", "tool"]
    );
    assert_eq!(store.links("base", &selected).unwrap(), ["app"]);
    assert_eq!(store.links("base", &second).unwrap(), Vec::<String>::new());
    assert_eq!(
        store.links("base", &other_op).unwrap(),
        Vec::<String>::new()
    );
    assert!(store.has_link("data", &second, "app").unwrap());
    assert!(!store.has_link("data", &plain, "app").unwrap());
    assert!(!store.has_link("base", &selected, "tool").unwrap());

    let mut back = store.backlinks("app").unwrap();
    back.sort_by_key(|(from, link)| (from.clone(), link.selector.is_some()));
    let expected = [
        ("base", plain.clone()),
        ("base", selected),
        ("data", second),
    ]
    .map(|(from, link)| (from.to_owned(), link));
    assert_eq!(back, expected);
    assert_eq!(
        store.backlinks("tool").unwrap(),
        [("base".to_owned(), plain)]
    );
    assert_eq!(store.backlinks("base").unwrap(), []);
}

fn release_removes_what_leads_nowhere(store: &dyn KeyStore) {
    // Goes on from the links above: "app" has two ways, and leads on to "end".
    store.add_link("app", &link(0, None), "end").unwrap();
    store
        .add_result("end", &result("of end", Duration::from_secs(1)))
        .unwrap();
    store
        .add_result("app", &result("of app", Duration::from_secs(2)))
        .unwrap();

    store.release("of app").unwrap();
    assert!(store.exists("app").unwrap(), "still leads to a result");
    assert_eq!(store.links("data", &link(1, None)).unwrap(), ["app"]);

    store.release("of end").unwrap();
    assert!(!store.exists("end").unwrap());
    assert!(!store.exists("app").unwrap());
    assert!(!store.exists("data").unwrap(), "led only to what is gone");
    assert_eq!(
        store.links("base", &link(0, None)).unwrap(),
        ["tool"],
        "has no result to release"
    );
    assert_eq!(store.backlinks("app").unwrap(), []);

    store
        .add_result("tool", &result("of tool", Duration::from_secs(3)))
        .unwrap();
    store.release("of tool").unwrap();
    assert!(!store.exists("base").unwrap());
    assert_eq!(store.result_ids().unwrap(), Vec::<String>::new());
}

fn work_is_done_together(store: &dyn KeyStore) {
    let made = result("made", Duration::from_secs(1));
    store
        .together(&mut || {
            store.add_result("together", &made)?;
            store.add_link("before", &link(0, None), "together")?;
            assert!(store.exists("together")?, "work sees what it has written");
            Ok(())
        })
        .unwrap();
    assert_eq!(store.links("before", &link(0, None)).unwrap(), ["together"]);
    let error = store
        .together(&mut || Err("on purpose".into()))
        .unwrap_err();
    assert_eq!(error.to_string(), "on purpose");
    store.release("made").unwrap();
    assert!(!store.exists("before").unwrap());
}

fn link(input: usize, selector: Option<&str>) -> Link {
    Link {
        input,
        digest: digest("op"),
        selector: selector.map(digest),
    }
}

fn digest(text: &str) -> Digest {
    derived(
        &"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
            .try_into()
            .unwrap(),
        text,
    )
}

fn result(id: &str, after_epoch: Duration) -> StoredResult {
    StoredResult {
        id: id.to_owned(),
        created: SystemTime::UNIX_EPOCH + after_epoch,
    }
}

fn by_id(mut results: Vec<StoredResult>) -> Vec<StoredResult> {
    results.sort_by(|a, b| a.id.cmp(&b.id));
    results
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}
