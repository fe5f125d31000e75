//! Sends the scheduler's events (events.k8s.io/v1) from a task of its own.
//!
//! Invariant: [`ApiEvents::record`] never waits; what the queue cannot hold is dropped and counted.
//! Equal events become a series, as in client-go's broadcaster (`tools/events/event_broadcaster.go`):
//! the first is created, the second turns it into a series at once, further ones are only counted and
//! written every [`REFRESH`]. An event that was not seen for [`WINDOW`] begins anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::call::{Call, ContentType, path};
use super::failure::Failure;
use super::metrics::Metrics;
use super::retry::Repeat;
use super::transport::Transport;
use crate::clock;
use crate::scheduler::ports::{EventSink, PodEvent};

/// Events waiting to be sent.
const QUEUE: usize = 1000;

/// Equal events within this time are one series.
const WINDOW: Duration = Duration::from_secs(600);

/// How often a running series is written.
const REFRESH: Duration = Duration::from_secs(60);

/// What the last events may take after the shutdown began.
const GRACE: Duration = Duration::from_secs(3);

/// `maxLength` of the note (kubernetes `pkg/apis/events/validation`).
const NOTE_LIMIT: usize = 1024;

/// Series remembered; beyond it the oldest are forgotten and begin anew.
const REMEMBERED: usize = 4096;

/// [`EventSink`] on the API server.
#[derive(Debug, Clone)]
pub struct ApiEvents {
    queue: mpsc::Sender<PodEvent>,
    metrics: Metrics,
}

impl ApiEvents {
    /// Begins the task that sends; after `shutdown` it sends what is queued, as far as [`GRACE`] allows,
    /// and ends. `instance` is `reportingInstance`.
    #[must_use]
    pub fn spawn(
        transport: Arc<Transport>,
        metrics: Metrics,
        instance: String,
        shutdown: CancellationToken,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, events) = mpsc::channel(QUEUE);
        let sender = Sender {
            transport,
            metrics: metrics.clone(),
            instance: shortened(&instance, 128),
            series: HashMap::new(),
            names: 0,
        };
        let work = Box::pin(sender.run(events, shutdown.clone()));
        let task = tokio::spawn(async move {
            tokio::select! {
                () = work => {}
                () = async {
                    shutdown.cancelled().await;
                    clock::sleep(GRACE).await;
                } => tracing::debug!("events were left unsent"),
            }
        });
        (Self { queue, metrics }, task)
    }
}

impl EventSink for ApiEvents {
    fn record(&self, event: PodEvent) {
        if self.queue.try_send(event).is_err() {
            self.metrics.events_dropped.inc();
        }
    }
}

/// What makes two events equal. The note is among it: it cannot be changed in an event that exists, and
/// an old one would mislead.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity {
    uid: String,
    warning: bool,
    reason: &'static str,
    action: &'static str,
    reporter: String,
    note: String,
}

impl Identity {
    fn of(event: &PodEvent) -> Self {
        Self {
            uid: event.uid.clone(),
            warning: event.warning,
            reason: event.reason,
            action: event.action,
            reporter: event.reporter.clone(),
            note: event.note.clone(),
        }
    }
}

#[derive(Debug)]
struct Series {
    /// The path of the event.
    path: String,
    event: PodEvent,
    count: u32,
    last: Timestamp,
    seen: Instant,
    written: Instant,
    dirty: bool,
}

struct Sender {
    transport: Arc<Transport>,
    metrics: Metrics,
    instance: String,
    series: HashMap<Identity, Series>,
    /// Keeps two events of one pod in the same nanosecond apart.
    names: i128,
}

impl Sender {
    async fn run(mut self, mut events: mpsc::Receiver<PodEvent>, shutdown: CancellationToken) {
        let mut refresh = clock::interval(REFRESH);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                event = events.recv() => match event {
                    Some(event) => self.take(event).await,
                    None => break,
                },
                _ = refresh.tick() => self.refresh().await,
            }
        }
        events.close();
        while let Ok(event) = events.try_recv() {
            if self.take_failed(event).await {
                // The API server is away: the rest would only hold up the shutdown.
                while events.try_recv().is_ok() {
                    self.metrics.events_dropped.inc();
                }
            }
        }
        for series in self.series.values_mut().filter(|s| s.dirty) {
            if write_series(&self.transport, series).await.is_err() {
                break;
            }
        }
    }

    async fn take(&mut self, event: PodEvent) {
        self.take_failed(event).await;
    }

    /// Sends the event or counts it; whether it was lost because the API server could not be reached.
    async fn take_failed(&mut self, mut event: PodEvent) -> bool {
        event.note = shortened(&event.note, NOTE_LIMIT);
        let identity = Identity::of(&event);
        let now = clock::instant();
        if let Some(series) = self.series.get_mut(&identity)
            && now.duration_since(series.seen) < WINDOW
        {
            series.count += 1;
            series.seen = now;
            series.last = clock::now();
            series.dirty = true;
            if series.count > 2 && now.duration_since(series.written) < REFRESH {
                return false;
            }
            return match write_series(&self.transport, series).await {
                Ok(()) => false,
                // It expired or was deleted: the next lines create it anew.
                Err(failure) if failure.code() == Some(404) => {
                    self.create(identity, event, now).await
                }
                Err(failure) => self.dropped(&failure),
            };
        }
        self.create(identity, event, now).await
    }

    async fn create(&mut self, identity: Identity, event: PodEvent, now: Instant) -> bool {
        let at = clock::now();
        self.names = at.as_nanosecond().max(self.names + 1);
        // client-go names events likewise: the object's name and the time in hexadecimal.
        let name = format!("{}.{:x}", event.pod.name, self.names);
        let collection = path(&[
            "apis",
            "events.k8s.io",
            "v1",
            "namespaces",
            namespace(&event),
            "events",
        ]);
        let body = document(&event, &name, at, &self.instance);
        // The name makes it safe: a repetition of what was done is answered 409.
        let call = Call::create(collection.clone(), &body).repeated(Repeat::Safe);
        match self.transport.send_raw(&call).await {
            Ok(_) => {}
            Err(failure) if failure.code() == Some(409) => {}
            Err(failure) => {
                self.series.remove(&identity);
                return self.dropped(&failure);
            }
        }
        if self.series.len() >= REMEMBERED {
            self.forget(now);
        }
        let series = Series {
            path: format!("{collection}{}", path(&[&name])),
            event,
            count: 1,
            last: at,
            seen: now,
            written: now,
            dirty: false,
        };
        self.series.insert(identity, series);
        false
    }

    fn dropped(&self, failure: &Failure) -> bool {
        self.metrics.events_dropped.inc();
        tracing::debug!(%failure, "an event was lost");
        failure.is_transient()
    }

    /// Writes what was only counted, forgets what ended.
    async fn refresh(&mut self) {
        let now = clock::instant();
        for series in self.series.values_mut().filter(|s| s.dirty) {
            if let Err(failure) = write_series(&self.transport, series).await {
                tracing::debug!(%failure, pod = %series.event.pod, "a series of events was not written");
                if failure.is_transient() {
                    break;
                }
                series.dirty = false;
            }
        }
        self.series
            .retain(|_, s| now.duration_since(s.seen) < WINDOW);
    }

    /// Makes room: half of the series, those that were not seen for longest.
    fn forget(&mut self, now: Instant) {
        let mut ages: Vec<_> = self.series.values().map(|s| s.seen).collect();
        ages.sort_unstable();
        let limit = ages.get(ages.len() / 2).copied().unwrap_or(now);
        self.series.retain(|_, s| s.seen > limit);
    }
}

async fn write_series(transport: &Transport, series: &mut Series) -> Result<(), Failure> {
    let patch = json!({"series": {
        "count": series.count,
        "lastObservedTime": micro(series.last),
    }});
    let call =
        Call::patch(series.path.clone(), ContentType::MergePatch, &patch).repeated(Repeat::Safe);
    transport.send_raw(&call).await?;
    series.dirty = false;
    series.written = clock::instant();
    Ok(())
}

fn namespace(event: &PodEvent) -> &str {
    match event.pod.namespace.as_str() {
        "" => "default",
        namespace => namespace,
    }
}

/// RFC 3339 with microseconds: `MicroTime`.
pub(crate) fn micro(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn document(event: &PodEvent, name: &str, at: Timestamp, instance: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": namespace(event), "name": name},
        "eventTime": micro(at),
        "type": if event.warning { "Warning" } else { "Normal" },
        "reason": event.reason,
        "action": event.action,
        "note": event.note,
        "reportingController": event.reporter,
        "reportingInstance": instance,
        "regarding": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": event.pod.namespace,
            "name": event.pod.name,
            "uid": event.uid,
        },
    })
}

/// At most `limit` bytes, on a character's boundary, with ` ...` where something was cut.
fn shortened(text: &str, limit: usize) -> String {
    const MARK: &str = " ...";
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit - MARK.len());
    format!("{}{MARK}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(shortened("short", 1024), "short");
        let long = "ä".repeat(1000);
        let cut = shortened(&long, 1024);
        assert_eq!(cut.len(), 1024);
        assert!(cut.ends_with("ä ..."));
        assert_eq!(shortened(&"a".repeat(1024), 1024).len(), 1024);
    }

    #[test]
    fn time_has_microseconds() {
        let at: Timestamp = "2026-01-02T03:04:05.5Z".parse().unwrap();
        assert_eq!(micro(at), "2026-01-02T03:04:05.500000Z");
    }
}
