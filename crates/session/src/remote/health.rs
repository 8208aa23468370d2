//! Gives up clients that do not answer any more.

use std::time::{Duration, Instant};

use kiln_protocol::health::HealthCheckRequest;
use kiln_protocol::health::health_client::HealthClient;
use tokio::time::MissedTickBehavior;
use tonic::Code;

use super::Calls;
use crate::SessionError;

/// How patient the watch is.
struct Patience {
    interval: Duration,
    timeout: Duration,
    /// Failures in a row that end the session.
    failures: u32,
}

impl Patience {
    fn of(calls: &Calls) -> Self {
        match calls.headers().health_timeout {
            Some(limit) => Self {
                interval: limit,
                timeout: limit,
                failures: 1,
            },
            // A slow line that is full of data answers late, so one failure is none.
            None => Self {
                interval: Duration::from_secs(5),
                timeout: Duration::from_secs(15),
                failures: 2,
            },
        }
    }
}

/// Asks the client for its health until the session ends, and ends it if there is no answer.
pub(super) async fn watch(calls: Calls) {
    let patience = Patience::of(&calls);
    let mut ticks = tokio::time::interval(patience.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut client = HealthClient::new(calls.channel());
    let (mut failures, mut last) = (0, Duration::ZERO);
    loop {
        tokio::select! {
            () = calls.closed() => return,
            _ = ticks.tick() => {}
        }
        let begun = Instant::now();
        let limit = patience.timeout.max(last.mul_f32(1.5));
        let check = client.check(HealthCheckRequest::default());
        let answer = calls.ask_within(limit, "health of the client", check).await;
        last = begun.elapsed();
        match answer {
            Ok(_) => failures = 0,
            Err(error) if is_alive(&error) => failures = 0,
            Err(error) => {
                failures += 1;
                if failures >= patience.failures {
                    tracing::warn!(session = %calls.headers().id, %error, "session ended: the client does not answer");
                    calls.close();
                    return;
                }
            }
        }
    }
}

/// A client without the service is one that answers.
fn is_alive(error: &SessionError) -> bool {
    matches!(error, SessionError::Refused { code, .. } if *code == Code::Unimplemented)
}
