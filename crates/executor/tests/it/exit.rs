//! Exit codes, signals, programs that cannot be started.

use kiln_executor::{ExecError, ExitCause, ExitStatus, InvalidRequest};
use rstest::rstest;

use crate::fixture::{Fixture, Kind};

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn exit_status_is_the_programs(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    for (script, code) in [
        ("true", 0),
        ("exit 1", 1),
        ("exit 7", 7),
        ("exit 255", 255),
        ("sh -c 'kill -9 $$'; exit $?", 137),
        ("kill -SEGV $$; sleep 9 & wait; exit 3", 3), // the first process of a namespace ignores its own signals
    ] {
        let status = fixture.status(fixture.shell(script)).await.unwrap();
        assert_eq!(
            (status.code, status.success()),
            (code, code == 0),
            "{script}"
        );
    }
}

#[test]
fn texts_are_upstreams() {
    let check =
        |code, cause, expected: &str| assert_eq!(ExitStatus { code, cause }.to_string(), expected);
    check(137, ExitCause::Signal(9), "exit code: 137");
    check(1, ExitCause::Exited, "exit code: 1");
    check(137, ExitCause::OutOfMemory, "cannot allocate memory");
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn programs_that_cannot_be_started(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    for (program, text, expected) in [
        (
            "nope",
            "exec: \"nope\": executable file not found in $PATH",
            127,
        ),
        (
            "/bin/nope",
            "exec: \"/bin/nope\": stat /bin/nope: no such file or directory",
            127,
        ),
        (
            "/etc/passwd",
            "exec: \"/etc/passwd\": permission denied",
            126,
        ),
    ] {
        let mut request = fixture.request(&[program]);
        request.env = vec!["PATH=/usr/bin:/bin".to_owned()];
        match fixture.run(request).await {
            Err(error @ ExecError::Program { code, .. }) => {
                assert_eq!((error.to_string().as_str(), code), (text, expected));
            }
            other => panic!("{program}: {other:?}"),
        }
    }
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn requests_that_make_no_sense(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let shell = || fixture.shell("true");
    let cases = [
        (
            {
                let mut r = shell();
                r.id = "a/b".to_owned();
                r
            },
            InvalidRequest::Id("a/b".to_owned()),
        ),
        (
            {
                let mut r = shell();
                r.id = String::new();
                r
            },
            InvalidRequest::Id(String::new()),
        ),
        (fixture.request(&[]), InvalidRequest::NoArgs),
        (
            {
                let mut r = shell();
                r.rootfs.clear();
                r
            },
            InvalidRequest::NoRootfs,
        ),
        (
            fixture.request(&["a\0b"]),
            InvalidRequest::NulByte {
                what: "argument",
                value: "a\0b".to_owned(),
            },
        ),
    ];
    for (request, expected) in cases {
        match fixture.status(request).await {
            Err(ExecError::Invalid(error)) => assert_eq!(error, expected),
            other => panic!("{expected:?}: {other:?}"),
        }
    }
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn environment_and_arguments_arrive(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let mut request = fixture.request(&["sh", "-c", "echo \"$A|$B|$HOME|$#|$1\"", "x", "a b\n"]);
    request.env = ["PATH=/bin", "A=1", "B=x y", "A=2"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(fixture.print_with(request).await, "2|x y|/root|1|a b\n\n");

    let mut request = fixture.shell("echo $HOME");
    request.user = "builder".to_owned();
    assert_eq!(fixture.print_with(request).await, "/home/builder\n");
}
