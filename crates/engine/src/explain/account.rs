//! What the history keeps of a build: its facts, and why its steps ran.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::book::{FactBook, Looks};
use super::cause::Explanation;
use super::compare::{Earlier, explain};
use super::facts::BuildFacts;
use super::files::StoredTrees;
use crate::engine::{Engine, blocking};
use crate::request::Attributes;

/// The media type of accounts.
pub const MEDIA_TYPE: &str = "application/vnd.kiln.build.facts.v0+json";

/// The version of the form.
const VERSION: u32 = 1;

/// Bytes of an account.
const LONGEST: usize = 16 << 20;

/// Earlier builds that one is compared with.
const MOST_EARLIER: usize = 50;

/// What the history keeps of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// The version of this form.
    version: u32,
    /// Why steps ran; empty if none did.
    #[serde(default)]
    pub explanations: Vec<Explanation>,
    /// How many earlier builds this one was compared with.
    #[serde(default)]
    pub compared: usize,
    /// What the build was.
    pub facts: BuildFacts,
}

/// Bytes that are no account.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// It is no such document.
    #[error("what is kept of the build cannot be read: {0}")]
    Damaged(#[from] serde_json::Error),
    /// It is too long.
    #[error("what is kept of the build is longer than {LONGEST} bytes")]
    TooLong,
    /// A newer version wrote it.
    #[error("what is kept of the build is of version {0}, which this program does not know")]
    Version(u32),
    /// It refers to a step that it does not have.
    #[error("what is kept of the build refers to a step that is not there")]
    Dangling,
}

impl Account {
    /// Reads an account.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AccountError> {
        if bytes.len() > LONGEST {
            return Err(AccountError::TooLong);
        }
        let account: Self = serde_json::from_slice(bytes)?;
        if account.version != VERSION {
            return Err(AccountError::Version(account.version));
        }
        match account.is_closed() {
            true => Ok(account),
            false => Err(AccountError::Dangling),
        }
    }

    /// Whether steps only refer to steps, inputs before their users.
    fn is_closed(&self) -> bool {
        let steps = self.facts.steps.iter().enumerate();
        let mut inputs =
            steps.flat_map(|(place, step)| step.inputs.iter().map(move |it| *it < place));
        inputs.all(|is_before| is_before)
            && self
                .explanations
                .iter()
                .all(|it| it.step < self.facts.steps.len())
    }

    /// The longest account that is read.
    pub fn limit() -> usize {
        LONGEST
    }

    fn to_bytes(&self) -> Option<Vec<u8>> {
        let bytes = serde_json::to_vec(self).ok()?;
        (bytes.len() <= LONGEST).then_some(bytes)
    }
}

/// What the history is to keep of a build that has ended. Only builds of which something ran are compared with
/// earlier ones.
pub(crate) async fn write(
    engine: &Engine,
    book: &FactBook,
    options: &Attributes,
) -> Option<Vec<u8>> {
    let (facts, looks) = book.facts(options);
    if facts.steps.is_empty() {
        return None;
    }
    let mut account = Account {
        version: VERSION,
        facts,
        ..Account::default()
    };
    if account.facts.steps.iter().any(|step| step.is_miss()) {
        let engine = engine.clone();
        let explained = blocking(move || {
            compare(&engine, &mut account, looks);
            Ok(account)
        });
        match explained.await {
            Ok(explained) => account = explained,
            Err(error) => {
                tracing::warn!(%error, "why steps ran is not recorded");
                return None;
            }
        }
    }
    account.to_bytes()
}

fn compare(engine: &Engine, account: &mut Account, looks: Looks) {
    let earlier = engine
        .history()
        .accounts(MOST_EARLIER)
        .unwrap_or_else(|error| {
            tracing::warn!(%error, "earlier builds cannot be read");
            Vec::new()
        });
    let views: Vec<Earlier<'_>> = earlier
        .iter()
        .map(|(build, account)| Earlier {
            build,
            facts: &account.facts,
        })
        .collect();
    let trees = StoredTrees::new(Arc::clone(&engine.worker), looks);
    account.compared = views.len();
    account.explanations = explain(&account.facts, &views, &trees);
}
