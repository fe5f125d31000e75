//! Extenders over HTTP: the scheduler's port in the words that `k8s.io/kube-scheduler/extender/v1` has on the
//! wire.
//!
//! Extenders that keep no cache of nodes are sent whole objects. The scheduler's own cache has no use for those:
//! they are kept here, and only where an extender is configured.

mod client;
mod objects;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) use objects::Objects;

use crate::cluster::{NodeInfo, PodInfo};
use crate::scheduler::config::ExtenderConfig;
use crate::scheduler::extender::{
    Extender, Extenders, Filtered, Unanswered, Victims, is_interested,
};
use crate::scheduler::ports::{Binder, Binding, CallError};

/// An answer may have so many bytes.
const MOST: usize = 64 << 20;

/// Makes the extenders of a configuration.
///
/// # Errors
/// What of one's TLS cannot be used.
pub(super) fn extenders(
    configs: &[ExtenderConfig],
    objects: &Arc<Objects>,
) -> Result<Vec<Arc<dyn Extender>>, String> {
    let each = configs.iter().map(|config| {
        let client = client::new(config)
            .map_err(|problem| format!("extender {}: {problem}", config.url_prefix))?;
        Ok(Arc::new(HttpExtender {
            config: config.clone(),
            url_prefix: client::url_prefix(config),
            client,
            objects: Arc::clone(objects),
        }) as Arc<dyn Extender>)
    });
    each.collect()
}

/// All of them, in their order.
pub(super) fn in_order(extenders: &[Arc<dyn Extender>]) -> Extenders {
    Extenders::new(extenders.to_vec())
}

struct HttpExtender {
    config: ExtenderConfig,
    url_prefix: String,
    client: reqwest::Client,
    objects: Arc<Objects>,
}

impl HttpExtender {
    async fn send<Q, A>(&self, verb: &str, question: &Q) -> Result<A, Unanswered>
    where
        Q: Serialize + Sync,
        A: DeserializeOwned,
    {
        let url = format!("{}/{verb}", self.url_prefix.trim_end_matches('/'));
        let failed = |problem: &dyn std::fmt::Display| {
            Unanswered(format!(
                "failed {verb} with extender at URL {url}: {problem}"
            ))
        };
        let answer = self.client.post(&url).json(question).send().await;
        let mut answer = answer.map_err(|error| failed(&causes(&error)))?;
        if answer.status() != reqwest::StatusCode::OK {
            let code = answer.status().as_u16();
            let text = format!("failed {verb} with extender at URL {url}, code {code}");
            return Err(Unanswered(text));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|error| failed(&causes(&error)))?
        {
            body.extend_from_slice(&chunk);
            if body.len() > MOST {
                return Err(failed(&format_args!(
                    "the answer has more than {MOST} bytes"
                )));
            }
        }
        serde_json::from_slice(&body).map_err(|error| failed(&error))
    }

    fn args(&self, pod: &PodInfo, nodes: &[Arc<NodeInfo>]) -> Result<wire::Args, Unanswered> {
        let (list, names) = if self.config.node_cache_capable {
            let names = nodes.iter().map(|node| node.name().to_string());
            (None, Some(names.collect()))
        } else {
            let names = nodes.iter().map(|node| node.name().as_ref());
            (Some(wire::NodeList::new(self.objects.nodes(names))), None)
        };
        Ok(wire::Args {
            pod: self.pod(pod)?,
            nodes: list,
            node_names: names,
        })
    }

    fn pod(&self, pod: &PodInfo) -> Result<wire::ApiPod, Unanswered> {
        let found = self.objects.pod(pod.uid());
        found.ok_or_else(|| Unanswered(format!("pod {} is gone", pod.pod.key)))
    }
}

/// An error with what caused it: reqwest's own text says little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

#[async_trait]
impl Extender for HttpExtender {
    fn config(&self) -> &ExtenderConfig {
        &self.config
    }

    async fn filter(&self, pod: &PodInfo, nodes: &[Arc<NodeInfo>]) -> Result<Filtered, Unanswered> {
        let args = self.args(pod, nodes)?;
        let result: wire::FilterResult = self.send(&self.config.filter_verb, &args).await?;
        if !result.error.is_empty() {
            return Err(Unanswered(result.error));
        }
        let names = result.node_names.filter(|_| self.config.node_cache_capable);
        let items = result.nodes.and_then(|list| list.items).unwrap_or_default();
        Ok(Filtered {
            nodes: names
                .unwrap_or_else(|| items.into_iter().map(|node| node.metadata.name).collect()),
            failed: result.failed_nodes.unwrap_or_default(),
            unresolvable: result.failed_and_unresolvable_nodes.unwrap_or_default(),
        })
    }

    async fn prioritize(
        &self,
        pod: &PodInfo,
        nodes: &[Arc<NodeInfo>],
    ) -> Result<Vec<(String, i64)>, Unanswered> {
        let args = self.args(pod, nodes)?;
        let result: Option<Vec<wire::HostPriority>> =
            self.send(&self.config.prioritize_verb, &args).await?;
        let scores = result.unwrap_or_default().into_iter();
        Ok(scores.map(|score| (score.host, score.score)).collect())
    }

    async fn preempt(
        &self,
        pod: &PodInfo,
        candidates: &BTreeMap<String, Victims>,
    ) -> Result<BTreeMap<String, Victims>, Unanswered> {
        let meta = self.config.node_cache_capable;
        let args = wire::PreemptionArgs {
            pod: self.pod(pod)?,
            victims: (!meta).then(|| {
                let nodes = candidates.iter().map(|(node, victims)| {
                    let pods = victims.pods.iter().filter_map(|uid| self.objects.pod(uid));
                    let victims = wire::Victims {
                        pods: pods.collect(),
                        violations: victims.violations,
                    };
                    (node.clone(), victims)
                });
                nodes.collect()
            }),
            meta_victims: meta.then(|| {
                let nodes = candidates.iter();
                nodes
                    .map(|(node, victims)| (node.clone(), victims.into()))
                    .collect()
            }),
        };
        let result: wire::PreemptionResult = self.send(&self.config.preempt_verb, &args).await?;
        let victims = result.meta_victims.unwrap_or_default().into_iter();
        Ok(victims
            .map(|(node, victims)| (node, victims.into()))
            .collect())
    }

    async fn bind(&self, binding: &Binding) -> Result<(), Unanswered> {
        let args = wire::BindingArgs {
            pod_name: &binding.pod.name,
            pod_namespace: &binding.pod.namespace,
            pod_uid: &binding.uid,
            node: &binding.node,
        };
        let result: wire::BindingResult = self.send(&self.config.bind_verb, &args).await?;
        if result.error.is_empty() {
            Ok(())
        } else {
            Err(Unanswered(result.error))
        }
    }
}

/// Leaves the binding to an extender that binds and minds the pod. A pod that an action has placed is bound by
/// us all the same: its action's mark travels with the binding, and an extender would lose it.
pub(super) struct ExtendedBinder {
    pub(super) inner: Arc<dyn Binder>,
    pub(super) extenders: Vec<Arc<dyn Extender>>,
    pub(super) cache: Arc<crate::cluster::Cache>,
}

#[async_trait]
impl Binder for ExtendedBinder {
    async fn bind(&self, binding: &Binding) -> Result<(), CallError> {
        let pod = self.cache.pod_info(&binding.uid);
        let minding = self.extenders.iter().find(|extender| {
            let config = extender.config();
            let minds = |pod: &PodInfo| is_interested(config, pod);
            !config.bind_verb.is_empty() && pod.as_ref().is_some_and(|(pod, _)| minds(pod))
        });
        match minding {
            Some(extender) if binding.annotations.is_empty() => {
                let bound = extender.bind(binding).await;
                bound.map_err(|problem| CallError::Refused(problem.0))
            }
            _ => self.inner.bind(binding).await,
        }
    }
}
