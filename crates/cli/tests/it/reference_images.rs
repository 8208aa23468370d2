//! The same image keys, here and in the BuildKit inside a real dockerd: equal
//! digests wherever the specifications settle the bytes.

use std::process::Command;

use kiln_testkit::docker::{Docker, ImageStore};
use kiln_testkit::tools;
use serde_json::Value;

use crate::world::{Ran, World, ran};

/// How much of an image is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Equal {
    /// All of it.
    Image,
    /// The config, which has the digests of uncompressed layers: compressors
    /// differ.
    Config,
}

/// A world, and an engine to compare with.
struct Comparison {
    world: World,
    docker: Docker,
}

const EPOCH: &str = "SOURCE_DATE_EPOCH=1700000000";

impl Comparison {
    fn start(dockerfile: &str) -> Self {
        let world = World::with_busybox();
        world.on_busybox(dockerfile);
        let docker = Docker::start(ImageStore::Containerd).unwrap();
        Self { world, docker }
    }

    fn theirs(&self, output: &str, platforms: &str) -> Ran {
        let mut command = Command::new(tools::buildx());
        command
            .current_dir(self.world.path("."))
            .env("DOCKER_HOST", self.docker.address())
            .env("BUILDX_CONFIG", self.world.path("buildx"))
            .env("DOCKER_CONFIG", self.world.path("docker"))
            .env_remove("SOURCE_DATE_EPOCH")
            .args(["build", "--provenance=false", "--build-arg", EPOCH])
            .args(["--platform", platforms, "--output", output])
            .args(["--metadata-file", "theirs.json", "context"]);
        ran(command.output().unwrap())
    }

    fn ours(&self, output: &str, platforms: &str) -> Ran {
        self.world.build(&[
            "--opt",
            &format!("build-arg:{EPOCH}"),
            "--opt",
            &format!("platform={platforms}"),
            "--output",
            output,
            "--metadata-file",
            "ours.json",
        ])
    }

    fn check(&self, keys: &str, platforms: &str, equal: Equal) {
        let output = |file: &str| format!("{keys},dest={file},rewrite-timestamp=true");
        let (theirs, ours) = (
            self.theirs(&output("theirs.tar"), platforms),
            self.ours(&output("ours.tar"), platforms),
        );
        assert!(theirs.success, "{keys}: {}", theirs.stderr);
        assert!(ours.success, "{keys}: {}", ours.stderr);
        let key = match equal {
            Equal::Image => "containerimage.digest",
            Equal::Config => "containerimage.config.digest",
        };
        let digest = |file: &str| -> Value {
            let metadata: Value = serde_json::from_str(&self.world.read(file)).unwrap();
            metadata[key].clone()
        };
        let theirs = digest("theirs.json");
        assert!(theirs.is_string(), "{keys}: {theirs}");
        assert_eq!(digest("ours.json"), theirs, "{keys}");
    }
}

#[test]
fn images_of_one_platform() {
    let comparison = Comparison::start(
        "FROM busybox\n\
         RUN --network=none mkdir -p /a/b && echo hi > /a/b/f && ln -s f /a/b/l && \
         ln /a/b/f /a/b/h && chmod 4755 /a/b/f\n\
         RUN --network=none rm /a/b/l && touch /a/b/new\n\
         COPY --chown=12:34 Dockerfile /d/\n\
         ENV X=1 Y=\"a b\"\nLABEL k=\"v & w\"\nCMD [\"sh\"]\n",
    );
    for (keys, equal) in [
        (
            "type=oci,oci-mediatypes=true,compression=uncompressed",
            Equal::Image,
        ),
        (
            "type=oci,oci-mediatypes=false,compression=uncompressed",
            Equal::Image,
        ),
        (
            "type=oci,oci-mediatypes=true,compression=uncompressed,force-compression=true",
            Equal::Image,
        ),
        (
            "type=oci,oci-mediatypes=true,compression=uncompressed,name=a/b:c,annotation.a=b,\
             annotation-manifest-descriptor.c=d",
            Equal::Image,
        ),
        (
            "type=docker,oci-mediatypes=true,compression=uncompressed,name=a/b:c",
            Equal::Image,
        ),
        (
            "type=oci,oci-mediatypes=true,compression=gzip",
            Equal::Config,
        ),
        (
            "type=oci,oci-mediatypes=true,compression=zstd,compression-level=9",
            Equal::Config,
        ),
    ] {
        comparison.check(keys, "linux/amd64", equal);
    }
}

#[test]
fn images_of_several_platforms() {
    let comparison = Comparison::start(
        "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /for-$TARGETARCH\nENV FOR=$TARGETARCH\n",
    );
    for keys in [
        "type=oci,oci-mediatypes=true,compression=uncompressed",
        "type=oci,oci-mediatypes=false,compression=uncompressed",
        "type=oci,oci-mediatypes=true,compression=uncompressed,annotation-index.a=b,\
         annotation-index-descriptor.c=d,annotation[linux/arm64].e=f,annotation.g=h",
    ] {
        comparison.check(keys, "linux/arm64,linux/amd64,linux/arm/v7", Equal::Image);
    }
}

#[test]
fn what_is_refused() {
    let comparison = Comparison::start("FROM scratch\nCOPY Dockerfile /\n");
    for (keys, error) in [
        (
            "type=oci,dest=x.tar,annotation-index.a=b",
            "index annotations not supported for single platform export",
        ),
        (
            "type=oci,dest=x.tar,oci-mediatypes=maybe",
            "non-bool value specified for oci-mediatypes",
        ),
    ] {
        let (theirs, ours) = (
            comparison.theirs(keys, "linux/amd64"),
            comparison.ours(keys, "linux/amd64"),
        );
        assert!(!theirs.success && !ours.success, "{keys}");
        for stderr in [theirs.stderr, ours.stderr] {
            assert!(stderr.contains(error), "{keys}: {stderr}");
        }
    }
}
