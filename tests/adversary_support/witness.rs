//! A witness that misses nothing: it watches the pods of one namespace from before the first is made, and
//! tells by uid which ones were there, which ones left, and how few were available at the worst moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};

/// A pod as it was last seen.
#[derive(Debug, Clone)]
pub struct Seen {
    pub name: String,
    pub uid: String,
    pub node: Option<String>,
    pub image: String,
    pub ready: bool,
    /// It has a deletion timestamp, or is gone.
    pub leaving: bool,
}

#[derive(Debug, Default)]
struct Record {
    pods: BTreeMap<String, Seen>,
    lowest: usize,
}

impl Record {
    fn available(&self) -> usize {
        let counts = |pod: &&Seen| pod.ready && !pod.leaving;
        self.pods.values().filter(counts).count()
    }

    fn take_in(&mut self, pod: &Pod, gone: bool) {
        let uid = pod.metadata.uid.clone().expect("a uid");
        let spec = pod.spec.as_ref().expect("a spec");
        let ready = pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let seen = Seen {
            name: pod.metadata.name.clone().expect("a name"),
            uid: uid.clone(),
            node: spec.node_name.clone(),
            image: spec.containers[0].image.clone().unwrap_or_default(),
            ready,
            leaving: gone || pod.metadata.deletion_timestamp.is_some(),
        };
        self.pods.insert(uid, seen);
        self.lowest = self.lowest.min(self.available());
    }
}

/// See the module.
#[derive(Debug)]
pub struct Witness {
    record: Arc<Mutex<Record>>,
    task: tokio::task::JoinHandle<()>,
}

impl Witness {
    /// Watches from now on.
    pub async fn of(client: kube::Client, namespace: &str) -> Self {
        let pods: Api<Pod> = Api::namespaced(client, namespace);
        let list = pods.list(&ListParams::default()).await.expect("a list");
        let mut version = list.metadata.resource_version.clone().expect("a version");
        let record = Arc::new(Mutex::new(Record::default()));
        for pod in &list.items {
            record.lock().expect("no panic").take_in(pod, false);
        }
        let shared = Arc::clone(&record);
        let task = tokio::spawn(async move {
            let params = WatchParams::default().timeout(290);
            loop {
                // A watch that was cut goes on where it ended: history is kept for minutes.
                let Ok(stream) = pods.watch(&params, &version).await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let mut stream = stream.boxed();
                while let Ok(Some(event)) = stream.try_next().await {
                    let (pod, gone) = match event {
                        WatchEvent::Added(pod) | WatchEvent::Modified(pod) => (pod, false),
                        WatchEvent::Deleted(pod) => (pod, true),
                        WatchEvent::Bookmark(_) => continue,
                        WatchEvent::Error(error) => panic!("the watch lost its place: {error:?}"),
                    };
                    version = pod.metadata.resource_version.clone().expect("a version");
                    shared.lock().expect("no panic").take_in(&pod, gone);
                }
            }
        });
        Self { record, task }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        assert!(!self.task.is_finished(), "the witness has stopped watching");
        self.record.lock().expect("no panic")
    }

    /// The pods that are there and not leaving.
    pub fn alive(&self) -> Vec<Seen> {
        let record = self.record();
        let alive = record.pods.values().filter(|pod| !pod.leaving);
        alive.cloned().collect()
    }

    /// Their uids.
    pub fn uids(&self) -> BTreeSet<String> {
        self.alive().into_iter().map(|pod| pod.uid).collect()
    }

    /// Forgets the worst moment until now.
    pub fn begin(&self) {
        let mut record = self.record();
        record.lowest = record.available();
    }

    /// How few pods were available (Ready, not leaving) at the worst moment since [`Self::begin`].
    pub fn lowest(&self) -> usize {
        self.record().lowest
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}
