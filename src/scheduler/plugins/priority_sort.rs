//! PrioritySort: higher priority first, then who waits longer.

use crate::scheduler::framework::plugin::{Plugin, QueueSort};
use crate::scheduler::queue::QueuedPod;

/// See the module.
#[derive(Debug)]
pub struct PrioritySort;

impl Plugin for PrioritySort {
    fn name(&self) -> &'static str {
        "PrioritySort"
    }
    fn as_queue_sort(&self) -> Option<&dyn QueueSort> {
        Some(self)
    }
}

impl QueueSort for PrioritySort {
    fn less(&self, a: &QueuedPod, b: &QueuedPod) -> bool {
        let (pa, pb) = (a.info.spec.priority, b.info.spec.priority);
        pa > pb || (pa == pb && a.timestamp < b.timestamp)
    }
}
