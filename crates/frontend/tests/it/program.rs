//! `dockerfile-frontend` where no engine has started it.

use std::process::{Command, Stdio};

#[test]
fn without_an_engine_it_ends_and_says_why() {
    let output = Command::new(env!("CARGO_BIN_EXE_dockerfile-frontend"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("dockerfile-frontend: cannot "), "{said}");
}
