//! Named contexts: a folder, an image, a layout, and another target.

use super::Buildx;

#[test]
fn of_every_kind() {
    let buildx = Buildx::start();
    buildx.write("other/word", "from a folder\n");
    buildx.write("layer/Dockerfile", "FROM scratch\nCOPY word /word\n");
    buildx.write("layer/word", "from an image\n");
    let image = buildx.image("word:1");
    buildx.must(&["build", "--push", "--tag", &image, "layer"]);
    buildx.write("layer/word", "from a layout\n");
    buildx.must(&[
        "build",
        "--provenance=false",
        "--output",
        "type=oci,tar=false,dest=layout",
        "layer",
    ]);

    buildx.write(
        "context/Dockerfile",
        "FROM scratch\n\
         COPY --from=folder word /folder\n\
         COPY --from=image word /image\n\
         COPY --from=layout word /layout\n",
    );
    let image = format!("image=docker-image://{image}");
    let layout = format!("layout=oci-layout://{}", buildx.path("layout").display());
    buildx.must(&[
        "build",
        "--build-context",
        "folder=other",
        "--build-context",
        &image,
        "--build-context",
        &layout,
        "--output",
        "files",
        "context",
    ]);
    for name in ["folder", "image", "layout"] {
        let article = if name == "image" { "an" } else { "a" };
        assert_eq!(
            buildx.read(&format!("files/{name}")),
            format!("from {article} {name}\n")
        );
    }
}

#[test]
fn only_what_changed_is_sent() {
    let buildx = Buildx::start();
    buildx.write("context/Dockerfile", "FROM scratch\nCOPY . /all\n");
    buildx.write("context/.dockerignore", "**/*.tmp\n");
    buildx.write("context/a/kept", "kept\n");
    buildx.write("context/a/ignored.tmp", "ignored\n");
    buildx.must(&["build", "--output", "files", "context"]);
    assert_eq!(buildx.read("files/all/a/kept"), "kept\n");
    assert!(!buildx.path("files/all/a/ignored.tmp").exists());

    std::fs::remove_file(buildx.path("context/a/kept")).unwrap();
    buildx.write("context/b/new", "new\n");
    buildx.must(&["build", "--output", "again", "context"]);
    assert!(!buildx.path("again/all/a/kept").exists());
    assert_eq!(buildx.read("again/all/b/new"), "new\n");
}
