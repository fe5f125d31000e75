//! The scheduler's calls to the world, each in a task of its own so that no cycle waits for one; their
//! ends come back to the scheduler's loop as [`Outcome`]s. Binds and status patches have separate bounds,
//! so that patches never starve binds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::extender::Extenders;
use super::framework::plugin::PreBindWork;
use super::ports::{
    Binder, Binding, CallError, EventSink, Leadership, OwnerLookup, PodStatus, ScheduledCondition,
    Victims, Volumes,
};
use super::volumes;
use crate::clock;
use crate::cluster::{Cache, PodInfo};
use crate::model::{NamespacedName, OwnerRef};
use crate::store::{Claim, Refusal, Store};

/// How long the store may take.
pub(super) const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// The world, as the scheduler sees it.
#[derive(Clone)]
pub struct Ports {
    /// Binds.
    pub binder: Arc<dyn Binder>,
    /// Writes conditions.
    pub status: Arc<dyn PodStatus>,
    /// Takes events.
    pub events: Arc<dyn EventSink>,
    /// Finds owners that no watch has brought.
    pub owners: Arc<dyn OwnerLookup>,
    /// Says whether we may act.
    pub leadership: Arc<dyn Leadership>,
    /// Decide with us.
    pub extenders: Extenders,
    /// Makes room.
    pub victims: Arc<dyn Victims>,
    /// Binds volumes to claims.
    pub volumes: Arc<dyn Volumes>,
}

/// How a binding ended.
#[derive(Debug)]
pub(super) enum Bound {
    Done,
    /// Another pod has the intent, or it is withdrawn or redirected.
    ClaimRefused,
    /// The store did not answer; nothing was bound.
    StoreAway(String),
    /// The lease is not ours; nothing was bound.
    NotLeading,
    /// The pod's volumes were not bound, so that the pod was not.
    Volumes(String),
    Failed(CallError),
}

/// What a task has to say to the loop.
#[derive(Debug)]
pub(super) enum Outcome {
    Bound {
        uid: String,
        bound: Bound,
    },
    /// A withhold was claimed (or not) for a pod.
    Held {
        uid: String,
        intent: String,
        claimed: bool,
    },
    /// Who owns the ReplicaSet of this uid; `None` if nobody could say.
    Owner {
        uid: String,
        answer: Option<Option<OwnerRef>>,
    },
    /// The store answers again, or still not.
    Store(bool),
    /// All victims of the pod of this uid were told to go, or could not be told.
    Displaced {
        uid: String,
        failed: bool,
    },
}

/// Starts the calls.
pub(super) struct Caller {
    ports: Ports,
    store: Arc<dyn Store>,
    outcomes: mpsc::UnboundedSender<Outcome>,
    pub(super) tasks: TaskTracker,
    binds: Arc<Semaphore>,
    patches: Arc<Semaphore>,
}

impl Caller {
    pub(super) fn new(
        ports: Ports,
        store: Arc<dyn Store>,
        outcomes: mpsc::UnboundedSender<Outcome>,
        binds: usize,
        patches: usize,
    ) -> Self {
        Self {
            ports,
            store,
            outcomes,
            tasks: TaskTracker::new(),
            binds: Arc::new(Semaphore::new(binds)),
            patches: Arc::new(Semaphore::new(patches)),
        }
    }

    /// Claims what has to be claimed, then binds, if we still lead.
    pub(super) fn bind(&self, binding: Binding, work: PreBindWork, cache: &Arc<Cache>) {
        let (ports, store) = (self.ports.clone(), self.store.clone());
        let (binds, outcomes) = (self.binds.clone(), self.outcomes.clone());
        let cache = cache.clone();
        self.tasks.spawn(async move {
            // They may take minutes: before the place among the binds under way.
            if let Err(bound) = volumes::bind(&ports, &cache, &binding, &work).await {
                let uid = binding.uid;
                let _ = outcomes.send(Outcome::Bound { uid, bound });
                return;
            }
            // The semaphore is never closed.
            let _permit = binds.acquire().await;
            let bound = carry_out(&ports, &*store, &binding, &work).await;
            let _ = outcomes.send(Outcome::Bound {
                uid: binding.uid,
                bound,
            });
        });
    }

    /// Tells the store that the pod is kept unbound for this intent.
    pub(super) fn hold(&self, intent: String, claim: Claim, instead_of: Option<String>) {
        let (store, outcomes) = (self.store.clone(), self.outcomes.clone());
        let leadership = self.ports.leadership.clone();
        self.tasks.spawn(async move {
            if !leadership.leads() {
                // Whoever leads now may be binding it: not ours to say that nobody does.
                let _ = outcomes.send(Outcome::Held {
                    uid: claim.uid,
                    intent,
                    claimed: false,
                });
                return;
            }
            let call = store.claim(&intent, &claim, instead_of.as_deref());
            let claimed = match clock::timeout(STORE_TIMEOUT, call).await {
                Ok(Ok(claimed)) => claimed,
                Ok(Err(error)) => {
                    warn!(%error, intent, "claiming a withhold failed");
                    false
                }
                Err(error) => {
                    warn!(%error, intent, "claiming a withhold failed");
                    false
                }
            };
            let _ = outcomes.send(Outcome::Held {
                uid: claim.uid,
                intent,
                claimed,
            });
        });
    }

    /// Tells the action that its pod does not fit where it belongs.
    pub(super) fn refuse(&self, intent: String, refusal: Refusal) {
        let store = self.store.clone();
        self.tasks.spawn(async move {
            let call = store.refuse_intent(&intent, &refusal);
            match clock::timeout(STORE_TIMEOUT, call).await {
                Ok(Ok(())) => {}
                // Said again with the pod's next attempt.
                Ok(Err(error)) => warn!(%error, intent, "recording a refusal failed"),
                Err(error) => warn!(%error, intent, "recording a refusal failed"),
            }
        });
    }

    /// Tells the victims of a pod to go.
    pub(super) fn displace(&self, uid: String, victims: Vec<Arc<PodInfo>>, why: String) {
        let (ports, patches) = (self.ports.clone(), self.patches.clone());
        let outcomes = self.outcomes.clone();
        self.tasks.spawn(async move {
            let mut failed = false;
            for victim in &victims {
                let _permit = patches.acquire().await;
                if !ports.leadership.leads() {
                    failed = true;
                    break;
                }
                let key = &victim.pod.key;
                if let Err(error) = ports.victims.displace(key, victim.uid(), &why).await {
                    warn!(%error, victim = %key, "a pod could not be preempted");
                    failed = true;
                    break;
                }
            }
            let _ = outcomes.send(Outcome::Displaced { uid, failed });
        });
    }

    /// Writes the condition PodScheduled=False.
    pub(super) fn patch(&self, pod: NamespacedName, uid: String, condition: ScheduledCondition) {
        let (status, patches) = (self.ports.status.clone(), self.patches.clone());
        self.tasks.spawn(async move {
            let _permit = patches.acquire().await;
            if let Err(error) = status.set_unscheduled(&pod, &uid, &condition).await {
                debug!(%error, %pod, "the condition PodScheduled was not written");
            }
        });
    }

    /// Asks the API server for the owner of a ReplicaSet.
    pub(super) fn owner(&self, key: NamespacedName, uid: String) {
        let (owners, outcomes) = (self.ports.owners.clone(), self.outcomes.clone());
        self.tasks.spawn(async move {
            let answer = match owners.owner_of_replica_set(&key, &uid).await {
                // Gone, with its pods to follow: it was its own workload.
                Ok(owner) => Some(owner.flatten()),
                Err(error) => {
                    debug!(%error, %key, "the owner of a ReplicaSet could not be found out");
                    None
                }
            };
            let _ = outcomes.send(Outcome::Owner { uid, answer });
        });
    }

    /// Asks the store whether it is there.
    pub(super) fn probe(&self) {
        let (store, outcomes) = (self.store.clone(), self.outcomes.clone());
        self.tasks.spawn(async move {
            let answer = clock::timeout(STORE_TIMEOUT, store.ping()).await;
            let _ = outcomes.send(Outcome::Store(matches!(answer, Ok(Ok(())))));
        });
    }
}

async fn carry_out(
    ports: &Ports,
    store: &dyn Store,
    binding: &Binding,
    work: &PreBindWork,
) -> Bound {
    let claim = Claim {
        namespace: binding.pod.namespace.clone(),
        name: binding.pod.name.clone(),
        uid: binding.uid.clone(),
        held: false,
    };
    if !ports.leadership.leads() {
        return Bound::NotLeading;
    }
    for (intent, instead_of) in &work.claims {
        let call = store.claim(intent, &claim, instead_of.as_deref());
        match clock::timeout(STORE_TIMEOUT, call).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Bound::ClaimRefused,
            Ok(Err(error)) => return Bound::StoreAway(error.to_string()),
            Err(error) => return Bound::StoreAway(error.to_string()),
        }
    }
    if !ports.leadership.leads() {
        return Bound::NotLeading;
    }
    match ports.binder.bind(binding).await {
        Ok(()) => Bound::Done,
        Err(error) => Bound::Failed(error),
    }
}
