//! Which run of a CronJob is due, and when the next one will be (pkg/controller/cronjob/utils.go). Pure.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::CronJob;

use super::schedule::Schedule;

/// More missed runs than this are told of.
const MANY: i64 = 100;
/// A little after the moment, so that it has surely come (`nextScheduleDelta`).
const DELTA: Duration = Duration::from_millis(100);

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The latest moment that has come and was not run yet.
    pub run: Option<Timestamp>,
    /// Whether so many were missed that something must be wrong.
    pub too_many: bool,
    /// How long until the next moment; `None` if there is none.
    pub next: Option<Duration>,
}

/// Looks at the schedule at `now`.
#[must_use]
pub fn due(job: &CronJob, schedule: &Schedule, zone: &TimeZone, now: Timestamp) -> Due {
    let status = job.status.as_ref();
    let last = status.and_then(|status| status.last_schedule_time.as_ref());
    let earliest = last
        .or(job.metadata.creation_timestamp.as_ref())
        .map_or(now, |time| time.0);
    let deadline = job.spec.starting_deadline_seconds;
    let window =
        deadline.and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
    let from = window.map_or(earliest, |window| window.max(earliest));
    let (run, missed) = latest(schedule, zone, from, now);
    let (recent, missed_in_all) = latest(schedule, zone, earliest, now);
    let base = match recent {
        Some(recent) => recent,
        None if missed_in_all == 0 => earliest,
        None => now,
    };
    let next = schedule
        .next(base, zone)
        .map(|next| Duration::try_from(next.duration_since(now)).unwrap_or_default() + DELTA);
    Due {
        run,
        too_many: run.is_some() && missed > MANY,
        next,
    }
}

/// The latest moment after `from` that has come, and how many have, about
/// (`mostRecentScheduleTime`).
fn latest(
    schedule: &Schedule,
    zone: &TimeZone,
    from: Timestamp,
    now: Timestamp,
) -> (Option<Timestamp>, i64) {
    let Some(first) = schedule.next(from, zone).filter(|first| *first <= now) else {
        return (None, 0);
    };
    let Some(second) = schedule.next(first, zone).filter(|second| *second <= now) else {
        return (Some(first), 1);
    };
    let between = second.duration_since(first).as_secs().max(1);
    let missed = now.duration_since(first).as_secs() / between + 1;
    // Near the end, so that not every one is looked at.
    let skipped = SignedDuration::from_secs((missed - 2).max(0) * between);
    let mut time = first.checked_add(skipped).unwrap_or(first).min(now);
    let mut found = None;
    while let Some(next) = schedule.next(time, zone).filter(|next| *next <= now) {
        found = Some(next);
        time = next;
    }
    (found, missed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(spec: serde_json::Value, last: Option<&str>, now: &str) -> Due {
        let mut all = json!({"schedule": "", "jobTemplate": {}});
        json_patch::merge(&mut all, &spec);
        let job: CronJob = serde_json::from_value(json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:30Z"}, "spec": all,
            "status": {"lastScheduleTime": last}}))
        .unwrap();
        let schedule = Schedule::parse("*/10 * * * *").unwrap();
        due(&job, &schedule, &TimeZone::UTC, now.parse().unwrap())
    }

    #[test]
    fn only_the_latest_missed_run_is_due() {
        let none = at(json!({}), None, "2026-01-01T00:09:00Z");
        assert_eq!((none.run, none.too_many), (None, false));
        assert_eq!(none.next, Some(Duration::from_millis(60_100)));
        let ten = Some("2026-01-01T00:10:00Z".parse().unwrap());
        let one = at(json!({}), None, "2026-01-01T00:10:00Z");
        assert_eq!(
            (one.run, one.next),
            (ten, Some(Duration::from_millis(600_100)))
        );
        let three = at(
            json!({}),
            Some("2026-01-01T00:10:00Z"),
            "2026-01-01T00:43:00Z",
        );
        assert_eq!(three.run, Some("2026-01-01T00:40:00Z".parse().unwrap()));
        let many = at(json!({}), None, "2026-01-03T00:05:00Z");
        assert!(many.too_many);
        let narrow = json!({"startingDeadlineSeconds": 120});
        let late = at(narrow, None, "2026-01-01T00:13:00Z");
        assert_eq!(late.run, None);
        assert_eq!(late.next, Some(Duration::from_millis(420_100)));
    }
}
