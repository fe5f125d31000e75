//! Leader election on a Lease, by client-go's rules (`tools/leaderelection/leaderelection.go`).
//!
//! Invariants: clocks of different hosts are never compared. A candidate notes by its own monotonic clock
//! when it *saw* the lease change, and takes it only when that is longer ago than the lease's duration.
//! The leader counts its right from the moment *before* it sent the last successful renewal, and ends it
//! at the renew deadline by itself: [`Leadership::leads`] compares with the clock and needs nobody to
//! tell it, so a hanging task or API server cannot prolong it. Since the deadline is shorter than the
//! duration, the old leader's right ends before the next one's begins.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::call::{Call, path};
use super::events::micro;
use super::failure::Failure;
use super::transport::Transport;
use crate::clock;
use crate::scheduler::ports::Leadership;

/// The election cannot be held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The times contradict each other.
    #[error("leader election: {0}")]
    Times(&'static str),
}

/// The election's settings, by kube-scheduler's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseOptions {
    /// The lease's namespace.
    pub namespace: String,
    /// The lease's name.
    pub name: String,
    /// Unique among all processes there ever were: see [`host_identity`].
    pub identity: String,
    /// How long others wait after the last renewal they saw.
    pub lease_duration: Duration,
    /// How long the leader leads after its last renewal.
    pub renew_deadline: Duration,
    /// Time between tries.
    pub retry_period: Duration,
}

impl LeaseOptions {
    /// kube-scheduler's times (15 s, 10 s, 2 s).
    #[must_use]
    pub fn new(namespace: &str, name: &str, identity: String) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity,
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }

    /// client-go's checks, and that the lease's whole seconds suffice.
    ///
    /// # Errors
    /// [`Error::Times`] saying which times contradict each other.
    pub fn validate(&self) -> Result<(), Error> {
        if self.lease_duration < Duration::from_secs(1) {
            return Err(Error::Times("the lease duration is less than a second"));
        }
        if self.whole_duration() <= self.renew_deadline {
            return Err(Error::Times(
                "the lease duration must be longer than the renew deadline",
            ));
        }
        if self.renew_deadline <= self.retry_period.mul_f64(JITTER) {
            return Err(Error::Times(
                "the renew deadline must be longer than 1.2 times the retry period",
            ));
        }
        if self.retry_period.is_zero() {
            return Err(Error::Times("the retry period is zero"));
        }
        Ok(())
    }

    /// The duration as others read it: whole seconds.
    fn whole_duration(&self) -> Duration {
        Duration::from_secs(self.lease_duration.as_secs())
    }
}

/// `<host>_<uuid>`, new for each call.
#[must_use]
pub fn host_identity() -> String {
    let host = std::env::var("HOSTNAME")
        .ok()
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned());
    format!("{host}_{}", uuid::Uuid::new_v4())
}

/// client-go's `JitterFactor`.
const JITTER: f64 = 1.2;

/// One candidate. Share it as the scheduler's [`Leadership`] and give [`LeaderElection::run`] a task.
#[derive(Debug)]
pub struct LeaderElection {
    transport: Arc<Transport>,
    options: LeaseOptions,
    /// Until when we lead; `None` when we do not.
    until: Mutex<Option<Instant>>,
    changes: watch::Sender<bool>,
}

/// What a candidate knows of the lease.
#[derive(Debug, Default)]
struct View {
    /// As last read or written, and when that was first seen.
    observed: Option<(Lease, Instant)>,
}

/// What is written into the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    Hold,
    Release,
}

impl Leadership for LeaderElection {
    fn leads(&self) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| clock::instant() < until)
    }
}

impl LeaderElection {
    /// A candidate; it does nothing until it is run.
    ///
    /// # Errors
    /// When the times contradict each other.
    pub fn new(transport: Arc<Transport>, options: LeaseOptions) -> Result<Self, Error> {
        options.validate()?;
        Ok(Self {
            transport,
            options,
            until: Mutex::new(None),
            changes: watch::Sender::new(false),
        })
    }

    /// Tells when leadership is taken (`true`) and lost. Slower than [`Leadership::leads`], which decides.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.changes.subscribe()
    }

    /// Stands for election, leads, and stands again when it lost, until `shutdown`; then gives the lease
    /// back, so that the next leader need not wait. `seed` is the jitter's.
    pub async fn run(&self, shutdown: CancellationToken, seed: u64) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut view = View::default();
        loop {
            let round = async {
                self.attempt(&mut view).await;
                let led = self.leads();
                self.announce(led);
                let mut pause = self.options.retry_period;
                if !led {
                    // Candidates that were refused together come back apart.
                    pause = pause.mul_f64(1.0 + rng.random_range(0.0..JITTER - 1.0));
                }
                clock::sleep(pause).await;
                // The right may have run out while the last try hung.
                self.announce(self.leads());
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = round => {}
            }
        }
        let led = self.leads();
        self.set_until(None);
        self.announce(false);
        if led {
            self.release().await;
        }
    }

    fn announce(&self, leads: bool) {
        let changed = self.changes.send_if_modified(|was| {
            let changed = *was != leads;
            *was = leads;
            changed
        });
        if changed {
            let lease = format!("{}/{}", self.options.namespace, self.options.name);
            let identity = self.options.identity.as_str();
            if leads {
                tracing::info!(lease, identity, "became the leader");
            } else {
                tracing::warn!(lease, identity, "does not lead any more");
            }
        }
    }

    fn set_until(&self, until: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// One try to acquire or renew, within half the renew deadline.
    async fn attempt(&self, view: &mut View) {
        let limit = self.options.renew_deadline / 2;
        let outcome = clock::timeout(limit, Box::pin(self.acquire_or_renew(view))).await;
        match outcome {
            Ok(Ok(Some(asked_at))) => {
                self.set_until(Some(asked_at + self.options.renew_deadline));
            }
            // Somebody else has it: also if we believed otherwise until now.
            Ok(Ok(None)) => self.set_until(None),
            // Somebody was faster, or the API server is busy.
            Ok(Err(failure)) if failure.is_transient() || failure.code() == Some(409) => {
                tracing::debug!(%failure, "the lease could not be taken or renewed");
            }
            Ok(Err(failure)) => {
                tracing::warn!(%failure, "the lease could not be taken or renewed");
            }
            Err(elapsed) => tracing::debug!(%elapsed, "the lease could not be taken or renewed"),
        }
    }

    /// `Some(when the successful write was begun)` if the lease is ours now, `None` if another holds it.
    async fn acquire_or_renew(&self, view: &mut View) -> Result<Option<Instant>, Failure> {
        // The leader's fast way: write on the version that it wrote last.
        if self.leads()
            && let Some((lease, _)) = &view.observed
            && self.holds(lease)
            && let Ok(asked_at) = self.write(view, Claim::Hold).await
        {
            return Ok(Some(asked_at));
        }
        let found = match self.transport.send::<Lease>(&Call::get(self.path())).await {
            Ok(found) => found,
            Err(failure) if failure.code() == Some(404) => {
                return self.create(view).await.map(Some);
            }
            Err(failure) => return Err(failure),
        };
        let now = clock::instant();
        let seen_at = match &view.observed {
            // client-go compares the record; the version moves with foreign changes of metadata, too.
            Some((before, seen_at)) if before.spec == found.spec => *seen_at,
            _ => now,
        };
        let held_by_other = !self.holds(&found) && holder(&found).is_some();
        let expires = seen_at + lease_duration(&found);
        view.observed = Some((found, seen_at));
        if held_by_other && now < expires {
            return Ok(None);
        }
        self.write(view, Claim::Hold).await.map(Some)
    }

    async fn create(&self, view: &mut View) -> Result<Instant, Failure> {
        let now = clock::now();
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": self.options.namespace, "name": self.options.name},
            "spec": {
                "holderIdentity": self.options.identity,
                "leaseDurationSeconds": self.options.whole_duration().as_secs(),
                "acquireTime": micro(now),
                "renewTime": micro(now),
                "leaseTransitions": 0,
            },
        });
        let asked_at = clock::instant();
        let call = Call::create(self.collection(), &lease);
        let written: Lease = self.transport.send(&call).await?;
        view.observed = Some((written, clock::instant()));
        Ok(asked_at)
    }

    /// Writes our claim, or its end, over the observed lease, on condition of its version.
    async fn write(&self, view: &mut View, claim: Claim) -> Result<Instant, Failure> {
        let Some((observed, _)) = &view.observed else {
            return Err(Failure::NotSent("the lease was never read".into()));
        };
        let now = micro(clock::now());
        let spec = observed.spec.as_ref();
        let transitions = spec.and_then(|s| s.lease_transitions).unwrap_or_default();
        let mut lease = serde_json::to_value(observed)
            .map_err(|e| Failure::NotSent(format!("the lease cannot be written: {e}")))?;
        // What we do not know of the lease stays in it.
        let fields = &mut lease["spec"];
        if fields.is_null() {
            *fields = json!({});
        }
        fields["renewTime"] = json!(now);
        if claim == Claim::Release {
            fields["holderIdentity"] = json!("");
            fields["leaseDurationSeconds"] = json!(1);
            fields["acquireTime"] = json!(now);
        } else {
            fields["leaseDurationSeconds"] = json!(self.options.whole_duration().as_secs());
            if !self.holds(observed) {
                fields["holderIdentity"] = json!(self.options.identity);
                fields["acquireTime"] = json!(now);
                fields["leaseTransitions"] = json!(transitions.saturating_add(1));
            }
        }
        strip_managed_fields(&mut lease);
        let asked_at = clock::instant();
        let call = Call::update(self.path(), &lease);
        let written: Lease = self.transport.send(&call).await?;
        view.observed = Some((written, clock::instant()));
        Ok(asked_at)
    }

    /// Gives the lease back. The last try may have been cut off by the shutdown, so it is read again.
    async fn release(&self) {
        let limit = self.options.renew_deadline / 2;
        let outcome = clock::timeout(limit, async {
            let found: Lease = self.transport.send(&Call::get(self.path())).await?;
            if !self.holds(&found) {
                return Ok(());
            }
            let mut view = View {
                observed: Some((found, clock::instant())),
            };
            self.write(&mut view, Claim::Release).await.map(drop)
        })
        .await;
        match outcome {
            Ok(Ok(())) => tracing::info!("gave the lease back"),
            Ok(Err(failure)) => tracing::warn!(%failure, "the lease was not given back"),
            Err(elapsed) => tracing::warn!(%elapsed, "the lease was not given back"),
        }
    }

    fn holds(&self, lease: &Lease) -> bool {
        holder(lease) == Some(self.options.identity.as_str())
    }

    fn collection(&self) -> String {
        path(&[
            "apis",
            "coordination.k8s.io",
            "v1",
            "namespaces",
            &self.options.namespace,
            "leases",
        ])
    }

    fn path(&self) -> String {
        format!("{}{}", self.collection(), path(&[&self.options.name]))
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    (!holder.is_empty()).then_some(holder)
}

fn lease_duration(lease: &Lease) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|s| s.lease_duration_seconds);
    Duration::from_secs(
        seconds
            .and_then(|s| u64::try_from(s).ok())
            .unwrap_or_default(),
    )
}

/// The server keeps them itself; sending them back is only weight.
fn strip_managed_fields(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradicting_times_are_refused() {
        let mut options = LeaseOptions::new("kube-system", "wam", "a".into());
        assert_eq!(options.validate(), Ok(()));
        options.renew_deadline = Duration::from_secs(15);
        assert!(options.validate().is_err());
        options.renew_deadline = Duration::from_secs(2);
        assert!(options.validate().is_err());
        options.retry_period = Duration::from_millis(500);
        options.lease_duration = Duration::from_millis(2900);
        // Others read two seconds.
        assert!(options.validate().is_err());
    }
}
