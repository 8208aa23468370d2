//! Any text as an image name: no panic, a full name stays as it is, and both readers of names agree on it.
#![no_main]

use kiln_llb::reference::normalize;
use kiln_registry::Reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(name) = normalize(text) else { return };
    assert_eq!(normalize(&name).as_ref(), Ok(&name));
    if let Ok(reference) = Reference::parse(&name) {
        assert_eq!(reference.to_string(), name);
    }
});
