//! What a client says when it opens a session.

use std::time::Duration;

use kiln_session::{SessionHeaders, SessionId};
use rstest::rstest;
use tonic::metadata::MetadataMap;

fn metadata(pairs: &[(&'static str, &str)]) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for (key, value) in pairs {
        metadata.append(*key, value.parse().expect("value"));
    }
    metadata
}

#[test]
fn headers_are_read_and_written() {
    let read = SessionHeaders::from_metadata(&metadata(&[
        ("x-docker-expose-session-uuid", "abc"),
        ("x-docker-expose-session-name", "build"),
        ("x-docker-expose-session-sharedkey", "place"),
        ("x-docker-expose-session-grpc-method", "/a.B/Two"),
        ("x-docker-expose-session-grpc-method", "/a.B/One"),
    ]));
    let read = read.expect("headers");
    assert_eq!(read.id, SessionId::new("abc"));
    assert_eq!(
        (read.name.as_str(), read.shared_key.as_str()),
        ("build", "place")
    );
    assert!(read.serves("/a.B/One") && read.serves("/a.b/two") && !read.serves("/a.B/Three"));
    let mut written = MetadataMap::new();
    read.put(&mut written).expect("put");
    assert_eq!(
        SessionHeaders::from_metadata(&written).expect("headers"),
        read
    );
}

#[rstest]
#[case::missing(&[])]
#[case::empty(&[("x-docker-expose-session-uuid", "")])]
#[case::other(&[("x-docker-expose-session-name", "x")])]
fn a_session_needs_an_id(#[case] pairs: &[(&'static str, &str)]) {
    let error = SessionHeaders::from_metadata(&metadata(pairs)).expect_err("no id");
    assert!(
        error.to_string().contains("x-docker-expose-session-uuid"),
        "{error}"
    );
}

#[rstest]
#[case("", None)]
#[case("0", None)]
#[case("soon", None)]
#[case("-5", None)]
#[case("20", Some(1000))]
#[case("2500", Some(2500))]
fn a_client_may_ask_for_less_patience(#[case] text: &str, #[case] millis: Option<u64>) {
    let headers = SessionHeaders::from_metadata(&metadata(&[
        ("x-docker-expose-session-uuid", "abc"),
        ("x-buildkit-session-health-custom-timeout", text),
    ]));
    let expected = millis.map(Duration::from_millis);
    assert_eq!(headers.expect("headers").health_timeout, expected);
}
