//! Accepting actions: validation against the cluster, identities fixed, the action stored.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::context::Parts;
use super::end::End;
use super::event::{What, event};
use super::facade::{Accepted, Facade, SubmitError};
use super::options::Options;
use super::order::Order;
use super::request::{Arguments, Request};
use super::validate::Validator;
use super::{choose, plan};
use crate::clock;
use crate::store::{
    self, ActionId, ActionPage, ActionRecord, ActionState, Direction, Idempotency, Submitted,
};

/// How long an idempotency key is remembered.
const RETENTION: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// See the module documentation.
pub struct Service {
    parts: Parts,
    validator: Validator,
}

impl Service {
    /// A service over these neighbours. Pods and workloads must name one of `scheduler_names`.
    #[must_use]
    pub fn new(parts: Parts, scheduler_names: Vec<String>) -> Self {
        let validator = Validator::new(Arc::clone(&parts.cluster), scheduler_names);
        Self { parts, validator }
    }

    /// Takes actions in these namespaces alone; empty: in all.
    #[must_use]
    pub fn within(mut self, namespaces: Vec<String>) -> Self {
        self.validator = self.validator.within(namespaces);
        self
    }

    async fn replay(
        &self,
        caller: &str,
        key: &str,
        fingerprint: &str,
    ) -> Result<Option<ActionId>, SubmitError> {
        match self
            .parts
            .store
            .idempotent(caller, key)
            .await
            .map_err(refused)?
        {
            None => Ok(None),
            Some((id, known)) if known == fingerprint => Ok(Some(id)),
            Some((action, _)) => Err(refused(store::Error::IdempotencyMismatch {
                key: key.to_owned(),
                action,
            })),
        }
    }

    async fn dry_run(&self, order: &Order) -> Result<Value, SubmitError> {
        let Parts {
            cluster, placement, ..
        } = &self.parts;
        let shape = match choose::shape(order, &**cluster, &**placement).await {
            Ok(shape) => shape,
            Err(End::Failed(failure)) if failure.reason == "Unavailable" => {
                return Err(SubmitError::Unavailable(failure.message));
            }
            Err(End::Failed(failure)) => {
                return Ok(json!({
                    "feasible": false,
                    "reason": failure.reason,
                    "message": failure.message,
                    "steps": [],
                }));
            }
            Err(End::Halted | End::Stopped) => {
                return Err(SubmitError::Unavailable("shutting down".into()));
            }
        };
        let steps: Vec<Value> = plan::compile(order, shape, 0)
            .steps()
            .iter()
            .map(|step| json!({"name": step.name, "needs": step.needs}))
            .collect();
        Ok(json!({"feasible": true, "shape": format!("{shape:?}"), "steps": steps}))
    }
}

/// What the same request looks like, whatever the order of its members.
fn fingerprint(arguments: &Arguments, options: Option<&Value>) -> String {
    let mut options = options.cloned().unwrap_or(Value::Null);
    if let Some(members) = options.as_object_mut() {
        members.remove("idempotencyKey");
    }
    let whole = json!([arguments, options]);
    Sha256::digest(whole.to_string().as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn refused(error: store::Error) -> SubmitError {
    match error {
        store::Error::IdempotencyMismatch { .. } => SubmitError::Invalid(error.to_string()),
        other => SubmitError::Unavailable(other.to_string()),
    }
}

#[async_trait]
impl Facade for Service {
    async fn submit(&self, request: Request) -> Result<Accepted, SubmitError> {
        let options = Options::decode(request.options.as_ref())
            .map_err(|error| SubmitError::Invalid(error.to_string()))?;
        let print = fingerprint(&request.arguments, request.options.as_ref());
        // A retry is answered before the cluster is asked: the pod it names may be gone by now, by this very
        // action.
        if let Some(key) = &options.idempotency_key
            && let Some(id) = self.replay(&request.caller, key, &print).await?
        {
            return Ok(Accepted::Stored { id });
        }
        let method = request.arguments.method().to_owned();
        let order = self
            .validator
            .order(request.arguments, options.strategy, &request.caller)
            .await?;
        if options.dry_run {
            return Ok(Accepted::DryRun {
                plan: self.dry_run(&order).await?,
            });
        }
        let now = clock::now();
        let deadline = now
            .checked_add(jiff::SignedDuration::try_from(options.deadline).unwrap_or_default())
            .unwrap_or(now);
        let record = ActionRecord {
            id: ActionId::new(now),
            method,
            request: serde_json::to_value(&order).unwrap_or(Value::Null),
            state: ActionState::Pending,
            reason: String::new(),
            message: String::new(),
            created_at: now,
            started_at: None,
            finished_at: None,
            deadline,
            pods: Vec::new(),
            steps: Vec::new(),
            direction: Direction::Forward,
            forward_from: 0,
            back_from: 0,
            restores: false,
            version: 0,
            fence: 0,
        };
        let idempotency = options.idempotency_key.map(|key| Idempotency {
            caller: request.caller,
            key,
            fingerprint: print,
            retention: RETENTION,
        });
        let events = [event(&record, What::Accepted)];
        let never = CancellationToken::new();
        let store = &self.parts.store;
        let submitted = clock::timeout(
            std::time::Duration::from_secs(10),
            super::journal::retrying(&never, || {
                store.submit(&record, idempotency.as_ref(), &events)
            }),
        )
        .await
        .map_err(|_| {
            SubmitError::Unavailable(
                "the store did not answer within 10 s; it is not \
             known whether the action was stored: ask again with an idempotencyKey"
                    .into(),
            )
        })?;
        match submitted {
            Ok(Ok(Submitted::New(id) | Submitted::Replayed(id))) => Ok(Accepted::Stored { id }),
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => Err(SubmitError::Unavailable("shutting down".into())),
        }
    }

    async fn get(&self, id: ActionId) -> Result<Option<ActionRecord>, SubmitError> {
        self.parts.store.action(id).await.map_err(refused)
    }

    async fn list(&self, limit: usize, from: Option<&str>) -> Result<ActionPage, SubmitError> {
        self.parts.store.list(limit, from).await.map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::request::PodArg;

    #[test]
    fn the_fingerprint_leaves_the_key_out_and_minds_everything_else() {
        let delete = |name: &str| Arguments::Delete {
            pod: PodArg {
                name: name.into(),
                ..PodArg::default()
            },
        };
        let one = fingerprint(&delete("a"), Some(&json!({"idempotencyKey": "1"})));
        assert_eq!(
            one,
            fingerprint(&delete("a"), Some(&json!({"idempotencyKey": "2"})))
        );
        assert_ne!(
            one,
            fingerprint(&delete("b"), Some(&json!({"idempotencyKey": "1"})))
        );
        assert_ne!(
            one,
            fingerprint(
                &delete("a"),
                Some(&json!({"idempotencyKey": "1", "dryRun": true}))
            )
        );
    }
}
