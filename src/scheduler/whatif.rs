//! What-ifs: would these pods fit on these nodes, one after another, without those others?

use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;

use super::framework::{Code, CycleState, Framework, Status};
use super::unsupported::unsupported;
use crate::cluster::{PodInfo, Snapshot};

/// The pod that a template would make, for a what-if.
#[must_use]
pub fn pod_of_template(namespace: &str, template: &api::PodTemplateSpec) -> api::Pod {
    let mut metadata = template.metadata.clone().unwrap_or_default();
    metadata.namespace = Some(namespace.to_owned());
    metadata.name.get_or_insert_with(|| "what-if".to_owned());
    api::Pod {
        metadata,
        spec: template.spec.clone(),
        status: None,
    }
}

/// Asks all filters of the profile about each pod on its node, in a cluster without the pods of the uids in
/// `without`; each pod that fits counts for the next ones. One answer per arrival: `Ok`, or the status of
/// the plugin that rejects.
#[must_use]
pub fn verdicts(
    framework: &Framework,
    snapshot: &Snapshot,
    arrivals: &[(api::Pod, String)],
    without: &[String],
) -> Vec<Result<(), Status>> {
    let mut world = without_pods(snapshot, without);
    let mut answers = Vec::with_capacity(arrivals.len());
    for (i, (pod, node)) in arrivals.iter().enumerate() {
        let answer = PodInfo::from_api(pod)
            .map_err(|e| Status::unresolvable(e.to_string()))
            .and_then(|mut info| {
                if let Some(problem) = info.problem.take() {
                    return Err(Status::unresolvable(problem.to_string()));
                }
                let mut row = (*info.pod).clone();
                row.uid = format!("what-if-{i}");
                row.node_name = None;
                info.pod = Arc::new(row);
                verdict(framework, &world, &info, node).map(|()| info)
            });
        answers.push(answer.map(|info| place(&mut world, Arc::new(info), node)));
    }
    answers
}

/// The cluster without the pods of these uids.
#[must_use]
pub fn without_pods(snapshot: &Snapshot, without: &[String]) -> Snapshot {
    let mut world = snapshot.clone();
    if without.is_empty() {
        return world;
    }
    let leaves = |pod: &PodInfo| without.iter().any(|uid| uid == pod.uid());
    for node in &mut world.nodes {
        if node.pods.iter().any(|p| leaves(p)) {
            let stay = node.pods.iter().filter(|p| !leaves(p)).cloned();
            *node = Arc::new(crate::cluster::NodeInfo::new(node.node.clone(), stay));
        }
    }
    world
}

fn verdict(
    framework: &Framework,
    world: &Snapshot,
    pod: &PodInfo,
    node: &str,
) -> Result<(), Status> {
    if let Some(status) = unsupported(framework, pod) {
        return Err(status);
    }
    let Some(row) = world.node(node) else {
        return Err(Status::unresolvable(format!("node {node:?} is not there")).by("ActionIntent"));
    };
    let mut state = CycleState::default();
    let (names, narrowing) = framework.pre_filter(&mut state, pod, world)?;
    if names.is_some_and(|names| !names.contains(node)) {
        let reason = super::framework::runtime::not_satisfied(&narrowing, false);
        let plugin = narrowing.first().copied().unwrap_or_default();
        return Err(Status::new(Code::UnschedulableAndUnresolvable, reason).by(plugin));
    }
    framework.filter(&state, pod, row)
}

fn place(world: &mut Snapshot, pod: Arc<PodInfo>, node: &str) {
    if let Some(at) = world.index.get(node).copied() {
        Arc::make_mut(&mut world.nodes[at]).add(pod);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::{Cache, ClusterEvent};
    use crate::scheduler::framework::Profile;
    use crate::scheduler::intents::IntentBook;
    use crate::scheduler::plugins::registry;

    fn arrival(cpu: &str, node: &str) -> (api::Pod, String) {
        let template = json!({"metadata":{"labels":{"app":"x"}},
            "spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":cpu}}}]}});
        (
            pod_of_template("d", &serde_json::from_value(template).unwrap()),
            node.to_owned(),
        )
    }

    #[test]
    fn arrivals_count_for_each_other_and_leavers_do_not_count() {
        let cache = Cache::new();
        for name in ["a", "b"] {
            let node =
                json!({"metadata":{"name":name},"status":{"allocatable":{"cpu":"2","pods":"9"}}});
            cache.apply(ClusterEvent::Node(Arc::new(
                serde_json::from_value(node).unwrap(),
            )));
        }
        let pod = json!({"metadata":{"namespace":"d","name":"old","uid":"old"},"spec":{"nodeName":"a",
            "containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]}});
        cache.apply(ClusterEvent::Pod(Arc::new(
            serde_json::from_value(pod).unwrap(),
        )));
        let framework = Framework::new(
            &Profile::new("s"),
            &registry(Arc::new(IntentBook::default())),
        )
        .unwrap();
        let ask = |arrivals: &[(api::Pod, String)], without: &[String]| -> Vec<Option<String>> {
            let answers = verdicts(&framework, &cache.snapshot(), arrivals, without);
            answers
                .into_iter()
                .map(|a| a.err().map(|s| s.to_string()))
                .collect()
        };
        let full = Some("NodeResourcesFit: Insufficient cpu".to_owned());
        let two = [arrival("1", "a"), arrival("1", "a")];
        assert_eq!(ask(&two, &[]), [None, full.clone()]);
        assert_eq!(ask(&two, &["old".into()]), [None, None]);
        assert_eq!(
            ask(&[arrival("3", "a"), arrival("1", "b")], &[]),
            [full, None]
        );
        let nowhere = ask(&[arrival("1", "c")], &[]);
        assert_eq!(
            nowhere,
            [Some("ActionIntent: node \"c\" is not there".to_owned())]
        );
        assert_eq!(
            cache.snapshot().node("a").unwrap().pods.len(),
            1,
            "nothing was changed"
        );
    }
}
