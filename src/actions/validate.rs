//! From what a caller asked for to an order: objects found, uids fixed, nonsense refused.
//!
//! What is wrong here is the reply's error and nothing is stored.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::facade::SubmitError;
use super::options::Strategy;
use super::order::{Order, Target, Verb};
use super::ports::{CallError, Cluster};
use super::request::{Arguments, NodeArg, PodArg, WorkloadArg};
use crate::model::{Deployment, NamespacedName, PodPhase, WorkloadRef};

/// See the module documentation.
pub struct Validator {
    cluster: Arc<dyn Cluster>,
    scheduler_names: Vec<String>,
    namespaces: Vec<String>,
}

fn invalid(message: impl Into<String>) -> SubmitError {
    SubmitError::Invalid(message.into())
}

fn unavailable(error: CallError) -> SubmitError {
    match error {
        CallError::Refused(message) => SubmitError::Invalid(message),
        other => SubmitError::Unavailable(format!("the API server cannot be asked: {other}")),
    }
}

fn or_default(namespace: &str) -> &str {
    if namespace.is_empty() {
        "default"
    } else {
        namespace
    }
}

impl Validator {
    /// A validator that asks `cluster`.
    #[must_use]
    pub fn new(cluster: Arc<dyn Cluster>, scheduler_names: Vec<String>) -> Self {
        Self {
            cluster,
            scheduler_names,
            namespaces: Vec::new(),
        }
    }

    /// Refuses what is in another namespace; empty: none is another.
    pub fn within(self, namespaces: Vec<String>) -> Self {
        Self { namespaces, ..self }
    }

    /// The object's name, if actions are taken in its namespace.
    fn key(&self, namespace: &str, name: &str) -> Result<NamespacedName, SubmitError> {
        let namespace = or_default(namespace);
        if !self.namespaces.is_empty() && !self.namespaces.iter().any(|ours| ours == namespace) {
            return Err(invalid(format!(
                "namespace {namespace} is not among those where actions are taken ({})",
                self.namespaces.join(", ")
            )));
        }
        Ok(NamespacedName::new(namespace, name))
    }

    /// Understands a request.
    ///
    /// # Errors
    /// [`SubmitError`] whose text is the caller's answer.
    pub async fn order(
        &self,
        arguments: Arguments,
        strategy: Strategy,
        caller: &str,
    ) -> Result<Order, SubmitError> {
        let verb = match arguments {
            Arguments::Create { workload, node } => {
                let workload = self.workload(&workload).await?;
                Verb::Create {
                    workload,
                    node: self.node(&node).await?,
                }
            }
            Arguments::Delete { pod } => Verb::Delete {
                pod: self.target(&pod).await?,
            },
            Arguments::Move { pod, node } => {
                let pod = self.assigned(&pod).await?;
                Verb::Move {
                    pod,
                    node: self.node(&node).await?,
                }
            }
            Arguments::Swap { x, y } => self.swap(&x, &y).await?,
        };
        Ok(Order {
            verb,
            strategy,
            caller: caller.to_owned(),
        })
    }

    async fn swap(&self, x: &PodArg, y: &[PodArg]) -> Result<Verb, SubmitError> {
        if y.is_empty() {
            return Err(invalid("y pods must be specified"));
        }
        let x = self.assigned(x).await?;
        let mut others = Vec::with_capacity(y.len());
        let mut seen = BTreeSet::from([x.uid.clone()]);
        for pod in y {
            let pod = self.assigned(pod).await?;
            if !seen.insert(pod.uid.clone()) {
                return Err(invalid(format!("pod {} is named twice", pod.pod)));
            }
            if pod.node == x.node {
                return Err(invalid(format!(
                    "pods {} and {} are on the same node {}: there is nothing to swap",
                    x.pod, pod.pod, x.node
                )));
            }
            others.push(pod);
        }
        if let Some(other) = others.iter().find(|pod| pod.node != others[0].node) {
            return Err(invalid(format!(
                "y pods must be on one node: {} is on {}, {} is on {}",
                others[0].pod, others[0].node, other.pod, other.node
            )));
        }
        Ok(Verb::Swap { x, y: others })
    }

    async fn workload(&self, arg: &WorkloadArg) -> Result<WorkloadRef, SubmitError> {
        let key = self.key(&arg.namespace, &arg.name)?;
        let found = self.cluster.deployment(&key).await.map_err(unavailable)?;
        let Some(found) = found else {
            return Err(invalid(format!("deployment {key} not found")));
        };
        self.takes_actions(&found)?;
        Ok(found.workload())
    }

    fn takes_actions(&self, deployment: &Deployment) -> Result<(), SubmitError> {
        let key = &deployment.key;
        if deployment.deleting {
            return Err(invalid(format!("deployment {key} is being deleted")));
        }
        let name = deployment.scheduler_name();
        if !self.scheduler_names.iter().any(|ours| ours == name) {
            return Err(invalid(format!(
                "deployment {key} has schedulerName {name:?}: its pods are not placed by this scheduler \
                 ({})",
                self.scheduler_names.join(", ")
            )));
        }
        Ok(())
    }

    async fn node(&self, arg: &NodeArg) -> Result<String, SubmitError> {
        match self.cluster.node(&arg.name).await.map_err(unavailable)? {
            None => Err(invalid(format!("node {} not found", arg.name))),
            Some(state) if state.unschedulable => Err(invalid(format!(
                "node {} is cordoned (spec.unschedulable)",
                arg.name
            ))),
            Some(_) => Ok(arg.name.clone()),
        }
    }

    async fn assigned(&self, arg: &PodArg) -> Result<Target, SubmitError> {
        let target = self.target(arg).await?;
        if target.node.is_empty() {
            return Err(invalid(format!(
                "pod {} is not assigned to a node yet",
                target.pod
            )));
        }
        Ok(target)
    }

    async fn target(&self, arg: &PodArg) -> Result<Target, SubmitError> {
        let key = self.key(&arg.namespace, &arg.name)?;
        let Some(pod) = self.cluster.pod(&key).await.map_err(unavailable)? else {
            return Err(invalid(format!("pod {key} not found")));
        };
        if !arg.uid.is_empty() && arg.uid != pod.uid {
            return Err(invalid(format!(
                "pod {key} has the uid {}, not {}",
                pod.uid, arg.uid
            )));
        }
        if pod.deleted.is_some() {
            return Err(invalid(format!("pod {key} is terminating already")));
        }
        if matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed) {
            return Err(invalid(format!("pod {key} has finished ({:?})", pod.phase)));
        }
        let not_ours = |what: String| {
            invalid(format!(
                "pod {key} {what}: only pods of Deployments can be acted on"
            ))
        };
        if pod.mirror {
            return Err(not_ours("is the mirror of a static pod".into()));
        }
        let owner = pod
            .controller
            .ok_or_else(|| not_ours("has no controller".into()))?;
        if owner.kind != "ReplicaSet" {
            return Err(not_ours(format!(
                "is controlled by {} {}",
                owner.kind, owner.name
            )));
        }
        let set_key = NamespacedName::new(&key.namespace, &owner.name);
        let set = self
            .cluster
            .replica_set(&set_key)
            .await
            .map_err(unavailable)?;
        let deployment = set
            .as_ref()
            .filter(|set| set.uid == owner.uid)
            .and_then(|set| set.controller.as_ref())
            .filter(|controller| controller.kind == "Deployment");
        let Some(controller) = deployment else {
            return Err(not_ours(format!(
                "is controlled by ReplicaSet {} without a Deployment",
                owner.name
            )));
        };
        let found = self
            .cluster
            .deployment(&NamespacedName::new(&key.namespace, &controller.name))
            .await
            .map_err(unavailable)?
            .filter(|found| found.uid == controller.uid);
        let Some(found) = found else {
            return Err(not_ours(format!(
                "belongs to Deployment {}, which is gone",
                controller.name
            )));
        };
        self.takes_actions(&found)?;
        Ok(Target {
            pod: key,
            uid: pod.uid,
            node: pod.node_name.unwrap_or_default(),
            replica_set: owner.uid,
            replica_set_name: owner.name,
            workload: found.workload(),
        })
    }
}
