//! Names, owners, and the marks this program leaves on objects.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The scheduler name of the pods that are ours unless a configuration says otherwise.
pub const DEFAULT_SCHEDULER_NAME: &str = "wam-scheduler";

/// The label on a workload that marks the last step done to its replica count:
/// `<action id>.<step>.<fence>`. A label and not an annotation: the Deployment controller copies
/// annotations to its ReplicaSets and `kubectl rollout undo` writes old ones back.
pub const LEDGER_LABEL: &str = "aces-eu.github.io/wam-ledger";

/// The annotation on a pod that names the action it was bound for; it arrives with the Binding, so that
/// binding and marking are one call.
pub const ACTION_ANNOTATION: &str = "aces-eu.github.io/wam-action";

/// The annotation on a pod that an executor patches before it acts on the pod, so that the call of a
/// paused predecessor carries a stale resourceVersion and answers 409.
pub const FENCE_ANNOTATION: &str = "aces-eu.github.io/wam-fence";

/// A namespace and a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NamespacedName {
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl NamespacedName {
    /// `namespace/name` in one value.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The controlling owner of an object (`ownerReferences` with `controller: true`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OwnerRef {
    /// For example `apps/v1`.
    pub api_version: String,
    /// For example `ReplicaSet`.
    pub kind: String,
    /// The owner's name, in the same namespace.
    pub name: String,
    /// The owner's uid.
    pub uid: String,
}

/// A workload: what owns replicas.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRef {
    /// For example `apps/v1`.
    pub api_version: String,
    /// For example `Deployment`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: a workload that was deleted and made again is another one.
    pub uid: String,
}

impl WorkloadRef {
    /// Namespace and name.
    #[must_use]
    pub fn key(&self) -> NamespacedName {
        NamespacedName::new(&self.namespace, &self.name)
    }
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}
