//! Cache export.

use std::collections::BTreeMap;

use async_trait::async_trait;
use kiln_solver::{
    CacheDep, CacheError, ExportCandidate, ExportMode, ExportOptions, ExportRecord, Remotes,
    export, root_key,
};

use crate::toy::{Log, Store, Toy, build, build_with, digest};

/// Results are transferred as they are; none is in transferable form before.
pub(crate) struct Identity;

#[async_trait]
impl Remotes for Identity {
    type Output = u64;
    type Remote = u64;

    async fn existing(&self, _: &ExportCandidate<u64>) -> Result<Option<u64>, CacheError> {
        Ok(None)
    }

    async fn make(&self, candidate: &ExportCandidate<u64>) -> Result<Option<u64>, CacheError> {
        Ok(candidate.output)
    }
}

/// Everything below these values is in transferable form.
struct Existing(u64);

#[async_trait]
impl Remotes for Existing {
    type Output = u64;
    type Remote = u64;

    async fn existing(&self, candidate: &ExportCandidate<u64>) -> Result<Option<u64>, CacheError> {
        assert!(candidate.output.is_none(), "must not be loaded");
        Ok(candidate.id.parse().ok().filter(|id| *id < self.0))
    }

    async fn make(&self, candidate: &ExportCandidate<u64>) -> Result<Option<u64>, CacheError> {
        Ok(candidate.output)
    }
}

/// One line a record: its name, whether it carries a result, and its inputs'
/// possible links. Names stand for digests.
fn lines<R>(records: &[ExportRecord<R>], names: &BTreeMap<String, &str>) -> Vec<String> {
    let name = |digest: &str| {
        names
            .get(digest)
            .map_or(digest.to_owned(), |n| (*n).to_owned())
    };
    let mut lines: Vec<String> = records
        .iter()
        .map(|record| {
            let mut line = name(record.digest.as_ref());
            line += if record.results.is_empty() {
                " -"
            } else {
                " R"
            };
            for links in &record.inputs {
                let mut links: Vec<String> = links
                    .iter()
                    .map(|link| {
                        let from = name(records[link.record].digest.as_ref());
                        format!(
                            "{from}{}{}",
                            if link.selector.is_empty() { "" } else { " " },
                            name(&link.selector)
                        )
                    })
                    .collect();
                links.sort();
                line += &format!(" [{}]", links.join(", "));
            }
            line
        })
        .collect();
    lines.sort();
    lines
}

/// Names of toys' records, of contents and of selectors.
fn names(ops: &[&'static str], contents: &[(u64, &'static str)]) -> BTreeMap<String, &'static str> {
    let mut names = BTreeMap::new();
    for op in ops {
        names.insert(root_key(&digest(op), 0).to_string(), *op);
        names.insert(digest(op).to_string(), *op);
    }
    for (value, name) in contents {
        let content = root_key(&digest(&format!("content {value}")), -1);
        names.insert(content.to_string(), *name);
    }
    names
}

fn max() -> ExportOptions {
    ExportOptions {
        mode: ExportMode::Max,
        ..ExportOptions::default()
    }
}

/// Keys of a client's files: made up for each session.
const SESSIONS: [&str; 2] = ["random:4af1", "random:90c3"];
/// Digests of file ops as upstream computes them.
const COPY_SH: &str = "sha256:67447d521ee173bdc6f606f9fc7027b688f9da60408eba4b2d8cbb541059fb17";
const COPY_SRC: &str = "sha256:f744b6ec9abd0a94b8e3bb638f020b1660ad0cb798eb2e1c752a91672c111366";
const COPY_TWO: &str = "sha256:c24ba0a68985407518d27a6427328a7ef50b56e3b17cb288cf979a22f7b2f975";
/// Selector of two paths.
const TWO_PATHS: &str = "sha256:7b32a95bedb163666a2d13061ec91d3061b4c64731f6716ce29f24ee8061fc33";
const SELECT: &str = "sha256:8e295f312d7e62d4db0ad6d62af018762334aad2c67fe3479a0b57115ac6c292";

fn selected(selector: &str, content: bool) -> CacheDep {
    CacheDep {
        selector: Some(digest(selector)),
        content,
    }
}

/// `COPY sh /bin/sh`, then a stage with `COPY src /s`, then a stage on the
/// first with a copy of two paths out of the second. The expected digests are
/// those of a cache export by upstream; contents have none that would mean
/// anything here.
#[tokio::test]
async fn a_copy_out_of_a_stage_is_exported_as_upstream_does() {
    let log = Log::default();
    let toys = |session| {
        [
            Toy::new(&log, "local").keyed(&[session]),
            Toy::new(&log, "base")
                .keyed(&[COPY_SH])
                .on_dep("local", 0, selected(SELECT, true)),
            Toy::new(&log, "one")
                .keyed(&[COPY_SRC])
                .on("base")
                // It looks at another part of the same input: another content.
                .on_dep("local", 1, selected(SELECT, true)),
            Toy::new(&log, "last").keyed(&[COPY_TWO]).on("base").on_dep(
                "one",
                0,
                selected(TWO_PATHS, true),
            ),
        ]
    };
    let mut names = names(&[], &[(1, "sh"), (101, "src"), (104, "picked")]);
    for (digest, name) in [
        (
            "sha256:cea4ec76bf0f71dddee45e80fb603fa01a7d14cc15fcd4b6fb709dfde3accb1d",
            "base",
        ),
        (
            "sha256:4382329c885502eda2caf038b86e59acff035c2427cdc5cd9fc7c81a74127e35",
            "one",
        ),
        (
            "sha256:156d5abbd2f5af1ddac2631c0c5172841f1da0632567f9d54e78731952c8533b",
            "last",
        ),
        (TWO_PATHS, "(two paths)"),
    ] {
        names.insert(digest.to_owned(), name);
    }
    let expected = [
        "base R [sh]",
        "last R [base] [one (two paths), picked]",
        "one R [base] [src]",
        "picked -",
        "sh -",
        "src -",
    ];
    let store = Store::new("local");
    // First executed, then taken from the cache; all export the same.
    for session in SESSIONS {
        let solved = build(&store, &toys(session), "last").await.unwrap();
        let records = export(&[solved], &max(), &Identity).await.unwrap();
        assert_eq!(lines(&records, &names), expected);
    }
}

/// Two stages are copied from into a third, where something runs.
#[tokio::test]
async fn joined_stages_are_exported_as_upstream_does() {
    let log = Log::default();
    let copy = |name, base: &'static str, from, output, selector| {
        Toy::new(&log, name)
            .on(base)
            .on_dep(from, output, selected(selector, true))
    };
    let toys = |session| {
        [
            Toy::new(&log, "local").keyed(&[session]),
            Toy::new(&log, "base").on_dep("local", 0, selected("/sh", true)),
            copy("a", "base", "local", 1, "/src").value(99),
            // Its content happens to be what "a" was made from.
            copy("b", "base", "local", 0, "/etc").value(500),
            copy("from-a", "base", "a", 0, "/s"),
            copy("from-b", "from-a", "b", 0, "/e"),
            Toy::new(&log, "z").on_dep("from-b", 0, selected("/", false)),
        ]
    };
    let ops = ["base", "a", "b", "from-a", "from-b", "z", "/s", "/e", "/"];
    let names = names(&ops, &[(1, "1"), (101, "101"), (202, "202"), (503, "503")]);
    let expected = [
        "1 -",
        "101 -",
        "202 -",
        "503 -",
        "a R [base] [101]",
        "b R [base] [1]",
        "base R [1]",
        "from-a R [base] [202, a /s]",
        "from-b R [from-a] [503, b /e]",
        "z R [from-b /]",
    ];
    let store = Store::new("local");
    for session in SESSIONS {
        let solved = build(&store, &toys(session), "z").await.unwrap();
        let records = export(&[solved], &max(), &Identity).await.unwrap();
        assert_eq!(lines(&records, &names), expected);
    }
}

#[tokio::test]
async fn min_takes_the_top_and_what_is_ready() {
    let log = Log::default();
    let toys = [
        Toy::new(&log, "source"),
        Toy::new(&log, "ready").on("source"),
        Toy::new(&log, "not-ready").on("ready"),
        Toy::new(&log, "top").on("not-ready"),
    ];
    let names = names(&["source", "ready", "not-ready", "top"], &[]);
    let store = Store::new("local");
    let solved = build(&store, &toys, "top").await.unwrap();
    // Results are saved in order, so the first two are ready.
    let records = export(
        std::slice::from_ref(&solved),
        &ExportOptions::default(),
        &Existing(2),
    )
    .await
    .unwrap();
    let expected = [
        "not-ready - [ready]",
        "ready R [source]",
        "source -",
        "top R [not-ready]",
    ];
    assert_eq!(lines(&records, &names), expected);
    let roots = ExportOptions {
        roots: true,
        ..max()
    };
    let records = export(&[solved], &roots, &Existing(0)).await.unwrap();
    assert!(records.iter().all(|record| record.results.len() == 1));
}

#[tokio::test]
async fn other_ways_to_a_result_are_exported_too() {
    let log = Log::default();
    let toys = |key: &str| {
        [
            Toy::new(&log, "source").keyed(&[key]).value(5),
            Toy::new(&log, "top").on_content("source"),
        ]
    };
    let names = names(&["one", "two", "top"], &[(5, "5")]);
    let store = Store::new("local");
    build(&store, &toys("one"), "top").await.unwrap();
    let solved = build(&store, &toys("two"), "top").await.unwrap();
    let records = export(std::slice::from_ref(&solved), &max(), &Identity)
        .await
        .unwrap();
    assert_eq!(
        lines(&records, &names),
        ["5 -", "one -", "top R [5, one, two]", "two -"]
    );
    let only_this = ExportOptions {
        ignore_backlinks: true,
        ..max()
    };
    let records = export(&[solved], &only_this, &Identity).await.unwrap();
    assert_eq!(lines(&records, &names), ["5 -", "top R [5, two]", "two -"]);
}

#[tokio::test]
async fn merged_ways_are_exported() {
    let log = Log::default();
    let toys = [
        Toy::new(&log, "x").value(5),
        Toy::new(&log, "y").value(5),
        Toy::new(&log, "a").keyed(&["same"]).on_content("x"),
        Toy::new(&log, "b").keyed(&["same"]).on_content("y"),
        Toy::new(&log, "top").on("a").on("b"),
    ];
    let names = names(&["x", "y", "same", "top"], &[(5, "5")]);
    let solved = build(&Store::new("local"), &toys, "top").await.unwrap();
    let records = export(&[solved], &max(), &Identity).await.unwrap();
    let expected = [
        "5 -",
        "same R [5, x, y]",
        "top R [same] [same]",
        "x -",
        "y -",
    ];
    assert_eq!(lines(&records, &names), expected);
}

#[tokio::test]
async fn several_results_share_records() {
    let log = Log::default();
    let toys = |top| [Toy::new(&log, "source"), Toy::new(&log, top).on("source")];
    let names = names(&["source", "left", "right"], &[]);
    let store = Store::new("local");
    let left = build(&store, &toys("left"), "left").await.unwrap();
    let right = build(&store, &toys("right"), "right").await.unwrap();
    let records = export(&[left, right], &max(), &Identity).await.unwrap();
    assert_eq!(
        lines(&records, &names),
        ["left R [source]", "right R [source]", "source -"]
    );
}

#[tokio::test]
async fn what_came_from_an_import_is_exported_again() {
    let log = Log::default();
    let toys = [
        Toy::new(&log, "source"),
        Toy::new(&log, "middle").on("source"),
        Toy::new(&log, "top").on("middle"),
    ];
    let names = names(&["source", "middle", "top"], &[]);
    let remote = Store::new("remote");
    build(&remote, &toys, "top").await.unwrap();
    let local = Store::new("local");
    let solved = build_with(&local, &toys, "top", vec![remote.cache.clone()])
        .await
        .unwrap();
    let records = export(&[solved], &max(), &Identity).await.unwrap();
    assert_eq!(
        lines(&records, &names),
        ["middle R [source]", "source -", "top R [middle]"]
    );
}
