//! What the profiles have to say about pods that wait: their order, what keeps them out, and which events
//! may help them.

use std::collections::HashMap;
use std::sync::Arc;

use super::QueuedPod;
use crate::cluster::{Change, PodInfo};
use crate::scheduler::extender::EXTENDER;
use crate::scheduler::framework::plugin::Hint;
use crate::scheduler::framework::{Events, Framework};

/// See the module. Pure, like the plugins it asks.
pub trait Policy: Send + Sync {
    /// QueueSort: whether `a` is tried before `b`.
    fn less(&self, a: &QueuedPod, b: &QueuedPod) -> bool;

    /// PreEnqueue: the plugin that keeps the pod out of the queues.
    fn gate(&self, pod: &PodInfo) -> Option<&'static str>;

    /// The events that a plugin has registered for pods that it has rejected.
    fn events_of(&self, pod: &PodInfo, plugin: &str) -> Events;

    /// QueueingHintFn: whether an event that the plugin has registered may help the pod.
    fn hint(&self, pod: &PodInfo, plugin: &str, event: Events, change: &Change) -> Hint;

    /// All events that any plugin has registered.
    fn interests(&self) -> Events;
}

/// The frameworks of all profiles, by scheduler name.
pub struct Profiles {
    frameworks: HashMap<String, Arc<Framework>>,
    interests: Events,
}

impl Profiles {
    /// All profiles have the same QueueSort; whichever comes first is asked. `extenders`: whether there are any.
    #[must_use]
    pub fn new(frameworks: HashMap<String, Arc<Framework>>, extenders: bool) -> Self {
        // What may change an extender's mind is not known.
        let least = if extenders { Events::ALL } else { Events::NONE };
        let interests = frameworks
            .values()
            .fold(least, |all, framework| all | framework.interests());
        Self {
            frameworks,
            interests,
        }
    }

    fn of(&self, pod: &PodInfo) -> Option<&Arc<Framework>> {
        self.frameworks.get(&pod.pod.scheduler_name)
    }
}

impl Policy for Profiles {
    fn less(&self, a: &QueuedPod, b: &QueuedPod) -> bool {
        let any = self.frameworks.values().next();
        any.and_then(|framework| framework.queue_sort())
            .is_some_and(|sort| sort.less(a, b))
    }

    fn gate(&self, pod: &PodInfo) -> Option<&'static str> {
        let status = self.of(pod)?.pre_enqueue(pod).err()?;
        Some(status.plugin)
    }

    fn events_of(&self, pod: &PodInfo, plugin: &str) -> Events {
        if plugin == EXTENDER {
            return Events::ALL;
        }
        self.of(pod)
            .map_or(Events::NONE, |framework| framework.events_of(plugin))
    }

    fn hint(&self, pod: &PodInfo, plugin: &str, event: Events, change: &Change) -> Hint {
        self.of(pod).map_or(Hint::Queue, |framework| {
            framework.hint(plugin, event, pod, change)
        })
    }

    fn interests(&self) -> Events {
        self.interests
    }
}
