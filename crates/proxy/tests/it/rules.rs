//! What rules say is what happens.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kiln_proxy::{Denial, Rules, Verdict};

use crate::fixture::{Fixture, incomplete, materials, requests};
use crate::origin::Origin;

/// Says the same about everything, and remembers what it was asked.
struct Fixed {
    verdict: Verdict,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Rules for Fixed {
    async fn judge(&self, method: &str, url: &str) -> Verdict {
        self.asked.lock().unwrap().push(format!("{method} {url}"));
        self.verdict.clone()
    }
}

fn fixture(verdict: Verdict, trusted: &str) -> (Fixture, Arc<Fixed>) {
    let rules = Arc::new(Fixed {
        verdict,
        asked: Mutex::default(),
    });
    let dynamic: Arc<dyn Rules> = Arc::clone(&rules) as Arc<dyn Rules>;
    (Fixture::with(trusted, Some(dynamic)), rules)
}

#[tokio::test]
async fn what_is_allowed_is_fetched_as_it_is() {
    let origin = Origin::plain().await;
    let url = origin.url("/hello");
    for verdict in [Verdict::Allow, Verdict::Fetch(url.clone())] {
        let (fixture, rules) = fixture(verdict, "");
        assert_eq!(fixture.get(&url).await, (200, "hello\n".to_owned()));
        assert_eq!(*rules.asked.lock().unwrap(), [format!("GET {url}")]);
        let record = fixture.stop().await;
        assert_eq!(requests(&record), [format!("GET {url} 200")]);
    }
}

#[tokio::test]
async fn what_is_denied_is_not_asked_for() {
    let plain = Origin::plain().await;
    let (secure, authority) = Origin::secure().await;
    for origin in [&plain, &secure] {
        let (fixture, _) = fixture(Verdict::Deny("not on the list".to_owned()), &authority);
        let url = origin.url("/hello");
        let expected = (403, "Forbidden\nnot on the list\n".to_owned());
        assert_eq!(fixture.get(&url).await, expected);
        let record = fixture.stop().await;
        let denial = Denial {
            method: "GET".to_owned(),
            url,
            reason: "not on the list".to_owned(),
        };
        assert_eq!(record.denied, [denial]);
        assert_eq!(record.requests.len() + record.incomplete.len(), 0);
    }
}

#[tokio::test]
async fn something_else_is_fetched_instead() {
    let (secure, authority) = Origin::secure().await;
    let plain = Origin::plain().await;
    let (fixture, _) = fixture(Verdict::Fetch(plain.url("/other")), &authority);
    assert_eq!(
        fixture.get(&secure.url("/hello")).await,
        (200, "other\n".to_owned())
    );
    let record = fixture.stop().await;
    let url = plain.url("/other");
    assert_eq!(requests(&record), [format!("GET {url} 200")]);
    assert_eq!(materials(&record, &["other\n"]), [format!("{url} other")]);
    assert_eq!(incomplete(&record), [""; 0]);
}

#[tokio::test]
async fn only_urls_of_the_web_and_only_for_get() {
    let origin = Origin::plain().await;
    let check = async |verdict: &str, method: &str, expected: &str| {
        let (fixture, _) = fixture(Verdict::Fetch(verdict.to_owned()), "");
        let url = origin.url("/upload");
        let request = fixture.client.request(method.parse().unwrap(), &url);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 403);
        let text = answer.text().await.unwrap();
        assert!(
            text.starts_with("Forbidden\n") && text.contains(expected),
            "{text}"
        );
        assert_eq!(fixture.stop().await.denied.len(), 1);
    };
    check("http://other/", "POST", "possible for GET only").await;
    check(
        "docker-image://busybox",
        "GET",
        "unsupported URL \"docker-image://busybox\"",
    )
    .await;
    check("nothing", "GET", "invalid URL \"nothing\"").await;
}

#[tokio::test]
async fn rules_see_no_credentials_and_no_default_ports() {
    let (fixture, rules) = fixture(Verdict::Deny("no".to_owned()), "");
    let check = async |url: &str, expected: &str| {
        let request = format!("GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(fixture.say(&request).await.starts_with("HTTP/1.1 403 "));
        let asked = rules.asked.lock().unwrap().pop().unwrap();
        assert_eq!(asked, format!("GET {expected}"));
    };
    check("http://user:word@host:80/a", "http://xxxxx:xxxxx@host/a").await;
    check("http://host:8080/a?b", "http://host:8080/a?b").await;
    check("http://host/a/../b", "http://host/b").await;

    // A tunnel's end is what was connected to, whatever the request says of it.
    let url = "https://host.invalid:443/a";
    let (text, _) = fixture.curl(&["-H", "Host: elsewhere", url]).await;
    assert_eq!(text, "Forbidden\nno\n");
    let asked = rules.asked.lock().unwrap().pop().unwrap();
    assert_eq!(asked, "GET https://host.invalid/a");
}
