//! What `RUN` steps see and leave behind.

use crate::world::{World, assert_has, outcome};

/// Builds one `RUN` with arguments and returns what it wrote to `/out`.
fn run(flags: &str, script: &str, arguments: &[&str]) -> (World, String) {
    let world = World::with_busybox();
    world.on_busybox(&format!(
        "RUN {flags} {script}\nFROM scratch\nCOPY --from=busybox /out /\n"
    ));
    world.write("secret.txt", "hush");
    let mut all = vec!["--output", "type=local,dest=files"];
    all.extend(arguments);
    world.must_build(&all);
    let out = world.read("files/out");
    (world, out)
}

#[test]
fn secrets_are_files_or_variables_and_leave_no_trace() {
    let flags = "--mount=type=secret,id=token,target=/run/token,uid=1000,mode=0440";
    let script = "cat /run/token > /out && stat -c ' %u %a' /run/token >> /out";
    let (_world, out) = run(flags, script, &["--secret", "id=token,src=secret.txt"]);
    assert_eq!(out, "hush 1000 440\n");
    let flags = "--mount=type=secret,id=token,env=TOKEN";
    let (_world, out) = run(
        flags,
        "echo $TOKEN > /out",
        &["--secret", "id=token,src=secret.txt"],
    );
    assert_eq!(out, "hush\n");
    let (_world, out) = run(
        "--mount=type=secret,id=token,target=/run/token",
        "echo > /out; ",
        &["--secret", "id=token,src=secret.txt"],
    );
    assert_eq!(out, "\n");
}

#[test]
fn missing_secrets_are_named() {
    let world = World::with_busybox();
    world.on_busybox("RUN --mount=type=secret,id=token,required=true true\n");
    assert_has(&world.must_fail(&[]), "secret token: not found");
}

#[test]
fn cache_mounts_outlive_builds() {
    let world = World::with_busybox();
    let dockerfile = |count: u32| {
        world.on_busybox(&format!(
            "RUN --mount=type=cache,target=/c echo {count} >> /c/log && cat /c/log > /out\n\
             FROM scratch\nCOPY --from=busybox /out /\n"
        ));
        world.must_build(&["--output", "type=local,dest=files"]);
        world.read("files/out")
    };
    assert_eq!(dockerfile(1), "1\n");
    assert_eq!(dockerfile(2), "1\n2\n");
}

#[test]
fn bind_and_tmpfs_mounts() {
    let (_world, out) = run(
        "--mount=type=bind,source=rootfs/etc/passwd,target=/p --mount=type=tmpfs,target=/t",
        "head -n1 /p > /out && mount | grep -c ' /t ' >> /out",
        &[],
    );
    assert_eq!(out.lines().next().unwrap().split(':').next(), Some("root"));
    assert!(out.ends_with("1\n"), "{out}");
}

#[test]
fn networks() {
    let (_world, out) = run("--network=none", "ls /sys/class/net > /out", &[]);
    assert_eq!(out, "lo\n");
    let (_world, out) = run(
        "--network=host",
        "ls /sys/class/net > /out",
        &["--allow", "network.host"],
    );
    assert_has(&out, "lo");
}

#[test]
fn privileges_must_be_granted() {
    let world = World::with_busybox();
    world.on_busybox("RUN --network=host true\n");
    let error = world.must_fail(&[]);
    assert_has(&error, "network.host is not allowed");
    assert_has(&error, "--allow network.host");
}

#[test]
fn users_directories_and_variables() {
    let world = World::with_busybox();
    world.on_busybox(
        "ENV A=1 B=\"two words\"\nWORKDIR /w/d\nUSER builder\n\
         RUN [\"/bin/sh\", \"-c\", \"id -u; pwd; echo $A $B; hostname\"]\n",
    );
    let progress = world.must_build(&[]);
    for part in [" 1000", " /w/d", " 1 two words", " buildkitsandbox"] {
        assert_has(&progress, part);
    }
}

#[test]
fn independent_stages_run_side_by_side() {
    let world = World::with_busybox();
    // Each stage waits for the other through a shared cache directory, so
    // the build ends only if both run at once.
    world.on_busybox(
        "FROM busybox AS a\n\
         RUN --mount=type=cache,id=m,target=/m touch /m/a && until [ -e /m/b ]; do sleep 0.01; done\n\
         FROM busybox AS b\n\
         RUN --mount=type=cache,id=m,target=/m touch /m/b && until [ -e /m/a ]; do sleep 0.01; done\n\
         FROM scratch\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\n",
    );
    world.must_build(&[]);
}

#[test]
fn other_runtimes_run_the_same_steps() {
    for runtime in ["runc", "crun"] {
        let world = World::with_busybox();
        world.on_busybox(
            "RUN --mount=type=secret,id=token,target=/run/token echo $(cat /run/token) > /out\n\
             FROM scratch\nCOPY --from=busybox /out /\n",
        );
        world.write("secret.txt", "hush");
        world.must_build(&[
            "--oci-worker-binary",
            runtime,
            "--secret",
            "id=token,src=secret.txt",
            "--output",
            "type=local,dest=files",
        ]);
        assert_eq!(world.read("files/out"), "hush\n", "{runtime}");
    }
}

#[test]
fn output_of_steps_is_shown() {
    let world = World::with_busybox();
    world.on_busybox("RUN echo to stdout; echo to stderr >&2\n");
    let progress = world.must_build(&[]);
    assert_has(&progress, "to stdout");
    assert_has(&progress, "to stderr");
    assert_eq!(outcome(&progress, "RUN echo"), "DONE");
}
