//! Builds that are over: listed, inspected, their logs, their export.

use serde_json::Value;

use super::{Buildx, assert_has};

#[test]
fn of_good_and_failed_builds() {
    let buildx = Buildx::start();
    buildx.on_base("context", "RUN echo words of a step\n");
    buildx.must(&["build", "--metadata-file", "metadata.json", "context"]);
    let metadata: Value = serde_json::from_str(&buildx.read("metadata.json")).unwrap();
    let reference = metadata["buildx.build.ref"].as_str().unwrap();
    let id = reference.rsplit('/').next().unwrap();

    let listed = buildx.must(&["history", "ls"]).stdout;
    assert_has(&listed, id);
    assert_has(&listed, "Completed");

    let inspected = buildx.must(&["history", "inspect", id]).stdout;
    for part in ["Started:", "Duration:", "Build Steps:"] {
        assert_has(&inspected, part);
    }
    let logs = buildx.must(&["history", "logs", "--progress=plain", id]);
    assert_has(&(logs.stdout + &logs.stderr), "words of a step");
    buildx.must(&["history", "export", "--output", "build.dockerbuild", id]);
    assert!(buildx.path("build.dockerbuild").metadata().unwrap().len() > 0);

    buildx.on_base("context", "RUN exit 9\n");
    assert!(!buildx.run(&["build", "context"]).success);
    assert_has(&buildx.must(&["history", "ls"]).stdout, "Error");

    buildx.must(&["history", "rm", id]);
    let listed = buildx.must(&["history", "ls"]).stdout;
    assert!(!listed.contains(id), "{listed}");
}
