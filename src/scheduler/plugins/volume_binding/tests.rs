use serde_json::{Value, json};

use super::*;
use crate::cluster::{Cache, read};
use crate::scheduler::plugins::testing;

fn world(objects: &[Value]) -> Arc<Snapshot> {
    let cache = Cache::new();
    for name in ["a", "b"] {
        let node = json!({"kind":"Node","metadata":{"name":name,"labels":{"zone":name}}});
        cache.apply(read::event_of(node).unwrap().unwrap());
    }
    for object in objects {
        cache.apply(read::event_of(object.clone()).unwrap().unwrap());
    }
    cache.snapshot()
}

fn class(mode: &str, provisioner: &str) -> Value {
    json!({"kind":"StorageClass","metadata":{"name":"c"},"provisioner":provisioner,"volumeBindingMode":mode})
}

fn claim(name: &str, size: &str) -> Value {
    json!({"kind":"PersistentVolumeClaim","metadata":{"namespace":"d","name":name,"uid":name},
        "spec":{"storageClassName":"c","accessModes":["ReadWriteOnce"],
            "resources":{"requests":{"storage":size}}}})
}

fn volume(name: &str, size: &str, zone: &str) -> Value {
    json!({"kind":"PersistentVolume","metadata":{"name":name},"spec":{"storageClassName":"c",
        "accessModes":["ReadWriteOnce"],"capacity":{"storage":size},"nodeAffinity":{"required":
            {"nodeSelectorTerms":[{"matchExpressions":[{"key":"zone","operator":"In","values":[zone]}]}]}}},
        "status":{"phase":"Available"}})
}

fn using(claims: &[&str]) -> PodInfo {
    let volumes = claims
        .iter()
        .map(|c| json!({"name":c,"persistentVolumeClaim":{"claimName":c}}));
    testing::pod(json!({"containers":[],"volumes":volumes.collect::<Vec<_>>()}))
}

const PLUGIN: VolumeBinding = VolumeBinding {
    timeout_seconds: 600,
};

/// What is said per node, or about all.
fn verdicts(
    pod: &PodInfo,
    snapshot: &Snapshot,
) -> Result<[Result<PreBindWork, String>; 2], String> {
    let mut state = CycleState::default();
    PLUGIN
        .pre_filter(&mut state, pod, snapshot)
        .map_err(|s| s.message())?;
    Ok(["a", "b"].map(|name| {
        let node = snapshot.node(name).unwrap();
        PLUGIN.filter(&state, pod, node).map_err(|s| s.message())?;
        let mut work = PreBindWork::default();
        PLUGIN.pre_bind(&state, pod, name, &mut work).unwrap();
        Ok(work)
    }))
}

fn bound(work: &Result<PreBindWork, String>) -> Vec<(&str, &str)> {
    let pairs = work.as_ref().unwrap().volumes.iter();
    pairs
        .map(|(v, c)| (v.name.as_str(), c.key.name.as_str()))
        .collect()
}

#[test]
fn the_smallest_volume_that_the_node_reaches_and_each_once() {
    let snapshot = world(&[
        class("WaitForFirstConsumer", "kubernetes.io/no-provisioner"),
        claim("small", "1Gi"),
        claim("large", "3Gi"),
        volume("v2", "2Gi", "a"),
        volume("v4", "4Gi", "a"),
        volume("v9", "9Gi", "a"),
        volume("w2", "2Gi", "b"),
    ]);
    let [a, b] = verdicts(&using(&["large", "small"]), &snapshot).unwrap();
    assert_eq!(bound(&a), [("v2", "small"), ("v4", "large")]);
    assert_eq!(
        b.unwrap_err(),
        "node(s) didn't find available persistent volumes to bind"
    );
}

#[test]
fn what_is_not_there_is_made_if_there_is_room() {
    let tracked =
        json!({"kind":"CSIDriver","metadata":{"name":"csi"},"spec":{"storageCapacity":true}});
    let room = json!({"kind":"CSIStorageCapacity","metadata":{"namespace":"k","name":"r"},
        "storageClassName":"c","capacity":"5Gi","nodeTopology":{"matchLabels":{"zone":"a"}}});
    let mut objects = vec![class("WaitForFirstConsumer", "csi"), claim("x", "4Gi")];
    let [a, b] = verdicts(&using(&["x"]), &world(&objects)).unwrap();
    assert!(
        a.unwrap().provisions.len() == 1 && b.is_ok(),
        "nobody counts"
    );
    objects.extend([tracked, room]);
    let [a, b] = verdicts(&using(&["x"]), &world(&objects)).unwrap();
    assert!(a.is_ok());
    assert_eq!(b.unwrap_err(), "node(s) did not have enough free storage");
}

#[test]
fn says_what_is_wrong_with_claims() {
    let immediate = world(&[class("Immediate", "csi"), claim("x", "1Gi")]);
    let problem = |pod: &PodInfo, world: &Snapshot| verdicts(pod, world).unwrap_err();
    assert_eq!(
        problem(&using(&["x"]), &immediate),
        "pod has unbound immediate PersistentVolumeClaims"
    );
    assert_eq!(
        problem(&using(&["y"]), &immediate),
        "persistentvolumeclaim \"y\" not found"
    );
    let mut lost = claim("x", "1Gi");
    lost["spec"]["volumeName"] = json!("v");
    lost["status"] = json!({"phase":"Lost"});
    assert_eq!(
        problem(&using(&["x"]), &world(&[lost])),
        "persistentvolumeclaim \"x\" bound to non-existent persistentvolume \"v\""
    );
}

#[test]
fn a_bound_volume_must_be_reached() {
    let mut taken = claim("x", "1Gi");
    taken["metadata"]["annotations"] = json!({"pv.kubernetes.io/bind-completed":"yes"});
    taken["spec"]["volumeName"] = json!("v");
    let mut objects = vec![taken, volume("v", "1Gi", "b")];
    let [a, b] = verdicts(&using(&["x"]), &world(&objects)).unwrap();
    assert_eq!(
        a.unwrap_err(),
        "node(s) didn't match PersistentVolume's node affinity"
    );
    assert_eq!(b.unwrap(), PreBindWork::default());
    objects.pop();
    let [a, _] = verdicts(&using(&["x"]), &world(&objects)).unwrap();
    assert_eq!(
        a.unwrap_err(),
        "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
    );
}
