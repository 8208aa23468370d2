//! Who a step runs as.

use kiln_executor::{ExecError, ExecRequest};
use rstest::rstest;

use crate::fixture::{Fixture, Kind};

fn as_user(fixture: &Fixture, user: &str) -> ExecRequest {
    let mut request = fixture.shell("id -u; id -g; id -G");
    request.user = user.to_owned();
    request
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn users_and_groups_by_name_and_number(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    for (user, expected) in [
        ("", "0\n0\n0 10\n"),
        ("root", "0\n0\n0 10\n"),
        ("builder", "1000\n1000\n1000 10 29\n"),
        ("1000", "1000\n1000\n1000 10 29\n"),
        ("builder:audio", "1000\n29\n29\n"),
        ("1000:29", "1000\n29\n29\n"),
        ("1000:root", "1000\n0\n0\n"),
        ("4711", "4711\n0\n0\n"),
        ("4711:4712", "4711\n4712\n4712\n"),
    ] {
        assert_eq!(
            fixture.print_with(as_user(&fixture, user)).await,
            expected,
            "{user:?}"
        );
    }
    let mut request = as_user(&fixture, "builder");
    request.additional_gids = vec![77];
    assert_eq!(
        fixture.print_with(request).await,
        "1000\n1000\n1000 10 29 77\n"
    );
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[tokio::test]
async fn unknown_users_have_upstreams_texts(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let check = async |user: &str, expected: &str| match fixture.run(as_user(&fixture, user)).await
    {
        Err(ExecError::Invalid(error)) => assert_eq!(error.to_string(), expected),
        other => panic!("{user}: {other:?}"),
    };
    check(
        "nope",
        "unable to find user nope: no matching entries in passwd file",
    )
    .await;
    check(
        "builder:nope",
        "unable to find group nope: no matching entries in group file",
    )
    .await;
    check("99999999999", "uids and gids must be in range 0-2147483647").await;
    // To the kernel these are nobody's: a process that asks to become them stays what it is.
    for nobody in ["4294967295:0", "0:4294967295"] {
        check(nobody, "uids and gids must be in range 0-2147483647").await;
    }

    std::fs::remove_file(fixture.rootfs().join("etc/passwd")).unwrap();
    std::fs::remove_file(fixture.rootfs().join("etc/group")).unwrap();
    check(
        "builder",
        "unable to find user builder: no matching entries in passwd file",
    )
    .await;
    assert_eq!(fixture.print_with(as_user(&fixture, "")).await, "0\n0\n0\n");
    assert_eq!(
        fixture.print_with(as_user(&fixture, "7:8")).await,
        "7\n8\n8\n"
    );

    // A link out of the root filesystem leads back into it.
    std::os::unix::fs::symlink(
        "../../../../etc/passwd2",
        fixture.rootfs().join("etc/passwd"),
    )
    .unwrap();
    std::fs::write(
        fixture.rootfs().join("etc/passwd2"),
        "moved:x:5:6::/:/bin/sh\n",
    )
    .unwrap();
    assert_eq!(
        fixture.print_with(as_user(&fixture, "moved")).await,
        "5\n6\n6\n"
    );
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn the_working_directory_is_made_for_the_user(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    std::os::unix::fs::symlink("/not/there", fixture.rootfs().join("link")).unwrap();
    let mut request = fixture.shell("pwd; stat -c '%u:%g %a' . ..");
    request.cwd = "/new/dir".into();
    request.user = "builder".to_owned();
    assert_eq!(
        fixture.print_with(request).await,
        "/new/dir\n1000:1000 755\n1000:1000 755\n"
    );

    let mut request = fixture.shell("pwd -P");
    request.cwd = "/link/deep".into();
    assert_eq!(fixture.print_with(request).await, "/not/there/deep\n");

    let mut request = fixture.shell("true");
    request.cwd = "/etc/passwd/x".into();
    let error = fixture.run(request).await.unwrap_err().to_string();
    assert!(
        error.starts_with("failed to create working directory /etc/passwd/x: "),
        "{error}"
    );
}
