//! The cache's content and how each event changes it. Single-threaded: [`super::Cache`] guards it.
//!
//! Invariants: a pod that takes room is on exactly one node entry, whether assigned or assumed, so that
//! it is never counted twice; `dirty` holds every node whose row differs from the last snapshot's.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::change::Change;
use super::event::Kind;
use super::objects::Objects;
use super::rows::{ImageState, NodeInfo, PodInfo, Snapshot};
use super::tree::NodeTree;
use crate::model::resources::intern;
use crate::model::{Deployment, NamespacedName, Node, ReplicaSet};

#[derive(Debug, Default)]
struct NodeEntry {
    node: Option<Arc<Node>>,
    pods: BTreeMap<String, Arc<PodInfo>>,
}

#[derive(Debug, Clone)]
pub(super) struct PodEntry {
    pub(super) info: Arc<PodInfo>,
    pub(super) on: Option<Arc<str>>,
    pub(super) assumed: bool,
    /// What the scheduler has nominated (empty: nothing) and the API server has not said yet.
    nominated: Option<String>,
}

impl PodEntry {
    fn nomination(&self) -> Option<&str> {
        let said = self.info.spec.nominated_node.as_deref();
        let node = self.nominated.as_deref().or(said)?;
        (!node.is_empty()).then_some(node)
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    nodes: HashMap<Arc<str>, NodeEntry>,
    /// Nodes that exist but could not be read.
    left_out: HashSet<String>,
    tree: NodeTree,
    pub(super) pods: HashMap<String, PodEntry>,
    pods_by_key: HashMap<NamespacedName, String>,
    pods_by_controller: HashMap<String, BTreeSet<String>>,
    pub(super) replica_sets: HashMap<String, Arc<ReplicaSet>>,
    replica_sets_by_owner: HashMap<String, BTreeSet<String>>,
    pub(super) deployments: HashMap<NamespacedName, Arc<Deployment>>,
    pub(super) deployment_keys: HashMap<String, NamespacedName>,
    pub(super) synced: BTreeSet<Kind>,
    image_nodes: Arc<HashMap<Arc<str>, ImageState>>,
    /// Pods that have, or had lately, a nominated node.
    nominated: BTreeSet<String>,
    snapshot: Arc<Snapshot>,
    dirty: HashSet<Arc<str>>,
    reordered: bool,
    nominated_changed: bool,
}

impl State {
    /// How many nodes are known.
    pub(super) fn nodes_known(&self) -> usize {
        self.nodes
            .values()
            .filter(|entry| entry.node.is_some())
            .count()
    }

    /// Brings the snapshot up to date and hands it out. Copies only when an earlier one is still held.
    pub(super) fn snapshot(&mut self) -> Arc<Snapshot> {
        if self.nominated_changed {
            self.nominated_changed = false;
            let nominated = self.nominated_pods();
            self.snapshot_mut().nominated = Arc::new(nominated);
        }
        if self.dirty.is_empty() && !self.reordered {
            return self.snapshot.clone();
        }
        let snapshot = Arc::make_mut(&mut self.snapshot);
        if self.reordered {
            let fresh: Vec<Arc<NodeInfo>> = self
                .tree
                .order()
                .iter()
                .filter_map(|name| match snapshot.node(name) {
                    Some(kept) if !self.dirty.contains(name) => Some(kept.clone()),
                    _ => self.nodes.get(name).and_then(row),
                })
                .collect();
            let index = fresh
                .iter()
                .enumerate()
                .map(|(i, n)| (n.name().clone(), i))
                .collect();
            snapshot.nodes = fresh;
            snapshot.index = Arc::new(index);
        } else {
            for name in &self.dirty {
                let fresh = self.nodes.get(name).and_then(row);
                if let (Some(at), Some(fresh)) = (snapshot.index.get(name), fresh) {
                    snapshot.nodes[*at] = fresh;
                }
            }
        }
        snapshot.image_nodes = self.image_nodes.clone();
        self.dirty.clear();
        self.reordered = false;
        self.snapshot.clone()
    }

    pub(super) fn node_exists(&self, name: &str) -> bool {
        self.left_out.contains(name) || self.node(name).is_some()
    }

    pub(super) fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(name)?.node.as_ref()
    }

    pub(super) fn pod_by_key(&self, key: &NamespacedName) -> Option<&PodEntry> {
        self.pods.get(self.pods_by_key.get(key)?)
    }

    pub(super) fn pods_of_controller(&self, uid: &str) -> impl Iterator<Item = &PodEntry> {
        let uids = self.pods_by_controller.get(uid).into_iter().flatten();
        uids.filter_map(|uid| self.pods.get(uid))
    }

    pub(super) fn replica_sets_of(&self, uid: &str) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        let uids = self.replica_sets_by_owner.get(uid).into_iter().flatten();
        uids.filter_map(|uid| self.replica_sets.get(uid))
    }

    pub(super) fn put_node(&mut self, node: Arc<Node>) -> Change {
        self.left_out.remove(node.name.as_ref());
        let name = node.name.clone();
        let entry = self.nodes.entry(name.clone()).or_default();
        let old = entry.node.replace(node.clone());
        self.dirty.insert(name.clone());
        self.count_images(old.as_deref(), Some(&node));
        match old {
            Some(old) if old.zone == node.zone => Change::NodeChanged { old, new: node },
            Some(old) => {
                self.tree.remove(&old.zone, &name);
                self.tree.add(&node.zone, name);
                self.reordered = true;
                Change::NodeChanged { old, new: node }
            }
            None => {
                self.tree.add(&node.zone, name);
                self.reordered = true;
                Change::NodeAdded(node)
            }
        }
    }

    /// `exists`: the node is there, but cannot be read.
    pub(super) fn drop_node(&mut self, name: &str, exists: bool) -> Option<Change> {
        self.left_out.remove(name);
        if exists {
            self.left_out.insert(name.to_owned());
        }
        let entry = self.nodes.get_mut(name)?;
        let old = entry.node.take();
        if entry.pods.is_empty() {
            self.nodes.remove(name);
        }
        let old = old?;
        self.tree.remove(&old.zone, name);
        self.count_images(Some(&old), None);
        self.dirty.insert(old.name.clone());
        self.reordered = true;
        Some(Change::NodeGone(old))
    }

    fn count_images(&mut self, old: Option<&Node>, new: Option<&Node>) {
        if old.map(|n| &n.images) == new.map(|n| &n.images) {
            return;
        }
        let counts = Arc::make_mut(&mut self.image_nodes);
        for (image, _) in old.iter().flat_map(|n| &n.images) {
            if let Some(state) = counts.get_mut(image) {
                state.nodes -= 1;
                if state.nodes == 0 {
                    counts.remove(image);
                }
            }
        }
        for (image, size) in new.iter().flat_map(|n| &n.images) {
            let first = ImageState {
                nodes: 0,
                size: *size,
            };
            counts.entry(image.clone()).or_insert(first).nodes += 1;
        }
    }

    pub(super) fn put_pod(&mut self, new: Arc<PodInfo>, changes: &mut Vec<Change>) {
        let uid = new.pod.uid.clone();
        if let Some(other) = self
            .pods_by_key
            .get(&new.pod.key)
            .filter(|other| **other != uid)
        {
            // Made again under the same name: the deletion of the former was not told.
            let other = other.clone();
            self.drop_pod(&new.pod.key.clone(), &other, changes);
        }
        let prior = self.pods.remove(&uid);
        if let Some(prior) = &prior {
            self.take_off(prior);
        }
        let finished = new.is_finished();
        let (on, assumed) = match (&new.pod.node_name, &prior) {
            _ if finished => (None, false),
            (Some(node), _) => (Some(intern(node)), false),
            (None, Some(prior)) if prior.assumed => (prior.on.clone(), true),
            (None, _) => (None, false),
        };
        let entry = PodEntry {
            info: new.clone(),
            on,
            assumed,
            // Kept until the API server says something new.
            nominated: prior.as_ref().and_then(|p| {
                let same = p.info.spec.nominated_node == new.spec.nominated_node;
                p.nominated.clone().filter(|_| same)
            }),
        };
        let was = self.nominated.contains(&uid);
        if entry.on.is_none() && !finished && entry.nomination().is_some() {
            self.nominated.insert(uid.clone());
            self.nominated_changed = true;
        } else if was {
            self.nominated.remove(&uid);
            self.nominated_changed = true;
        }
        self.put_on(&entry);
        self.pods_by_key.insert(new.pod.key.clone(), uid.clone());
        if let Some(owner) = &new.pod.controller {
            self.pods_by_controller
                .entry(owner.uid.clone())
                .or_default()
                .insert(uid.clone());
        }
        self.pods.insert(uid, entry);
        let prior = prior.map(|p| p.info).filter(|p| !p.is_finished());
        let was_assigned = prior.as_ref().is_some_and(|p| p.pod.node_name.is_some());
        let is_assigned = new.pod.node_name.is_some();
        match (prior, finished) {
            (None, true) => {}
            (Some(old), true) if was_assigned => changes.push(Change::AssignedGone(old)),
            (Some(old), true) => changes.push(Change::NoLongerPending(old)),
            (Some(old), false) if was_assigned => {
                changes.push(Change::AssignedChanged { old, new });
            }
            (old, false) if is_assigned => {
                changes.extend(old.map(Change::NoLongerPending));
                changes.push(Change::Assigned(new));
            }
            (old, false) => changes.push(Change::Pending { old, new }),
        }
    }

    pub(super) fn drop_pod(&mut self, key: &NamespacedName, uid: &str, changes: &mut Vec<Change>) {
        if self.pods_by_key.get(key).is_some_and(|u| u == uid) {
            self.pods_by_key.remove(key);
        }
        let Some(entry) = self.pods.remove(uid) else {
            return;
        };
        self.take_off(&entry);
        self.nominated_changed |= self.nominated.remove(uid);
        if let Some(owner) = &entry.info.pod.controller {
            remove_from(&mut self.pods_by_controller, &owner.uid, uid);
        }
        if entry.info.is_finished() {
            return;
        }
        let was_assumed = entry.assumed;
        if entry.info.pod.node_name.is_some() {
            changes.push(Change::AssignedGone(entry.info));
        } else {
            changes.push(Change::NoLongerPending(entry.info.clone()));
            if was_assumed {
                changes.push(Change::AssignedGone(entry.info));
            }
        }
    }

    pub(super) fn assume(&mut self, uid: &str, node: &str) -> bool {
        let Some(entry) = self.pods.get(uid).cloned() else {
            return false;
        };
        if entry.on.is_some() || entry.info.is_finished() {
            return false;
        }
        let entry = PodEntry {
            on: Some(intern(node)),
            assumed: true,
            ..entry
        };
        self.put_on(&entry);
        self.nominated_changed |= self.nominated.contains(uid);
        self.pods.insert(uid.to_owned(), entry);
        true
    }

    pub(super) fn forget(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let entry = self.pods.get(uid).filter(|entry| entry.assumed).cloned()?;
        self.take_off(&entry);
        self.nominated_changed |= self.nominated.contains(uid);
        let info = entry.info.clone();
        self.pods.insert(
            uid.to_owned(),
            PodEntry {
                on: None,
                assumed: false,
                ..entry
            },
        );
        Some(info)
    }

    fn put_on(&mut self, entry: &PodEntry) {
        if let Some(node) = &entry.on {
            let pods = &mut self.nodes.entry(node.clone()).or_default().pods;
            pods.insert(entry.info.pod.uid.clone(), entry.info.clone());
            self.dirty.insert(node.clone());
        }
    }

    fn take_off(&mut self, entry: &PodEntry) {
        if let Some(node) = &entry.on {
            if let Some(row) = self.nodes.get_mut(node) {
                row.pods.remove(&entry.info.pod.uid);
                if row.pods.is_empty() && row.node.is_none() {
                    self.nodes.remove(node);
                }
            }
            self.dirty.insert(node.clone());
        }
    }

    /// The snapshot as it is, without what waits to be brought in.
    pub(super) fn current(&self) -> &Snapshot {
        &self.snapshot
    }

    pub(super) fn snapshot_mut(&mut self) -> &mut Snapshot {
        Arc::make_mut(&mut self.snapshot)
    }

    /// Everything else, which lives in the snapshot alone.
    pub(super) fn objects(&mut self) -> &mut Objects {
        &mut self.snapshot_mut().objects
    }

    /// Pending pods by the node nominated for them.
    fn nominated_pods(&self) -> HashMap<Arc<str>, Vec<Arc<PodInfo>>> {
        let mut nominated: HashMap<Arc<str>, Vec<Arc<PodInfo>>> = HashMap::new();
        for uid in &self.nominated {
            let entry = self.pods.get(uid).filter(|e| e.on.is_none());
            if let Some((entry, node)) = entry.and_then(|e| Some((e, e.nomination()?))) {
                nominated
                    .entry(intern(node))
                    .or_default()
                    .push(entry.info.clone());
            }
        }
        nominated
    }

    pub(super) fn nominate(&mut self, uid: &str, node: Option<&str>) {
        if let Some(entry) = self.pods.get_mut(uid) {
            entry.nominated = Some(node.unwrap_or_default().to_owned());
            self.nominated.insert(uid.to_owned());
            self.nominated_changed = true;
        }
    }

    pub(super) fn put_replica_set(&mut self, new: Arc<ReplicaSet>) -> Change {
        let uid = new.uid.clone();
        let known = self.current().objects.selectors.replica_sets.get(&new.key);
        if known != Some(&new.selector) {
            let (key, selector) = (new.key.clone(), new.selector.clone());
            Arc::make_mut(&mut self.objects().selectors)
                .replica_sets
                .insert(key, selector);
        }
        if let Some(owner) = &new.controller {
            self.replica_sets_by_owner
                .entry(owner.uid.clone())
                .or_default()
                .insert(uid.clone());
        }
        let old = self.replica_sets.insert(uid.clone(), new.clone());
        let former = old.and_then(|o| o.controller.clone()).map(|o| o.uid);
        if let Some(former) = former.filter(|f| new.controller.as_ref().is_none_or(|n| n.uid != *f))
        {
            remove_from(&mut self.replica_sets_by_owner, &former, &uid);
        }
        Change::ReplicaSet(uid)
    }

    pub(super) fn drop_replica_set(&mut self, key: &NamespacedName, uid: &str) {
        let known = self
            .replica_sets
            .get(uid)
            .is_some_and(|set| set.key == *key);
        if known || !self.replica_sets.contains_key(uid) {
            let selectors = &mut self.objects().selectors;
            if selectors.replica_sets.contains_key(key) {
                Arc::make_mut(selectors).replica_sets.remove(key);
            }
        }
        if let Some(owner) = self
            .replica_sets
            .remove(uid)
            .and_then(|o| o.controller.clone())
        {
            remove_from(&mut self.replica_sets_by_owner, &owner.uid, uid);
        }
    }

    pub(super) fn put_deployment(&mut self, new: Arc<Deployment>) {
        self.deployment_keys
            .insert(new.uid.clone(), new.key.clone());
        if let Some(old) = self.deployments.insert(new.key.clone(), new.clone())
            && old.uid != new.uid
        {
            self.deployment_keys.remove(&old.uid);
        }
    }

    pub(super) fn drop_deployment(&mut self, key: &NamespacedName, uid: &str) {
        self.deployment_keys.remove(uid);
        if self.deployments.get(key).is_some_and(|d| d.uid == uid) {
            self.deployments.remove(key);
        }
    }
}

fn row(entry: &NodeEntry) -> Option<Arc<NodeInfo>> {
    let node = entry.node.clone()?;
    Some(Arc::new(NodeInfo::new(node, entry.pods.values().cloned())))
}

fn remove_from(sets: &mut HashMap<String, BTreeSet<String>>, key: &str, member: &str) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(member);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}
