//! A store in memory, for the sandbox, the simulation and tests. It lives as long as the process: what it
//! acknowledges is lost with it.
//!
//! One mutex guards all of it and is never held across an await, so every method is one indivisible
//! step, as a script is in Redis. Expiry follows [`crate::clock`], hence virtual time in a simulation.

mod actions;
mod events;
mod intents;
mod locks;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{
    ActionId, ActionPage, ActionRecord, Claim, Error, Idempotency, Intent, IntentDelta, LockMode,
    NewEvent, Refusal, Result, Store, StoredEvent, Submitted,
};
use crate::clock;

/// How many events are kept, unless said otherwise.
const EVENTS_KEPT: usize = 10_000;
/// How many withdrawn intents are remembered for readers that lag behind.
const WITHDRAWALS_KEPT: usize = 10_000;

/// See the module's documentation. Clones share one state.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    actions: actions::Actions,
    locks: locks::Locks,
    intents: intents::Intents,
    events: events::Events,
}

impl MemoryStore {
    /// An empty store that keeps the last 10,000 events.
    #[must_use]
    pub fn new() -> Self {
        Self::with_bounds(EVENTS_KEPT, WITHDRAWALS_KEPT)
    }

    /// An empty store that keeps this many events and remembers this many withdrawn intents.
    #[must_use]
    pub fn with_bounds(events: usize, withdrawals: usize) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                actions: actions::Actions::default(),
                locks: locks::Locks::default(),
                intents: intents::Intents::new(withdrawals),
                events: events::Events::new(events),
            })),
            changes: watch::Sender::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug elsewhere; every change is made after its checks, so the
        // state is whole.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn wake(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    async fn submit(
        &self,
        record: &ActionRecord,
        idempotency: Option<&Idempotency>,
        events: &[NewEvent],
    ) -> Result<Submitted> {
        {
            let state = &mut *self.state();
            match state
                .actions
                .submit(record, idempotency, clock::instant())?
            {
                actions::Submission::Stored => state.events.append(events, clock::now()),
                actions::Submission::Repeated => return Ok(Submitted::New(record.id)),
                actions::Submission::Replayed(id) => return Ok(Submitted::Replayed(id)),
            }
        }
        self.wake();
        Ok(Submitted::New(record.id))
    }

    async fn idempotent(&self, caller: &str, key: &str) -> Result<Option<(ActionId, String)>> {
        Ok(self
            .state()
            .actions
            .idempotent(caller, key, clock::instant()))
    }

    async fn action(&self, id: ActionId) -> Result<Option<ActionRecord>> {
        Ok(self.state().actions.get(id))
    }

    async fn list(&self, limit: usize, from: Option<&str>) -> Result<ActionPage> {
        self.state().actions.list(limit, from)
    }

    async fn acquire(&self, owner: &str, ttl: Duration, limit: usize) -> Result<Vec<ActionRecord>> {
        Ok(self
            .state()
            .actions
            .acquire(owner, ttl, limit, clock::instant()))
    }

    async fn renew(&self, owner: &str, ids: &[ActionId], ttl: Duration) -> Result<Vec<ActionId>> {
        Ok(self
            .state()
            .actions
            .renew(owner, ids, ttl, clock::instant()))
    }

    async fn release(&self, owner: &str, ids: &[ActionId]) -> Result<()> {
        self.state().actions.release(owner, ids);
        self.wake();
        Ok(())
    }

    async fn save(&self, record: &ActionRecord, events: &[NewEvent]) -> Result<u64> {
        let version = {
            let state = &mut *self.state();
            match state.actions.save(record, events, clock::instant())? {
                actions::Saved::Repeated(version) => return Ok(version),
                actions::Saved::Written(version) => {
                    state.events.append(events, clock::now());
                    if record.state.is_final() {
                        state.intents.withdraw_all(record.id);
                        state.locks.leave_all(&record.id.to_string());
                    }
                    version
                }
            }
        };
        self.wake();
        Ok(version)
    }

    async fn prune(&self, age: Duration, most: usize) -> Result<usize> {
        Ok(self.state().actions.prune(age, most, clock::instant()))
    }

    async fn lock(&self, name: &str, mode: LockMode, holder: &str) -> Result<bool> {
        let state = &mut *self.state();
        match holder.parse() {
            Ok(action) if state.actions.is_final(action) => Err(Error::Fenced(action)),
            _ => Ok(state.locks.enter(name, mode, holder)),
        }
    }

    async fn unlock(&self, name: &str, holder: &str) -> Result<()> {
        self.state().locks.leave(name, holder);
        self.wake();
        Ok(())
    }

    async fn put_intent(&self, intent: &Intent) -> Result<()> {
        {
            let state = &mut *self.state();
            if state.actions.is_final(intent.action) {
                return Err(Error::Fenced(intent.action));
            }
            state.intents.put(intent);
        }
        self.wake();
        Ok(())
    }

    async fn redirect_intent(&self, id: &str, node: Option<&str>, hold: bool) -> Result<bool> {
        let there = self.state().intents.change(id, |intent| {
            if intent.node.as_deref() != node || intent.hold != hold {
                intent.refusal = None;
            }
            intent.node = node.map(str::to_owned);
            intent.hold = hold;
        });
        self.wake();
        Ok(there)
    }

    async fn withdraw_intent(&self, id: &str) -> Result<Option<Intent>> {
        let last = self.state().intents.withdraw(id);
        self.wake();
        Ok(last)
    }

    async fn intent(&self, id: &str) -> Result<Option<Intent>> {
        Ok(self.state().intents.get(id))
    }

    async fn claim(&self, id: &str, claim: &Claim, instead_of: Option<&str>) -> Result<bool> {
        let taken = self.state().intents.claim(id, claim, instead_of);
        self.wake();
        Ok(taken)
    }

    async fn unclaim(&self, id: &str, pod_uid: &str) -> Result<()> {
        self.state().intents.change(id, |intent| {
            if intent.claim.as_ref().is_some_and(|c| c.uid == pod_uid) {
                intent.claim = None;
            }
        });
        self.wake();
        Ok(())
    }

    async fn refuse_intent(&self, id: &str, refusal: &Refusal) -> Result<()> {
        self.state()
            .intents
            .change(id, |intent| intent.refusal = Some(refusal.clone()));
        self.wake();
        Ok(())
    }

    async fn intents_since(&self, since: u64) -> Result<IntentDelta> {
        Ok(self.state().intents.since(since))
    }

    async fn events_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<StoredEvent>> {
        self.state().events.after(after, limit)
    }

    async fn last_event(&self) -> Result<Option<String>> {
        Ok(self.state().events.last())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract;

    #[tokio::test]
    async fn keeps_the_contract() {
        for case in contract::CASES.iter().chain(contract::SHARED_CASES) {
            case.run(Arc::new(MemoryStore::new())).await;
        }
    }

    #[tokio::test]
    async fn old_events_and_withdrawals_are_forgotten() {
        let store = MemoryStore::with_bounds(3, 2);
        contract::bounds::oldest_events_go_first(&store, 3).await;
        contract::bounds::laggards_get_everything(&store, 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn leases_expire_in_virtual_time() {
        contract::leases::expired_lease_is_taken_over(
            &MemoryStore::new(),
            Duration::from_secs(600),
        )
        .await;
    }
}
