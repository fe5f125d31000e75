//! Posts the kubelets' events: in the background, so many a second at most, and the same one again only
//! counts up the one that is there.
//!
//! Events are best effort: what is too much is lost, and no pod waits for one.

use std::collections::BTreeMap;
use std::time::Duration;

use ::kube::api::{Patch, PatchParams, PostParams};
use ::kube::{Api, Client};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::machine::told::{Subject, Told, key_of};
use crate::clock;
use crate::sandbox::controllers::objects::now;

/// How many events may wait to be posted, and how many are remembered for counting up.
const LIMIT: usize = 2048;
/// The pause after each: no more than 200 a second.
const PAUSE: Duration = Duration::from_millis(5);

/// A handle with which events are posted; without a sender they are not.
#[derive(Clone, Debug)]
pub(super) struct Teller(Option<mpsc::Sender<(Told, Time)>>);

impl Teller {
    /// A teller, and the future that does the posting until `shutdown`. Unless `tells`, neither does
    /// anything.
    pub(super) fn new(
        client: Client,
        tells: bool,
        shutdown: CancellationToken,
    ) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(LIMIT);
        let teller = Self(tells.then_some(sender));
        (teller, post(client, receiver, shutdown))
    }

    /// Whether anything is posted.
    pub(super) fn tells(&self) -> bool {
        self.0.is_some()
    }

    /// Posts the event, or loses it.
    pub(super) fn tell(&self, told: Told) {
        if let Some(sender) = &self.0
            && let Err(error) = sender.try_send((told, now()))
        {
            tracing::trace!(%error, "an event was dropped");
        }
    }
}

async fn post(
    client: Client,
    mut receiver: mpsc::Receiver<(Told, Time)>,
    shutdown: CancellationToken,
) {
    let mut posted: BTreeMap<(String, String, String), (String, i32)> = BTreeMap::new();
    loop {
        let next = tokio::select! {
            next = receiver.recv() => next,
            () = shutdown.cancelled() => return,
        };
        let Some((told, at)) = next else { return };
        if posted.len() >= LIMIT {
            posted.clear();
        }
        let event = event_of(&told, &at);
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let about = event.involved_object.uid.clone().unwrap_or_default();
        let field = event.involved_object.field_path.clone().unwrap_or_default();
        let same = (format!("{about} {field}"), told.reason, told.message);
        let mut counted = false;
        if let Some((name, count)) = posted.get_mut(&same) {
            *count += 1;
            let patch = json!({"count": *count, "lastTimestamp": at});
            let patch = Patch::Merge(&patch);
            counted = api
                .patch(name, &PatchParams::default(), &patch)
                .await
                .is_ok();
        }
        if !counted {
            match api.create(&PostParams::default(), &event).await {
                Ok(created) => {
                    posted.insert(same, (created.metadata.name.unwrap_or_default(), 1));
                }
                Err(error) => tracing::debug!(%error, "an event was not accepted"),
            }
        }
        clock::sleep(PAUSE).await;
    }
}

fn event_of(told: &Told, at: &Time) -> Event {
    let key = key_of(told);
    let regarding = match &told.subject {
        Subject::Pod(pod, field) => ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            resource_version: pod.metadata.resource_version.clone(),
            field_path: field.clone(),
        },
        // A kubelet knows its node by name only (pkg/kubelet/kubelet.go, `nodeRef`).
        Subject::Node => ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(told.node.clone()),
            uid: Some(told.node.clone()),
            ..ObjectReference::default()
        },
    };
    let namespace = match key.namespace.as_str() {
        "" => "default",
        namespace => namespace,
    };
    Event {
        metadata: ObjectMeta {
            // client-go: the object's name and the time in nanoseconds, in hexadecimal.
            name: Some(format!("{}.{:x}", key.name, clock::now().as_nanosecond())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: regarding,
        reason: Some(told.reason.clone()),
        message: Some(told.message.clone()),
        source: Some(EventSource {
            component: Some("kubelet".to_owned()),
            host: Some(told.node.clone()),
        }),
        reporting_component: Some("kubelet".to_owned()),
        reporting_instance: Some(told.node.clone()),
        first_timestamp: Some(at.clone()),
        last_timestamp: Some(at.clone()),
        count: Some(1),
        type_: Some(if told.warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}
