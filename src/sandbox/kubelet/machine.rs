//! The life of every pod on our nodes, as one state machine without I/O: what was seen and what time
//! it is go in, what is to be written comes out.
//!
//! It owns what the kubelets know: which pods they took on, what room is left, how far each pod is.
//! A pod's room is its own from admission until its containers have stopped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::time::Instant;

use super::admission::{Rejection, Room, amounts};
use super::options::{Behaviour, KubeletOptions, asked};
use super::status::{CONDITIONS, Containers, Facts, Transitions, rejected, status};
use crate::sandbox::controllers::informer::Key;
use crate::sandbox::controllers::objects::{
    is_finished, is_ready, is_terminating, phase, pod_condition, uid,
};

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
enum Stage {
    /// Its containers are as the entry says.
    Alive,
    /// To be stopped when its time has come.
    Stopping,
    /// Its containers have stopped; it is being removed.
    Stopped,
    /// It was not let in.
    Rejected(Rejection),
    /// It had ended before we saw it.
    Over,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    pod: Arc<Pod>,
    node: String,
    stage: Stage,
    behaviour: Behaviour,
    containers: Containers,
    pod_ip: Option<String>,
    start_time: Timestamp,
    restarts: i32,
    last_run: Option<(Timestamp, Timestamp)>,
    transitions: Transitions,
    holds_room: bool,
    /// Some status is to be written.
    dirty: bool,
    /// A write is under way.
    writing: bool,
    /// The API server has accepted its removal; a finalizer may keep it.
    removed: bool,
    failures: u32,
    due: Option<Instant>,
}

#[derive(Debug)]
struct Home {
    room: Room,
    host_ip: String,
    index: usize,
    addresses: BTreeSet<u8>,
    silent: bool,
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
        });
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

impl Entry {
    /// Takes over a pod that an earlier run of ours had started.
    fn resume(&mut self, home: &mut Home) {
        let status = self.pod.status.clone().unwrap_or_default();
        if phase(&self.pod) == "Running" {
            let main = status.container_statuses.as_deref().and_then(<[_]>::first);
            let running = main
                .and_then(|main| main.state.as_ref())
                .and_then(|state| state.running.as_ref())
                .and_then(|running| running.started_at.as_ref());
            self.containers = Containers::Running {
                since: running.map_or(self.start_time, |time| time.0),
                ready: !self.behaviour.never_ready,
            };
            self.restarts = main.map_or(0, |main| main.restart_count);
        }
        for kind in CONDITIONS {
            if let Some(known) = pod_condition(&self.pod, kind) {
                let since = known
                    .last_transition_time
                    .as_ref()
                    .map_or(self.start_time, |t| t.0);
                self.transitions
                    .insert(kind, (known.status == "True", since));
            }
        }
        self.pod_ip = status.pod_ip;
        let last = self.pod_ip.as_deref().and_then(|ip| ip.rsplit_once('.'));
        if let Some((_, last)) = last
            && let Ok(last) = last.parse()
        {
            home.addresses.insert(last);
        }
    }

    /// Whether the stored Ready condition is not what it should be: a readiness gate was opened, or
    /// somebody else wrote it while we were silent.
    fn is_misreported(&self) -> bool {
        let is_settled = matches!(self.stage, Stage::Alive) && !is_terminating(&self.pod.metadata);
        if !is_settled || self.writing || self.transitions.is_empty() {
            return false;
        }
        let spec = self.pod.spec.as_ref();
        let mut gates = spec
            .and_then(|spec| spec.readiness_gates.as_ref())
            .into_iter()
            .flatten();
        let open = gates.all(|gate| {
            pod_condition(&self.pod, &gate.condition_type)
                .is_some_and(|condition| condition.status == "True")
        });
        let ready = open && matches!(self.containers, Containers::Running { ready: true, .. });
        ready != is_ready(&self.pod)
    }

    fn status(&mut self, host_ip: &str, now: Timestamp) -> Value {
        if let Stage::Rejected(rejection) = &self.stage {
            return rejected(&self.pod, rejection, now);
        }
        let facts = Facts {
            pod: &self.pod,
            host_ip,
            pod_ip: self.pod_ip.as_deref(),
            containers: &self.containers,
            start_time: self.start_time,
            restarts: self.restarts,
            last_run: self.last_run,
            now,
        };
        status(&facts, &mut self.transitions)
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

/// The address of the node with this number: 172.18.0.2 and on.
#[must_use]
pub fn node_address(index: usize) -> String {
    let index = index + 2;
    format!(
        "172.{}.{}.{}",
        18 + (index >> 16) % 14,
        (index >> 8) % 256,
        index % 256
    )
}

/// An address of a pod on the node with this number: 10.244.0.0/24, 10.244.1.0/24 and on; past
/// 10.255 from 10.128.
fn pod_address(index: usize, last: u8) -> String {
    format!(
        "10.{}.{}.{last}",
        128 + (116 + (index >> 8)) % 128,
        index % 256
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Run {
        machine: Machine,
        start: Now,
    }

    impl Run {
        fn new(options: KubeletOptions) -> Self {
            let start = Now {
                instant: crate::clock::instant(),
                wall: "2026-01-01T00:00:00Z".parse().unwrap(),
            };
            let mut run = Self {
                machine: Machine::new(options),
                start,
            };
            run.node(json!({}));
            run
        }

        fn node(&mut self, annotations: Value) {
            let node: Node = serde_json::from_value(json!({
                "metadata": {"name": "n1", "annotations": annotations},
                "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}},
            }))
            .unwrap();
            self.machine.node(&node, self.start);
        }

        fn at(&self, millis: u64) -> Now {
            let passed = Duration::from_millis(millis);
            Now {
                instant: self.start.instant + passed,
                wall: self.start.wall + passed,
            }
        }

        /// Ticks, then carries every write out; what was written, as "name phase ready remove".
        fn writes(&mut self, millis: u64) -> Vec<String> {
            let now = self.at(millis);
            self.machine.tick(now);
            let mut told = Vec::new();
            while let Some(write) = self.machine.next_write(now) {
                let status = write.status.clone().unwrap_or_default();
                let phase = status["phase"].as_str().unwrap_or("-").to_owned();
                let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
                let ready = conditions
                    .iter()
                    .any(|c| c["type"] == "Ready" && c["status"] == "True");
                let ready = if ready { " ready" } else { "" };
                let remove = if write.remove { " remove" } else { "" };
                told.push(format!("{} {phase}{ready}{remove}", write.key.name));
                self.machine.written(&write, Written::Done, now);
            }
            told
        }
    }

    fn pod(name: &str, extra: Value) -> Arc<Pod> {
        let mut value = json!({
            "metadata": {"name": name, "namespace": "d", "uid": name,
                         "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "n1", "containers": [
                {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]},
        });
        json_patch::merge(&mut value, &extra);
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn deleted(name: &str, grace: i64) -> Arc<Pod> {
        pod(
            name,
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:30Z",
                                "deletionGracePeriodSeconds": grace}}),
        )
    }

    fn options(start: u64, stop: u64) -> KubeletOptions {
        KubeletOptions {
            start_latency: Duration::from_millis(start),
            stop_latency: Duration::from_millis(stop),
            ..KubeletOptions::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_starts_stops_and_is_removed() {
        let mut run = Run::new(options(500, 700));
        run.machine.saw(vec![pod("p", json!({}))], run.at(0));
        assert_eq!(run.writes(0), ["p Pending"]);
        assert_eq!(run.writes(400), [""; 0]);
        assert_eq!(run.writes(500), ["p Running ready"]);
        run.machine.saw(vec![deleted("p", 30)], run.at(1000));
        assert_eq!(run.writes(1600), [""; 0]);
        assert_eq!(run.writes(1700), ["p Succeeded remove"]);
        assert_eq!(run.writes(9999), [""; 0]);
        run.machine.lost("p");
        assert!(run.machine.pods.is_empty() && run.machine.timers.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_grace_period_bounds_the_stop() {
        let mut run = Run::new(options(0, 10_000));
        run.machine.saw(vec![pod("p", json!({}))], run.at(0));
        assert_eq!(run.writes(0), ["p Running ready"]);
        run.machine.saw(vec![deleted("p", 30)], run.at(100));
        run.machine.saw(vec![deleted("p", 2)], run.at(200));
        assert_eq!(run.writes(2199), [""; 0]);
        assert_eq!(run.writes(2200), ["p Succeeded remove"]);
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_taken_from_admission_until_the_containers_stopped() {
        let mut run = Run::new(options(0, 1000));
        let wide = json!({"spec": {"containers": [
            {"name": "c", "image": "i", "resources": {"requests": {"cpu": "3"}}}]}});
        let young = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:09Z"}});
        let mut late = wide.clone();
        json_patch::merge(&mut late, &young);
        // Seen together, the older one is let in.
        run.machine.saw(
            vec![pod("a-late", late), pod("z-early", wide.clone())],
            run.at(0),
        );
        assert_eq!(run.writes(0), ["z-early Running ready", "a-late Failed"]);
        let mut going = wide.clone();
        going["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:30Z",
            "deletionGracePeriodSeconds": 30});
        run.machine.saw(vec![pod("z-early", going)], run.at(0));
        run.machine.saw(vec![pod("b", wide.clone())], run.at(500));
        assert_eq!(run.writes(500), ["b Failed"]);
        assert_eq!(run.writes(1000), ["z-early Succeeded remove"]);
        run.machine.saw(vec![pod("c", wide)], run.at(1100));
        assert_eq!(run.writes(1100), ["c Running ready"]);
    }

    #[tokio::test(start_paused = true)]
    async fn pods_misbehave_as_they_are_told() {
        let mut run = Run::new(options(0, 0));
        let told = |word: &str| {
            json!({"metadata": {"annotations": {
            "aces-eu.github.io/wam-sandbox": word}}})
        };
        run.machine
            .saw(vec![pod("never", told("never-ready"))], run.at(0));
        assert_eq!(run.writes(0), ["never Running"]);
        run.machine
            .saw(vec![pod("slow", told("slow=2s"))], run.at(0));
        assert_eq!(run.writes(0), ["slow Pending"]);
        assert_eq!(run.writes(2000), ["slow Running ready"]);
        run.machine
            .saw(vec![pod("crash", told("crash=1s"))], run.at(2000));
        assert_eq!(run.writes(2000), ["crash Running ready"]);
        assert_eq!(run.writes(3000), ["crash Running"]);
        assert_eq!(run.writes(13_000), ["crash Running ready"]);
        assert_eq!(run.machine.pods["crash"].restarts, 1);
        let mut job = told("complete=1s");
        job["spec"] = json!({"restartPolicy": "Never"});
        run.machine.saw(vec![pod("job", job)], run.at(13_100));
        assert_eq!(run.writes(13_100), ["job Running ready"]);
        assert_eq!(run.writes(14_100), ["crash Running", "job Succeeded"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_write_is_tried_again_and_nothing_is_lost() {
        let mut run = Run::new(options(0, 0));
        run.machine.saw(vec![pod("p", json!({}))], run.at(0));
        let write = run.machine.next_write(run.at(0)).unwrap();
        // Not twice at once.
        assert_eq!(run.machine.next_write(run.at(0)), None);
        run.machine.written(&write, Written::Failed, run.at(0));
        assert_eq!(run.writes(10), [""; 0]);
        assert_eq!(run.writes(30), ["p Running ready"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_node_does_nothing_until_it_speaks_again() {
        let mut run = Run::new(options(0, 0));
        run.machine.saw(vec![pod("p", json!({}))], run.at(0));
        assert_eq!(run.writes(0), ["p Running ready"]);
        run.node(json!({"aces-eu.github.io/wam-sandbox": "silent"}));
        run.machine.saw(vec![deleted("p", 30)], run.at(0));
        assert_eq!(run.writes(5000), [""; 0]);
        run.node(json!({}));
        assert_eq!(run.writes(6000), ["p Succeeded remove"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_pod_of_an_earlier_run_is_taken_over() {
        let mut run = Run::new(options(1000, 0));
        let running = json!({"status": {"phase": "Running", "podIP": "10.244.0.2",
            "startTime": "2025-12-31T00:00:00Z", "conditions": [{"type": "Ready",
            "status": "True", "lastTransitionTime": "2025-12-31T00:00:00Z"}]}});
        run.machine.saw(vec![pod("p", running)], run.at(0));
        assert_eq!(run.writes(5000), [""; 0]);
        run.machine.saw(vec![pod("q", json!({}))], run.at(5000));
        run.writes(6000);
        assert_eq!(run.machine.pods["q"].pod_ip.as_deref(), Some("10.244.0.3"));
    }

    #[test]
    fn addresses_do_not_repeat() {
        let nodes: BTreeSet<String> = (0..5000).map(node_address).collect();
        assert_eq!(nodes.len(), 5000);
        let nets: BTreeSet<String> = (0..5000).map(|index| pod_address(index, 2)).collect();
        assert_eq!(nets.len(), 5000);
        assert_eq!(pod_address(7, 2), "10.244.7.2");
    }
}
