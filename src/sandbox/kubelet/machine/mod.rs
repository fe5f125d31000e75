//! The life of every pod on our nodes, as one state machine without I/O: what was seen and what time
//! it is go in, what is to be written comes out.
//!
//! It owns what the kubelets know: which pods they took on, what room is left, how far each pod is.
//! A pod's room is its own from admission until its containers have stopped.

pub mod address;
mod entry;
#[cfg(test)]
mod tests;
pub mod told;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::time::Instant;

use self::address::{node_address, pod_address};
use self::entry::{Entry, Stage};
use self::told::Told;
use super::admission::{Room, amounts};
use super::options::{Behaviour, KubeletOptions, asked};
use super::status::{Containers, Transitions};
use crate::sandbox::controllers::informer::Key;
use crate::sandbox::controllers::objects::{is_finished, is_terminating, uid};

/// First and longest pause before a crashed container is started again
/// (pkg/kubelet/kubelet.go, `MaxContainerBackOff`).
const CRASH_PAUSES: (u64, u64) = (10, 300);
/// First and longest pause after a write that failed.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(10));
/// How often a silent node's pods are looked at again.
const SILENCE: Duration = Duration::from_secs(1);

/// The time, for waiting and for writing down.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For waiting.
    pub instant: Instant,
    /// For writing down.
    pub wall: Timestamp,
}

/// Something that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The pod's uid.
    pub uid: String,
    /// Its name.
    pub key: Key,
    /// Its status, to be merged into the stored one; nothing if that is right already.
    pub status: Option<Value>,
    /// Whether it is to be removed from the API server afterwards.
    pub remove: bool,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was accepted.
    Done,
    /// The pod is no more (or another life of its name).
    Gone,
    /// It was not; it is to be tried again.
    Failed,
}

#[derive(Debug)]
struct Home {
    room: Room,
    host_ip: String,
    index: usize,
    addresses: BTreeSet<u8>,
    silent: bool,
    /// Whether it was unschedulable when last seen.
    cordoned: Option<bool>,
}

/// See the module.
#[derive(Debug)]
pub struct Machine {
    options: KubeletOptions,
    homes: BTreeMap<String, Home>,
    pods: BTreeMap<String, Entry>,
    timers: BTreeSet<(Instant, String)>,
    to_write: VecDeque<String>,
    overflow: u32,
    dice: StdRng,
    told: Vec<Told>,
}

impl Machine {
    /// Kubelets that have no nodes yet.
    #[must_use]
    pub fn new(options: KubeletOptions) -> Self {
        let dice = StdRng::seed_from_u64(options.seed);
        Self {
            options,
            homes: BTreeMap::new(),
            pods: BTreeMap::new(),
            timers: BTreeSet::new(),
            to_write: VecDeque::new(),
            overflow: 0,
            dice,
            told: Vec::new(),
        }
    }

    /// Whether this node is one of ours.
    #[must_use]
    pub fn has_node(&self, name: &str) -> bool {
        self.homes.contains_key(name)
    }

    /// One of our nodes, at first and whenever it has changed.
    pub fn node(&mut self, node: &Node, now: Now) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let next = self.homes.len();
        let home = self.homes.entry(name.clone()).or_insert_with(|| Home {
            room: Room::of(&name),
            host_ip: node_address(next),
            index: next,
            addresses: BTreeSet::new(),
            silent: false,
            cordoned: None,
        });
        let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
        if home
            .cordoned
            .replace(cordoned)
            .is_some_and(|before| before != cordoned)
        {
            let reason = match cordoned {
                true => "NodeNotSchedulable",
                false => "NodeSchedulable",
            };
            self.told.push(Told::node_status(&name, reason));
        }
        home.room.labels = node.metadata.labels.clone().unwrap_or_default();
        home.room.taints = node
            .spec
            .as_ref()
            .and_then(|spec| spec.taints.clone())
            .unwrap_or_default();
        let allocatable = node
            .status
            .as_ref()
            .and_then(|status| status.allocatable.as_ref());
        home.room.allocatable = allocatable.map(amounts).unwrap_or_default();
        let was_silent = home.silent;
        home.silent = asked(&node.metadata) == Some("silent");
        if was_silent && !home.silent {
            // What was written meanwhile, the controllers' "not ready" above all, is put right.
            for (pod_uid, entry) in self.pods.iter_mut().filter(|(_, entry)| entry.node == name) {
                entry.dirty |= entry.is_misreported();
                self.timers.insert((now.instant, pod_uid.clone()));
            }
        }
    }

    /// Whether heartbeats of this node are withheld.
    #[must_use]
    pub fn is_silent(&self, node: &str) -> bool {
        self.homes.get(node).is_some_and(|home| home.silent)
    }

    /// Pods on our nodes that were added or changed. Those that are new are let in in the order of
    /// their creation, those that ran before we came first.
    pub fn saw(&mut self, mut pods: Vec<Arc<Pod>>, now: Now) {
        pods.sort_by_cached_key(|pod| {
            let started = pod
                .status
                .as_ref()
                .is_some_and(|status| status.start_time.is_some());
            let created = pod.metadata.creation_timestamp.clone();
            (!started, created, pod.metadata.name.clone())
        });
        for pod in pods {
            let pod_uid = uid(&pod.metadata).to_owned();
            match self.pods.get_mut(&pod_uid) {
                Some(entry) => {
                    let old = std::mem::replace(&mut entry.pod, Arc::clone(&pod));
                    if entry.holds_room
                        && old.spec != pod.spec
                        && let Some(home) = self.homes.get_mut(&entry.node)
                    {
                        home.room.free(&old);
                        home.room.take(&pod);
                    }
                    if entry.is_misreported() {
                        entry.dirty = true;
                        self.to_write.push_back(pod_uid.clone());
                    }
                }
                None => self.take_on(&pod_uid, &pod, now),
            }
            if is_terminating(&pod.metadata) {
                self.begin_stop(&pod_uid, now);
            }
        }
    }

    /// A pod is gone from the API server.
    pub fn lost(&mut self, pod_uid: &str) {
        if let Some(mut entry) = self.pods.remove(pod_uid) {
            release(&mut self.homes, &mut entry);
            if let Some(due) = entry.due {
                self.timers.remove(&(due, pod_uid.to_owned()));
            }
        }
    }

    fn take_on(&mut self, pod_uid: &str, pod: &Arc<Pod>, now: Now) {
        let node = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.node_name.clone())
            .unwrap_or_default();
        let Some(home) = self.homes.get_mut(&node) else {
            return;
        };
        let behaviour = Behaviour::asked(&pod.metadata)
            .unwrap_or_else(|| thrown(&mut self.dice, &self.options));
        let known = pod.status.clone().unwrap_or_default();
        let mut entry = Entry {
            key: Key::of(pod.as_ref()),
            pod: Arc::clone(pod),
            node,
            stage: Stage::Alive,
            behaviour,
            containers: Containers::Waiting,
            pod_ip: None,
            start_time: known.start_time.as_ref().map_or(now.wall, |time| time.0),
            restarts: 0,
            last_run: None,
            transitions: Transitions::new(),
            holds_room: false,
            dirty: false,
            writing: false,
            removed: false,
            failures: 0,
            due: None,
        };
        if is_finished(pod) {
            entry.stage = Stage::Over;
        } else if known.start_time.is_some() {
            entry.resume(home);
        } else if let Err(rejection) = home.room.admit(pod) {
            self.told.push(entry.tell_rejection(&rejection));
            entry.stage = Stage::Rejected(rejection);
            entry.dirty = true;
        }
        if matches!(entry.stage, Stage::Alive) {
            home.room.take(pod);
            entry.holds_room = true;
            if matches!(entry.containers, Containers::Waiting) {
                let wait = self.options.start_latency + entry.behaviour.slow;
                if wait.is_zero() {
                    self.start(&mut entry, now);
                } else {
                    entry.dirty = true;
                    self.wake_at(&mut entry, now.instant + wait);
                }
            } else {
                self.plan_end(&mut entry, now);
            }
        }
        if entry.dirty {
            self.to_write.push_back(pod_uid.to_owned());
        }
        self.pods.insert(pod_uid.to_owned(), entry);
    }

    fn wake_at(&mut self, entry: &mut Entry, at: Instant) {
        let pod_uid = uid(&entry.pod.metadata).to_owned();
        if let Some(due) = entry.due.take() {
            self.timers.remove(&(due, pod_uid.clone()));
        }
        entry.due = Some(at);
        self.timers.insert((at, pod_uid));
    }

    fn start(&mut self, entry: &mut Entry, now: Now) {
        if entry.pod_ip.is_none() {
            entry.pod_ip = self.address(entry);
        }
        entry.containers = Containers::Running {
            since: now.wall,
            ready: !entry.behaviour.never_ready,
        };
        entry.dirty = true;
        self.told.extend(entry.tell_start());
        self.plan_end(entry, now);
    }

    fn plan_end(&mut self, entry: &mut Entry, now: Now) {
        let end = match (entry.behaviour.crash, entry.behaviour.ends) {
            (Some(after), _) | (None, Some((after, _))) => after,
            (None, None) => return,
        };
        self.wake_at(entry, now.instant + end);
    }

    fn address(&mut self, entry: &Entry) -> Option<String> {
        let home = self.homes.get_mut(&entry.node)?;
        if entry
            .pod
            .spec
            .as_ref()
            .is_some_and(|spec| spec.host_network == Some(true))
        {
            return Some(home.host_ip.clone());
        }
        if let Some(last) = (2..=254).find(|last| !home.addresses.contains(last)) {
            home.addresses.insert(last);
            return Some(pod_address(home.index, last));
        }
        // A node with more pods than its /24 has addresses: from a range of nobody's.
        self.overflow = self.overflow.wrapping_add(1);
        let [_, high, middle, low] = self.overflow.to_be_bytes();
        Some(format!("10.{}.{middle}.{low}", high % 128))
    }

    fn begin_stop(&mut self, pod_uid: &str, now: Now) {
        let Some(mut entry) = self.pods.remove(pod_uid) else {
            return;
        };
        match entry.stage {
            Stage::Alive => {
                let grace = entry
                    .pod
                    .metadata
                    .deletion_grace_period_seconds
                    .unwrap_or(0);
                let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
                let has_run = !matches!(entry.containers, Containers::Waiting);
                if has_run && !matches!(entry.containers, Containers::Ended { .. }) {
                    self.told.extend(entry.tell_stop());
                }
                let wait = if has_run {
                    self.options.stop_latency.min(grace)
                } else {
                    Duration::ZERO
                };
                entry.stage = Stage::Stopping;
                self.wake_at(&mut entry, now.instant + wait);
            }
            Stage::Stopping => {
                // The grace period may have been shortened.
                let grace = entry
                    .pod
                    .metadata
                    .deletion_grace_period_seconds
                    .unwrap_or(0);
                let latest = now.instant + Duration::from_secs(u64::try_from(grace).unwrap_or(0));
                if entry.due.is_some_and(|due| due > latest) {
                    self.wake_at(&mut entry, latest);
                }
            }
            Stage::Rejected(_) | Stage::Over => {
                entry.stage = Stage::Stopped;
                self.to_write.push_back(pod_uid.to_owned());
            }
            Stage::Stopped => {}
        }
        self.pods.insert(pod_uid.to_owned(), entry);
    }

    /// What is to be told in events since the last call.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// When something is due next.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Now) {
        while let Some((due, _)) = self.timers.first() {
            if *due > now.instant {
                return;
            }
            let Some((due, pod_uid)) = self.timers.pop_first() else {
                return;
            };
            let Some(mut entry) = self.pods.remove(&pod_uid) else {
                continue;
            };
            let is_own = entry.due == Some(due);
            if is_own {
                entry.due = None;
            }
            if self.is_silent(&entry.node) {
                let later = now.instant + SILENCE;
                if is_own {
                    self.wake_at(&mut entry, later);
                } else {
                    self.timers.insert((later, pod_uid.clone()));
                }
                self.pods.insert(pod_uid, entry);
                continue;
            }
            // Else it is another try at writing.
            if is_own {
                self.step(&mut entry, now);
            }
            if entry.dirty || matches!(entry.stage, Stage::Stopped) {
                self.to_write.push_back(pod_uid.clone());
            }
            self.pods.insert(pod_uid, entry);
        }
    }

    fn step(&mut self, entry: &mut Entry, now: Now) {
        match (&entry.stage, &entry.containers) {
            (Stage::Stopping, containers) => {
                let started = match containers {
                    Containers::Running { since, .. } => Some(*since),
                    Containers::CrashLoop { started, .. } => Some(*started),
                    Containers::Ended { .. } | Containers::Waiting => None,
                };
                if !matches!(containers, Containers::Ended { .. }) {
                    let code = if started.is_some() { 0 } else { 137 };
                    entry.containers = Containers::Ended {
                        started,
                        finished: now.wall,
                        code,
                    };
                }
                entry.stage = Stage::Stopped;
                entry.dirty = true;
                release(&mut self.homes, entry);
            }
            (Stage::Alive, Containers::Waiting) => self.start(entry, now),
            (Stage::Alive, Containers::Running { since, .. }) => {
                let since = *since;
                self.end_run(entry, since, now);
            }
            (
                Stage::Alive,
                Containers::CrashLoop {
                    started, finished, ..
                },
            ) => {
                entry.last_run = Some((*started, *finished));
                entry.restarts = entry.restarts.saturating_add(1);
                self.start(entry, now);
            }
            // Nothing is ever due for these but another try at writing.
            (Stage::Alive, Containers::Ended { .. })
            | (Stage::Stopped | Stage::Rejected(_) | Stage::Over, _) => {}
        }
    }

    fn end_run(&mut self, entry: &mut Entry, since: Timestamp, now: Now) {
        let (code, crashes) = match (entry.behaviour.crash, entry.behaviour.ends) {
            (Some(_), _) => (1, true),
            (None, Some((_, code))) => (code, false),
            (None, None) => return,
        };
        let policy = entry
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.restart_policy.as_deref());
        let again = match policy {
            Some("Never") => false,
            Some("OnFailure") => code != 0,
            _ => true,
        };
        entry.dirty = true;
        if again || (crashes && policy != Some("Never")) {
            let doubled = CRASH_PAUSES.0 << entry.restarts.clamp(0, 8);
            let pause = doubled.min(CRASH_PAUSES.1);
            entry.containers = Containers::CrashLoop {
                started: since,
                finished: now.wall,
                pause,
            };
            self.told.extend(entry.tell_backoff());
            self.wake_at(entry, now.instant + Duration::from_secs(pause));
        } else {
            entry.containers = Containers::Ended {
                started: Some(since),
                finished: now.wall,
                code,
            };
            release(&mut self.homes, entry);
        }
    }

    /// The next thing to write, if there is any; [`Self::written`] must follow. There is never more
    /// than one write of one pod under way.
    pub fn next_write(&mut self, now: Now) -> Option<Write> {
        while let Some(pod_uid) = self.to_write.pop_front() {
            let Some(entry) = self.pods.get_mut(&pod_uid) else {
                continue;
            };
            let remove = matches!(entry.stage, Stage::Stopped) && !entry.removed;
            if entry.writing || !(entry.dirty || remove) {
                continue;
            }
            let Some(home) = self.homes.get(&entry.node) else {
                continue;
            };
            if home.silent {
                // Its timer looks again.
                let at = now.instant + SILENCE;
                self.timers.insert((at, pod_uid));
                continue;
            }
            let status = entry.dirty.then(|| entry.status(&home.host_ip, now.wall));
            entry.dirty = false;
            entry.writing = true;
            return Some(Write {
                uid: pod_uid,
                key: entry.key.clone(),
                status,
                remove,
            });
        }
        None
    }

    /// How a write ended.
    pub fn written(&mut self, write: &Write, how: Written, now: Now) {
        let Some(entry) = self.pods.get_mut(&write.uid) else {
            return;
        };
        entry.writing = false;
        match how {
            Written::Done => {
                entry.failures = 0;
                entry.removed |= write.remove;
                let removal_wanted = matches!(entry.stage, Stage::Stopped) && !entry.removed;
                if entry.dirty || removal_wanted {
                    self.to_write.push_back(write.uid.clone());
                }
            }
            Written::Gone => self.lost(&write.uid),
            Written::Failed => {
                entry.dirty = entry.dirty || write.status.is_some();
                let doubled = RETRY_PAUSES.0.saturating_mul(1 << entry.failures.min(12));
                entry.failures = entry.failures.saturating_add(1);
                // Not `due`: that is the pod's own time.
                self.timers
                    .insert((now.instant + doubled.min(RETRY_PAUSES.1), write.uid.clone()));
            }
        }
    }
}

fn release(homes: &mut BTreeMap<String, Home>, entry: &mut Entry) {
    if !std::mem::take(&mut entry.holds_room) {
        return;
    }
    let Some(home) = homes.get_mut(&entry.node) else {
        return;
    };
    home.room.free(&entry.pod);
    let last = entry.pod_ip.as_deref().and_then(|ip| ip.rsplit_once('.'));
    if let Some((net, last)) = last
        && pod_address(home.index, 0).starts_with(&format!("{net}."))
        && let Ok(last) = last.parse()
    {
        home.addresses.remove(&last);
    }
}

fn thrown(dice: &mut StdRng, options: &KubeletOptions) -> Behaviour {
    let failures = &options.failures;
    let mut hit = |share: f64| share > 0.0 && dice.random_bool(share.clamp(0.0, 1.0));
    Behaviour {
        never_ready: hit(failures.never_ready),
        crash: hit(failures.crash).then_some(Duration::from_secs(1)),
        slow: if hit(failures.slow) {
            failures.slow_by
        } else {
            Duration::ZERO
        },
        ends: None,
    }
}
