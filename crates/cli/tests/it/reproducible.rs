//! The same inputs give the same bytes: on another root, later, and with another number of threads.

use std::process::Command;

use crate::cache_exchange::{cases, context};
use crate::world::{World, ran, text, tool};

const DOCKERFILES: [&str; 10] = [
    "add-archive",
    "build-tools",
    "cache-mount",
    "chmod-chown",
    "nested-stages",
    "diamond",
    "here-documents",
    "links-and-modes",
    "removed-files",
    "root-and-users",
];

const OUTPUTS: [(&str, &str); 6] = [
    ("gzip", "type=oci,rewrite-timestamp=true"),
    ("zstd", "type=oci,rewrite-timestamp=true,compression=zstd"),
    (
        "estargz",
        "type=oci,rewrite-timestamp=true,compression=estargz",
    ),
    (
        "plain",
        "type=oci,rewrite-timestamp=true,compression=uncompressed",
    ),
    (
        "docker",
        "type=docker,rewrite-timestamp=true,name=example.com/made",
    ),
    ("tar", "type=tar"),
];

/// A machine: where its files are, and how many processors it has.
struct Machine {
    root: &'static str,
    context: &'static str,
    has_one_processor: bool,
}

impl Machine {
    /// Builds, and gives the digests of all outputs.
    fn build(&self, world: &World, dockerfile: &str) -> String {
        let mut command = self.buildctl(world);
        command.args(["--root", self.root, "build", "--progress=plain"]);
        command.args(["--frontend", "dockerfile.v0"]);
        command.args(["--local", &format!("context={}", self.context)]);
        command.args(["--local", &format!("dockerfile={}", cases().display())]);
        command.args(["--opt", &format!("filename={dockerfile}.Dockerfile")]);
        command.args(["--opt", "build-arg:SOURCE_DATE_EPOCH=1700000000"]);
        for (file, output) in OUTPUTS {
            command.args(["--output", &format!("{output},dest={file}")]);
        }
        let ran = ran(command.output().unwrap());
        assert!(ran.success, "{dockerfile}: {}", ran.stderr);
        let dir = world.path(".");
        let files = OUTPUTS.map(|(file, _)| file).join(" ");
        tool(
            "sh",
            &["-c", &format!("cd {} && sha256sum {files}", text(&dir))],
        )
    }

    fn buildctl(&self, world: &World) -> Command {
        let buildctl = world.bare_command();
        if !self.has_one_processor {
            return buildctl;
        }
        let mut command = Command::new("taskset");
        command
            .args(["--cpu-list", "0"])
            .arg(buildctl.get_program());
        command.current_dir(world.path("."));
        for (name, value) in buildctl.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}

#[test]
fn ten_builds_on_two_machines() {
    let world = context();
    let first = Machine {
        root: "one",
        context: "context",
        has_one_processor: true,
    };
    let second = Machine {
        root: "elsewhere/and/deeper/two",
        context: "copy",
        has_one_processor: false,
    };
    let made = DOCKERFILES.map(|dockerfile| first.build(&world, dockerfile));
    // All files are new and of another time, and the clock has gone on.
    let copy = ["--recursive", "--preserve=mode,links", "context", "copy"];
    let copied = Command::new("cp")
        .args(copy)
        .current_dir(world.path("."))
        .status();
    assert!(copied.unwrap().success());
    let again = DOCKERFILES.map(|dockerfile| second.build(&world, dockerfile));
    for ((dockerfile, made), again) in DOCKERFILES.iter().zip(made).zip(again) {
        assert_eq!(made, again, "{dockerfile}");
    }
}
