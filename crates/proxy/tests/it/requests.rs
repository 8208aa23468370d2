//! Requests and answers on their way.

use kiln_proxy::Record;

use crate::fixture::{Fixture, incomplete, materials, requests};
use crate::origin::{Origin, Then, talk};

#[tokio::test]
async fn variables_are_those_that_programs_know() {
    let fixture = Fixture::new();
    let proxy = format!("http://{}", fixture.address());
    let expected = [
        format!("HTTP_PROXY={proxy}"),
        format!("HTTPS_PROXY={proxy}"),
        format!("http_proxy={proxy}"),
        format!("https_proxy={proxy}"),
        "NO_PROXY=127.0.0.1,localhost,::1".to_owned(),
        "no_proxy=127.0.0.1,localhost,::1".to_owned(),
    ];
    assert_eq!(fixture.proxy.variables(), expected);
}

#[tokio::test]
async fn plain_and_secure_requests_of_two_clients() {
    let plain = Origin::plain().await;
    let (secure, authority) = Origin::secure().await;
    for origin in [&plain, &secure] {
        let fixture = Fixture::with(&authority, None);
        let url = origin.url("/hello?a=b");
        assert_eq!(fixture.get(&url).await, (200, "hello\n".to_owned()));
        assert_eq!(fixture.curl(&[&url]).await, ("hello\n".to_owned(), 0));
        let named = url.replace("127.0.0.1", "localhost");
        assert_eq!(fixture.curl(&[&named]).await, ("hello\n".to_owned(), 0));
        let record = fixture.stop().await;
        let expected = [&url, &url, &named];
        assert_eq!(
            requests(&record),
            expected.map(|url| format!("GET {url} 200"))
        );
        let expected = expected.map(|url| format!("{url} hello"));
        assert_eq!(materials(&record, &["hello\n"]), expected);
        assert_eq!(incomplete(&record), [""; 0]);
    }
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_not_asked() {
    let (secure, _) = Origin::secure().await;
    let fixture = Fixture::new();
    let url = secure.url("/hello");
    let (status, text) = fixture.get(&url).await;
    assert_eq!(status, 502);
    assert!(text.contains("UnknownIssuer"), "{text}");
    let record = fixture.stop().await;
    assert_eq!(requests(&record), [format!("GET {url} 502")]);
    assert_eq!(incomplete(&record), [format!("GET {url} upstream_error")]);
}

#[tokio::test]
async fn headers_of_hops_stay_where_they_are() {
    let origin = Origin::plain().await;
    let fixture = Fixture::new();
    let url = origin.url("/headers?q");
    let request = fixture.client.get(&url);
    let request = request
        .header("accept-encoding", "gzip")
        .header("proxy-authorization", "Basic eA==")
        .header("proxy-connection", "keep-alive")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("user-agent", "own")
        .header("te", "trailers")
        .header("upgrade", "h2c")
        .header("authorization", "Bearer t");
    let answer = request.send().await.unwrap();
    let names = ["x-own", "keep-alive", "x-kept"].map(|name| answer.headers().contains_key(name));
    assert_eq!(names, [false, false, true]);
    let expected = format!(
        "/headers?q\naccept: */*\nauthorization: Bearer t\nhost: {}\nuser-agent: own\n",
        origin.address
    );
    assert_eq!(answer.text().await.unwrap(), expected);
}

#[tokio::test]
async fn credentials_reach_the_server_and_nobody_else() {
    let origin = Origin::plain().await;
    let fixture = Fixture::new();
    let address = origin.address;
    let check = async |user: &str, authorization: &str| {
        let request = format!(
            "GET http://{user}@{address}/headers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        );
        let answer = fixture.say(&request).await;
        assert!(
            answer.contains(&format!("authorization: {authorization}\n")),
            "{answer}"
        );
        assert!(answer.contains(&format!("host: {address}\n")), "{answer}");
    };
    check("user:word", "Basic dXNlcjp3b3Jk").await;
    check("user", "Basic dXNlcjo=").await;
    let record = fixture.stop().await;
    let expected = [
        format!("GET http://xxxxx:xxxxx@{address}/headers 200"),
        format!("GET http://xxxxx@{address}/headers 200"),
    ];
    assert_eq!(requests(&record), expected);
    let shown = format!("{record:?}");
    assert!(
        !shown.contains("word") && !shown.contains("user"),
        "{shown}"
    );
}

#[tokio::test]
async fn odd_requests_get_clear_answers() {
    let fixture = Fixture::new();
    let check = async |head: &str, status: &str, text: &str| {
        let answer = fixture
            .say(&format!("{head}\r\nConnection: close\r\n\r\n"))
            .await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{answer}"
        );
        assert!(answer.ends_with(&format!("\r\n\r\n{text}\n")), "{answer}");
    };
    check(
        "GET / HTTP/1.1",
        "400 Bad Request",
        "the request names no host",
    )
    .await;
    check(
        "GET ftp://host/a HTTP/1.1\r\nHost: host",
        "400 Bad Request",
        "unsupported URL \"ftp://host/a\"",
    )
    .await;
    check(
        "GET http://host/ HTTP/1.1\r\nHost: host\r\nUpgrade: websocket",
        "501 Not Implemented",
        "a step's proxy forwards HTTP only, not websocket",
    )
    .await;
    let record = fixture.stop().await;
    assert_eq!(requests(&record), ["GET http://host/ 501"]);
    assert_eq!(incomplete(&record), [""; 0]);
}

#[tokio::test]
async fn a_request_without_a_proxys_form_goes_to_its_host() {
    let origin = Origin::plain().await;
    let fixture = Fixture::new();
    let address = origin.address;
    let request = format!("GET /hello HTTP/1.0\r\nHost: {address}\r\n\r\n");
    assert!(fixture.say(&request).await.ends_with("\r\n\r\nhello\n"));
    let record = fixture.stop().await;
    assert_eq!(
        requests(&record),
        [format!("GET http://{address}/hello 200")]
    );
}

#[tokio::test]
async fn servers_that_fail() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let down = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    let mute = talk("", Then::HangUp).await.url;
    let garbled = talk("no HTTP at all\r\n\r\n", Then::HangUp).await.url;
    let check = async |url: &str, text: &str| {
        let fixture = Fixture::new();
        let (status, answer) = fixture.get(url).await;
        assert_eq!(status, 502, "{answer}");
        assert!(answer.starts_with(url) && answer.contains(text), "{answer}");
        let record: Record = fixture.stop().await;
        assert_eq!(requests(&record), [format!("GET {url} 502")]);
        assert_eq!(incomplete(&record), [format!("GET {url} upstream_error")]);
    };
    check(&down, "Connection refused").await;
    check(&mute, "connection closed before message completed").await;
    check(&garbled, "invalid HTTP").await;
    check("http://name.invalid/", "name.invalid").await;
}
