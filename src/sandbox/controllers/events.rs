//! Posts core/v1 Events for the controllers, as client-go's recorder does: in the background, and
//! the same event again only counts up the one that is there.
//!
//! The recorder's task owns the memory of what it posted. Events are best effort: a full channel or
//! a failing API server loses events, never work.

use std::collections::{BTreeMap, BTreeSet};

use ::kube::api::{Patch, PatchParams, PostParams};
use ::kube::{Api, Client, Resource};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::objects::now;

/// How many events may wait to be posted, and how many are remembered for counting up.
const LIMIT: usize = 4096;

#[derive(Debug)]
struct Record {
    regarding: ObjectReference,
    warning: bool,
    reason: &'static str,
    message: String,
    at: Time,
}

/// A handle with which events are posted.
#[derive(Clone, Debug)]
pub struct Recorder {
    sender: mpsc::Sender<Record>,
}

impl Recorder {
    /// A recorder that posts as `component` (and `host`, for kubelets), and the future that does
    /// the posting until `shutdown`.
    pub fn new(
        client: Client,
        component: &'static str,
        shutdown: CancellationToken,
    ) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(LIMIT);
        (Self { sender }, post(client, component, receiver, shutdown))
    }

    /// Something went as it should.
    pub fn normal<K>(&self, object: &K, reason: &'static str, message: impl Into<String>)
    where
        K: Resource<DynamicType = ()>,
    {
        self.send(object, false, reason, message.into());
    }

    /// Something wants a look.
    pub fn warning<K>(&self, object: &K, reason: &'static str, message: impl Into<String>)
    where
        K: Resource<DynamicType = ()>,
    {
        self.send(object, true, reason, message.into());
    }

    fn send<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        warning: bool,
        reason: &'static str,
        message: String,
    ) {
        let meta = object.meta();
        let regarding = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: None,
        };
        let record = Record {
            regarding,
            warning,
            reason,
            message,
            at: now(),
        };
        if self.sender.try_send(record).is_err() {
            tracing::debug!(reason, "an event was dropped");
        }
    }
}

type Same = (Option<String>, bool, &'static str, String);

/// How many different messages of one kind about one object are told apart, and for how long they are
/// remembered (`defaultAggregateMaxEvents`, `defaultAggregateIntervalInSeconds` of client-go).
const APART: usize = 10;
const REMEMBERED_SECONDS: i64 = 600;

/// Messages of one reason about one object (`EventAggregator` of client-go).
#[derive(Debug)]
struct Similar {
    messages: BTreeSet<String>,
    last: jiff::Timestamp,
}

type Kind = (Option<String>, bool, &'static str);

/// Answers whether there were so many similar events that this one is only counted.
fn aggregates(similar: &mut BTreeMap<Kind, Similar>, record: &Record) -> bool {
    if similar.len() >= LIMIT {
        similar.clear();
    }
    let kind = (record.regarding.uid.clone(), record.warning, record.reason);
    let at = record.at.0;
    let known = similar.entry(kind).or_insert_with(|| Similar {
        messages: BTreeSet::new(),
        last: at,
    });
    if at.as_second() - known.last.as_second() > REMEMBERED_SECONDS {
        known.messages.clear();
    }
    known.last = at;
    known.messages.insert(record.message.clone());
    if known.messages.len() < APART {
        return false;
    }
    known.messages.pop_last();
    true
}

async fn post(
    client: Client,
    component: &'static str,
    mut records: mpsc::Receiver<Record>,
    shutdown: CancellationToken,
) {
    let mut posted: BTreeMap<Same, (String, i32)> = BTreeMap::new();
    let mut similar: BTreeMap<Kind, Similar> = BTreeMap::new();
    loop {
        let record = tokio::select! {
            record = records.recv() => record,
            () = shutdown.cancelled() => return,
        };
        let Some(mut record) = record else { return };
        let aggregated = aggregates(&mut similar, &record);
        if aggregated {
            record.message = format!("(combined from similar events): {}", record.message);
        }
        if posted.len() >= LIMIT {
            posted.clear();
        }
        let namespace = record
            .regarding
            .namespace
            .clone()
            .unwrap_or_else(|| "default".into());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let same = (
            record.regarding.uid.clone(),
            record.warning,
            record.reason,
            match aggregated {
                true => String::new(),
                false => record.message.clone(),
            },
        );
        if let Some((name, count)) = posted.get_mut(&same) {
            *count += 1;
            let patch = json!({
                "count": *count, "lastTimestamp": record.at, "message": record.message,
            });
            let patched = api
                .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
                .await;
            if patched.is_ok() {
                continue;
            }
        }
        let event = event_of(record, component, &namespace);
        match api.create(&PostParams::default(), &event).await {
            Ok(created) => {
                posted.insert(same, (created.metadata.name.unwrap_or_default(), 1));
            }
            Err(error) => tracing::debug!(%error, "an event was not accepted"),
        }
    }
}

fn event_of(record: Record, component: &str, namespace: &str) -> Event {
    let name = record.regarding.name.clone().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            // client-go: the object's name and the time in nanoseconds, in hexadecimal.
            name: Some(format!("{name}.{:x}", crate::clock::now().as_nanosecond())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: record.regarding,
        reason: Some(record.reason.to_owned()),
        message: Some(record.message),
        source: Some(EventSource {
            component: Some(component.to_owned()),
            host: None,
        }),
        reporting_component: Some(component.to_owned()),
        reporting_instance: Some(String::new()),
        first_timestamp: Some(record.at.clone()),
        last_timestamp: Some(record.at),
        count: Some(1),
        type_: Some(if record.warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(uid: &str, message: usize, second: i64) -> Record {
        Record {
            regarding: ObjectReference {
                uid: Some(uid.into()),
                ..ObjectReference::default()
            },
            warning: false,
            reason: "Scaled",
            message: message.to_string(),
            at: Time(jiff::Timestamp::from_second(second).unwrap()),
        }
    }

    #[test]
    fn the_tenth_similar_event_and_those_after_it_are_counted_together() {
        let mut similar = BTreeMap::new();
        for nth in 0..9 {
            assert!(!aggregates(&mut similar, &record("a", nth, 0)));
        }
        // The same again is not another.
        assert!(!aggregates(&mut similar, &record("a", 3, 0)));
        assert!(aggregates(&mut similar, &record("a", 9, 1)));
        assert!(aggregates(&mut similar, &record("a", 99, 2)));
        assert!(!aggregates(&mut similar, &record("b", 9, 2)));
        assert!(!aggregates(&mut similar, &record("a", 100, 700)));
    }
}
