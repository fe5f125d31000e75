//! Events are forgotten after a while (`--event-ttl` of the real server).

use jiff::{SignedDuration, Timestamp};

use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::store::{Key, Transaction};

/// How long an event is kept after it was last seen.
const TIME_TO_LIVE: SignedDuration = SignedDuration::from_hours(1);

/// Looks at what has expired happen at revisions that this divides: keeps the cost per event constant.
const LOOK_EVERY: u64 = 1024;

/// Removes expired events, now and then.
pub(crate) fn expire(call: &Call, tx: &mut Transaction<'_>, revision: u64) {
    if !revision.is_multiple_of(LOOK_EVERY) {
        return;
    }
    let collection = call.resource.collection;
    let expired: Vec<Key> = tx
        .range(collection, "")
        .filter(|event| {
            ["lastTimestamp", "eventTime"]
                .into_iter()
                .map(|field| meta::text(&event.value, &[field]))
                .chain([meta::text(&event.value, &["metadata", "creationTimestamp"])])
                .filter_map(|time| time.parse::<Timestamp>().ok())
                .max()
                .is_some_and(|last| call.now.duration_since(last) > TIME_TO_LIVE)
        })
        .map(|event| Key::new(meta::namespace(&event.value), meta::name(&event.value)))
        .collect();
    for key in expired {
        tx.remove(collection, &key);
    }
}
