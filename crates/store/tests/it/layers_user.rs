//! Users and groups of a root.

use kiln_store::tree::{Owner, Root};
use kiln_store::user::{Identity, NameOrId, identity, owner};
use rstest::rstest;
use tempfile::tempdir;

use crate::layers_trees::build;

const FILES: &str = "
    f etc/passwd 644 root:x:0:0:root:/root:/bin/sh\\n\\nbad:x:abc:1::/:\\njoe:x:1000:100:Joe:/home/joe:/bin/sh\\nsvc:x:7:7
    f etc/group 644 root:x:0:\\n#c\\nusers:x:100:\\nwheel:x:10:joe,svc\\nvideo:x:44:svc,joe\\njoe:x:2000:
    ";

/// User, group, further groups and home.
type Found = (u32, u32, Vec<u32>, Option<&'static str>);

#[rstest]
#[case("", Ok((0, 0, vec![], Some("/root"))))]
#[case("root", Ok((0, 0, vec![], Some("/root"))))]
#[case("joe", Ok((1000, 100, vec![10, 44], Some("/home/joe"))))]
#[case("1000", Ok((1000, 100, vec![10, 44], Some("/home/joe"))))]
#[case("svc", Ok((7, 7, vec![10, 44], Some(""))))]
#[case("joe:wheel", Ok((1000, 10, vec![], Some("/home/joe"))))]
#[case("joe:77", Ok((1000, 77, vec![], Some("/home/joe"))))]
#[case("5:6", Ok((5, 6, vec![], None)))]
#[case("1000:6", Ok((1000, 6, vec![], None)))]
#[case("4242", Ok((4242, 0, vec![], None)))]
#[case("root:5", Ok((0, 5, vec![], None)))]
#[case(
    "nobody",
    Err("unable to find user nobody: no matching entries in passwd file")
)]
#[case(
    "joe:none",
    Err("unable to find group none: no matching entries in group file")
)]
#[case(
    "bad",
    Err("unable to find user bad: no matching entries in passwd file")
)]
#[case("-1", Err("-1: uids and gids must be in range 0-2147483647"))]
#[case(
    "99999999999",
    Err("99999999999: uids and gids must be in range 0-2147483647")
)]
fn identities(#[case] spec: &str, #[case] expected: Result<Found, &str>) {
    let dir = tempdir().unwrap();
    build(dir.path(), FILES);
    let found = identity(&Root::open(dir.path()).unwrap(), spec).map_err(|error| error.to_string());
    let expected = expected
        .map(|(uid, gid, groups, home)| Identity {
            uid,
            gid,
            supplementary: groups,
            home: home.map(str::to_owned),
        })
        .map_err(str::to_owned);
    assert_eq!(found, expected);
}

#[rstest]
#[case(None, None, 0, 0)]
#[case(Some(NameOrId::Name("joe".into())), None, 1000, 100)]
#[case(Some(NameOrId::Id(5)), None, 5, 5)]
#[case(Some(NameOrId::Id(5)), Some(NameOrId::Name("wheel".into())), 5, 10)]
#[case(Some(NameOrId::Name("nobody".into())), Some(NameOrId::Name("none".into())), 0, 0)]
#[case(None, Some(NameOrId::Id(9)), 0, 9)]
fn owners(
    #[case] user: Option<NameOrId>,
    #[case] group: Option<NameOrId>,
    #[case] uid: u32,
    #[case] gid: u32,
) {
    let dir = tempdir().unwrap();
    build(dir.path(), FILES);
    let root = Root::open(dir.path()).unwrap();
    let user = user.as_ref().map(|user| (user, &root));
    let group = group.as_ref().map(|group| (group, &root));
    assert_eq!(owner(user, group).unwrap(), Owner { uid, gid });
}

#[test]
fn a_root_without_files_has_only_numbers() {
    let dir = tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    assert_eq!(identity(&root, "").unwrap(), Identity::default());
    assert!(identity(&root, "joe").is_err());
    assert_eq!(
        owner(Some((&NameOrId::Name("joe".into()), &root)), None).unwrap(),
        Owner { uid: 0, gid: 0 }
    );
}
