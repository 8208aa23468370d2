//! What is recorded of an answer.

use kiln_proxy::Reason;
use reqwest::Method;

use crate::fixture::{Fixture, digest, incomplete, materials, requests};
use crate::origin::{Origin, Then, talk};

#[tokio::test]
async fn every_answer_is_a_material_or_says_why_not() {
    let origin = Origin::plain().await;
    let check = async |method: Method, path: &str, range: bool, expected: Result<&str, &str>| {
        let fixture = Fixture::new();
        let url = origin.url(path);
        let mut request = fixture.client.request(method.clone(), &url);
        if range {
            request = request.header("range", "bytes=1-3");
        }
        request.send().await.unwrap().bytes().await.unwrap();
        let record = fixture.stop().await;
        let found = materials(&record, &["hello\n", ""]);
        let reasons = incomplete(&record);
        match expected {
            Ok(text) => assert_eq!((found, reasons.len()), (vec![format!("{url} {text}")], 0)),
            Err("") => assert_eq!((found.len(), reasons.len()), (0, 0), "{path}"),
            Err(reason) => {
                assert_eq!(
                    (found.len(), reasons),
                    (0, vec![format!("{method} {url} {reason}")])
                );
            }
        }
        assert_eq!(record.requests.len(), 1, "{path}");
    };
    check(Method::GET, "/hello", false, Ok("hello")).await;
    check(Method::GET, "/empty", false, Ok("")).await;
    check(
        Method::HEAD,
        "/hello",
        false,
        Err("method_not_materializable"),
    )
    .await;
    check(
        Method::POST,
        "/upload",
        false,
        Err("method_not_materializable"),
    )
    .await;
    // The method counts before all else, and a range that the server ignores before the status.
    check(
        Method::PUT,
        "/broken",
        true,
        Err("method_not_materializable"),
    )
    .await;
    check(Method::GET, "/range", true, Err("partial_response")).await;
    check(Method::GET, "/hello", true, Err("partial_response")).await;
    check(Method::GET, "/broken", true, Err("partial_response")).await;
    check(Method::GET, "/broken", false, Err("unsuccessful_response")).await;
    check(Method::GET, "/nowhere", false, Err("unsuccessful_response")).await;
}

#[tokio::test]
async fn a_redirect_has_the_content_of_what_it_leads_to() {
    let (origin, authority) = Origin::secure().await;
    let fixture = Fixture::with(&authority, None);
    let [chain, redirect, hello] = ["/chain", "/redirect", "/hello"].map(|path| origin.url(path));
    assert_eq!(fixture.get(&chain).await, (200, "hello\n".to_owned()));
    let record = fixture.stop().await;
    let expected = [
        format!("GET {chain} 302 -> {redirect}"),
        format!("GET {redirect} 302 -> {hello}"),
        format!("GET {hello} 200"),
    ];
    assert_eq!(requests(&record), expected);
    let expected = [&hello, &redirect, &chain].map(|url| format!("{url} hello"));
    assert_eq!(materials(&record, &["hello\n"]), expected);
    assert_eq!(incomplete(&record), [""; 0]);
}

#[tokio::test]
async fn a_redirect_that_nobody_follows_is_no_material() {
    let origin = Origin::plain().await;
    let fixture = Fixture::new();
    let (text, code) = fixture.curl(&["-o", "-", &origin.url("/redirect")]).await;
    assert_eq!((text.as_str(), code), ("", 0));
    let record = fixture.stop().await;
    assert_eq!(
        (
            record.requests.len(),
            record.materials.len(),
            record.incomplete.len()
        ),
        (1, 0, 0)
    );
}

#[tokio::test]
async fn bodies_that_break_off() {
    let check = async |text: &'static str| {
        let url = talk(text, Then::HangUp).await.url;
        let fixture = Fixture::new();
        let answer = fixture.client.get(&url).send().await.unwrap();
        assert!(answer.bytes().await.is_err(), "{text}");
        let record = fixture.stop().await;
        assert_eq!(requests(&record), [format!("GET {url} 200")]);
        assert_eq!(incomplete(&record), [format!("GET {url} body_read_failed")]);
        assert!(record.materials.is_empty());
    };
    check("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
}

#[tokio::test]
async fn bodies_of_every_kind_of_length() {
    let check = async |text: &'static str| {
        let url = talk(text, Then::HangUp).await.url;
        let fixture = Fixture::new();
        assert_eq!(fixture.get(&url).await, (200, "hello".to_owned()), "{text}");
        let record = fixture.stop().await;
        assert_eq!(
            materials(&record, &["hello"]),
            [format!("{url} hello")],
            "{text}"
        );
    };
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    check("HTTP/1.1 200 OK\r\n\r\nhello").await;
    check("HTTP/1.0 200 OK\r\n\r\nhello").await;
}

#[tokio::test]
async fn content_is_digested_as_it_was_sent() {
    // No decoding, even of what nobody asked for.
    let text = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip\n";
    let url = talk(text, Then::HangUp).await.url;
    let fixture = Fixture::new();
    assert_eq!(fixture.get(&url).await.1, "not gzip\n");
    let record = fixture.stop().await;
    assert_eq!(record.materials[0].digest, digest(b"not gzip\n"));
}

#[tokio::test]
async fn a_step_that_stops_reading() {
    let origin = Origin::plain().await;
    let fixture = Fixture::new();
    let url = origin.url("/flood/64");
    let mut answer = fixture.client.get(&url).send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    drop(answer);
    let record = fixture.stop().await;
    assert_eq!(incomplete(&record), [format!("GET {url} body_read_failed")]);
}

#[tokio::test]
async fn the_words_for_reasons_are_buildkits() {
    let check = |reason: Reason, expected: &str| assert_eq!(reason.to_string(), expected);
    check(Reason::ResponseTransformed, "response_transformed");
    check(Reason::TlsHandshakeFailed, "tls_handshake_failed");
}
