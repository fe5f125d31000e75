//! ImageLocality: prefers nodes that hold the pod's images already.

use crate::cluster::{NodeInfo, PodInfo, Snapshot};
use crate::scheduler::framework::CycleState;
use crate::scheduler::framework::plugin::{MAX_SCORE, Plugin, Score};

const MIB: i64 = 1024 * 1024;
const MIN: i64 = 23 * MIB;
const MAX_PER_CONTAINER: i64 = 1000 * MIB;

/// See the module.
#[derive(Debug)]
pub struct ImageLocality;

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl Score for ImageLocality {
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo, snapshot: &Snapshot) -> i64 {
        let total = snapshot.nodes.len() as f64;
        let held = pod.spec.images.iter().filter_map(|image| {
            node.node.image_size(image)?;
            let state = snapshot.image_nodes.get(image)?;
            // Discounted by how few nodes hold it, lest all pods go where an image was first.
            let spread = f64::from(state.nodes) / total;
            Some((state.size as f64 * spread) as i64)
        });
        let containers = i64::try_from(pod.spec.containers).unwrap_or(i64::MAX);
        let max = MAX_PER_CONTAINER.saturating_mul(containers);
        if max <= MIN {
            return 0;
        }
        let sum = held.sum::<i64>().clamp(MIN, max);
        MAX_SCORE * (sum - MIN) / (max - MIN)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scheduler::plugins::testing;

    #[test]
    fn counts_the_bytes_held_discounted_by_spread() {
        let holding = |name: &str, mib: i64| json!({"metadata":{"name":name},"status":{"images":[{"names":["big:latest"],"sizeBytes":mib*MIB}]}});
        let empty = |name: &str| json!({"metadata":{"name":name}});
        let snapshot =
            testing::snapshot(&[holding("a", 800), holding("b", 800), empty("c"), empty("d")]);
        let pod = testing::pod(json!({"containers":[{"name":"c","image":"big"}]}));
        let score = |node: &str| {
            ImageLocality.score(
                &CycleState::default(),
                &pod,
                snapshot.node(node).unwrap(),
                &snapshot,
            )
        };
        // 800 MiB on two of four nodes: (400-23)*100/(1000-23)
        assert_eq!(score("a"), 38);
        assert_eq!(score("c"), 0);
        let small = testing::snapshot(&[holding("a", 20)]);
        assert_eq!(
            ImageLocality.score(
                &CycleState::default(),
                &pod,
                small.node("a").unwrap(),
                &small
            ),
            0
        );
        let huge = testing::snapshot(&[holding("a", 5000)]);
        assert_eq!(
            ImageLocality.score(&CycleState::default(), &pod, huge.node("a").unwrap(), &huge),
            100
        );
    }

    #[test]
    fn an_image_has_the_size_that_its_first_node_tells() {
        let holding = |name: &str, mib: i64| json!({"metadata":{"name":name},"status":{"images":[{"names":["big:latest"],"sizeBytes":mib*MIB}]}});
        let snapshot = testing::snapshot(&[holding("a", 500), holding("b", 900)]);
        let pod = testing::pod(json!({"containers":[{"name":"c","image":"big"}]}));
        let node = snapshot.node("b").unwrap();
        let score = ImageLocality.score(&CycleState::default(), &pod, node, &snapshot);
        // (500-23)*100/(1000-23)
        assert_eq!(score, 48);
    }
}
