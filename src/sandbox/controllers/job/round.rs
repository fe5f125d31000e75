//! One look at a Job: what its pods say, whether it is over, which pods it needs, and what of them is
//! to be counted (pkg/controller/job/job_controller.go, `syncJob`). Pure.
//!
//! A pod's end is counted exactly once: its uid goes into `uncountedTerminatedPods`, then its finalizer
//! goes, then the number goes up (KEP-2307). What comes between is told by [`Round::counted`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::backoff::{Backoff, pause};
use super::indexes::Indexes;
use super::pods::{
    finished_at, index, index_failures, is_failed, is_indexed, is_tracked, pod_for,
    replaces_only_failed, spec,
};
use super::policy::{self, Meaning};
use crate::sandbox::controllers::objects::{
    age, is_active, is_finished, is_ready, is_terminating, phase, seconds, uid,
};
use crate::sandbox::controllers::replicaset::victims::victims;

/// At most so many pods are created or deleted in one round (`MaxPodCreateDeletePerSync`).
const BURST: usize = 500;
/// At most so many ends are counted in one round (`MaxUncountedPods`).
const UNCOUNTED: usize = 500;

/// Which pods a Job needs or does not.
#[derive(Debug, PartialEq)]
pub enum Manage {
    /// These go.
    Delete(Vec<Arc<Pod>>),
    /// These come.
    Create(Vec<Pod>),
    /// The next ones come after this time.
    Wait(Duration),
    /// It has what it needs.
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub struct Round {
    /// The Job; its status is brought up to date as the round goes on.
    pub job: Job,
    /// Its pods that have not ended and are not being deleted.
    pub active: Vec<Arc<Pod>>,
    /// The failures up to now.
    pub backoff: Backoff,
    spec: JobSpec,
    pods: Vec<Arc<Pod>>,
    succeeded: i32,
    failed: i32,
    before: Indexes,
    done: Indexes,
    lost: Option<Indexes>,
    /// The failed pods whose replacements will inherit their count, by index.
    kept: BTreeMap<i32, Arc<Pod>>,
    verdict: Option<JobCondition>,
    /// The status is to be written.
    changed: bool,
    /// There was more to count than one round does.
    overflowed: bool,
    now: Timestamp,
}

impl Round {
    /// Looks at the Job and its pods.
    #[must_use]
    pub fn new(job: Job, pods: Vec<Arc<Pod>>, backoff: Backoff, now: Timestamp) -> Self {
        let spec = spec(&job);
        let active = Vec::from_iter(pods.iter().filter(|pod| is_active(pod)).cloned());
        let mut round = Self {
            job,
            active,
            backoff,
            spec,
            pods,
            succeeded: 0,
            failed: 0,
            before: Indexes::default(),
            done: Indexes::default(),
            lost: None,
            kept: BTreeMap::new(),
            verdict: None,
            changed: false,
            overflowed: false,
            now: seconds(now),
        };
        let suspended = round.is_suspended();
        let status = round.job.status.get_or_insert_default();
        let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
        let old = |uids: &Option<Vec<String>>| -> BTreeSet<String> {
            uids.iter().flatten().cloned().collect()
        };
        let (succeeded, failed) = (old(&uncounted.succeeded), old(&uncounted.failed));
        let numbers = (status.succeeded.unwrap_or(0), status.failed.unwrap_or(0));
        if status.start_time.is_none() && !suspended {
            status.start_time = Some(Time(round.now));
        }
        let newly = |known: &BTreeSet<String>, is: &dyn Fn(&Pod) -> bool| {
            let new = |pod: &&Arc<Pod>| {
                is_tracked(pod)
                    && !known.contains(uid(&pod.metadata))
                    && round.has_valid_index(pod)
                    && is(pod)
            };
            Vec::from_iter(round.pods.iter().filter(new).cloned())
        };
        let new_succeeded = newly(&succeeded, &|pod| phase(pod) == "Succeeded");
        let new_failed = newly(&failed, &|pod| is_failed(&round.spec, pod));
        let counting = new_failed
            .iter()
            .filter(|pod| policy::judge(&round.spec, pod) != Meaning::Ignore);
        let failed = numbers.1 + count(counting.count() + failed.len());
        let succeeded = numbers.0 + count(new_succeeded.len() + succeeded.len());
        let backoff = round.backoff.after(&new_succeeded, &new_failed);
        (round.succeeded, round.failed, round.backoff) = (succeeded, failed, backoff);
        if is_indexed(&round.spec) {
            round.look_at_indexes();
        }
        round
    }

    fn status(&mut self) -> &mut JobStatus {
        self.job.status.get_or_insert_default()
    }

    fn completions(&self) -> i32 {
        self.spec.completions.unwrap_or(1)
    }

    /// Whether the Job is suspended.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    fn has_valid_index(&self, pod: &Pod) -> bool {
        !is_indexed(&self.spec) || index(pod).is_some_and(|index| index < self.completions())
    }

    fn look_at_indexes(&mut self) {
        let completions = self.completions();
        let status = self.job.status.clone().unwrap_or_default();
        let known = status.completed_indexes.unwrap_or_default();
        self.before = Indexes::parse(&known, completions);
        self.done = self.before.clone();
        let tracked = self.pods.iter().filter_map(|pod| {
            let index = index(pod).filter(|index| *index < completions)?;
            is_tracked(pod).then_some((index, pod))
        });
        let tracked = Vec::from_iter(tracked);
        for (index, _) in tracked.iter().filter(|(_, pod)| phase(pod) == "Succeeded") {
            self.done.insert(*index);
        }
        self.succeeded = self.done.len();
        let Some(limit) = self.spec.backoff_limit_per_index else {
            return;
        };
        let known = status.failed_indexes.unwrap_or_default();
        let mut lost = Indexes::parse(&known, completions);
        let failed = tracked.iter().filter(|(_, pod)| is_failed(&self.spec, pod));
        let failed = Vec::from_iter(failed);
        for (index, pod) in &failed {
            let over = match policy::judge(&self.spec, pod) {
                Meaning::FailIndex => true,
                Meaning::Ignore => false,
                Meaning::Count | Meaning::FailJob(_) => index_failures(pod) >= limit,
            };
            if over {
                lost.insert(*index);
            }
        }
        let active: BTreeSet<i32> = self.active.iter().filter_map(|pod| index(pod)).collect();
        let mut kept: BTreeMap<i32, Arc<Pod>> = BTreeMap::new();
        for (index, pod) in failed {
            if self.done.has(*index) || lost.has(*index) || active.contains(index) {
                continue;
            }
            let rank = |pod: &Pod| (index_failures(pod), finished_at(pod));
            if kept.get(index).is_none_or(|other| rank(other) <= rank(pod)) {
                kept.insert(*index, Arc::clone(pod));
            }
        }
        (self.lost, self.kept) = (Some(lost), kept);
    }

    fn condition_of(&self, kind: &str, reason: &str, message: &str) -> JobCondition {
        JobCondition {
            type_: kind.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_probe_time: Some(Time(self.now)),
            last_transition_time: Some(Time(self.now)),
        }
    }

    fn known(&self, kind: &str) -> Option<&JobCondition> {
        let conditions = self.job.status.as_ref()?.conditions.as_deref()?;
        conditions
            .iter()
            .find(|condition| condition.type_ == kind && condition.status == "True")
    }

    /// Whether the Job is to be ended: it was before, or it has failed, or succeeded early.
    pub fn judge(&mut self) -> bool {
        self.verdict = self.find_verdict();
        self.verdict.is_some()
    }

    fn find_verdict(&self) -> Option<JobCondition> {
        if let Some(known) = self.known("SuccessCriteriaMet") {
            return Some(known.clone());
        }
        if let Some(known) = self.known("FailureTarget") {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let (reason, message) = (text(&known.reason), text(&known.message));
            return Some(self.condition_of("Failed", &reason, &message));
        }
        let fails =
            |reason: &str, message: &str| Some(self.condition_of("FailureTarget", reason, message));
        let mut failed = self.pods.iter().filter(|pod| is_failed(&self.spec, pod));
        let said = failed.find_map(|pod| match policy::judge(&self.spec, pod) {
            Meaning::FailJob(message) => Some(message),
            _ => None,
        });
        if let Some(message) = said {
            return fails("PodFailurePolicy", &message);
        }
        let limit = self.spec.backoff_limit.unwrap_or(6);
        if self.failed > limit || self.restarted_too_often(limit) {
            let message = "Job has reached the specified backoff limit";
            return fails("BackoffLimitExceeded", message);
        }
        if self.until_deadline() == Some(Duration::ZERO) {
            let message = "Job was active longer than specified deadline";
            return fails("DeadlineExceeded", message);
        }
        if let Some(lost) = &self.lost {
            if self
                .spec
                .max_failed_indexes
                .is_some_and(|most| lost.len() > most)
            {
                let message = "Job has exceeded the specified maximal number of failed indexes";
                return fails("MaxFailedIndexesExceeded", message);
            }
            if !lost.is_empty() && lost.len() + self.done.len() >= self.completions() {
                return fails("FailedIndexes", "Job has failed indexes");
            }
        }
        let message = policy::success(&self.spec, &self.done)?;
        Some(self.condition_of("SuccessCriteriaMet", "SuccessPolicy", &message))
    }

    /// Containers that are restarted in their pods count too (`pastBackoffLimitOnFailure`).
    fn restarted_too_often(&self, limit: i32) -> bool {
        let template = self.spec.template.spec.as_ref();
        let policy = template.and_then(|spec| spec.restart_policy.as_deref());
        if policy != Some("OnFailure") {
            return false;
        }
        let running = self.pods.iter().filter(|pod| !is_finished(pod));
        let statuses = running
            .filter_map(|pod| pod.status.as_ref())
            .flat_map(|status| {
                let init = status.init_container_statuses.iter().flatten();
                init.chain(status.container_statuses.iter().flatten())
            });
        let restarts: i32 = statuses.map(|status| status.restart_count).sum();
        if limit == 0 {
            restarts > 0
        } else {
            restarts >= limit
        }
    }

    /// How long the Job may still be active.
    #[must_use]
    pub fn until_deadline(&self) -> Option<Duration> {
        let seconds = self.spec.active_deadline_seconds?;
        let since = self.job.status.as_ref()?.start_time.as_ref()?;
        let allowed = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        (!self.is_suspended()).then(|| allowed.saturating_sub(age(since, self.now)))
    }

    /// Which pods come or go.
    #[must_use]
    pub fn manage(&self) -> Manage {
        if self.is_suspended() {
            return match self.active.is_empty() {
                true => Manage::Nothing,
                false => Manage::Delete(self.active.clone()),
            };
        }
        let active = self.active.len();
        let parallelism = size(self.spec.parallelism.unwrap_or(1));
        let wanted = match self.spec.completions {
            None if self.succeeded > 0 => active,
            None => parallelism,
            Some(completions) => size(completions - self.succeeded).min(parallelism),
        };
        let mut surplus = self.superfluous(active.saturating_sub(wanted));
        if !surplus.is_empty() {
            surplus.truncate(BURST);
            return Manage::Delete(surplus);
        }
        let going = if replaces_only_failed(&self.spec) {
            self.terminating()
        } else {
            0
        };
        let missing = wanted.saturating_sub(active + going).min(BURST);
        if missing == 0 {
            return Manage::Nothing;
        }
        let per_index = self.spec.backoff_limit_per_index.is_some();
        let wait = self.backoff.left(self.now);
        if !per_index && !wait.is_zero() {
            return Manage::Wait(wait);
        }
        if !is_indexed(&self.spec) {
            return Manage::Create(vec![pod_for(&self.job, None, None); missing]);
        }
        let mut taken = self.done.clone();
        if let Some(lost) = &self.lost {
            taken.merge(lost);
        }
        let blocks = |pod: &&Arc<Pod>| {
            is_active(pod) || (replaces_only_failed(&self.spec) && is_ending(pod))
        };
        for index in self.pods.iter().filter(blocks).filter_map(|pod| index(pod)) {
            taken.insert(index);
        }
        let indexes = taken.missing(missing, self.completions());
        self.create_indexes(indexes)
    }

    fn create_indexes(&self, indexes: Vec<i32>) -> Manage {
        let per_index = self.spec.backoff_limit_per_index.is_some();
        let mut created = Vec::new();
        let mut least: Option<Duration> = None;
        for index in indexes {
            let kept = self.kept.get(&index);
            let wait = kept.map_or(Duration::ZERO, |pod| {
                let failures = u32::try_from(index_failures(pod)).unwrap_or(0) + 1;
                pause(failures, Some(finished_at(pod)), self.now)
            });
            if !wait.is_zero() {
                least = Some(least.map_or(wait, |other| other.min(wait)));
                continue;
            }
            let counts = |pod: &Arc<Pod>| {
                let counted = policy::judge(&self.spec, pod) != Meaning::Ignore;
                index_failures(pod) + i32::from(counted)
            };
            let failures = per_index.then(|| kept.map_or(0, counts));
            created.push(pod_for(&self.job, Some(index), failures));
        }
        match least {
            Some(wait) if created.is_empty() => Manage::Wait(wait),
            _ if created.is_empty() => Manage::Nothing,
            _ => Manage::Create(created),
        }
    }

    /// The pods that go first if so many have to, and those of indexes that are not needed or that
    /// another one has.
    fn superfluous(&self, least: usize) -> Vec<Arc<Pod>> {
        let mut gone = Vec::new();
        let mut left = Vec::new();
        if is_indexed(&self.spec) {
            let mut by_index: BTreeMap<i32, Vec<Arc<Pod>>> = BTreeMap::new();
            for pod in &self.active {
                match index(pod).filter(|index| *index < self.completions()) {
                    Some(index) => by_index.entry(index).or_default().push(Arc::clone(pod)),
                    None => gone.push(Arc::clone(pod)),
                }
            }
            for pods in by_index.into_values() {
                let twins = victims(&pods, &[], pods.len() - 1, self.now);
                left.extend(pods.into_iter().filter(|pod| !twins.contains(pod)));
                gone.extend(twins);
            }
        } else {
            left.clone_from(&self.active);
        }
        if gone.len() < least {
            gone.extend(victims(&left, &[], least - gone.len(), self.now));
        }
        gone
    }

    fn terminating(&self) -> usize {
        self.pods.iter().filter(|pod| is_ending(pod)).count()
    }

    /// What became of the pods in this round: `acted` says whether they could be managed at all.
    /// Answers the events to tell, as reason and message.
    pub fn settle(
        &mut self,
        acted: bool,
        created: usize,
        deleted: &[Arc<Pod>],
    ) -> Option<(&'static str, &'static str)> {
        let active = count(self.active.len() + created) - count(deleted.len());
        let ready = |pods: &[Arc<Pod>]| count(pods.iter().filter(|pod| is_ready(pod)).count());
        let ready = ready(&self.active) - ready(deleted);
        let terminating = count(self.terminating() + deleted.len());
        let mut told = None;
        if self.verdict.is_none() {
            let complete = match self.spec.completions {
                None => self.succeeded > 0 && active == 0,
                Some(completions) => self.succeeded >= completions && active == 0,
            };
            if complete {
                let message = "Reached expected number of succeeded pods";
                let kind = "SuccessCriteriaMet";
                self.verdict = Some(self.condition_of(kind, "CompletionsReached", message));
            } else if acted {
                told = self.tell_suspension();
            }
        }
        let status = self.status();
        let numbers = (
            Some(active).filter(|active| *active != 0),
            Some(ready),
            Some(terminating),
        );
        let old = (
            status.active.filter(|active| *active != 0),
            status.ready,
            status.terminating,
        );
        (status.active, status.ready, status.terminating) = numbers;
        self.changed |= old != numbers || told.is_some();
        told
    }

    fn tell_suspension(&mut self) -> Option<(&'static str, &'static str)> {
        let now = self.now;
        let suspended = self.is_suspended();
        let (status, reason, message, event) = match suspended {
            true => ("True", "JobSuspended", "Job suspended", "Suspended"),
            false => ("False", "JobResumed", "Job resumed", "Resumed"),
        };
        let mut condition = self.condition_of("Suspended", reason, message);
        condition.status = status.to_owned();
        let stored = self.status();
        let conditions = stored.conditions.get_or_insert_default();
        match conditions
            .iter_mut()
            .find(|known| known.type_ == "Suspended")
        {
            Some(known) if known.status == status => return None,
            Some(known) => *known = condition,
            // From nothing to false is no change.
            None if !suspended => return None,
            None => conditions.push(condition),
        }
        stored.start_time = (!suspended).then_some(Time(now));
        Some((event, message))
    }

    /// Not all active pods could be deleted, or not all are known: the Job cannot be over yet.
    pub fn adjourn(&mut self) {
        self.verdict = None;
    }

    /// Notes down the ends that were not counted yet, and answers the pods whose finalizers may go once
    /// that is stored.
    pub fn count(&mut self) -> Vec<Arc<Pod>> {
        let tracked: BTreeSet<String> = self
            .pods
            .iter()
            .filter(|pod| is_tracked(pod))
            .map(|pod| uid(&pod.metadata).to_owned())
            .collect();
        self.counted(&tracked);
        let status = self.job.status.clone().unwrap_or_default();
        let uncounted = status.uncounted_terminated_pods.unwrap_or_default();
        let mut succeeded = uncounted.succeeded.unwrap_or_default();
        let mut failed = uncounted.failed.unwrap_or_default();
        let mut new_indexes = 0;
        let mut released = Vec::new();
        let indexed = is_indexed(&self.spec);
        let is_success = self
            .verdict
            .as_ref()
            .is_some_and(|it| it.type_ == "SuccessCriteriaMet");
        let is_over = self.verdict.is_some();
        let job_goes = is_terminating(&self.job.metadata);
        for pod in self.pods.iter().filter(|pod| is_tracked(pod)) {
            let pod_uid = uid(&pod.metadata).to_owned();
            let has_failed = is_failed(&self.spec, pod);
            let is_kept = index(pod)
                .and_then(|index| self.kept.get(&index))
                .is_some_and(|kept| uid(&kept.metadata) == pod_uid);
            let may_go =
                job_goes || is_over || phase(pod) == "Succeeded" || (has_failed && !is_kept);
            if !may_go {
                continue;
            }
            released.push(Arc::clone(pod));
            if phase(pod) == "Succeeded" && !failed.contains(&pod_uid) {
                if !indexed {
                    if !succeeded.contains(&pod_uid) {
                        succeeded.push(pod_uid);
                        self.changed = true;
                    }
                } else if self.has_valid_index(pod)
                    && index(pod).is_some_and(|index| !self.before.has(index))
                {
                    new_indexes += 1;
                    self.changed = true;
                }
            } else if (has_failed || (is_over && !is_success))
                && !failed.contains(&pod_uid)
                && self.has_valid_index(pod)
                && policy::judge(&self.spec, pod) != Meaning::Ignore
            {
                failed.push(pod_uid);
                self.changed = true;
            }
            if new_indexes + succeeded.len() + failed.len() >= UNCOUNTED {
                self.overflowed = true;
                break;
            }
        }
        let some = |uids: Vec<String>| (!uids.is_empty()).then_some(uids);
        let uncounted = self
            .status()
            .uncounted_terminated_pods
            .get_or_insert_default();
        (uncounted.succeeded, uncounted.failed) = (some(succeeded), some(failed));
        if indexed {
            self.tell_indexes();
        }
        self.tell_interim();
        released
    }

    fn tell_indexes(&mut self) {
        let done = Some(self.done.to_string()).filter(|text| !text.is_empty());
        let lost = self.lost.as_ref().map(ToString::to_string);
        let number = Some(self.done.len()).filter(|number| *number != 0);
        let status = self.status();
        let changed = status.completed_indexes != done || status.failed_indexes != lost;
        (status.completed_indexes, status.failed_indexes) = (done, lost);
        status.succeeded = number;
        self.changed |= changed;
    }

    /// Writes the condition that announces the end, and holds the final one ready.
    fn tell_interim(&mut self) {
        let Some(verdict) = self.verdict.clone() else {
            return;
        };
        let last = match verdict.type_.as_str() {
            "FailureTarget" => "Failed",
            "SuccessCriteriaMet" => "Complete",
            _ => return,
        };
        if self.known(&verdict.type_).is_none() {
            let conditions = self.status().conditions.get_or_insert_default();
            conditions.push(verdict.clone());
            self.changed = true;
        }
        self.verdict = Some(JobCondition {
            type_: last.to_owned(),
            last_probe_time: Some(Time(self.now)),
            last_transition_time: Some(Time(self.now)),
            ..verdict
        });
    }

    /// Counts the ends of all pods that were noted down and have no finalizer any more; `tracked` are
    /// the uids of those that have one.
    pub fn counted(&mut self, tracked: &BTreeSet<String>) {
        let status = self.status();
        let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
        let mut changed = false;
        for (uids, number) in [
            (&mut uncounted.succeeded, &mut status.succeeded),
            (&mut uncounted.failed, &mut status.failed),
        ] {
            let before = uids.as_ref().map_or(0, Vec::len);
            if let Some(uids) = uids.as_mut() {
                uids.retain(|known| tracked.contains(known));
            }
            let gone = before - uids.as_ref().map_or(0, Vec::len);
            if gone > 0 {
                *number = Some(number.unwrap_or(0) + count(gone));
                changed = true;
            }
            if uids.as_ref().is_some_and(Vec::is_empty) {
                *uids = None;
            }
        }
        self.changed |= changed;
    }

    /// Whether the status is to be written; asked before each write, and no afterwards.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Ends the Job if nothing is left to count and no pod is left to go. Answers the condition.
    pub fn finish(&mut self) -> Option<JobCondition> {
        let verdict = self.verdict.clone()?;
        let status = self.job.status.clone().unwrap_or_default();
        let uncounted = status.uncounted_terminated_pods.unwrap_or_default();
        let waits = uncounted.succeeded.is_some()
            || uncounted.failed.is_some()
            || status.terminating.unwrap_or(0) > 0;
        if waits || self.overflowed {
            return None;
        }
        let status = self.status();
        if verdict.type_ == "Complete" {
            status
                .completion_time
                .clone_from(&verdict.last_transition_time);
        }
        let conditions = status.conditions.get_or_insert_default();
        conditions.push(verdict.clone());
        self.changed = true;
        Some(verdict)
    }
}

/// Whether the pod is being deleted and has not ended yet.
fn is_ending(pod: &Pod) -> bool {
    is_terminating(&pod.metadata) && !is_finished(pod)
}

/// The condition that says that the Job is over, and how.
#[must_use]
pub fn end_of(job: &Job) -> Option<&JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| {
        matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
    })
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn size(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}
