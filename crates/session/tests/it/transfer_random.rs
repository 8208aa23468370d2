//! Random trees arrive as they were sent, over whatever lies there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use kiln_session::transfer::{
    DirectoryRequest, NearbyDirectory, Others, RemoteDirectory as _, deliver,
};
use proptest::prelude::*;

use crate::transfer::describe;

#[derive(Debug, Clone)]
enum Node {
    Directory(BTreeMap<String, Node>),
    File(Vec<u8>, u32),
    Symlink(String),
}

fn name() -> impl Strategy<Value = String> {
    // Few names, so that trees meet; some around the slash, which sorts first.
    prop::sample::select(vec!["a", "b", "a.b", "a-", "ab", "a b", "ä", ".h", "!"])
        .prop_map(str::to_owned)
}

fn node() -> impl Strategy<Value = Node> {
    let content = prop::collection::vec(any::<u8>(), 0..300);
    let leaf = prop_oneof![
        4 => (content, prop::sample::select(vec![0o644, 0o755, 0o400, 0o4755]))
            .prop_map(|(content, mode)| Node::File(content, mode)),
        1 => Just(Node::File(vec![42; (1 << 20) + 17], 0o600)),
        1 => name().prop_map(|name| Node::Symlink(format!("../{name}"))),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop::collection::btree_map(name(), inner, 0..6).prop_map(Node::Directory)
    })
}

fn tree() -> impl Strategy<Value = BTreeMap<String, Node>> {
    prop::collection::btree_map(name(), node(), 0..6)
}

fn make(directory: &Path, tree: &BTreeMap<String, Node>) {
    fs::create_dir(directory).expect("directory");
    for (name, node) in tree {
        let path = directory.join(name);
        match node {
            Node::Directory(tree) => make(&path, tree),
            Node::Symlink(target) => symlink(target, path).expect("link"),
            Node::File(content, mode) => {
                fs::write(&path, content).expect("write");
                fs::set_permissions(path, fs::Permissions::from_mode(*mode)).expect("mode");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn received_is_what_was_sent(sent in tree(), there in tree()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let dir = tempfile::tempdir().expect("directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        make(&from, &sent);
        make(&to, &there);
        runtime.block_on(async {
            let nearby = NearbyDirectory(from.clone());
            let link = nearby.open(&DirectoryRequest::default()).await.expect("link");
            deliver(link, to.clone(), Others::Remove).await.expect("transfer");
        });
        prop_assert_eq!(describe(&to), describe(&from));
    }
}
