//! What a step may not do, and what it may.

use std::fs;

use kiln_executor::{Device, ExecRequest, Network, Security};
use rstest::rstest;

use crate::fixture::{Fixture, Kind};

fn with(fixture: &Fixture, script: &str, set: impl FnOnce(&mut ExecRequest)) -> ExecRequest {
    let mut request = fixture.shell(script);
    set(&mut request);
    request
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn capabilities_are_the_default_set(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let script = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr '\\n\\t' ' '";
    let own = |name: &str| {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    let none = "0000000000000000";
    let default = "00000000a80425fb";
    let check = async |set: &dyn Fn(&mut ExecRequest), expected: String| {
        let seen = fixture
            .print_with(with(&fixture, script, |request| set(request)))
            .await;
        assert_eq!(
            seen.split_whitespace().collect::<Vec<_>>().join(" "),
            expected
        );
    };
    let line = |inh: &str, prm: &str, bnd: &str, amb: &str, seccomp: u8| {
        format!(
            "CapInh: {inh} CapPrm: {prm} CapEff: {prm} CapBnd: {bnd} CapAmb: {amb} NoNewPrivs: 0 Seccomp: {seccomp}"
        )
    };
    check(&|_| {}, line(none, default, default, none, 2)).await;
    check(
        &|r| r.user = "builder".to_owned(),
        line(none, none, default, none, 2),
    )
    .await;
    let all = own("CapPrm:");
    check(
        &|r| r.security = Security::Insecure,
        line(&all, &all, &all, &all, 0),
    )
    .await;
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn forbidden_system_calls_fail(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let script = "mkdir /m; mount -t tmpfs x /m 2>&1 || echo no mount; \
                  unshare -n true 2>&1 || echo no unshare; swapoff /x 2>&1 || echo no swapoff";
    let finished = fixture.run(fixture.shell(script)).await.unwrap();
    assert!(finished.stdout.contains("no mount"), "{finished:?}");
    assert!(finished.stdout.contains("no unshare"), "{finished:?}");
    assert!(
        finished
            .stdout
            .contains("swapoff: /x: Operation not permitted"),
        "{finished:?}"
    );

    let insecure = with(
        &fixture,
        "mount -t tmpfs x /m && unshare -n true && echo all",
        |request| {
            request.security = Security::Insecure;
        },
    );
    assert_eq!(fixture.print_with(insecure).await, "all\n");
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn namespaces_are_the_steps_own(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let seen = fixture
        .print("cd /proc/self/ns; for n in pid mnt ipc uts net user; do readlink $n; done")
        .await;
    let seen: Vec<&str> = seen.lines().collect();
    for (name, shared) in [
        ("pid", false),
        ("mnt", false),
        ("ipc", false),
        ("uts", false),
        ("net", true),
        ("user", true),
    ] {
        let own = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_eq!(seen.contains(&own.to_str().unwrap()), shared, "{name}");
    }
    assert_eq!(
        fixture.print("echo $$; hostname; echo /proc/[0-9]*").await,
        "1\nbuildkitsandbox\n/proc/1\n"
    );
    let named = with(&fixture, "hostname", |request| {
        request.hostname = "other".to_owned()
    });
    assert_eq!(fixture.print_with(named).await, "other\n");
    assert_ne!(
        fs::read_to_string("/proc/sys/kernel/hostname")
            .unwrap()
            .trim(),
        "other"
    );
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn networks(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let script = "ls /sys/class/net; ip addr show lo | grep -c 'inet 127.0.0.1/8'; readlink /proc/self/ns/net";
    let none = with(&fixture, script, |request| request.network = Network::None);
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let seen = fixture.print_with(none).await;
    assert!(seen.starts_with("lo\n1\nnet:["), "{seen}");
    assert!(!seen.contains(own.to_str().unwrap()));
    for network in [Network::Host, Network::Sandbox] {
        let host = with(&fixture, "readlink /proc/self/ns/net", |request| {
            request.network = network
        });
        assert_eq!(fixture.print_with(host).await.trim(), own.to_str().unwrap());
    }
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn kernel_files_are_masked_or_read_only(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let masked: Vec<&str> = [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/scsi",
        "/sys/firmware",
    ]
    .into_iter()
    .filter(|path| std::path::Path::new(path).exists())
    .collect();
    let script = format!(
        "for f in {}; do test -d $f && ls $f || cat $f; done; \
         echo 1 > /proc/sys/kernel/domainname || echo ro1; echo h > /proc/sysrq-trigger || echo ro2; \
         touch /sys/x || echo ro3; for d in /sys/fs/cgroup/memory /sys/fs/cgroup; do test -e $d/cgroup.procs || continue; \
         mkdir $d/x || echo ro4; break; done",
        masked.join(" ")
    );
    assert!(!masked.is_empty());
    let finished = fixture
        .run(fixture.shell(&format!("({script}) 2>/dev/null")))
        .await
        .unwrap();
    assert_eq!(finished.stdout, "ro1\nro2\nro3\nro4\n");

    let insecure = with(
        &fixture,
        "echo here > /proc/sys/kernel/domainname && cat /proc/sys/kernel/domainname",
        |r| {
            r.security = Security::Insecure;
        },
    );
    assert_eq!(fixture.print_with(insecure).await, "here\n");
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn devices_are_a_short_list(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let script = "cd /dev; for d in null zero full random urandom tty; do test -c $d || echo missing $d; done; \
                  echo x > null; head -c 3 zero | wc -c; for l in stdin fd ptmx; do readlink $l; done; \
                  df -P shm mqueue pts | tail -3 | awk '{print $6}'; find . -type b";
    let expected = "3\n/proc/self/fd/0\n/proc/self/fd\npts/ptmx\n/dev/shm\n/dev/mqueue\n/dev/pts\n";
    assert_eq!(fixture.print(script).await, expected);
    // A device that is not on the list can be made, as installers do, but not opened.
    let script = "mknod -m 666 /tmp/disk b 7 0 && mknod -m 666 /tmp/null c 1 3 && echo > /tmp/null && echo fine; \
                  cat /tmp/disk 2>&1";
    let finished = fixture.run(fixture.shell(script)).await.unwrap();
    assert_eq!(
        finished.stdout,
        "fine\ncat: can't open '/tmp/disk': Operation not permitted\n"
    );
    let script = "stat -c '%F %t:%T %a %u:%g' /dev/own/null /dev/zero; echo x > /dev/own/null; head -c 1 /dev/zero | wc -c";
    let devices = with(&fixture, script, |r| {
        let null = Device::of_host("/dev/null").unwrap();
        r.user = "7:8".into();
        r.devices = vec![
            Device {
                target: "/dev/own/null".into(),
                mode: 0o620,
                ..null.clone()
            },
            // In place of the usual one, and empty.
            Device {
                target: "/dev/zero".into(),
                uid: Some(1),
                gid: Some(2),
                mode: 0o644,
                ..null
            },
        ];
    });
    assert_eq!(
        fixture.print_with(devices).await,
        "character special file 1:3 620 7:8\ncharacter special file 1:3 644 1:2\n0\n"
    );
    let insecure = with(&fixture, "ls /dev/fuse /dev/loop0 /dev/kmsg", |r| {
        r.security = Security::Insecure
    });
    assert_eq!(
        fixture.print_with(insecure).await,
        "/dev/fuse\n/dev/kmsg\n/dev/loop0\n"
    );
}
