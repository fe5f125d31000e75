//! `k8s.io/kube-scheduler/extender/v1`: its types have no JSON tags, so fields are spelled as in Go; reading is
//! indifferent to case, as Go's.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;
use serde::{Deserialize, Serialize};

use crate::scheduler::extender;

pub(super) type ApiPod = Arc<api::Pod>;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Args {
    pub(super) pod: ApiPod,
    pub(super) nodes: Option<NodeList>,
    pub(super) node_names: Option<Vec<String>>,
}

#[derive(Serialize)]
pub(super) struct NodeList {
    metadata: BTreeMap<String, String>,
    items: Vec<Arc<api::Node>>,
}

impl NodeList {
    pub(super) fn new(items: Vec<Arc<api::Node>>) -> Self {
        Self {
            metadata: BTreeMap::new(),
            items,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct FilterResult {
    #[serde(rename = "Nodes", alias = "nodes")]
    pub(super) nodes: Option<AnsweredNodes>,
    #[serde(rename = "NodeNames", alias = "nodeNames", alias = "nodenames")]
    pub(super) node_names: Option<Vec<String>>,
    #[serde(rename = "FailedNodes", alias = "failedNodes", alias = "failednodes")]
    pub(super) failed_nodes: Option<BTreeMap<String, String>>,
    #[serde(
        rename = "FailedAndUnresolvableNodes",
        alias = "failedAndUnresolvableNodes",
        alias = "failedandunresolvablenodes"
    )]
    pub(super) failed_and_unresolvable_nodes: Option<BTreeMap<String, String>>,
    #[serde(rename = "Error", alias = "error", default)]
    pub(super) error: String,
}

#[derive(Deserialize)]
pub(super) struct AnsweredNodes {
    pub(super) items: Option<Vec<AnsweredNode>>,
}

/// Its name is all that matters: what else is said about it is known better here.
#[derive(Deserialize)]
pub(super) struct AnsweredNode {
    pub(super) metadata: AnsweredMetadata,
}

#[derive(Deserialize)]
pub(super) struct AnsweredMetadata {
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct HostPriority {
    #[serde(rename = "Host", alias = "host", default)]
    pub(super) host: String,
    #[serde(rename = "Score", alias = "score", default)]
    pub(super) score: i64,
}

#[derive(Serialize)]
pub(super) struct PreemptionArgs {
    #[serde(rename = "Pod")]
    pub(super) pod: ApiPod,
    #[serde(rename = "NodeNameToVictims")]
    pub(super) victims: Option<BTreeMap<String, Victims>>,
    #[serde(rename = "NodeNameToMetaVictims")]
    pub(super) meta_victims: Option<BTreeMap<String, MetaVictims>>,
}

#[derive(Serialize)]
pub(super) struct Victims {
    #[serde(rename = "Pods")]
    pub(super) pods: Vec<ApiPod>,
    #[serde(rename = "NumPDBViolations")]
    pub(super) violations: i64,
}

#[derive(Deserialize)]
pub(super) struct PreemptionResult {
    #[serde(
        rename = "NodeNameToMetaVictims",
        alias = "nodeNameToMetaVictims",
        alias = "nodenametometavictims"
    )]
    pub(super) meta_victims: Option<BTreeMap<String, MetaVictims>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct MetaVictims {
    #[serde(rename = "Pods", alias = "pods")]
    pods: Option<Vec<MetaPod>>,
    #[serde(
        rename = "NumPDBViolations",
        alias = "numPDBViolations",
        alias = "numpdbviolations",
        default
    )]
    violations: i64,
}

#[derive(Serialize, Deserialize)]
struct MetaPod {
    #[serde(rename = "UID", alias = "uid", default)]
    uid: String,
}

impl From<&extender::Victims> for MetaVictims {
    fn from(victims: &extender::Victims) -> Self {
        let pods = victims.pods.iter();
        Self {
            pods: Some(pods.map(|uid| MetaPod { uid: uid.clone() }).collect()),
            violations: victims.violations,
        }
    }
}

impl From<MetaVictims> for extender::Victims {
    fn from(victims: MetaVictims) -> Self {
        let pods = victims.pods.unwrap_or_default().into_iter();
        Self {
            pods: pods.map(|pod| pod.uid).collect(),
            violations: victims.violations,
        }
    }
}

#[derive(Serialize)]
pub(super) struct BindingArgs<'a> {
    #[serde(rename = "PodName")]
    pub(super) pod_name: &'a str,
    #[serde(rename = "PodNamespace")]
    pub(super) pod_namespace: &'a str,
    #[serde(rename = "PodUID")]
    pub(super) pod_uid: &'a str,
    #[serde(rename = "Node")]
    pub(super) node: &'a str,
}

#[derive(Deserialize)]
pub(super) struct BindingResult {
    #[serde(rename = "Error", alias = "error", default)]
    pub(super) error: String,
}
