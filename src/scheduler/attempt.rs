//! Attempts: a batch of pods, each matched to its intent, decided, assumed and sent to be bound, or told
//! why not.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::binding::Bound;
use super::cycle::{self, Choice, Failure};
use super::diagnosis::{FitError, Nominate, truncated};
use super::extender::{self, EXTENDER};
use super::framework::{CycleState, Framework, Point, Status};
use super::intents::Match;
use super::metrics::Attempt;
use super::plugins::action_intent::Target;
use super::ports::{CallError, PodEvent, ScheduledCondition};
use super::queue::{Held, QueuedPod};
use super::run::Scheduler;
use super::unsupported::unsupported;
use super::volumes::Promises;
use crate::clock;
use crate::cluster::Workload;
use crate::store::{Claim, Intent, Refusal};

/// A pod whose binding is under way.
pub(super) struct InBinding {
    pub(super) pod: QueuedPod,
    framework: Arc<Framework>,
    state: CycleState,
    node: String,
    promises: Promises,
    started: Instant,
    sent: Option<Instant>,
}

/// What the intents say about a pod that is to be decided.
enum Intended {
    /// Decide it, with this intent if any.
    Decide(Option<Box<Intent>>),
    /// Leave it; all is said.
    Parked,
}

impl Scheduler {
    /// Decides the next pods. The intents are read once, after the pods were popped: an intent is stored
    /// before its pod is asked for, so the pod it is for cannot miss it.
    pub(super) async fn batch(&mut self) {
        let mut ready = Vec::new();
        let mut controlled = false;
        for mut pod in self.queue.pop(self.config.batch) {
            match self.workload_of(&pod.info) {
                Workload::None => {}
                Workload::Known(workload) => {
                    pod.workload = Some(workload);
                    controlled = true;
                }
                Workload::Unknown(owner) => {
                    self.queue.hold(pod, Held::Owner(owner.uid));
                    continue;
                }
            }
            ready.push(pod);
        }
        // While the store is known to be away nobody waits for it here; the tick asks for it.
        let intents_known = controlled && self.store_is_there && self.refresh_intents().await;
        let mut snapshot = None;
        for (i, pod) in ready.into_iter().enumerate() {
            if i % 16 == 15 {
                tokio::task::yield_now().await;
            }
            self.catch_up();
            if !self.ports.leadership.leads() {
                self.queue.put_back(pod, clock::instant());
                continue;
            }
            snapshot = Box::pin(self.attempt(pod, intents_known, snapshot.take())).await;
        }
    }

    /// Decides one pod. The snapshot is handed from one to the next only to be dropped before the next is
    /// taken, so that it need not be copied.
    async fn attempt(
        &mut self,
        mut pod: QueuedPod,
        intents_known: bool,
        former: Option<Arc<crate::cluster::Snapshot>>,
    ) -> Option<Arc<crate::cluster::Snapshot>> {
        drop(former);
        let started = clock::instant();
        let Some((info, None)) = self.cache.pod_info(pod.uid()) else {
            // Gone, or on a node already.
            self.queue.done(pod.uid());
            return None;
        };
        pod.info = info;
        let Some(framework) = self.frameworks.get(&pod.info.pod.scheduler_name).cloned() else {
            self.queue.done(pod.uid());
            return None;
        };
        if self.preempting.contains(pod.uid()) {
            // Not twice: it is looked at again when its victims have been told.
            self.queue.hold(pod, Held::Preempting);
            return None;
        }
        if pod.info.pod.deleted.is_some() {
            let note = format!("skip schedule deleting pod: {}", pod.info.pod.key);
            self.event(&pod, true, "FailedScheduling", "Scheduling", note);
            self.queue.done(pod.uid());
            return None;
        }
        if let Some(problem) = pod.info.problem.clone() {
            self.event(
                &pod,
                true,
                "FailedScheduling",
                "Scheduling",
                problem.to_string(),
            );
            self.queue.hold(pod, Held::Malformed);
            return None;
        }
        let intent = match self.intended(&mut pod, intents_known) {
            Intended::Decide(intent) => intent,
            Intended::Parked => return None,
        };
        let mut state = CycleState::default();
        if let Some((intent, former)) = intent
            .as_deref()
            .map(|i| (i, former_claimant(i, pod.uid())))
        {
            state.put(Target {
                intent: intent.id.clone(),
                action: intent.action.to_string(),
                node: intent.node.clone().unwrap_or_default(),
                instead_of: former,
            });
        }
        let snapshot = self.cache.snapshot();
        if let Some(status) = unsupported(&framework, &pod.info) {
            self.not_supported(pod, intent.as_deref(), &status);
            return Some(snapshot);
        }
        let (search, info) = (&mut self.search, &pod.info);
        let decided = if self.ports.extenders.is_empty() {
            cycle::schedule(&framework, search, &mut state, info, &snapshot)
        } else {
            let extenders = &self.ports.extenders;
            extender::schedule(extenders, &framework, search, &mut state, info, &snapshot).await
        };
        match decided {
            Ok(choice) => {
                let took = clock::instant().duration_since(started);
                self.metrics.algorithm(took.as_secs_f64());
                self.place(pod, framework, state, &choice, started);
            }
            Err(failure) => self.failed(pod, &framework, intent.as_deref(), failure, started),
        }
        Some(snapshot)
    }

    /// Matches a pod to its intent. A withheld pod is parked here.
    fn intended(&mut self, pod: &mut QueuedPod, intents_known: bool) -> Intended {
        let Some(workload) = &pod.workload else {
            return Intended::Decide(None);
        };
        if !intents_known {
            if self.config.without_store {
                return Intended::Decide(None);
            }
            let note = format!(
                "left alone: whether an action concerns {workload} cannot be known while the store is \
                 unavailable"
            );
            self.event(pod, true, "FailedScheduling", "Scheduling", note);
            self.queue.hold(pod.clone(), Held::Store);
            return Intended::Parked;
        }
        let cache = &self.cache;
        let owner = pod.info.pod.controller.as_ref().map(|o| o.uid.as_str());
        let is_dead = |uid: &str| cache.pod_is_dead(uid);
        match self.intents.find(pod.uid(), owner, &workload.uid, &is_dead) {
            Match::None => Intended::Decide(None),
            Match::Exhausted(intent) => {
                let message = format!("{} pods have taken it and none came to stay", intent.claims);
                self.refuse(pod, &intent, "ActionIntent", message);
                self.queue.hold(pod.clone(), Held::Intent(intent.id));
                Intended::Parked
            }
            Match::Intent(intent, former) if intent.hold || intent.node.is_none() => {
                self.withhold(pod.clone(), &intent, former);
                Intended::Parked
            }
            Match::Intent(intent, _) => {
                // Kept over retries, so that no sibling goes to the node in between.
                self.intents.take(&intent.id, pod.uid());
                Intended::Decide(Some(intent))
            }
        }
    }

    /// Leaves a pod unbound for an action, and says so in the store. No bind of it is under way: it is in
    /// the queue's hands.
    fn withhold(&mut self, pod: QueuedPod, intent: &Intent, former: Option<String>) {
        self.intents.take(&intent.id, pod.uid());
        let known = intent
            .claim
            .as_ref()
            .is_some_and(|c| c.uid == pod.uid() && c.held);
        if !known {
            let note = format!("left unbound for action {}", intent.action);
            self.event(&pod, false, "Withheld", "Scheduling", note);
            self.caller
                .hold(intent.id.clone(), claim_of(&pod, true), former);
        }
        self.queue.hold(pod, Held::Intent(intent.id.clone()));
    }

    /// Assumes the pod on its node and sends the binding on its way.
    fn place(
        &mut self,
        pod: QueuedPod,
        framework: Arc<Framework>,
        state: CycleState,
        choice: &Choice,
        started: Instant,
    ) {
        let node = choice.node.name().to_string();
        debug!(pod = %pod.info.pod.key, node, choice.evaluated, choice.feasible, "placed");
        if !self.cache.assume(pod.uid(), &node) {
            self.queue.done(pod.uid());
            return;
        }
        let info = &pod.info;
        let decided = framework
            .timed(Point::Reserve, || framework.reserve(&state, info, &node))
            .and_then(|()| framework.timed(Point::Permit, || framework.permit(&state, info, &node)))
            .and_then(|()| framework.timed(Point::PreBind, || framework.bind(&state, info, &node)));
        match decided {
            Ok((work, binding)) => {
                self.queue.done(pod.uid());
                let (uid, sent) = (pod.uid().to_owned(), framework.start());
                let promises = Promises::new(&work, &node);
                promises.make(&self.cache);
                self.binding.insert(
                    uid,
                    InBinding {
                        pod,
                        framework,
                        state,
                        node,
                        promises,
                        started,
                        sent,
                    },
                );
                self.caller.bind(binding, work, &self.cache);
            }
            Err(status) => {
                framework.unreserve(&state, &pod.info, &node);
                self.cache.forget(pod.uid());
                self.failed(pod, &framework, None, Failure::Error(status), started);
            }
        }
    }

    /// A binding has ended.
    pub(super) fn bound(&mut self, uid: &str, bound: Bound) {
        let Some(InBinding {
            mut pod,
            framework,
            state,
            node,
            promises,
            started,
            sent,
        }) = self.binding.remove(uid)
        else {
            return;
        };
        let now = clock::instant();
        let profile = framework.scheduler_name.clone();
        let seconds = now.duration_since(started).as_secs_f64();
        if matches!(bound, Bound::Done) {
            framework.ran(Point::Bind, None, sent);
            let note = format!("Successfully assigned {} to {node}", pod.info.pod.key);
            self.event(&pod, false, "Scheduled", "Binding", note);
            framework.post_bind(&pod.info, &node);
            self.metrics
                .attempted(&profile, Attempt::Scheduled, seconds);
            let waited = now.duration_since(pod.first_attempt.unwrap_or(started));
            self.metrics
                .bound(pod.attempts, waited.as_secs_f64(), pod.flushed);
            return;
        }
        framework.unreserve(&state, &pod.info, &node);
        promises.take_back(&self.cache);
        self.cache.forget(uid);
        // The forgetting is heard as room for others before this pod is queued again.
        let still_pending = matches!(self.cache.pod_info(uid), Some((_, None)));
        match bound {
            Bound::NotLeading if still_pending => return self.queue.put_back(pod, now),
            Bound::NotLeading => return,
            Bound::StoreAway(problem) => {
                warn!(problem, pod = %pod.info.pod.key, "claiming an intent failed");
            }
            Bound::ClaimRefused => debug!(pod = %pod.info.pod.key, "the intent went elsewhere"),
            Bound::Failed(CallError::Gone(problem)) => {
                debug!(problem, pod = %pod.info.pod.key, "a pod was gone before it was bound");
                if !still_pending {
                    return;
                }
            }
            Bound::Failed(CallError::Conflict(problem)) => {
                debug!(problem, pod = %pod.info.pod.key, "a binding met a conflict");
            }
            Bound::Failed(error) => {
                let message = format!("binding rejected: {error}");
                self.event(
                    &pod,
                    true,
                    "FailedScheduling",
                    "Scheduling",
                    message.clone(),
                );
                if matches!(error, CallError::Refused(_)) {
                    self.condition(&mut pod, "SchedulerError", message, None);
                }
            }
            Bound::Volumes(problem) => {
                let message = format!("running PreBind plugin \"VolumeBinding\": {problem}");
                self.event(
                    &pod,
                    true,
                    "FailedScheduling",
                    "Scheduling",
                    message.clone(),
                );
                self.condition(&mut pod, "SchedulerError", message, None);
            }
            Bound::Done => {}
        }
        self.metrics.attempted(&profile, Attempt::Error, seconds);
        if still_pending {
            self.queue.fail(pod, now);
        }
    }

    /// The pod stays where it is, for now: the event, the condition or the word to its action, and what it
    /// waits for.
    fn failed(
        &mut self,
        mut pod: QueuedPod,
        framework: &Framework,
        intent: Option<&Intent>,
        failure: Failure,
        started: Instant,
    ) {
        let now = clock::instant();
        let seconds = now.duration_since(started).as_secs_f64();
        let profile = &framework.scheduler_name;
        let mut fit = match failure {
            Failure::Error(status) => {
                let message = match status.plugin {
                    EXTENDER => status.message(),
                    plugin => format!("running {plugin} plugin: {}", status.message()),
                };
                self.event(
                    &pod,
                    true,
                    "FailedScheduling",
                    "Scheduling",
                    message.clone(),
                );
                if intent.is_none() && !status.is_rejection() {
                    self.condition(&mut pod, "SchedulerError", message, None);
                }
                self.metrics.attempted(profile, Attempt::Error, seconds);
                return self.queue.fail(pod, now);
            }
            Failure::NoNodes => None,
            Failure::Fit(error) => Some(error),
        };
        self.metrics
            .attempted(profile, Attempt::Unschedulable, seconds);
        let message = fit.as_ref().map_or_else(
            || "no nodes available to schedule pods".to_owned(),
            |error| error.message(),
        );
        self.event(
            &pod,
            true,
            "FailedScheduling",
            "Scheduling",
            message.clone(),
        );
        match intent {
            // No condition: nobody should buy nodes for a pod whose place an action has chosen.
            Some(intent) => {
                let (plugin, reasons) = why_not_there(intent, fit.as_deref(), &message);
                self.refuse(&pod, intent, &plugin, reasons);
            }
            None => {
                let nomination = fit.as_mut().map(|e| std::mem::take(&mut e.nomination));
                if let Some(nomination) = &nomination {
                    self.metrics.preempted(match nomination {
                        Nominate::Node(nomination) => Some(nomination.victims.len()),
                        _ => None,
                    });
                }
                let nominated = self.nominate(&pod, nomination.unwrap_or_default());
                self.condition(&mut pod, "Unschedulable", message, nominated);
            }
        }
        let rejectors: BTreeSet<&'static str> = fit.map(|e| e.rejectors).unwrap_or_default();
        self.queue
            .reject(pod, rejectors.into_iter().collect(), Vec::new(), now);
    }

    fn not_supported(&mut self, pod: QueuedPod, intent: Option<&Intent>, status: &Status) {
        self.event(
            &pod,
            true,
            "FailedScheduling",
            "Scheduling",
            status.message(),
        );
        if let Some(intent) = intent {
            self.refuse(&pod, intent, status.plugin, status.message());
        }
        self.queue
            .reject(pod, vec![status.plugin], Vec::new(), clock::instant());
    }

    fn refuse(&self, pod: &QueuedPod, intent: &Intent, plugin: &str, message: String) {
        let refusal = Refusal {
            pod_uid: pod.uid().to_owned(),
            plugin: plugin.to_owned(),
            message,
        };
        if intent.refusal.as_ref() != Some(&refusal) {
            self.caller.refuse(intent.id.clone(), refusal);
        }
    }

    /// Patches the condition, if it is not the one that is there.
    /// `nominated`: what becomes of the nominated node, if anything.
    fn condition(
        &self,
        pod: &mut QueuedPod,
        reason: &str,
        message: String,
        nominated: Option<String>,
    ) {
        let condition = (reason.to_owned(), message);
        let said = nominated
            .as_deref()
            .is_none_or(|node| pod.info.spec.nominated_node.as_deref().unwrap_or_default() == node);
        if said && pod.condition.as_ref() == Some(&condition) {
            return;
        }
        pod.condition = Some(condition.clone());
        let (reason, message) = condition;
        let patch = ScheduledCondition {
            reason,
            message,
            nominated_node: nominated,
        };
        self.caller
            .patch(pod.info.pod.key.clone(), pod.uid().to_owned(), patch);
    }

    pub(super) fn event(
        &self,
        pod: &QueuedPod,
        warning: bool,
        reason: &'static str,
        action: &'static str,
        note: String,
    ) {
        self.ports.events.record(PodEvent {
            pod: pod.info.pod.key.clone(),
            uid: pod.uid().to_owned(),
            warning,
            reason,
            action,
            note: truncated(&note),
            reporter: pod.info.pod.scheduler_name.clone(),
        });
    }
}

fn claim_of(pod: &QueuedPod, held: bool) -> Claim {
    let key = &pod.info.pod.key;
    Claim {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        uid: pod.uid().to_owned(),
        held,
    }
}

/// The pod whose claim the intent carries, if it is another one.
fn former_claimant(intent: &Intent, pod: &str) -> Option<String> {
    intent
        .claim
        .as_ref()
        .map(|c| c.uid.clone())
        .filter(|uid| uid != pod)
}

/// The plugin that keeps the pod off the node of its intent, and its reasons.
fn why_not_there(intent: &Intent, fit: Option<&FitError>, message: &str) -> (String, String) {
    let node = intent.node.as_deref().unwrap_or_default();
    let status = fit.and_then(|f| f.rejected.get(node).or(f.absent.as_ref()));
    match status {
        Some(status) => (status.plugin.to_owned(), status.message()),
        None => ("ActionIntent".to_owned(), message.to_owned()),
    }
}
