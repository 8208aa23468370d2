//! Nothing is left of steps.

use std::fs;

use kiln_executor::Network;
use kiln_executor::network::isolated_with_listener;
use rstest::rstest;

use crate::fixture::{Fixture, Kind, overlay};

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn children() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let lists =
        tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.map(|list| list.split_whitespace().count()).sum()
}

fn mounts(word: &str) -> usize {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().filter(|line| line.contains(word)).count()
}

#[rstest]
#[case::native(Kind::Native, 1000)]
#[case::runc(Kind::Runc, 10)]
#[case::crun(Kind::Crun, 10)]
#[tokio::test]
async fn many_runs_leave_nothing(#[case] kind: Kind, #[case] runs: usize) {
    let fixture = Fixture::new(kind);
    fs::create_dir(fixture.rootfs().join("etc/ssl")).unwrap();
    fs::write(fixture.rootfs().join("etc/ssl/cert.pem"), "own\n").unwrap();
    let layer = overlay(&fixture.rootfs(), &fixture.dir.path().join("layer"));
    let request = |number: usize| {
        let mut request = fixture.request(if number.is_multiple_of(7) {
            &["nope"]
        } else {
            &["true"]
        });
        request.id = format!("run{number}");
        request.rootfs = vec![layer.clone()];
        if number.is_multiple_of(5) {
            let (namespace, _) = isolated_with_listener().unwrap();
            request.network = Network::Joined(namespace);
            request.trusted_authority = Some("PEM".to_owned());
        }
        request
    };
    let _ = fixture.run(request(1)).await;
    let place = fixture.dir.path().to_str().unwrap();
    let before = (descriptors(), children());
    for number in 1..=runs {
        let result = fixture.run(request(number)).await;
        assert_eq!(result.is_ok(), !number.is_multiple_of(7), "{result:?}");
    }
    assert_eq!((descriptors(), children()), before);
    assert_eq!(mounts(place), 0);
}

#[rstest]
#[case::native(Kind::Native)]
#[case::runc(Kind::Runc)]
#[case::crun(Kind::Crun)]
#[tokio::test]
async fn steps_at_the_same_time(#[case] kind: Kind) {
    let fixture = Fixture::new(kind);
    let runs = (0..12).map(|number| {
        let mut request = fixture.shell(&format!(
            "echo {number} > /dev/shm/x; cat /dev/shm/x; hostname"
        ));
        request.id = format!("step{number}");
        request.hostname = format!("host{number}");
        request.rootfs = vec![overlay(
            &fixture.rootfs(),
            &fixture.dir.path().join(format!("layer{number}")),
        )];
        fixture.run(request)
    });
    for (number, finished) in futures(runs.collect()).await.into_iter().enumerate() {
        let finished = finished.unwrap();
        assert_eq!(
            (finished.code, finished.stdout),
            (0, format!("{number}\nhost{number}\n"))
        );
    }
}

/// Waits for all, which make progress together.
async fn futures<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut pinned: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = pinned.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, slot) in pinned.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(cx)
            {
                *slot = Some(output);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}
