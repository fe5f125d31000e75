//! List, then watch, for ever: what client-go's reflector does. It owns the connection and knows nothing
//! of a cache.

use std::time::Duration;

use ::kube::Resource;
use ::kube::api::WatchEvent;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::source::Source;
use crate::clock;

/// What list and watch report.
#[derive(Debug)]
pub enum Delta<K> {
    /// This is everything there is now, and the resource version of the list.
    Replace(Vec<K>, String),
    /// This object was added or changed.
    Apply(K),
    /// This object is gone; this was its last state.
    Delete(K),
}

/// Shortest and longest pause after a failed list or a broken watch.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// Lists, then watches, for ever: closed watches are resumed where they ended, expired ones (410)
/// are listed again, errors are retried with a growing pause.
pub async fn list_and_watch<S: Source>(
    source: S,
    shutdown: CancellationToken,
    mut sink: impl FnMut(Delta<S::Object>) + Send,
) {
    let mut pause = PAUSES.0;
    'list: while !shutdown.is_cancelled() {
        let listed = tokio::select! {
            listed = source.list() => listed,
            () = shutdown.cancelled() => return,
        };
        let mut version = match listed {
            Ok((items, version)) => {
                sink(Delta::Replace(items, version.clone()));
                version
            }
            Err(error) => {
                tracing::debug!(%error, "list failed");
                rest(&mut pause, &shutdown).await;
                continue;
            }
        };
        while !shutdown.is_cancelled() {
            let opened = tokio::select! {
                opened = source.watch(&version) => opened,
                () = shutdown.cancelled() => return,
            };
            let mut stream = match opened {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!(%error, "watch was not opened");
                    rest(&mut pause, &shutdown).await;
                    if matches!(&error, ::kube::Error::Api(status) if status.code == 410) {
                        continue 'list;
                    }
                    continue;
                }
            };
            loop {
                let event = tokio::select! {
                    event = stream.next() => event,
                    () = shutdown.cancelled() => return,
                };
                match event {
                    Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                        pause = PAUSES.0;
                        version_of(&object, &mut version);
                        sink(Delta::Apply(object));
                    }
                    Some(Ok(WatchEvent::Deleted(object))) => {
                        pause = PAUSES.0;
                        version_of(&object, &mut version);
                        sink(Delta::Delete(object));
                    }
                    Some(Ok(WatchEvent::Bookmark(bookmark))) => {
                        pause = PAUSES.0;
                        version = bookmark.metadata.resource_version;
                    }
                    Some(Ok(WatchEvent::Error(status))) => {
                        tracing::debug!(%status, "watch ended by the server");
                        rest(&mut pause, &shutdown).await;
                        continue 'list;
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, "watch broke");
                        rest(&mut pause, &shutdown).await;
                        // What could not be read would be sent again: only a list gets past it.
                        if matches!(error, ::kube::Error::SerdeError(_)) {
                            continue 'list;
                        }
                        break;
                    }
                    None => {
                        rest(&mut pause, &shutdown).await;
                        break;
                    }
                }
            }
        }
    }
}

fn version_of<K: Resource>(object: &K, version: &mut String) {
    if let Some(seen) = &object.meta().resource_version {
        version.clone_from(seen);
    }
}

async fn rest(pause: &mut Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = clock::sleep(*pause) => {}
        () = shutdown.cancelled() => {}
    }
    *pause = (*pause * 2).min(PAUSES.1);
}
