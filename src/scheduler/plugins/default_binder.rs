//! DefaultBinder: a Binding with the pod's uid.

use std::collections::BTreeMap;

use crate::cluster::PodInfo;
use crate::scheduler::framework::Status;
use crate::scheduler::framework::plugin::{Bind, Plugin};
use crate::scheduler::ports::Binding;

/// See the module.
#[derive(Debug)]
pub struct DefaultBinder;

impl Plugin for DefaultBinder {
    fn name(&self) -> &'static str {
        "DefaultBinder"
    }
    fn as_bind(&self) -> Option<&dyn Bind> {
        Some(self)
    }
}

impl Bind for DefaultBinder {
    fn bind(
        &self,
        pod: &PodInfo,
        node: &str,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Binding, Status> {
        Ok(Binding {
            pod: pod.pod.key.clone(),
            uid: pod.pod.uid.clone(),
            node: node.to_owned(),
            annotations: annotations.clone(),
        })
    }
}
