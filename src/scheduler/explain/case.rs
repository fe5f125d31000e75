//! A case: a cluster as a list of objects, and a pod of it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{Answer, explain};
use crate::cluster::{Cache, PodInfo, read};
use crate::model::NamespacedName;
use crate::scheduler::config::{Configuration, parse};
use crate::scheduler::framework::Framework;
use crate::scheduler::intents::IntentBook;
use crate::scheduler::plugins::registry_with;

/// One line of `--jsonl`.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// Handed back with the answer.
    #[serde(default)]
    pub id: Option<String>,
    /// The cluster: Kubernetes objects, in the order in which they appear.
    pub objects: Vec<Value>,
    /// `namespace/name` of the pod to decide about.
    pub pod: String,
    /// A KubeSchedulerConfiguration.
    #[serde(default)]
    pub config: Option<Value>,
}

/// A case that cannot be decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// An object makes no sense.
    #[error("{0}")]
    Object(String),
    /// The pod is not among the objects.
    #[error("pod {0} is not among the objects")]
    NoPod(String),
    /// The configuration makes no sense.
    #[error("{0}")]
    Config(String),
    /// No profile is for the pod.
    #[error("no profile is for schedulerName {0:?}")]
    NoProfile(String),
}

/// Puts objects into a cluster, in their order. Lists are opened; kinds that no decision depends on are
/// passed over.
///
/// # Errors
/// [`CaseError::Object`], the first of them.
pub fn take_in_objects(cache: &Cache, objects: Vec<Value>) -> Result<(), CaseError> {
    take_in(cache, objects, None).map(|_| ())
}

/// But for the pod of this name, which is handed back.
fn take_in(
    cache: &Cache,
    objects: Vec<Value>,
    pod: Option<&str>,
) -> Result<Option<PodInfo>, CaseError> {
    let mut found = None;
    let mut left: Vec<Value> = objects.into_iter().rev().collect();
    while let Some(mut object) = left.pop() {
        let is_list = object["kind"].as_str().is_some_and(|k| k.ends_with("List"));
        if let (true, Some(items)) = (is_list, object["items"].as_array_mut()) {
            left.extend(std::mem::take(items).into_iter().rev());
            continue;
        }
        if object["kind"] == "Pod" && pod.is_some_and(|pod| key_of(&object).to_string() == pod) {
            let read = serde_json::from_value(object).map_err(|e| e.to_string());
            let read = read.and_then(|p| PodInfo::from_api(&p).map_err(|e| e.to_string()));
            found = Some(read.map_err(|e| CaseError::Object(format!("the pod: {e}")))?);
            continue;
        }
        if let Some(event) = read::event_of(object).map_err(CaseError::Object)? {
            cache.apply(event);
        }
    }
    Ok(found)
}

fn key_of(object: &Value) -> NamespacedName {
    let part = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
    NamespacedName::new(part("namespace"), part("name"))
}

impl Case {
    /// Decides it.
    ///
    /// # Errors
    /// See [`CaseError`].
    pub fn answer(self) -> Result<Answer, CaseError> {
        let configuration = match &self.config {
            None => Configuration::default(),
            // JSON is YAML.
            Some(config) => {
                parse(&config.to_string()).map_err(|e| CaseError::Config(e.to_string()))?
            }
        };
        let cache = Cache::new();
        let pod = take_in(&cache, self.objects, Some(&self.pod))?;
        let pod = pod.ok_or(CaseError::NoPod(self.pod))?;
        let framework = framework_for(&configuration, &pod.pod.scheduler_name)?;
        let mut answer = explain(&framework, &cache.snapshot(), &pod);
        answer.id = self.id;
        Ok(answer)
    }
}

/// The plugins of the profile for the pods of this scheduler name.
///
/// # Errors
/// [`CaseError::NoProfile`] and [`CaseError::Config`].
pub fn framework_for(
    configuration: &Configuration,
    scheduler_name: &str,
) -> Result<Framework, CaseError> {
    let profiles = configuration.profiles();
    let profile = profiles.iter().find(|p| p.scheduler_name == scheduler_name);
    let profile = profile.ok_or_else(|| CaseError::NoProfile(scheduler_name.to_owned()))?;
    let plugins = registry_with(Arc::new(IntentBook::default()), &profile.args);
    let framework = Framework::new(profile, &plugins);
    let framework = framework.map_err(|e| CaseError::Config(e.to_string()))?;
    let names = profiles.iter().map(|p| p.scheduler_name.clone());
    Ok(framework.beside(names))
}
