//! Volumes before pods: what VolumeBinding has decided is promised in the cache, written to the API server,
//! and waited for until a controller has bound every claim; only then is the pod bound
//! (`plugins/volumebinding/binder.go`, `BindPodVolumes`).

use std::sync::Arc;
use std::time::Duration;

use super::binding::{Bound, Ports};
use super::framework::plugin::PreBindWork;
use super::ports::Binding;
use crate::clock;
use crate::cluster::{Cache, Storage};
use crate::model::NamespacedName;
use crate::model::storage::{Claim, ClaimRef, Volume};

/// What the cache is told before the API server is.
#[derive(Debug, Default)]
pub(super) struct Promises {
    volumes: Vec<Arc<Volume>>,
    claims: Vec<Arc<Claim>>,
}

impl Promises {
    pub(super) fn new(work: &PreBindWork, node: &str) -> Self {
        let bound = |(volume, claim): &(Arc<Volume>, Arc<Claim>)| {
            let mut promised = (**volume).clone();
            promised.claim = Some(ClaimRef {
                key: claim.key.clone(),
                uid: claim.uid.clone(),
            });
            Arc::new(promised)
        };
        let made = |claim: &Arc<Claim>| {
            let mut promised = (**claim).clone();
            promised.selected_node = Some(node.to_owned());
            Arc::new(promised)
        };
        Self {
            volumes: work.volumes.iter().map(bound).collect(),
            claims: work.provisions.iter().map(made).collect(),
        }
    }

    pub(super) fn make(&self, cache: &Cache) {
        cache.assume_volumes(self.volumes.clone(), self.claims.clone());
    }

    pub(super) fn take_back(&self, cache: &Cache) {
        if self.volumes.is_empty() && self.claims.is_empty() {
            return;
        }
        let volumes: Vec<String> = self.volumes.iter().map(|v| v.name.clone()).collect();
        let claims: Vec<NamespacedName> = self.claims.iter().map(|c| c.key.clone()).collect();
        cache.forget_volumes(&volumes, &claims);
    }
}

/// Writes and waits.
///
/// # Errors
/// How the binding of the pod has ended, before it began.
pub(super) async fn bind(
    ports: &Ports,
    cache: &Cache,
    binding: &Binding,
    work: &PreBindWork,
) -> Result<(), Bound> {
    if work.volumes.is_empty() && work.provisions.is_empty() {
        return Ok(());
    }
    let said = |error: super::ports::CallError| Bound::Volumes(error.to_string());
    for (volume, claim) in &work.volumes {
        if !ports.leadership.leads() {
            return Err(Bound::NotLeading);
        }
        ports.volumes.bind(volume, claim).await.map_err(said)?;
    }
    for claim in &work.provisions {
        if !ports.leadership.leads() {
            return Err(Bound::NotLeading);
        }
        let call = ports.volumes.provision(claim, &binding.node);
        call.await.map_err(said)?;
    }
    let seconds = u64::try_from(work.volume_timeout_seconds).unwrap_or(0);
    let waiting = until_bound(cache, binding, work);
    match clock::timeout(Duration::from_secs(seconds), waiting).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(problem)) => Err(Bound::Volumes(format!("binding volumes: {problem}"))),
        Err(_) => {
            let problem = "binding volumes: context deadline exceeded";
            Err(Bound::Volumes(problem.to_owned()))
        }
    }
}

async fn until_bound(cache: &Cache, binding: &Binding, work: &PreBindWork) -> Result<(), String> {
    let mut changes = cache.changes();
    loop {
        changes.mark_unchanged();
        let snapshot = cache.snapshot();
        if cache.pod_by_uid(&binding.uid).is_none() {
            return Err("pod does not exist any more".to_owned());
        }
        if all_bound(&snapshot.objects.storage, binding, work)? {
            return Ok(());
        }
        drop(snapshot);
        if changes.changed().await.is_err() {
            return Err("the cluster is not watched any more".to_owned());
        }
    }
}

/// Whether every claim is bound by now.
///
/// # Errors
/// Why some never will be.
fn all_bound(storage: &Storage, binding: &Binding, work: &PreBindWork) -> Result<bool, String> {
    let mut all = true;
    for (decided, claim) in &work.volumes {
        let volume = storage.volumes.get(&decided.name);
        let volume = volume.ok_or_else(|| format!("pv {:?} is gone", decided.name))?;
        let now = storage.claims.get(&claim.key);
        let now = now.ok_or_else(|| format!("pvc \"{}\" is gone", claim.key))?;
        // Our own write is not to be seen yet.
        if volume.resource_version == decided.resource_version {
            all = false;
            continue;
        }
        if !volume.claim.as_ref().is_some_and(|c| !c.uid.is_empty()) {
            return Err(format!("ClaimRef got reset for pv {:?}", volume.name));
        }
        all &= now.is_bound();
    }
    for claim in &work.provisions {
        let now = storage.claims.get(&claim.key);
        let now = now.ok_or_else(|| format!("pvc \"{}\" is gone", claim.key))?;
        if now.resource_version == claim.resource_version {
            all = false;
            continue;
        }
        // A provisioner that fails takes the node back, so that another may be chosen.
        if now.selected_node.as_deref() != Some(&*binding.node) {
            return Err(format!("provisioning failed for PVC {:?}", claim.key.name));
        }
        all &= now.is_bound();
    }
    Ok(all)
}
