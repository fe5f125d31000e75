//! Which owner a change of a dependent concerns: the handlers that every workload controller has
//! (pkg/controller/replicaset/replica_set.go, `addPod`, `updatePod`, `deletePod`).

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};

use super::informer::{Change, Informer, Key, Namespaced};
use super::objects::{controller_of, is_terminating, namespace, selects, uid};

/// What an owner hears about a dependent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is there.
    Created,
    /// Something about it is different, or it might be the owner's.
    Changed,
    /// It is going or gone.
    Gone,
}

/// Calls `tell` with the key of the owner that a change of a dependent concerns, be it because the
/// dependent names it as its controller or because an orphan matches its selector.
pub fn follow<O: Namespaced, D: Namespaced>(
    dependents: &Informer<D>,
    owners: &Arc<Informer<O>>,
    selector: fn(&O) -> Option<&LabelSelector>,
    tell: impl Fn(Key, Heard, &Arc<D>) + Send + Sync + 'static,
) {
    let follower = Follower {
        owners: Arc::clone(owners),
        selector,
        tell,
    };
    dependents.on_change(move |change| match change {
        Change::Added(new) if is_terminating(new.meta()) => follower.gone(new),
        Change::Added(new) => follower.added(new),
        Change::Updated(old, new) => follower.updated(old, new),
        Change::Deleted(old) => follower.gone(old),
    });
}

struct Follower<O, F> {
    owners: Arc<Informer<O>>,
    selector: fn(&O) -> Option<&LabelSelector>,
    tell: F,
}

impl<O: Namespaced, F> Follower<O, F> {
    /// The owner that a reference names, if it is of our kind and lives.
    fn resolve(&self, namespace: &str, reference: &OwnerReference) -> Option<Key> {
        if reference.kind != O::kind(&()) {
            return None;
        }
        let key = Key::new(namespace, &reference.name);
        let owner = self.owners.get(&key)?;
        (uid(owner.meta()) == reference.uid).then_some(key)
    }

    fn owner<D: Namespaced>(&self, dependent: &D) -> Option<Key> {
        let reference = controller_of(dependent.meta())?;
        self.resolve(namespace(dependent.meta()), reference)
    }

    fn added<D: Namespaced>(&self, new: &Arc<D>)
    where
        F: Fn(Key, Heard, &Arc<D>),
    {
        if controller_of(new.meta()).is_none() {
            return self.tell_those_that_match(new);
        }
        if let Some(owner) = self.owner(new.as_ref()) {
            (self.tell)(owner, Heard::Created, new);
        }
    }

    fn updated<D: Namespaced>(&self, old: &Arc<D>, new: &Arc<D>)
    where
        F: Fn(Key, Heard, &Arc<D>),
    {
        if is_terminating(new.meta()) {
            return self.gone(new);
        }
        let (before, after) = (controller_of(old.meta()), controller_of(new.meta()));
        if before != after
            && let Some(owner) = self.owner(old.as_ref())
        {
            (self.tell)(owner, Heard::Changed, new);
        }
        if after.is_some() {
            if let Some(owner) = self.owner(new.as_ref()) {
                (self.tell)(owner, Heard::Changed, new);
            }
        } else if before.is_some() || old.meta().labels != new.meta().labels {
            self.tell_those_that_match(new);
        }
    }

    fn gone<D: Namespaced>(&self, dependent: &Arc<D>)
    where
        F: Fn(Key, Heard, &Arc<D>),
    {
        if let Some(owner) = self.owner(dependent.as_ref()) {
            (self.tell)(owner, Heard::Gone, dependent);
        }
    }

    fn tell_those_that_match<D: Namespaced>(&self, orphan: &Arc<D>)
    where
        F: Fn(Key, Heard, &Arc<D>),
    {
        let owners = self
            .owners
            .indexed(&format!("ns/{}", namespace(orphan.meta())));
        for owner in owners {
            let matches =
                (self.selector)(&owner).is_some_and(|selector| selects(selector, orphan.meta()));
            if matches {
                (self.tell)(Key::of(owner.as_ref()), Heard::Changed, orphan);
            }
        }
    }
}
