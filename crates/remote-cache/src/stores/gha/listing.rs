//! All keys of a repository's cache, by GitHub's API: one question for a hundred of them.

use std::collections::HashSet;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::super::StoreError;
use super::super::web::{Request, Web};
use super::blob_prefix;
use super::token::Token;
use crate::options::Secret;

const API: &str = "https://api.github.com";
const PAGE: usize = 100;
/// A list that goes on for longer is left alone.
const MOST_PAGES: usize = 200;
const LARGEST_ANSWER: u64 = 4 << 20;

/// The way to the list.
pub(super) struct Listing {
    url: Url,
    headers: HeaderMap,
}

#[derive(Deserialize)]
struct Page {
    total_count: usize,
    actions_caches: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

impl Listing {
    pub(super) fn new(api: Option<&str>, repository: &str, token: &Secret) -> Result<Self, String> {
        let api = api.unwrap_or(API).trim_end_matches('/');
        let url = Url::parse(&format!("{api}/repos/{repository}/actions/caches"))
            .map_err(|error| format!("GITHUB_API_URL: {error}"))?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
            .map_err(|error| error.to_string())?;
        bearer.set_sensitive(true);
        let version = HeaderName::from_static("x-github-api-version");
        let headers = [
            (AUTHORIZATION, bearer),
            (
                ACCEPT,
                HeaderValue::from_static("application/vnd.github+json"),
            ),
            (version, HeaderValue::from_static("2022-11-28")),
        ];
        Ok(Self {
            url,
            headers: headers.into_iter().collect(),
        })
    }

    pub(super) fn is_plain(&self) -> bool {
        self.url.scheme() == "http"
    }

    /// The keys of blobs in all scopes that the token may read.
    pub(super) async fn keys(
        &self,
        web: &Web,
        token: &Token,
    ) -> Result<HashSet<String>, StoreError> {
        let mut keys = HashSet::new();
        for scope in &token.scopes {
            for page in 1..=MOST_PAGES {
                let found = self.page(web, &scope.name, page).await?;
                let is_last = found.actions_caches.is_empty() || found.total_count <= page * PAGE;
                keys.extend(found.actions_caches.into_iter().map(|key| key.key));
                if is_last {
                    break;
                }
            }
        }
        Ok(keys)
    }

    async fn page(&self, web: &Web, scope: &str, page: usize) -> Result<Page, StoreError> {
        let action = "list the entries of";
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("per_page", &PAGE.to_string())
            .append_pair("page", &page.to_string())
            .append_pair("key", &blob_prefix())
            .append_pair("ref", scope);
        let request = Request {
            headers: self.headers.clone(),
            ..Request::new(Method::GET, url)
        };
        let answer = web.ask(action, &request, LARGEST_ANSWER).await?;
        if !answer.status.is_success() {
            return Err(web.refusal(action, answer.status, &answer.body));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| web.failed(action, format!("its answer makes no sense: {error}")))
    }
}
