//! One pod as its kubelet knows it.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tokio::time::Instant;

use super::Home;
use crate::sandbox::controllers::informer::Key;
use crate::sandbox::controllers::objects::{is_ready, is_terminating, phase, pod_condition};
use crate::sandbox::kubelet::admission::Rejection;
use crate::sandbox::kubelet::options::Behaviour;
use crate::sandbox::kubelet::status::{
    CONDITIONS, Containers, Facts, Transitions, rejected, status,
};

#[derive(Debug)]
pub(super) enum Stage {
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
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) pod: Arc<Pod>,
    pub(super) node: String,
    pub(super) stage: Stage,
    pub(super) behaviour: Behaviour,
    pub(super) containers: Containers,
    pub(super) pod_ip: Option<String>,
    pub(super) start_time: Timestamp,
    pub(super) restarts: i32,
    pub(super) last_run: Option<(Timestamp, Timestamp)>,
    pub(super) transitions: Transitions,
    pub(super) holds_room: bool,
    /// Some status is to be written.
    pub(super) dirty: bool,
    /// A write is under way.
    pub(super) writing: bool,
    /// The API server has accepted its removal; a finalizer may keep it.
    pub(super) removed: bool,
    pub(super) failures: u32,
    pub(super) due: Option<Instant>,
}

impl Entry {
    /// Takes over a pod that an earlier run of ours had started.
    pub(super) fn resume(&mut self, home: &mut Home) {
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
    pub(super) fn is_misreported(&self) -> bool {
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

    pub(super) fn status(&mut self, host_ip: &str, now: Timestamp) -> Value {
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
