//! Where actions, intents, locks and events live: one trait, [`Store`], with one contract test that
//! runs over every implementation.
//!
//! Invariants every implementation keeps:
//! - The stored state is the truth; streams and notifications only wake.
//! - An action is changed only by the executor that holds its latest fence, and only from the version
//!   that this executor has read ([`Store::save`]); its events are appended in the same step.
//! - An intent is claimed by at most one living pod.
//! - A lock queue is fair: first come, first served; neighbouring shared holders go together.
//! - Nothing outlives its action: the write that ends an action also withdraws the intents that are
//!   left of it and leaves the locks that it (its id as the holder) is queued for.

#[doc(hidden)]
pub mod contract;
pub mod intent;
pub mod memory;
mod position;
pub mod record;
pub mod redis;

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

pub use self::redis::{RedisOptions, RedisStore};
pub use intent::{Claim, Intent, IntentDelta, Refusal};
pub use memory::MemoryStore;
use position::{Position, write_mark};
pub use record::{
    ActionId, ActionRecord, ActionState, Direction, NewEvent, PodRef, StepRecord, StepState,
    StoredEvent,
};

/// What a store can answer besides the value asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The same idempotency key was used with another request body.
    #[error("idempotency key {key:?} was already used for another request (action {action})")]
    IdempotencyMismatch {
        /// The key as the caller gave it.
        key: String,
        /// The action that holds it.
        action: ActionId,
    },
    /// Another executor has taken the action over: stop at once, touch nothing.
    #[error("action {0} belongs to another executor now")]
    Fenced(ActionId),
    /// The record was changed since it was read.
    #[error("action {0} was changed by someone else; read it again")]
    Stale(ActionId),
    /// No such action.
    #[error("action {0} not found")]
    NotFound(ActionId),
    /// The caller's `from` or `after` is none that a former answer gave.
    #[error("{0:?} is not a position that was given out")]
    BadPosition(String),
    /// What is stored under one of our keys is not ours or is damaged.
    #[error("unreadable content under {key}: {problem}")]
    Corrupt {
        /// The key.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// The store cannot be reached or refuses; worth trying again.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The store was set up so that it would lose what it acknowledges.
    #[error("the store is not fit for use: {0}")]
    Unfit(String),
}

/// How many ended actions [`Store::prune`] forgets at a time.
pub const PRUNED_AT_ONCE: usize = 500;

/// A store's answer.
pub type Result<T> = std::result::Result<T, Error>;

/// An idempotency key as it is kept: scoped by caller, with the fingerprint of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Who asks; empty while callers are anonymous.
    pub caller: String,
    /// The caller's key.
    pub key: String,
    /// A hash of method, arguments and options.
    pub fingerprint: String,
    /// How long the key is remembered.
    pub retention: Duration,
}

/// What [`Store::submit`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// The action is stored.
    New(ActionId),
    /// The key was known with the same request: this is the action of then.
    Replayed(ActionId),
}

/// One page of [`Store::list`].
#[derive(Debug, Clone, Default)]
pub struct ActionPage {
    /// Newest first.
    pub actions: Vec<ActionRecord>,
    /// Give this back for the next page; absent on the last.
    pub next: Option<String>,
}

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Together with other shared holders.
    Shared,
    /// Alone.
    Exclusive,
}

/// See the module documentation for the invariants. All methods are safe to repeat after an error of
/// which the caller does not know whether it was carried out, unless said otherwise.
#[async_trait]
pub trait Store: Send + Sync {
    /// Whether the store answers.
    async fn ping(&self) -> Result<()>;

    /// Stores a new action with its first events, and remembers its idempotency key, in one step.
    /// A repetition with the same action id changes nothing and answers `New`.
    async fn submit(
        &self,
        record: &ActionRecord,
        idempotency: Option<&Idempotency>,
        events: &[NewEvent],
    ) -> Result<Submitted>;

    /// Which action holds this idempotency key, if any: `(action, fingerprint)`.
    async fn idempotent(&self, caller: &str, key: &str) -> Result<Option<(ActionId, String)>>;

    /// Reads one action.
    async fn action(&self, id: ActionId) -> Result<Option<ActionRecord>>;

    /// Newest first, in the order of acceptance. `limit` is at least 1. `from` is a former page's
    /// `next`; [`Error::BadPosition`] if it is not. An action that cannot be read is left out.
    async fn list(&self, limit: usize, from: Option<&str>) -> Result<ActionPage>;

    /// Takes up to `limit` unfinished actions that nobody holds (oldest first) for `owner`, for `ttl`.
    /// Each gets the next fence; whoever held it before is refused by [`Store::save`] from now on.
    /// One that cannot be read is left out and does not keep the others.
    async fn acquire(&self, owner: &str, ttl: Duration, limit: usize) -> Result<Vec<ActionRecord>>;

    /// Prolongs the holding of `ids`; answers those that `owner` still holds.
    async fn renew(&self, owner: &str, ids: &[ActionId], ttl: Duration) -> Result<Vec<ActionId>>;

    /// Lets `ids` go so that another executor may take them at once. Ignores those not held.
    async fn release(&self, owner: &str, ids: &[ActionId]) -> Result<()>;

    /// Writes the record if its `fence` is the latest and its `version` the stored one, appends the
    /// events, and answers the new version. A repetition of the very same write (same events' ids; or
    /// the same record, if there are no events) answers as the first.
    ///
    /// A record in a final state is let go, leaves the set of unfinished actions, and takes its intents
    /// and locks with it; it is never changed again ([`Error::Stale`]).
    async fn save(&self, record: &ActionRecord, events: &[NewEvent]) -> Result<u64>;

    /// Forgets ended actions: those that ended longer than `age` ago, and the ones that ended first beyond the
    /// newest `most`. At most some hundreds at a time: answers how many, to be asked again. Idempotency keys stay
    /// for as long as they were promised; events have a bound of their own.
    async fn prune(&self, age: Duration, most: usize) -> Result<usize>;

    /// Queues `holder` for the lock (once) and answers whether it holds it now. Locks belong to
    /// actions, not to processes: they survive a crash and are let go by [`Store::unlock`], or by the
    /// write that ends the action, which is [`Error::Fenced`] if it asks anew. The mode is that of the first call: a holder that came to share is
    /// told `false` when it asks to be alone.
    async fn lock(&self, name: &str, mode: LockMode, holder: &str) -> Result<bool>;

    /// Leaves the queue of the lock, holding it or not.
    async fn unlock(&self, name: &str, holder: &str) -> Result<()>;

    /// Stores an intent; one that is there already under this id stays as it is, with its claim.
    /// [`Error::Fenced`] if its action has ended: a paused executor must not leave anything behind.
    async fn put_intent(&self, intent: &Intent) -> Result<()>;

    /// Changes `node` and `hold` of an intent; false if there is none. A claim stays; a refusal of the former place is forgotten.
    async fn redirect_intent(&self, id: &str, node: Option<&str>, hold: bool) -> Result<bool>;

    /// Removes an intent and answers it as it was last, if it was there. A repetition answers the same
    /// while the withdrawal is remembered: who claimed it is not lost with a lost reply.
    async fn withdraw_intent(&self, id: &str) -> Result<Option<Intent>>;

    /// Reads one intent.
    async fn intent(&self, id: &str) -> Result<Option<Intent>>;

    /// Claims an intent for a pod, if it is unclaimed, or claimed by this pod, or claimed by the pod
    /// with the uid `instead_of` (known dead). A change of claim counts in `claims`. False if refused,
    /// as for a pod in `exclude`, for a claim whose `held` is not the intent's `hold`, and for an intent
    /// that is not there. The pod's own further claim replaces the former (its `held` may change).
    async fn claim(&self, id: &str, claim: &Claim, instead_of: Option<&str>) -> Result<bool>;

    /// Gives a claim back if `pod_uid` holds it.
    async fn unclaim(&self, id: &str, pod_uid: &str) -> Result<()>;

    /// Records why the pod that would take the intent cannot be placed; replaces a former refusal.
    /// Ignored if there is no such intent.
    async fn refuse_intent(&self, id: &str, refusal: &Refusal) -> Result<()>;

    /// All changes of intents since revision `since` (0: everything), in one round trip. The answer is
    /// `full` too when the changes since then are not known any more. An intent that was changed and
    /// withdrawn is only in `withdrawn`.
    async fn intents_since(&self, since: u64) -> Result<IntentDelta>;

    /// Events after the position `after` (`None`: from the oldest kept), at most `limit`.
    /// [`Error::BadPosition`] if `after` is no position; one that is not kept any more is fine.
    async fn events_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<StoredEvent>>;

    /// The position of the newest event, to listen from now on; `None` when there is none yet.
    async fn last_event(&self) -> Result<Option<String>>;

    /// A counter that moves (some time) after anything changed, by whomever: re-read then. It may move
    /// without cause, and never promises that a change is seen: pollers keep a slow tick besides.
    fn changes(&self) -> watch::Receiver<u64>;
}
