//! The namespace controller: empties a namespace that is being deleted, then lets it go
//! (pkg/controller/namespace/deletion/namespaced_resources_deleter.go).

use std::sync::Arc;
use std::time::Duration;

use ::kube::Api;
use ::kube::api::{DeleteParams, ListParams};
use ::kube::core::DynamicObject;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio_util::sync::CancellationToken;

use super::informer::Key;
use super::objects::{has_code, is_terminating, now};
use super::queue::{Queue, work};
use super::resources::Known;
use super::shared::Shared;
use super::{Error, post};

/// How long pods are given before the namespace is looked at again.
const PAUSE: Duration = Duration::from_millis(500);
/// The finalizer that this controller takes off.
const FINALIZER: &str = "kubernetes";

/// What is still in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// `pods.v1 has 3 resource instances` and the like.
    pub content: Vec<String>,
    /// `example.com/finalizer in 1 resource instances` and the like.
    pub finalizers: Vec<String>,
}

/// The conditions that say what holds the deletion up, in the words of
/// `namespace/deletion/status_condition_utils.go`.
#[must_use]
pub fn conditions(
    old: &[NamespaceCondition],
    remaining: &Remaining,
    at: &Time,
) -> Vec<NamespaceCondition> {
    let told = [
        (
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".to_owned(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        (
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".to_owned(),
        ),
        if remaining.content.is_empty() {
            (
                "NamespaceContentRemaining",
                false,
                "ContentRemoved",
                "All content successfully removed".to_owned(),
            )
        } else {
            (
                "NamespaceContentRemaining",
                true,
                "SomeResourcesRemain",
                format!(
                    "Some resources are remaining: {}",
                    remaining.content.join(", ")
                ),
            )
        },
        if remaining.finalizers.is_empty() {
            (
                "NamespaceFinalizersRemaining",
                false,
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished".to_owned(),
            )
        } else {
            (
                "NamespaceFinalizersRemaining",
                true,
                "SomeFinalizersRemain",
                format!(
                    "Some content in the namespace has finalizers remaining: {}",
                    remaining.finalizers.join(", ")
                ),
            )
        },
    ];
    told.into_iter()
        .map(|(kind, value, reason, message)| {
            let value = if value { "True" } else { "False" };
            let same = old
                .iter()
                .find(|old| old.type_ == kind && old.status == value);
            NamespaceCondition {
                type_: kind.into(),
                status: value.into(),
                reason: Some(reason.into()),
                message: Some(message),
                last_transition_time: same
                    .and_then(|same| same.last_transition_time.clone())
                    .or_else(|| Some(at.clone())),
            }
        })
        .collect()
}

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    shared: Arc<Shared>,
    queue: Arc<Queue<Key>>,
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(super) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            queue: Queue::new(),
        });
        let hears = Arc::clone(&controller);
        shared.namespaces.on_change(move |change| {
            if is_terminating(&change.object().metadata) {
                hears.queue.add(Key::of(change.object().as_ref()));
            }
        });
        controller
    }

    /// Works until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = Arc::clone(&self.queue);
        work("namespace", queue, 2, shutdown, |key| {
            let controller = Arc::clone(&self);
            async move { controller.sync(&key).await }
        })
        .await;
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        let api: Api<Namespace> = Api::all(self.shared.client.clone());
        let Some(namespace) = api.get_opt(&key.name).await? else {
            return Ok(());
        };
        let finalizers = namespace
            .spec
            .as_ref()
            .and_then(|spec| spec.finalizers.clone());
        let finalizers = finalizers.unwrap_or_default();
        let holds = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
        if !is_terminating(&namespace.metadata) || !holds {
            return Ok(());
        }
        let all = self.shared.resources.all(&self.shared.client).await?;
        let emptied = all
            .iter()
            // Events go last: the emptying itself still makes some.
            .filter(|known| known.namespaced && known.resource.kind != "Event")
            .map(|known| self.empty(&key.name, known));
        let mut remaining = Remaining::default();
        for left in join_all(emptied).await {
            let left = left?;
            remaining.content.extend(left.content);
            for finalizer in left.finalizers {
                if !remaining.finalizers.contains(&finalizer) {
                    remaining.finalizers.push(finalizer);
                }
            }
        }
        let mut changed = namespace.clone();
        let status = changed.status.get_or_insert_default();
        let old = status.conditions.clone().unwrap_or_default();
        let conditions = conditions(&old, &remaining, &now());
        let differs = old != conditions;
        status.conditions = Some(conditions);
        let stored = if differs {
            match api.replace_status(&key.name, &post(), &changed).await {
                Ok(stored) => stored,
                Err(error) if has_code(&error, 404) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        } else {
            namespace
        };
        if !remaining.content.is_empty() {
            self.queue.add_after(key.clone(), PAUSE);
            return Ok(());
        }
        for known in all.iter().filter(|known| known.resource.kind == "Event") {
            self.empty(&key.name, known).await?;
        }
        self.finalize(stored).await
    }

    /// Deletes everything of one resource; says what is still there.
    async fn empty(&self, namespace: &str, known: &Known) -> Result<Remaining, Error> {
        let resource = &known.resource;
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.shared.client.clone(), namespace, resource);
        let everything = ListParams::default();
        let first = match api.list_metadata(&everything).await {
            Ok(list) => list.items,
            // It cannot be listed in this way: no business of a namespace's.
            Err(error) if has_code(&error, 404) || has_code(&error, 405) => {
                return Ok(Remaining::default());
            }
            Err(error) => return Err(error.into()),
        };
        if first.is_empty() {
            return Ok(Remaining::default());
        }
        match api
            .delete_collection(&DeleteParams::background(), &everything)
            .await
        {
            Ok(_) => {}
            Err(error) if has_code(&error, 405) || has_code(&error, 404) => {
                for object in first
                    .iter()
                    .filter_map(|object| object.metadata.name.as_deref())
                {
                    match api.delete(object, &DeleteParams::background()).await {
                        Ok(_) => {}
                        Err(error) if has_code(&error, 404) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
        let left = api.list_metadata(&everything).await?.items;
        let mut remaining = Remaining::default();
        if left.is_empty() {
            return Ok(remaining);
        }
        let full = if resource.group.is_empty() {
            format!("{}.", resource.plural)
        } else {
            format!("{}.{}", resource.plural, resource.group)
        };
        remaining
            .content
            .push(format!("{full} has {} resource instances", left.len()));
        let mut counts = std::collections::BTreeMap::<&str, usize>::new();
        for finalizer in left
            .iter()
            .flat_map(|object| object.metadata.finalizers.iter().flatten())
        {
            *counts.entry(finalizer).or_default() += 1;
        }
        let sentence = |(finalizer, count): (&str, usize)| {
            format!("{finalizer} in {count} resource instances")
        };
        remaining
            .finalizers
            .extend(counts.into_iter().map(sentence));
        Ok(remaining)
    }

    /// Takes the finalizer off by the `finalize` subresource.
    async fn finalize(&self, mut namespace: Namespace) -> Result<(), Error> {
        let name = namespace.metadata.name.clone().unwrap_or_default();
        if let Some(finalizers) = namespace
            .spec
            .as_mut()
            .and_then(|spec| spec.finalizers.as_mut())
        {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        let api: Api<Namespace> = Api::all(self.shared.client.clone());
        match api
            .replace_subresource("finalize", &name, &post(), &namespace)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if has_code(&error, 404) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_tell_what_is_left_and_keep_their_times() {
        let at = |text: &str| Time(text.parse().unwrap());
        let first = at("2026-01-01T00:00:00Z");
        let some = Remaining {
            content: vec!["pods. has 2 resource instances".into()],
            ..Remaining::default()
        };
        let told = conditions(&[], &some, &first);
        assert_eq!(told.len(), 5);
        assert_eq!(told[3].reason.as_deref(), Some("SomeResourcesRemain"));
        assert_eq!(
            told[3].message.as_deref(),
            Some("Some resources are remaining: pods. has 2 resource instances")
        );
        let later = at("2026-01-01T00:00:09Z");
        let after = conditions(&told, &Remaining::default(), &later);
        assert_eq!(after[0].last_transition_time, Some(first));
        assert_eq!(after[3].last_transition_time, Some(later));
    }
}
