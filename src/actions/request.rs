//! What callers can ask for, as it arrives: the arguments of the four methods.
//!
//! The names are the wire's (`reference` of the original: create.go, delete.go, move.go, swap.go). Decoding
//! lives in `api`, since its dialect is the wire's; meaning lives here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `workload` of `action.Create`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadArg {
    /// Empty means `default`.
    pub namespace: String,
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// `node`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeArg {
    /// Its name.
    pub name: String,
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodArg {
    /// Empty means `default`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// If given, the pod's uid must be this.
    pub uid: String,
}

/// The arguments, by method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", content = "args")]
pub enum Arguments {
    /// `action.Create`: one more replica of the workload, on this node.
    #[serde(rename = "action.Create")]
    Create {
        /// Of which workload.
        workload: WorkloadArg,
        /// Where.
        node: NodeArg,
    },
    /// `action.Delete`: this very pod goes, and its workload shrinks by one.
    #[serde(rename = "action.Delete")]
    Delete {
        /// Which.
        pod: PodArg,
    },
    /// `action.Move`: this pod's place is taken by a new pod on that node.
    #[serde(rename = "action.Move")]
    Move {
        /// Which.
        pod: PodArg,
        /// Where to.
        node: NodeArg,
    },
    /// `action.Swap`: `x` goes where the `y` are, and they go where `x` is.
    #[serde(rename = "action.Swap")]
    Swap {
        /// One pod.
        x: PodArg,
        /// The pods it changes places with; all on one node.
        y: Vec<PodArg>,
    },
}

impl Arguments {
    /// The method's name, for example `action.Create`.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Create { .. } => "action.Create",
            Self::Delete { .. } => "action.Delete",
            Self::Move { .. } => "action.Move",
            Self::Swap { .. } => "action.Swap",
        }
    }
}

/// A request as `api` hands it over.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The arguments.
    pub arguments: Arguments,
    /// `options` as it arrived, decoded strictly by `actions`.
    pub options: Option<Value>,
    /// Who asks; empty while callers are anonymous.
    pub caller: String,
}
