//! "Did you mean".

use kiln_dockerfile::suggest::{Casing, closest};

#[test]
fn closest_words() {
    let known = ["from", "link", "chown", "chmod", "parents"];
    let suggest = |word: &str| closest(word, known, Casing::Sensitive);
    assert_eq!(suggest("form").as_deref(), Some("from"));
    assert_eq!(suggest("parent").as_deref(), Some("parents"));
    assert_eq!(suggest("chwon").as_deref(), Some("chown"));
    assert_eq!(suggest("chmow").as_deref(), Some("chmod"));
    assert_eq!(suggest("exclude"), None);
    assert_eq!(suggest("FROM"), None);
    // It is known, so it is not what is wrong.
    assert_eq!(suggest("from"), None);
}

#[test]
fn suggestions_follow_the_casing() {
    let suggest = |word: &str| closest(word, ["WORKDIR", "RUN"], Casing::Insensitive);
    assert_eq!(suggest("wrkdir").as_deref(), Some("workdir"));
    assert_eq!(suggest("WRKDIR").as_deref(), Some("WORKDIR"));
    assert_eq!(suggest("Wrkdir").as_deref(), Some("workdir"));
    assert_eq!(suggest("run"), None);
}
