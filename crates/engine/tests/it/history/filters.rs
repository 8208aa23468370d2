//! Filters on records.

use kiln_engine::history::{HistoryError, ListenOptions};

use super::bench::{BAD, Bench, GOOD, finished};

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_finished_builds() {
    let bench = Bench::new();
    let mut request = bench.request(GOOD);
    request
        .options
        .insert("vcs:source".into(), "https://example.com/a.git".into());
    let good = request.id.clone();
    bench.engine.build(request).await.unwrap();
    let bad = bench.build(BAD).await.0;
    let both = [good.as_str(), bad.as_str()];
    let by_ref = format!("ref=={good}");
    let cases: &[(&[&str], &[&str])] = &[
        (&[], &both),
        (&["status==completed"], &[&good]),
        (&["status==error"], &[&bad]),
        (&["status==running"], &[]),
        (&["status!=error"], &[&good]),
        (&["status==error", "status==completed"], &both),
        (&[&by_ref], &[&good]),
        (&["repository==https://example.com/a.git"], &[&good]),
        (&["repository~=/example/"], &[&good]),
        (&["repository"], &[&good]),
        (&["startedAt>1h"], &both),
        (&["startedAt<1h"], &[]),
        (&["startedAt>=2020-01-01T00:00:00Z,status==error"], &[&bad]),
        (&["completedAt<2020-01-01T00:00:00Z"], &[]),
        (&["duration<1h"], &both),
        (&["duration>1h30m"], &[]),
        (&["unknown"], &[]),
    ];
    for (filters, expected) in cases {
        let options = ListenOptions {
            filters: filters.iter().map(|&filter| filter.to_owned()).collect(),
            ..ListenOptions::default()
        };
        let found = finished(&bench.engine, options).await;
        assert_eq!(&found, expected, "{filters:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    let cases = [
        ("startedAt>yesterday", "invalid time yesterday"),
        ("duration>fast", "invalid duration fast"),
        ("status=completed", "expected an operator"),
        ("==x", "expected field"),
    ];
    for (filter, reason) in cases {
        let options = ListenOptions {
            filters: vec![filter.into()],
            ..ListenOptions::default()
        };
        match bench.engine.history().listen(options).err() {
            Some(HistoryError::Filter {
                filter: named,
                reason: found,
            }) => {
                assert_eq!(named, filter);
                assert!(found.contains(reason), "{found}");
            }
            other => panic!("{filter}: {other:?}"),
        }
    }
}
