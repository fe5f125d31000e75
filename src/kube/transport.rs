//! Sends a request to the API server: deadline, budget, repetition, metrics.
//!
//! It speaks HTTP through the client's service instead of through typed methods, because the decisions
//! here need what those hide: the `Retry-After` header, and whether a failed request was sent at all.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::kube::client::Body;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::BodyExt;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::de::DeserializeOwned;

use super::budget::{Budget, BudgetOptions};
use super::call::Call;
use super::failure::{Failure, chain, unsent_or_lost};
use super::metrics::Metrics;
use super::retry::{Policy, Repeat};
use crate::clock;

/// Sends calls of one kind.
#[derive(Debug)]
pub struct Transport {
    client: ClientHandle,
    budget: Budget,
    timeout: Duration,
    policy: Policy,
    metrics: Metrics,
    rng: Mutex<SmallRng>,
}

/// The client has no `Debug`.
struct ClientHandle(::kube::Client);

impl std::fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Transport {
    /// A transport on `client` whose every try may take `timeout`. `seed` is the jitter's.
    #[must_use]
    pub fn new(
        client: ::kube::Client,
        budget: BudgetOptions,
        timeout: Duration,
        policy: Policy,
        metrics: Metrics,
        seed: u64,
    ) -> Self {
        Self {
            client: ClientHandle(client),
            budget: Budget::new(budget),
            timeout,
            policy,
            metrics,
            rng: Mutex::new(SmallRng::seed_from_u64(seed)),
        }
    }

    /// Sends the call, again where [`Policy`] says so, and reads the answer.
    ///
    /// # Errors
    /// The last try's [`Failure`].
    pub async fn send<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Failure> {
        let body = self.send_raw(call).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Failure::Malformed(format!("{} {}: {error}", call.method, call.path)))
    }

    /// The same, leaving the answer's body to the caller.
    ///
    /// # Errors
    /// The last try's [`Failure`].
    pub async fn send_raw(&self, call: &Call) -> Result<Bytes, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            let failure = match self.send_once(call).await {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            match self.pause(call, tries, call.repeat, &failure) {
                Some(delay) => clock::sleep(delay).await,
                None => return Err(failure),
            }
        }
    }

    /// How long to wait before the next try, `None` to give up: for callers that repeat by themselves.
    pub(crate) fn pause(
        &self,
        call: &Call,
        tries: u32,
        repeat: Repeat,
        failure: &Failure,
    ) -> Option<Duration> {
        let delay = {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            self.policy.delay(tries, repeat, failure, &mut *rng)
        }?;
        self.metrics.retry(call.verb);
        let (verb, path) = (call.verb, call.path.as_str());
        tracing::debug!(verb, path, tries, ?delay, %failure, "trying again");
        Some(delay)
    }

    /// One try.
    ///
    /// # Errors
    /// The try's [`Failure`].
    pub async fn send_once(&self, call: &Call) -> Result<Bytes, Failure> {
        let permit = self.budget.take().await;
        let outcome = clock::timeout(self.timeout, Box::pin(self.exchange(call))).await;
        drop(permit);
        match outcome {
            Ok(Ok((code, body))) => {
                self.metrics.request(call.verb, code.to_string());
                Ok(body)
            }
            Ok(Err(failure)) => {
                self.metrics.request(call.verb, failure.label());
                Err(failure)
            }
            Err(elapsed) => {
                self.metrics.request(call.verb, "timeout".to_owned());
                Err(Failure::Lost(format!(
                    "{} {} {elapsed}",
                    call.method, call.path
                )))
            }
        }
    }

    async fn exchange(&self, call: &Call) -> Result<(u16, Bytes), Failure> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(header::ACCEPT, "application/json");
        let body = match &call.body {
            Some((kind, bytes)) => {
                request = request.header(header::CONTENT_TYPE, kind.as_str());
                Body::from(bytes.to_vec())
            }
            None => Body::empty(),
        };
        let request = request
            .body(body)
            .map_err(|error| Failure::NotSent(format!("{}: {error}", call.path)))?;
        let response = self.client.0.send(request).await.map_err(unsent_or_lost)?;
        let (parts, body) = response.into_parts();
        let bytes = body
            .collect()
            .await
            .map_err(|error| Failure::Lost(chain(&error)))?
            .to_bytes();
        let code = parts.status.as_u16();
        if parts.status.is_success() {
            return Ok((code, bytes));
        }
        let retry_after = parts
            .headers
            .get(header::RETRY_AFTER)
            .and_then(|v| v.to_str().ok()?.trim().parse::<u64>().ok())
            .map(Duration::from_secs);
        Err(Failure::answered(code, retry_after, &bytes))
    }
}
