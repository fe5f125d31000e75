//! Evicting a pod: fenced, conditional, its budget respected.

use serde::{Deserialize, Serialize};

use crate::actions::context::Step;
use crate::actions::end::End;
use crate::actions::op::Who;
use crate::actions::ports::CallError;
use crate::model::{NamespacedName, Pod, PodPhase};

/// How often in a row a pod that changed under the call's hands is tried again at once. Each try looks
/// afresh, so that it fails again only if the pod has changed once more.
const AT_ONCE: u32 = 4;

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
    let mut refused: Option<String> = None;
    let mut at_once = AT_ONCE;
    loop {
        let tried = once(step, key, uid, named).await?;
        let waited = match tried {
            Tried::Done(detail) => return Ok(detail),
            Tried::Changed if at_once > 0 => {
                at_once -= 1;
                continue;
            }
            Tried::Changed => waker.next(&format!("pod {key} to be evicted")).await,
            Tried::Budget(message) => {
                step.note(&format!("waiting for a PodDisruptionBudget: {message}"))
                    .await?;
                refused = Some(message);
                // The budget's controller reacts to pods becoming Ready, or after two minutes.
                waker.next("a PodDisruptionBudget to allow it").await
            }
            Tried::Unavailable(error) => waker.pause(&error).await,
        };
        at_once = AT_ONCE;
        waited.map_err(|end| by_budget(end, key, refused.as_deref()))?;
    }
}

/// A deadline that passes after a budget's refusal was the budget's doing, whatever a later try was answered:
/// that says only that the pod changed or that the API server was slow.
fn by_budget(end: End, key: &NamespacedName, refused: Option<&str>) -> End {
    match (end, refused) {
        (End::Failed(failure), Some(message)) if failure.reason == "DeadlineExceeded" => {
            End::failed(
                "DisruptionBudget",
                format!("pod {key} was not evicted: {message}"),
            )
        }
        (end, _) => end,
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

/// What one try came to.
enum Tried {
    /// It is done; what is said about it.
    Done(String),
    /// The pod changed between two calls; a fresh look is worth another try.
    Changed,
    /// A PodDisruptionBudget forbids it for now.
    Budget(String),
    /// Worth a try later.
    Unavailable(CallError),
}

/// One try.
async fn once(step: &Step, key: &NamespacedName, uid: &str, named: bool) -> Result<Tried, End> {
    let cluster = &step.context.parts.cluster;
    let pod = match cluster.pod(key).await {
        Ok(pod) => pod.filter(|pod| pod.uid == uid),
        Err(error) => return Ok(Tried::Unavailable(error)),
    };
    let memo: Memo = step.memo().await;
    let ours = memo.uid == uid;
    let gone = || format!("pod {key} (uid {uid}) was deleted by another hand");
    let pod = match pod {
        None if ours => return Ok(Tried::Done(String::new())),
        Some(pod) if pod.deleted.is_some() && ours => return Ok(Tried::Done(String::new())),
        Some(pod) if pod.deleted.is_none() => pod,
        _ if named => return Err(End::failed("PodGone", gone())),
        _ => return Ok(Tried::Done("the pod was gone already".to_owned())),
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
        return Ok(Tried::Done(
            "the pod is unbound: no eviction needed".to_owned(),
        ));
    }
    step.may_act(ours)?;
    if !ours {
        step.remember(&Memo {
            uid: uid.to_owned(),
        })
        .await?;
    }
    match evict_now(step, key, &pod).await {
        Ok(()) => Ok(Tried::Done(format!("pod {key} evicted"))),
        Err(CallError::Gone(_) | CallError::Precondition(_)) => Ok(Tried::Changed),
        Err(CallError::Budget(message)) => Ok(Tried::Budget(message)),
        Err(error @ CallError::Unavailable { .. }) => Ok(Tried::Unavailable(error)),
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

#[cfg(test)]
mod tests;
