//! Fetching bearer tokens from an authorization server.

use std::time::Duration;

use reqwest::header::LOCATION;
use reqwest::{Method, Url};
use serde::Deserialize;

use super::credential::{Credential, Token, TokenRequest};
use crate::endpoint::{Scheme, is_same_place, without_secrets};
use crate::error::{RegistryError, TransportError};
use crate::send::{read_limited, status_error};

/// Lifetime of a token whose server names none.
const DEFAULT_EXPIRY: u64 = 60;
const MAX_REDIRECTS: usize = 5;
const MAX_TOKEN_ANSWER: usize = 1 << 20;
const CLIENT_ID: &str = "kiln-client";
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

/// Fetches a token, by GET first and by OAuth2's POST where that is what is understood.
pub(crate) async fn fetch(
    http: &reqwest::Client,
    request: &TokenRequest,
    credential: &Credential,
    registry_scheme: Scheme,
) -> Result<Token, RegistryError> {
    let realm = parse_realm(request, credential, registry_scheme)?;
    let answer = match credential {
        Credential::Bearer(value) => {
            return Ok(Token {
                value: value.clone(),
                expires_in: DEFAULT_EXPIRY,
            });
        }
        Credential::Anonymous => get(http, &realm, request, None)
            .await
            .map_err(failed("anonymous"))?,
        Credential::IdentityToken(secret) => {
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", secret.as_str()),
            ];
            post(http, &realm, request, &form)
                .await
                .map_err(failed("oauth"))?
        }
        Credential::Basic { username, password } => {
            match get(http, &realm, request, Some((username, password))).await {
                Err(RegistryError::Status {
                    code: 401 | 404 | 405,
                    ..
                }) => {
                    let form = [
                        ("grant_type", "password"),
                        ("username", username.as_str()),
                        ("password", password.as_str()),
                    ];
                    post(http, &realm, request, &form).await
                }
                other => other,
            }
            .map_err(failed("oauth"))?
        }
    };
    token_of(answer)
}

fn failed(kind: &'static str) -> impl FnOnce(RegistryError) -> RegistryError {
    move |source| RegistryError::Token {
        kind,
        source: Box::new(source),
    }
}

fn token_of(answer: Answer) -> Result<Token, RegistryError> {
    let value = if answer.access_token.is_empty() {
        answer.token
    } else {
        answer.access_token
    };
    if value.is_empty() {
        return Err(RegistryError::Challenge(
            "authorization server did not include a token in the response".to_owned(),
        ));
    }
    let expires_in = if answer.expires_in == 0 {
        DEFAULT_EXPIRY
    } else {
        answer.expires_in
    };
    Ok(Token { value, expires_in })
}

/// The realm comes from the registry: a secret goes there over TLS only, unless
/// the registry itself is reached without.
fn parse_realm(
    request: &TokenRequest,
    credential: &Credential,
    registry_scheme: Scheme,
) -> Result<Url, RegistryError> {
    if request.realm.is_empty() {
        return Err(RegistryError::Challenge(
            "no realm specified for token auth challenge".to_owned(),
        ));
    }
    let realm = Url::parse(&request.realm).map_err(|error| {
        RegistryError::Challenge(format!(
            "invalid token auth challenge realm {:?}: {error}",
            request.realm
        ))
    })?;
    let is_plain = realm.scheme() != "https";
    if is_plain && registry_scheme == Scheme::Https && *credential != Credential::Anonymous {
        return Err(RegistryError::Challenge(format!(
            "not sending credentials for {} to {realm} over plain HTTP",
            request.host
        )));
    }
    Ok(realm)
}

async fn get(
    http: &reqwest::Client,
    realm: &Url,
    request: &TokenRequest,
    basic: Option<(&String, &String)>,
) -> Result<Answer, RegistryError> {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if !request.service.is_empty() {
            query.append_pair("service", &request.service);
        }
        for scope in &request.scopes {
            query.append_pair("scope", scope);
        }
    }
    let mut basic = basic;
    for _ in 0..=MAX_REDIRECTS {
        let mut builder = http.request(Method::GET, url.clone());
        if let Some((username, password)) = basic {
            builder = builder.basic_auth(username, Some(password));
        }
        match exchange(builder, Method::GET, realm).await? {
            Exchange::Answer(answer) => return Ok(answer),
            Exchange::Redirect(location) => {
                let target = url.join(&location).map_err(|error| {
                    RegistryError::Challenge(format!(
                        "invalid redirect of token server to {location:?}: {error}"
                    ))
                })?;
                if !is_same_place(&url, &target) {
                    basic = None;
                }
                url = target;
            }
        }
    }
    Err(RegistryError::Challenge(format!(
        "token server {realm} redirects without end"
    )))
}

async fn post(
    http: &reqwest::Client,
    realm: &Url,
    request: &TokenRequest,
    grant: &[(&str, &str)],
) -> Result<Answer, RegistryError> {
    let mut form = Url::parse("form:").map_err(|error| RegistryError::Setup(error.to_string()))?;
    {
        let mut pairs = form.query_pairs_mut();
        if !request.scopes.is_empty() {
            pairs.append_pair("scope", &request.scopes.join(" "));
        }
        pairs.append_pair("service", &request.service);
        pairs.append_pair("client_id", CLIENT_ID);
        pairs.extend_pairs(grant);
    }
    let builder = http
        .request(Method::POST, realm.clone())
        .header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .body(form.query().unwrap_or_default().to_owned());
    match exchange(builder, Method::POST, realm).await? {
        Exchange::Answer(answer) => Ok(answer),
        // A secret in a body is not carried on to where it was not meant for.
        Exchange::Redirect(_) => Err(RegistryError::Challenge(format!(
            "not following a redirect of token server {realm} with credentials"
        ))),
    }
}

/// What a token server says.
enum Exchange {
    Answer(Answer),
    Redirect(String),
}

async fn exchange(
    builder: reqwest::RequestBuilder,
    method: Method,
    realm: &Url,
) -> Result<Exchange, RegistryError> {
    let transport = |source| RegistryError::Transport {
        method: method.to_string(),
        url: without_secrets(realm),
        source,
    };
    let exchange = async {
        let sent = builder.send().await;
        let response =
            sent.map_err(|error| transport(TransportError::Http(error.without_url())))?;
        if response.status().is_redirection() {
            let location = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok());
            return Ok(Err(location.unwrap_or_default().to_owned()));
        }
        if !response.status().is_success() {
            return Err(status_error(&method, realm, response).await);
        }
        read_limited(response, MAX_TOKEN_ANSWER, "token", TIMEOUT)
            .await
            .map(Ok)
    };
    let outcome = tokio::time::timeout(TIMEOUT, exchange).await;
    let outcome = outcome.map_err(|_| transport(TransportError::Timeout(TIMEOUT)))??;
    let body = match outcome {
        Ok(body) => body,
        Err(location) => return Ok(Exchange::Redirect(location)),
    };
    let answer = serde_json::from_slice(&body).map_err(|error| {
        RegistryError::Challenge(format!("unable to decode token response: {error}"))
    })?;
    Ok(Exchange::Answer(answer))
}
