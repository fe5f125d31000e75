//! `/livez`, `/healthz` and `/readyz`, in the words of Kubernetes' components
//! (k8s.io/apiserver/pkg/server/healthz): `ok`, or with `?verbose` one line for each check.
//!
//! Live means that the process answers; a restart would not cure anything else. Ready means that every
//! [`Check`] passes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;

use super::{HealthState, NOSNIFF, plain_text};
use crate::clock;

/// How long a check may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(3);

type Probe = dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync;

/// A named readiness check.
#[derive(Clone)]
pub struct Check {
    name: Arc<str>,
    probe: Arc<Probe>,
}

impl Check {
    /// A check that is asked at every `/readyz`, all checks at once; it answers why it fails. Keep it cheap.
    pub fn new<F, A>(name: &str, probe: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self {
            name: Arc::from(name),
            probe: Arc::new(move || Box::pin(probe())),
        }
    }

    async fn run(&self) -> Result<(), String> {
        match clock::timeout(PATIENCE, (self.probe)()).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// `/livez` and `/healthz`.
pub(super) async fn live(RawQuery(query): RawQuery) -> Response {
    report("livez", wants_detail(query.as_deref()), &[("ping", Ok(()))])
}

/// `/readyz`.
pub(super) async fn ready(State(state): State<HealthState>, RawQuery(query): RawQuery) -> Response {
    let answers = futures::future::join_all(state.readiness.iter().map(Check::run)).await;
    let mut results = vec![("ping", Ok(()))];
    results.extend(
        state
            .readiness
            .iter()
            .map(|check| check.name.as_ref())
            .zip(answers),
    );
    for (name, answer) in &results {
        if let Err(reason) = answer {
            tracing::warn!(check = name, reason, "not ready");
        }
    }
    report("readyz", wants_detail(query.as_deref()), &results)
}

fn wants_detail(query: Option<&str>) -> bool {
    query.is_some_and(|query| {
        query
            .split('&')
            .any(|pair| pair.split('=').next() == Some("verbose"))
    })
}

/// A failure is always told in full, as kube-apiserver does, but with its reason: whoever reaches this
/// port may know it.
fn report(name: &str, verbose: bool, results: &[(&str, Result<(), String>)]) -> Response {
    let passed = results.iter().all(|(_, answer)| answer.is_ok());
    if passed && !verbose {
        return (NOSNIFF, plain_text(StatusCode::OK, "ok")).into_response();
    }
    let mut text = String::new();
    for (check, answer) in results {
        match answer {
            Ok(()) => text.push_str(&format!("[+]{check} ok\n")),
            Err(reason) => text.push_str(&format!("[-]{check} failed: {reason}\n")),
        }
    }
    let (status, verdict) = if passed {
        (StatusCode::OK, "passed")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "failed")
    };
    text.push_str(&format!("{name} check {verdict}\n"));
    (NOSNIFF, plain_text(status, text)).into_response()
}
