//! Evicting a pod: fenced, conditional, its budget respected.

use serde::{Deserialize, Serialize};

use crate::actions::context::{Step, Waker};
use crate::actions::end::End;
use crate::actions::op::Who;
use crate::actions::ports::CallError;
use crate::model::{NamespacedName, Pod, PodPhase};

/// Written ahead of the first call that touches the pod.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Memo {
    /// The pod of this uid is being evicted by us: if it is found gone, that was us.
    uid: String,
}

pub(super) async fn evict(step: &Step, who: &Who) -> Result<String, End> {
    let (key, uid, named) = match who {
        Who::Named(target) => (target.pod.clone(), target.uid.clone(), true),
        Who::Claimant(intent) => {
            let Some(claim) = step.intent(*intent).await?.claim else {
                return Ok("no pod was made".to_owned());
            };
            (
                NamespacedName::new(claim.namespace, claim.name),
                claim.uid,
                false,
            )
        }
    };
    let ended = until_done(step, &key, &uid, named).await;
    settled(step, &key, &uid, ended).await
}

async fn until_done(
    step: &Step,
    key: &NamespacedName,
    uid: &str,
    named: bool,
) -> Result<String, End> {
    let mut waker = step.waker();
    loop {
        match once(step, &mut waker, key, uid, named).await? {
            Some(detail) => return Ok(detail),
            None => waker.next(&format!("pod {key} to be evicted")).await?,
        }
    }
}

/// A step that gives up may have an eviction under way whose answer was lost. It finds out: the pod terminates
/// or is gone, or it is fenced once more, on which a late eviction fails its precondition.
async fn settled(
    step: &Step,
    key: &NamespacedName,
    uid: &str,
    ended: Result<String, End>,
) -> Result<String, End> {
    let memo: Memo = step.memo().await;
    if !matches!(ended, Err(End::Failed(_) | End::Halted)) || memo.uid != uid {
        return ended;
    }
    let sure = step.settling();
    let mut waker = sure.waker();
    let cluster = &step.context.parts.cluster;
    loop {
        let asked = match cluster.pod(key).await {
            Ok(Some(pod)) if pod.uid == uid && pod.deleted.is_none() => {
                cluster.fence_pod(key, uid, &step.mark()).await.map(Some)
            }
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        };
        match asked {
            Ok(None) | Err(CallError::Gone(_)) => return Ok(format!("pod {key} evicted")),
            Ok(Some(pod)) if pod.deleted.is_none() => return ended,
            Ok(Some(_)) | Err(CallError::Precondition(_)) => {}
            Err(CallError::Refused(_) | CallError::Budget(_)) => return ended,
            Err(error) => match waker.pause(&error).await {
                Err(End::Failed(unknown)) => {
                    return Err(End::failed(
                        "OutcomeUnknown",
                        format!(
                            "whether pod {key} was evicted could not be found out: {}",
                            unknown.message
                        ),
                    ));
                }
                other => other?,
            },
        }
    }
}

/// One try. `None`: look again.
async fn once(
    step: &Step,
    waker: &mut Waker,
    key: &NamespacedName,
    uid: &str,
    named: bool,
) -> Result<Option<String>, End> {
    let cluster = &step.context.parts.cluster;
    let pod = match cluster.pod(key).await {
        Ok(pod) => pod.filter(|pod| pod.uid == uid),
        Err(error) => {
            waker.pause(&error).await?;
            return Ok(None);
        }
    };
    let memo: Memo = step.memo().await;
    let ours = memo.uid == uid;
    let gone = || format!("pod {key} (uid {uid}) was deleted by another hand");
    let pod = match pod {
        None if ours => return Ok(Some(String::new())),
        Some(pod) if pod.deleted.is_some() && ours => return Ok(Some(String::new())),
        Some(pod) if pod.deleted.is_none() => pod,
        _ if named => return Err(End::failed("PodGone", gone())),
        _ => return Ok(Some("the pod was gone already".to_owned())),
    };
    if named && matches!(pod.phase, PodPhase::Failed | PodPhase::Succeeded) {
        return Err(End::failed(
            "PodFinished",
            format!(
                "pod {key} has finished ({:?}); its workload counts it no more",
                pod.phase
            ),
        ));
    }
    if !named && pod.node_name.is_none() {
        return Ok(Some("the pod is unbound: no eviction needed".to_owned()));
    }
    step.may_act(ours)?;
    if !ours {
        step.remember(&Memo {
            uid: uid.to_owned(),
        })
        .await?;
    }
    match evict_now(step, key, &pod).await {
        Ok(()) => Ok(Some(format!("pod {key} evicted"))),
        Err(CallError::Gone(_) | CallError::Precondition(_)) => Ok(None),
        Err(CallError::Budget(message)) => {
            step.note(&format!("waiting for a PodDisruptionBudget: {message}"))
                .await?;
            // The budget's controller reacts to pods becoming Ready, or after two minutes.
            match waker.next("a PodDisruptionBudget to allow it").await {
                Err(End::Failed(mut failure)) => {
                    failure.reason = "DisruptionBudget".to_owned();
                    failure.message = format!("pod {key} was not evicted: {message}");
                    Err(End::Failed(failure))
                }
                other => other.map(|()| None),
            }
        }
        Err(error @ CallError::Unavailable { .. }) => {
            waker.pause(&error).await?;
            Ok(None)
        }
        Err(error @ CallError::Refused(_)) => Err(error.into()),
    }
}

/// Patches the fence and evicts with what the patch answered as preconditions. Whoever else was about to
/// evict on an older read answers 409.
pub(super) async fn evict_now(
    step: &Step,
    key: &NamespacedName,
    pod: &Pod,
) -> Result<(), CallError> {
    let cluster = &step.context.parts.cluster;
    let fenced = cluster.fence_pod(key, &pod.uid, &step.mark()).await?;
    cluster
        .evict(key, &pod.uid, &fenced.resource_version, false)
        .await
}
