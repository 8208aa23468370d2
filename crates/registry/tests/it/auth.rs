//! Who is shown what.

use std::sync::{Arc, Mutex};

use kiln_registry::{
    Authority, AuthorityError, Credential, Hosts, RegistryError, Token, TokenRequest,
};

use crate::fake::{Fake, Reply, Seen};
use crate::{Purse, client, digest_of, layer_of, reference, repository, repository_as};

const MANIFEST: &[u8] = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;

fn challenge(host: &str) -> Reply {
    let scope = "repository:test/image:pull";
    let bearer = format!(r#"Bearer realm="http://{host}/token",service="fake",scope="{scope}""#);
    Reply::new(401).header("www-authenticate", &bearer)
}

fn refusal(host: &str, error: &str) -> Reply {
    let bearer = format!(r#"Bearer realm="http://{host}/token",service="fake",error="{error}""#);
    Reply::new(401).header("www-authenticate", &bearer)
}

/// A registry that wants the token `secret`, which its token server gives to anyone.
async fn with_tokens(issue: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Fake {
    Fake::start_with_host(|host| {
        let host = host.to_owned();
        move |seen, number| {
            if seen.path.starts_with("/token") {
                return issue(seen, number);
            }
            match seen.header("authorization") {
                Some("Bearer secret") => Reply::manifest(MANIFEST),
                Some(_) => refusal(&host, "insufficient_scope"),
                None => challenge(&host),
            }
        }
    })
    .await
}

fn token(value: &str) -> Reply {
    Reply::ok(format!(r#"{{"token":"{value}","expires_in":300}}"#))
}

#[tokio::test]
async fn an_anonymous_token_is_fetched_once_and_kept() {
    let fake = with_tokens(|_, _| token("secret")).await;
    let repository = repository(&fake.host);
    for _ in 0..3 {
        repository
            .resolve(&reference(&fake.host, "test/image:v1"))
            .await
            .expect("resolve");
    }
    let head = "HEAD /v2/test/image/manifests/v1";
    let get = "GET /token?service=fake&scope=repository%3Atest%2Fimage%3Apull";
    assert_eq!(fake.lines(), [head, get, head, head, head]);
}

#[tokio::test]
async fn basic_credentials_go_to_the_token_server_only() {
    let fake = with_tokens(|_, _| token("secret")).await;
    let purse = Purse::basic("me", "pass:word");
    repository_as(&fake.host, purse.clone())
        .resolve(&reference(&fake.host, "test/image:v1"))
        .await
        .expect("resolve");
    let seen = fake.seen();
    assert_eq!(
        seen[1].header("authorization"),
        Some("Basic bWU6cGFzczp3b3Jk")
    );
    assert_eq!(seen[2].header("authorization"), Some("Bearer secret"));
    assert_eq!(*purse.asked.lock().expect("lock"), [fake.host.as_str()]);
}

#[tokio::test]
async fn docker_hub_is_asked_for_by_its_short_name() {
    // Not a request, only the name under which a purse is opened.
    let purse = Purse::basic("me", "x");
    purse.credential("docker.io").await.expect("credential");
    assert_eq!(*purse.asked.lock().expect("lock"), ["docker.io"]);
}

#[tokio::test]
async fn token_servers_that_know_only_post() {
    for status in [401, 404, 405] {
        let fake = with_tokens(move |seen, _| match seen.method.as_str() {
            "GET" => Reply::new(status),
            _ => Reply::ok(r#"{"access_token":"secret"}"#),
        })
        .await;
        let repository = repository_as(&fake.host, Purse::basic("me", "pw"));
        repository
            .resolve(&reference(&fake.host, "test/image:v1"))
            .await
            .expect("resolve");
        let post = fake
            .seen()
            .into_iter()
            .find(|seen| seen.method == "POST")
            .expect("a POST");
        let body = String::from_utf8(post.body).expect("text");
        assert_eq!(
            body,
            "scope=repository%3Atest%2Fimage%3Apull&service=fake&client_id=kiln-client&grant_type=password&username=me&password=pw"
        );
    }
}

#[tokio::test]
async fn identity_tokens_are_exchanged() {
    let fake = with_tokens(|_, _| Reply::ok(r#"{"access_token":"secret"}"#)).await;
    let repository = repository_as(
        &fake.host,
        Purse::of(Credential::IdentityToken("id".into())),
    );
    repository
        .resolve(&reference(&fake.host, "test/image:v1"))
        .await
        .expect("resolve");
    let body = String::from_utf8(fake.seen()[1].body.clone()).expect("text");
    assert!(
        body.ends_with("grant_type=refresh_token&refresh_token=id"),
        "{body}"
    );
}

#[tokio::test]
async fn a_refused_token_ends_it() {
    let fake = with_tokens(|_, _| token("wrong")).await;
    let error = repository(&fake.host)
        .resolve(&reference(&fake.host, "test/image:v1"))
        .await
        .expect_err("must fail");
    assert_eq!(
        error.to_string(),
        "pull access denied, repository does not exist or may require authorization: \
         server message: insufficient_scope: authorization failed"
    );
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn endless_challenges_are_bounded() {
    let fake = Fake::start_with_host(|host| {
        let host = host.to_owned();
        move |seen, _| {
            if seen.path.starts_with("/token") {
                token("new")
            } else {
                challenge(&host)
            }
        }
    })
    .await;
    let error = repository(&fake.host)
        .resolve(&reference(&fake.host, "test/image:v1"))
        .await
        .expect_err("must fail");
    assert!(error.to_string().contains("401 Unauthorized"), "{error}");
    assert!(fake.seen().len() <= 4, "{:?}", fake.lines());
}

#[tokio::test]
async fn a_token_gone_stale_is_replaced() {
    let fake = Fake::start_with_host(|host| {
        let host = host.to_owned();
        move |seen, number| {
            if seen.path.starts_with("/token") {
                return token(&format!("from{number}"));
            }
            match seen.header("authorization") {
                None => challenge(&host),
                // The first token is good for the first request only.
                Some("Bearer from1") if number > 2 => refusal(&host, "invalid_token"),
                Some(_) => Reply::manifest(MANIFEST),
            }
        }
    })
    .await;
    let repository = repository(&fake.host);
    for _ in 0..2 {
        repository
            .resolve(&reference(&fake.host, "test/image:v1"))
            .await
            .expect("resolve");
    }
    assert_eq!(fake.seen().len(), 6);
}

#[tokio::test]
async fn token_server_failures_are_told() {
    let check = async |reply: Reply, expected: &str| {
        let fake = with_tokens(move |_, _| reply.clone()).await;
        let error = repository(&fake.host)
            .resolve(&reference(&fake.host, "test/image:v1"))
            .await;
        let text = error
            .expect_err("must fail")
            .to_string()
            .replace(&fake.host, "HOST");
        assert_eq!(text, expected);
    };
    check(
        Reply::error(400, "BAD", "no"),
        "failed to authorize: failed to fetch anonymous token: \
         unexpected status from GET request to http://HOST/token: 400 Bad Request\nbad: no",
    )
    .await;
    check(
        Reply::ok("{}"),
        "failed to authorize: authorization server did not include a token in the response",
    )
    .await;
}

#[tokio::test]
async fn token_servers_may_redirect_but_not_to_strangers() {
    let stranger = Fake::start(|_, _| token("secret")).await;
    let target = format!("http://{}/elsewhere", stranger.host);
    let fake = with_tokens(move |_, _| Reply::redirect(307, &target)).await;
    let name = reference(&fake.host, "test/image:v1");
    repository_as(&fake.host, Purse::basic("me", "pw"))
        .resolve(&name)
        .await
        .expect("resolve");
    assert_eq!(stranger.seen()[0].header("authorization"), None);
    let identity = repository_as(
        &fake.host,
        Purse::of(Credential::IdentityToken("id".into())),
    );
    let error = identity.resolve(&name).await.expect_err("must fail");
    assert!(
        error
            .to_string()
            .contains("not following a redirect of token server"),
        "{error}"
    );
}

#[tokio::test]
async fn basic_challenges_are_answered_once() {
    let fake = Fake::start(|seen, _| match seen.header("authorization") {
        Some("Basic bWU6cHc=") => Reply::manifest(MANIFEST),
        _ => Reply::new(401).header("www-authenticate", "Basic realm=\"fake\""),
    })
    .await;
    let name = reference(&fake.host, "test/image:v1");
    repository_as(&fake.host, Purse::basic("me", "pw"))
        .resolve(&name)
        .await
        .expect("resolve");
    assert_eq!(fake.seen().len(), 2);
    let error = repository_as(&fake.host, Purse::basic("me", "no"))
        .resolve(&name)
        .await
        .expect_err("must fail");
    assert!(
        matches!(error, RegistryError::Status { code: 401, .. }),
        "{error}"
    );
    assert_eq!(fake.seen().len(), 4);
    repository(&fake.host)
        .resolve(&name)
        .await
        .expect_err("must fail");
    assert_eq!(fake.seen().len(), 5);
}

#[tokio::test]
async fn credentials_do_not_follow_redirects() {
    let blob = b"layer".to_vec();
    let layer = layer_of(&blob);
    let elsewhere = Fake::start(move |_, _| Reply::ok(blob.clone())).await;
    let target = format!("http://{}/storage?signature=abc", elsewhere.host);
    let fake = Fake::start(move |seen, _| match seen.header("authorization") {
        Some("Basic bWU6cHc=") => Reply::redirect(307, &target),
        _ => Reply::new(401).header("www-authenticate", "Basic realm=\"fake\""),
    })
    .await;
    let repository = repository_as(&fake.host, Purse::basic("me", "pw"));
    let mut stream = repository.blob(&layer);
    assert_eq!(
        stream.next().await.expect("blob").as_deref(),
        Some(b"layer".as_slice())
    );
    assert_eq!(elsewhere.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_challenge_from_elsewhere_is_not_answered() {
    let elsewhere = Fake::start_with_host(|host| {
        let host = host.to_owned();
        move |_, _| challenge(&host)
    })
    .await;
    let target = format!("http://{}/storage", elsewhere.host);
    let fake = Fake::start(move |_, _| Reply::redirect(302, &target)).await;
    let purse = Purse::basic("me", "pw");
    let error = repository_as(&fake.host, purse.clone())
        .blob(&layer_of(b"x"))
        .next()
        .await
        .expect_err("must fail");
    assert!(error.to_string().contains("401"), "{error}");
    assert!(purse.asked.lock().expect("lock").is_empty());
    assert_eq!(elsewhere.seen().len(), 1);
}

#[tokio::test]
async fn redirect_loops_end() {
    let fake = Fake::start(|_, _| Reply::redirect(302, "/again")).await;
    let error = repository(&fake.host)
        .blob(&layer_of(b"x"))
        .next()
        .await
        .expect_err("must fail");
    assert!(
        error.to_string().ends_with("stopped after 10 redirects"),
        "{error}"
    );
    assert_eq!(fake.seen().len(), 11);
}

#[tokio::test]
async fn secrets_in_urls_are_not_told() {
    let fake = Fake::start_with_host(|host| {
        let target = format!("http://user:pw@{host}/storage?X-Signature=abc&ns=x");
        move |seen, _| {
            if seen.path.starts_with("/v2") {
                Reply::redirect(302, &target)
            } else {
                Reply::redirect(302, "ftp://x/?sig=abc")
            }
        }
    })
    .await;
    let text = repository(&fake.host)
        .blob(&layer_of(b"x"))
        .next()
        .await
        .expect_err("must fail")
        .to_string();
    assert!(!text.contains("abc") && !text.contains("pw"), "{text}");
}

#[tokio::test]
async fn two_users_do_not_share_tokens() {
    let fake = Fake::start_with_host(|host| {
        let host = host.to_owned();
        move |seen, _| {
            if seen.path.starts_with("/token") {
                return token(
                    seen.header("authorization")
                        .unwrap_or("nobody")
                        .trim_start_matches("Basic "),
                );
            }
            match seen.header("authorization") {
                None => challenge(&host),
                Some(_) => Reply::manifest(MANIFEST),
            }
        }
    })
    .await;
    let client = crate::client(kiln_registry::Hosts::new());
    let name = reference(&fake.host, "test/image:v1");
    for user in ["a", "b"] {
        client
            .repository(&name, Purse::basic(user, "pw"))
            .resolve(&name)
            .await
            .expect("resolve");
    }
    let tokens: Vec<String> = fake
        .seen()
        .iter()
        .filter(|seen| seen.method == "HEAD")
        .filter_map(|seen| seen.header("authorization").map(str::to_owned))
        .collect();
    assert_eq!(tokens, ["Bearer YTpwdw==", "Bearer Yjpwdw=="]);
    assert_eq!(digest_of(MANIFEST), digest_of(MANIFEST));
}

/// A user whose side fetches tokens and keeps the secret.
struct Keeper {
    identity: [u8; 32],
    fetched: Mutex<Vec<TokenRequest>>,
}

#[async_trait::async_trait]
impl Authority for Keeper {
    async fn credential(&self, _: &str) -> Result<Credential, AuthorityError> {
        Err("the secret stays with the user".into())
    }

    async fn identity(&self, _: &str) -> Result<Option<[u8; 32]>, AuthorityError> {
        Ok(Some(self.identity))
    }

    async fn token(&self, request: &TokenRequest) -> Result<Option<Token>, AuthorityError> {
        self.fetched.lock().expect("lock").push(request.clone());
        Ok(Some(Token {
            value: "secret".into(),
            expires_in: 300,
        }))
    }
}

#[tokio::test]
async fn a_user_may_fetch_the_token_and_keep_the_secret() {
    let fake = with_tokens(|_, _| Reply::new(500)).await;
    let client = client(Hosts::default());
    let reference = reference(&fake.host, "test/image:v1");
    let keeper = |identity| {
        Arc::new(Keeper {
            identity: [identity; 32],
            fetched: Mutex::default(),
        })
    };
    let (one, same, other) = (keeper(1), keeper(1), keeper(2));
    for user in [&one, &same, &other] {
        let repository = client.repository(&reference, Arc::clone(user) as _);
        repository.resolve(&reference).await.expect("resolve");
    }
    let request = TokenRequest {
        host: fake.host.clone(),
        realm: format!("http://{}/token", fake.host),
        service: "fake".into(),
        scopes: vec!["repository:test/image:pull".into()],
    };
    assert_eq!(
        *one.fetched.lock().expect("lock"),
        std::slice::from_ref(&request)
    );
    assert_eq!(
        *same.fetched.lock().expect("lock"),
        [],
        "equal users share tokens"
    );
    assert_eq!(*other.fetched.lock().expect("lock"), [request]);
    assert!(
        fake.seen()
            .iter()
            .all(|seen| !seen.path.starts_with("/token"))
    );
}

#[tokio::test]
async fn tokens_are_fetched_on_behalf_of_others() {
    let fake = with_tokens(|_, _| token("secret")).await;
    let request = |host: &str| TokenRequest {
        host: host.into(),
        realm: format!("http://{}/token", fake.host),
        service: "fake".into(),
        scopes: vec!["repository:a:pull".into()],
    };
    let me = Credential::Basic {
        username: "me".into(),
        password: "pw".into(),
    };
    let client = client(Hosts::default());
    let fetched = client.fetch_token(&request(&fake.host), &me).await;
    let fetched = fetched.expect("token");
    assert_eq!(
        (fetched.value.as_str(), fetched.expires_in),
        ("secret", 300)
    );
    let seen = fake.seen();
    assert_eq!(seen[0].header("authorization"), Some("Basic bWU6cHc="));
    // A registry that is reached by TLS may not have the secret shown around without.
    let refused = client.fetch_token(&request("registry.example"), &me).await;
    let error = refused.err().expect("refused").to_string();
    assert!(error.contains("over plain HTTP"), "{error}");
    assert_eq!(fake.seen().len(), 1);
}
