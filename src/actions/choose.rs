//! Which shape an order takes, by the scheduler's own filters and by the budgets.

use super::end::End;
use super::options::Strategy;
use super::order::{Order, Target, Verb};
use super::plan::Shape;
use super::ports::{Arrival, CallError, Cluster, Placement, Verdict};
use crate::model::WorkloadRef;

/// Chooses.
///
/// # Errors
/// A failure with the reasons when there is no way. Nothing was touched.
pub async fn shape(
    order: &Order,
    cluster: &dyn Cluster,
    placement: &dyn Placement,
) -> Result<Shape, End> {
    let chooser = Chooser { cluster, placement };
    match &order.verb {
        Verb::Create { workload, node } => {
            chooser
                .fits(&[(workload, node)], &[])
                .await?
                .map_err(Refusal::into_end)?;
            Ok(Shape::Surge)
        }
        Verb::Delete { pod } => {
            chooser.is_there(pod).await?;
            Ok(Shape::Surge)
        }
        Verb::Move { pod, node } if pod.node == *node => Ok(Shape::Surge),
        Verb::Move { pod, node } => {
            chooser.is_there(pod).await?;
            chooser.moving(order.strategy, pod, node).await
        }
        Verb::Swap { x, y } => {
            for pod in std::iter::once(x).chain(y) {
                chooser.is_there(pod).await?;
            }
            chooser.swapping(order.strategy, x, y).await
        }
    }
}

/// The shape of a Move that could not surge, against all that the filters know (a quota forbids the new pod): it
/// may be recreated, if its budget allows that now. `None`: the order is none, or wants no other way.
///
/// # Errors
/// A failure with the reasons when that is no way either. Nothing was touched.
pub async fn instead(
    order: &Order,
    cluster: &dyn Cluster,
    placement: &dyn Placement,
) -> Result<Option<Shape>, End> {
    let (Verb::Move { pod, node }, Strategy::Auto) = (&order.verb, order.strategy) else {
        return Ok(None);
    };
    let chooser = Chooser { cluster, placement };
    chooser.is_there(pod).await?;
    let shape = chooser.recreating(order.strategy, pod, node, None).await?;
    Ok(Some(shape))
}

/// Why arrivals do not fit.
struct Refusal {
    node: String,
    workload: String,
    plugin: String,
    reasons: Vec<String>,
}

impl Refusal {
    fn into_end(self) -> End {
        End::failed("Infeasible", self.to_string())
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            node,
            workload,
            plugin,
            reasons,
        } = self;
        write!(
            f,
            "a pod of {workload} does not fit on {node}: {plugin}: {}",
            reasons.join(", ")
        )
    }
}

struct Chooser<'a> {
    cluster: &'a dyn Cluster,
    placement: &'a dyn Placement,
}

impl Chooser<'_> {
    async fn fits(
        &self,
        wanted: &[(&WorkloadRef, &str)],
        without: &[String],
    ) -> Result<Result<(), Refusal>, End> {
        let mut arrivals = Vec::with_capacity(wanted.len());
        for (workload, node) in wanted {
            let found = self.cluster.deployment(&workload.key()).await?;
            let Some(deployment) = found.filter(|found| found.uid == workload.uid) else {
                return Err(End::failed(
                    "WorkloadGone",
                    format!("{workload} does not exist any more"),
                ));
            };
            arrivals.push(Arrival {
                deployment,
                node: (*node).to_owned(),
            });
        }
        let verdicts = self.placement.verdicts(&arrivals, without).await;
        for (verdict, (workload, node)) in verdicts.into_iter().zip(wanted) {
            if let Verdict::Infeasible { plugin, reasons } = verdict {
                let (node, workload) = ((*node).to_owned(), workload.to_string());
                return Ok(Err(Refusal {
                    node,
                    workload,
                    plugin,
                    reasons,
                }));
            }
        }
        Ok(Ok(()))
    }

    async fn is_there(&self, target: &Target) -> Result<(), End> {
        let pod = self.cluster.pod(&target.pod).await?;
        if pod.is_some_and(|pod| pod.uid == target.uid && pod.is_active()) {
            return Ok(());
        }
        Err(End::failed(
            "PodGone",
            format!(
                "pod {} (uid {}) is not there any more; nothing was done",
                target.pod, target.uid
            ),
        ))
    }

    /// Whether the budgets allow the eviction now; asks the API server itself, spending nothing.
    async fn evictable(&self, target: &Target) -> Result<Result<(), String>, End> {
        let Some(pod) = self.cluster.pod(&target.pod).await? else {
            return Ok(Ok(()));
        };
        let asked = self
            .cluster
            .evict(&target.pod, &target.uid, &pod.resource_version, true)
            .await;
        match asked {
            Err(CallError::Budget(message)) => Ok(Err(message)),
            Err(CallError::Refused(message)) => Err(End::failed("Refused", message)),
            _ => Ok(Ok(())),
        }
    }

    async fn moving(&self, strategy: Strategy, pod: &Target, node: &str) -> Result<Shape, End> {
        let arrival = [(&pod.workload, node)];
        let surge = match strategy {
            Strategy::Recreate => None,
            Strategy::Auto | Strategy::Surge => match self.fits(&arrival, &[]).await? {
                Ok(()) => return Ok(Shape::Surge),
                Err(refusal) if strategy == Strategy::Surge => return Err(refusal.into_end()),
                Err(refusal) => Some(refusal),
            },
        };
        self.recreating(strategy, pod, node, surge).await
    }

    /// `surge`: why a new pod cannot come first, if that was asked.
    async fn recreating(
        &self,
        strategy: Strategy,
        pod: &Target,
        node: &str,
        surge: Option<Refusal>,
    ) -> Result<Shape, End> {
        let arrival = [(&pod.workload, node)];
        if let Err(refusal) = self.fits(&arrival, std::slice::from_ref(&pod.uid)).await? {
            return Err(surge.unwrap_or(refusal).into_end());
        }
        match self.evictable(pod).await? {
            Ok(()) => Ok(Shape::Recreate),
            // An explicit Recreate waits for its budget.
            Err(_) if strategy == Strategy::Recreate => Ok(Shape::Recreate),
            Err(message) => Err(End::failed(
                "DisruptionBudget",
                format!(
                    "there is no room to surge, and pod {} may not go first: {message}",
                    pod.pod
                ),
            )),
        }
    }

    async fn swapping(&self, strategy: Strategy, x: &Target, y: &[Target]) -> Result<Shape, End> {
        let there = y.first().map(|pod| pod.node.as_str()).unwrap_or_default();
        let mut all = vec![(&x.workload, there)];
        let incoming: Vec<(&WorkloadRef, &str)> = y
            .iter()
            .map(|pod| (&pod.workload, x.node.as_str()))
            .collect();
        all.extend(incoming.iter().copied());
        if strategy != Strategy::Recreate {
            match self.fits(&all, &[]).await? {
                Ok(()) => return Ok(Shape::Surge),
                Err(refusal) if strategy == Strategy::Surge => return Err(refusal.into_end()),
                Err(_) => {}
            }
        }
        // Each side must fit once the other has left.
        let ys: Vec<String> = y.iter().map(|pod| pod.uid.clone()).collect();
        let both = [
            self.fits(&all[..1], &ys).await?,
            self.fits(&incoming, std::slice::from_ref(&x.uid)).await?,
        ];
        for fit in both {
            fit.map_err(Refusal::into_end)?;
        }
        let Err(x_blocked) = self.evictable(x).await? else {
            return Ok(Shape::XFirst);
        };
        for pod in y {
            if let Err(y_blocked) = self.evictable(pod).await? {
                return Err(End::failed(
                    "DisruptionBudget",
                    format!(
                        "one side must go first, and neither may: pod {}: {x_blocked}; pod {}: {y_blocked}",
                        x.pod, pod.pod
                    ),
                ));
            }
        }
        Ok(Shape::YFirst)
    }
}
