//! Runs the plugins of one profile at each extension point, in order, with the framework's rules about
//! skipping, stopping and collecting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::event::Events;
use super::plugin::{
    Hint, MAX_SCORE, NodeNames, Nomination, Plugin, PostFilterContext, PreBindWork, QueueSort,
};
use super::profile::{DEFAULT_PLUGINS, Point, Profile};
use super::state::CycleState;
use super::status::{Code, Status};
use super::watched::Watcher;
use crate::cluster::{Change, NodeInfo, PodInfo, Snapshot};
use crate::scheduler::ports::Binding;

/// A profile cannot be made into a framework.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name that no plugin has.
    #[error("profile {profile}: plugin {plugin:?} is not in the registry")]
    UnknownPlugin {
        /// The profile.
        profile: String,
        /// The name.
        plugin: String,
    },
    /// A plugin is listed for a point it does not have.
    #[error("profile {profile}: plugin {plugin:?} has no {point:?}")]
    NoSuchPoint {
        /// The profile.
        profile: String,
        /// The plugin.
        plugin: String,
        /// The point.
        point: Point,
    },
    /// There must be one QueueSort plugin.
    #[error("profile {0}: exactly one queueSort plugin is needed")]
    QueueSort(String),
    /// There must be a Bind plugin.
    #[error("profile {0}: at least one bind plugin is needed")]
    Bind(String),
    /// Two profiles for one name.
    #[error("there are two profiles for scheduler name {0}")]
    Duplicate(String),
}

type List = Vec<(Arc<dyn Plugin>, i64)>;

/// What a plugin says about the nodes, in their order.
#[derive(Debug, Clone, Copy)]
pub enum Scored<'a> {
    /// The plugin's scores.
    Raw(&'static str, &'a [i64]),
    /// The same within [0, [`MAX_SCORE`]], with the plugin's weight.
    Normalized(&'static str, i64, &'a [i64]),
}

/// The plugins of a profile, ready to run.
pub struct Framework {
    /// The pods it is for.
    pub scheduler_name: String,
    /// See [`Profile::percentage_of_nodes_to_score`].
    pub percentage_of_nodes_to_score: u32,
    points: BTreeMap<Point, List>,
    all: Vec<Arc<dyn Plugin>>,
    lacking: Vec<&'static str>,
    pub(super) watcher: Option<Watcher>,
    siblings: BTreeSet<String>,
}

impl Framework {
    /// Resolves the names of a profile in the registry.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn new(profile: &Profile, registry: &[Arc<dyn Plugin>]) -> Result<Self, Error> {
        let find = |name: &str| registry.iter().find(|p| p.name() == name);
        let unknown = |plugin: &str| Error::UnknownPlugin {
            profile: profile.scheduler_name.clone(),
            plugin: plugin.to_owned(),
        };
        // Known to kube-scheduler but not built here: what it would demand is asked of `unsupported`.
        let absent = |name: &str| {
            let known = DEFAULT_PLUGINS.iter().map(|(known, _)| *known);
            known
                .filter(|_| find(name).is_none())
                .find(|known| *known == name)
        };
        let mut lacking: Vec<&'static str> = Vec::new();
        for (name, _) in &profile.multi_point.enabled {
            match absent(name) {
                Some(known) => lacking.push(known),
                None => drop(find(name).ok_or_else(|| unknown(name))?),
            }
        }
        let mut points = BTreeMap::new();
        let mut all: Vec<Arc<dyn Plugin>> = Vec::new();
        for point in POINTS {
            let names = profile.expand(point, &|name| find(name).is_some_and(|p| has(&**p, point)));
            let mut list = List::new();
            for (name, weight) in names {
                if let Some(known) = absent(&name) {
                    lacking.push(known);
                    continue;
                }
                let plugin = find(&name).ok_or_else(|| unknown(&name))?;
                if !has(&**plugin, point) {
                    let profile = profile.scheduler_name.clone();
                    return Err(Error::NoSuchPoint {
                        profile,
                        plugin: name,
                        point,
                    });
                }
                if !all.iter().any(|p| p.name() == name) {
                    all.push(plugin.clone());
                }
                list.push((plugin.clone(), weight));
            }
            points.insert(point, list);
        }
        let framework = Self {
            scheduler_name: profile.scheduler_name.clone(),
            percentage_of_nodes_to_score: profile.percentage_of_nodes_to_score,
            points,
            all,
            lacking,
            watcher: None,
            siblings: BTreeSet::from([profile.scheduler_name.clone()]),
        };
        if framework.at(Point::QueueSort).count() != 1 {
            return Err(Error::QueueSort(profile.scheduler_name.clone()));
        }
        if framework.at(Point::Bind).next().is_none() {
            return Err(Error::Bind(profile.scheduler_name.clone()));
        }
        Ok(framework)
    }

    fn list(&self, point: Point) -> &[(Arc<dyn Plugin>, i64)] {
        self.points.get(&point).map_or(&[], Vec::as_slice)
    }

    fn at(&self, point: Point) -> impl DoubleEndedIterator<Item = &dyn Plugin> {
        self.list(point).iter().map(|(plugin, _)| &**plugin)
    }

    /// Tells it the scheduler names of all profiles of this scheduler.
    #[must_use]
    pub fn beside(mut self, scheduler_names: impl IntoIterator<Item = String>) -> Self {
        self.siblings.extend(scheduler_names);
        self
    }

    /// Whether pods of this scheduler name are ours, by this profile or another.
    #[must_use]
    pub fn answers_for(&self, scheduler_name: &str) -> bool {
        self.siblings.contains(scheduler_name)
    }

    /// The plugins of a point, in order.
    pub(super) fn names_at(&self, point: Point) -> Vec<&'static str> {
        self.at(point).map(Plugin::name).collect()
    }

    /// Whether a plugin of this name runs anywhere.
    #[must_use]
    pub fn runs(&self, plugin: &str) -> bool {
        self.all.iter().any(|p| p.name() == plugin)
    }

    /// Whether a plugin of this name runs at a point.
    #[must_use]
    pub fn runs_at(&self, point: Point, plugin: &str) -> bool {
        self.at(point).any(|p| p.name() == plugin)
    }

    /// Whether the profile asks for this plugin of kube-scheduler's and it is not built here.
    #[must_use]
    pub fn lacks(&self, plugin: &str) -> bool {
        self.lacking.contains(&plugin)
    }

    /// Whether the plugins that score are more than none.
    #[must_use]
    pub fn scores(&self) -> bool {
        !self.list(Point::Score).is_empty()
    }

    /// What the plugin's queueing hint says about an event for a pod that it has rejected.
    #[must_use]
    pub fn hint(&self, plugin: &str, event: Events, pod: &PodInfo, change: &Change) -> Hint {
        let found = self.all.iter().find(|p| p.name() == plugin);
        found.map_or(Hint::Queue, |p| p.hint(event, pod, change))
    }

    /// The events that any plugin here has registered.
    #[must_use]
    pub fn interests(&self) -> Events {
        let ours = self.all.iter().map(|plugin| plugin.events());
        let lacking = self.lacking.iter().map(|plugin| self.events_of(plugin));
        ours.chain(lacking)
            .fold(Events::NONE, |all, events| all | events)
    }

    /// The events that may help a pod that this plugin has rejected. A plugin that does not run here
    /// (a constraint that is not supported) is helped by pods going and by the pod's own change.
    #[must_use]
    pub fn events_of(&self, plugin: &str) -> Events {
        let found = self.all.iter().find(|p| p.name() == plugin);
        found.map_or(Events::POD_GONE | Events::SELF_CHANGED, |p| p.events()) | Events::TIMEOUT
    }

    /// QueueSort.
    #[must_use]
    pub fn queue_sort(&self) -> Option<&dyn QueueSort> {
        self.at(Point::QueueSort).find_map(|p| p.as_queue_sort())
    }

    /// PreEnqueue.
    ///
    /// # Errors
    /// The first plugin's that keeps the pod out.
    pub fn pre_enqueue(&self, pod: &PodInfo) -> Result<(), Status> {
        for plugin in self.at(Point::PreEnqueue) {
            if let Some(point) = plugin.as_pre_enqueue() {
                point.pre_enqueue(pod).map_err(|s| s.by(plugin.name()))?;
            }
        }
        Ok(())
    }

    /// PreFilter: the nodes worth filtering, and which plugins narrowed them.
    ///
    /// # Errors
    /// The first unresolvable rejection or error, else the last rejection.
    pub fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        snapshot: &Snapshot,
    ) -> Result<(NodeNames, Vec<&'static str>), Status> {
        let mut names: NodeNames = None;
        let mut narrowing = Vec::new();
        let mut rejection = None;
        for plugin in self.at(Point::PreFilter) {
            let Some(point) = plugin.as_pre_filter() else {
                continue;
            };
            match point.pre_filter(state, pod, snapshot) {
                Ok(None) => {}
                Ok(Some(these)) => {
                    narrowing.push(plugin.name());
                    let kept = match names.take() {
                        None => these,
                        Some(before) => before.intersection(&these).cloned().collect(),
                    };
                    if kept.is_empty() {
                        return Err(
                            Status::unresolvable(not_satisfied(&narrowing, true)).by(plugin.name())
                        );
                    }
                    names = Some(kept);
                }
                Err(status) => match status.code {
                    Code::Skip => state.skipped_filters.push(plugin.name()),
                    Code::Unschedulable => rejection = Some(status.by(plugin.name())),
                    _ => return Err(status.by(plugin.name())),
                },
            }
        }
        rejection.map_or(Ok((names, narrowing)), Err)
    }

    /// Filter.
    ///
    /// # Errors
    /// The first plugin's that rejects the node.
    pub fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Status> {
        for plugin in self.at(Point::Filter) {
            if let Some(point) = plugin.as_filter()
                && !state.skipped_filters.contains(&plugin.name())
            {
                point
                    .filter(state, pod, node)
                    .map_err(|s| s.by(plugin.name()))?;
            }
        }
        Ok(())
    }

    /// Filter, and the nominated pods of the same or higher priority count as if they were there: the pod
    /// must fit with them, and (since what they were promised may come to nothing) without them.
    ///
    /// # Errors
    /// The first plugin's that rejects the node.
    pub fn filter_beside_nominated(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        node: &NodeInfo,
        snapshot: &Snapshot,
    ) -> Result<(), Status> {
        let nominated = snapshot.nominated.get(node.name());
        let counts = |other: &&Arc<PodInfo>| {
            other.spec.priority >= pod.spec.priority
                && other.uid() != pod.uid()
                && self.answers_for(&other.pod.scheduler_name)
        };
        let mut beside = nominated.into_iter().flatten().filter(counts).peekable();
        if beside.peek().is_some() {
            let (mut state, mut node) = (state.clone(), node.clone());
            for other in beside {
                node.add(other.clone());
                self.add_pod(&mut state, pod, other, &node);
            }
            self.filter(&state, pod, &node)?;
        }
        self.filter(state, pod, node)
    }

    /// AddPod of all plugins that filter this pod: `added` is now on `node`.
    pub fn add_pod(&self, state: &mut CycleState, pod: &PodInfo, added: &PodInfo, node: &NodeInfo) {
        for plugin in self.at(Point::PreFilter) {
            if let Some(point) = plugin.as_pre_filter()
                && !state.skipped_filters.contains(&plugin.name())
            {
                point.add_pod(state, pod, added, node);
            }
        }
    }

    /// RemovePod of all plugins that filter this pod: `removed` is no more on `node`.
    pub fn remove_pod(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        removed: &PodInfo,
        node: &NodeInfo,
    ) {
        for plugin in self.at(Point::PreFilter) {
            if let Some(point) = plugin.as_pre_filter()
                && !state.skipped_filters.contains(&plugin.name())
            {
                point.remove_pod(state, pod, removed, node);
            }
        }
    }

    /// PostFilter: what the first plugin nominates that helps.
    ///
    /// # Errors
    /// The reasons of all, when none does, and whether an earlier nomination has become void.
    pub fn post_filter(
        &self,
        context: &PostFilterContext<'_>,
    ) -> Result<Nomination, (Vec<String>, bool)> {
        let mut reasons = Vec::new();
        let mut clear = false;
        for plugin in self.at(Point::PostFilter) {
            if let Some(point) = plugin.as_post_filter() {
                let no_help = match point.post_filter(context) {
                    Ok(nomination) => return Ok(nomination),
                    Err(no_help) => no_help,
                };
                let status = no_help.status;
                let said = status.reasons.iter().map(ToString::to_string);
                if status.code != Code::Unschedulable {
                    // An error, or the last word: what others said is not told.
                    return Err((said.collect(), clear || no_help.clear_nomination));
                }
                clear |= no_help.clear_nomination;
                reasons.extend(said);
            }
        }
        Err((reasons, clear))
    }

    /// PreScore and Score: the total of each node, weighted.
    ///
    /// # Errors
    /// A plugin's failure, or a score out of range.
    pub fn score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &[Arc<NodeInfo>],
        snapshot: &Snapshot,
    ) -> Result<Vec<i64>, Status> {
        self.score_seen(state, pod, nodes, snapshot, &mut |_| {})
    }

    /// The same, and `seen` is told what each plugin says.
    ///
    /// # Errors
    /// A plugin's failure, or a score out of range.
    pub fn score_seen(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &[Arc<NodeInfo>],
        snapshot: &Snapshot,
        seen: &mut dyn FnMut(Scored<'_>),
    ) -> Result<Vec<i64>, Status> {
        let started = self.start();
        self.asked_all(Point::PreScore);
        for plugin in self.at(Point::PreScore) {
            if let Some(point) = plugin.as_pre_score()
                && let Err(status) = point.pre_score(state, pod, nodes, snapshot)
            {
                if status.code != Code::Skip {
                    return Err(status.by(plugin.name()));
                }
                state.skipped_scores.push(plugin.name());
            }
        }
        self.ran(Point::PreScore, None, started);
        let started = self.start();
        self.asked_all(Point::Score);
        let mut totals = vec![0; nodes.len()];
        let mut scores = vec![0; nodes.len()];
        for (plugin, weight) in self.list(Point::Score) {
            let Some(point) = plugin.as_score() else {
                continue;
            };
            let name = plugin.name();
            if state.skipped_scores.contains(&name) {
                continue;
            }
            for (score, node) in scores.iter_mut().zip(nodes) {
                *score = point.score(state, pod, node, snapshot);
            }
            seen(Scored::Raw(name, &scores));
            point.normalize(state, pod, &mut scores);
            for (total, score) in totals.iter_mut().zip(&scores) {
                if !(0..=MAX_SCORE).contains(score) {
                    let problem = format!("score {score} is not within [0, {MAX_SCORE}]");
                    return Err(Status::new(Code::Error, problem).by(name));
                }
                *total += score * weight;
            }
            seen(Scored::Normalized(name, *weight, &scores));
        }
        self.ran(Point::Score, None, started);
        Ok(totals)
    }

    /// Reserve, all or none.
    ///
    /// # Errors
    /// The first plugin's that refuses; everything is unreserved then.
    pub fn reserve(&self, state: &CycleState, pod: &PodInfo, node: &str) -> Result<(), Status> {
        for plugin in self.at(Point::Reserve) {
            if let Some(point) = plugin.as_reserve()
                && let Err(status) = point.reserve(state, pod, node)
            {
                self.unreserve(state, pod, node);
                return Err(status.by(plugin.name()));
            }
        }
        Ok(())
    }

    /// Unreserve, in reverse order.
    pub fn unreserve(&self, state: &CycleState, pod: &PodInfo, node: &str) {
        for point in self.at(Point::Reserve).rev().filter_map(|p| p.as_reserve()) {
            point.unreserve(state, pod, node);
        }
    }

    /// Permit. No plugin of ours waits yet; one that asks to is refused with that reason.
    ///
    /// # Errors
    /// The first plugin's that does not permit.
    pub fn permit(&self, state: &CycleState, pod: &PodInfo, node: &str) -> Result<(), Status> {
        for plugin in self.at(Point::Permit) {
            if let Some(point) = plugin.as_permit() {
                point
                    .permit(state, pod, node)
                    .map_err(|(s, _)| s.by(plugin.name()))?;
            }
        }
        Ok(())
    }

    /// PreBind and Bind: what to do before the binding, and the binding.
    ///
    /// # Errors
    /// A plugin's refusal, or that none binds.
    pub fn bind(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        node: &str,
    ) -> Result<(PreBindWork, Binding), Status> {
        let mut work = PreBindWork::default();
        for plugin in self.at(Point::PreBind) {
            if let Some(point) = plugin.as_pre_bind() {
                point
                    .pre_bind(state, pod, node, &mut work)
                    .map_err(|s| s.by(plugin.name()))?;
            }
        }
        for plugin in self.at(Point::Bind) {
            match plugin
                .as_bind()
                .map(|point| point.bind(pod, node, &work.annotations))
            {
                Some(Ok(binding)) => return Ok((work, binding)),
                Some(Err(status)) if status.code != Code::Skip => {
                    return Err(status.by(plugin.name()));
                }
                _ => {}
            }
        }
        Err(Status::new(Code::Error, "no plugin binds this pod"))
    }

    /// PostBind.
    pub fn post_bind(&self, pod: &PodInfo, node: &str) {
        for point in self.at(Point::PostBind).filter_map(|p| p.as_post_bind()) {
            point.post_bind(pod, node);
        }
    }
}

/// kube-scheduler's words for nodes that a PreFilter left out.
pub(crate) fn not_satisfied(plugins: &[&str], together: bool) -> String {
    match plugins {
        [one] if together => format!("node(s) didn't satisfy plugin {one}"),
        many if together => {
            format!(
                "node(s) didn't satisfy plugin(s) [{}] simultaneously",
                many.join(" ")
            )
        }
        many => format!("node(s) didn't satisfy plugin(s) [{}]", many.join(" ")),
    }
}

const POINTS: [Point; 12] = [
    Point::PreEnqueue,
    Point::QueueSort,
    Point::PreFilter,
    Point::Filter,
    Point::PostFilter,
    Point::PreScore,
    Point::Score,
    Point::Reserve,
    Point::Permit,
    Point::PreBind,
    Point::Bind,
    Point::PostBind,
];

fn has(plugin: &dyn Plugin, point: Point) -> bool {
    match point {
        Point::PreEnqueue => plugin.as_pre_enqueue().is_some(),
        Point::QueueSort => plugin.as_queue_sort().is_some(),
        Point::PreFilter => plugin.as_pre_filter().is_some(),
        Point::Filter => plugin.as_filter().is_some(),
        Point::PostFilter => plugin.as_post_filter().is_some(),
        Point::PreScore => plugin.as_pre_score().is_some(),
        Point::Score => plugin.as_score().is_some(),
        Point::Reserve => plugin.as_reserve().is_some(),
        Point::Permit => plugin.as_permit().is_some(),
        Point::PreBind => plugin.as_pre_bind().is_some(),
        Point::Bind => plugin.as_bind().is_some(),
        Point::PostBind => plugin.as_post_bind().is_some(),
    }
}

#[cfg(test)]
mod tests;
