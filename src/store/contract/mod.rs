//! The contract test of [`Store`]: what every implementation does, as runnable cases.
//!
//! Each case wants an empty store of its own and panics where the contract is broken. The memory store
//! runs them in its unit tests, the Redis store in `tests/store_redis.rs`.

#![allow(missing_docs)]

pub mod actions;
pub mod bounds;
pub mod events;
pub mod fixtures;
pub mod intents;
pub mod leases;
pub mod locks;
pub mod many;
pub mod retention;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::Store;

type Run = fn(Arc<dyn Store>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// One case.
#[derive(Clone, Copy)]
pub struct Case {
    /// What it holds.
    pub name: &'static str,
    run: Run,
}

impl Case {
    /// Runs it on an empty store.
    ///
    /// # Panics
    /// Where the contract is broken.
    pub async fn run(&self, store: Arc<dyn Store>) {
        (self.run)(store).await;
    }
}

macro_rules! cases {
    ($($module:ident :: $case:ident),* $(,)?) => {
        &[$(Case {
            name: concat!(stringify!($module), "::", stringify!($case)),
            run: |store| Box::pin(async move { $module::$case(&*store).await }),
        }),*]
    };
}

macro_rules! shared_cases {
    ($($module:ident :: $case:ident),* $(,)?) => {
        &[$(Case {
            name: concat!(stringify!($module), "::", stringify!($case)),
            run: |store| Box::pin($module::$case(store)),
        }),*]
    };
}

/// Cases that one task runs.
pub const CASES: &[Case] = cases![
    actions::a_new_store_is_empty,
    actions::submitted_action_is_read_back,
    actions::repeated_submission_changes_nothing,
    actions::idempotency_key_replays_or_refuses,
    actions::idempotency_key_is_forgotten,
    actions::saves_count_versions_and_refuse_stale_ones,
    actions::repeated_save_answers_as_the_first,
    actions::ended_action_changes_no_more,
    actions::unknown_action_is_not_found,
    actions::list_pages_newest_first,
    actions::strange_text_survives,
    leases::oldest_is_acquired_first_and_once,
    leases::released_action_is_taken_at_once,
    leases::only_the_owner_renews_and_releases,
    leases::expired_lease_after_a_moment,
    leases::pending_action_can_be_ended_unless_taken,
    locks::exclusive_is_first_come_first_served,
    locks::neighbouring_shared_holders_go_together,
    locks::waiter_may_leave,
    locks::mode_is_that_of_the_first_call,
    locks::names_are_independent,
    locks::ended_action_leaves_its_locks,
    intents::put_is_idempotent,
    intents::claim_is_taken_kept_and_passed_on,
    intents::excluded_pod_may_not_claim,
    intents::claim_must_know_whether_to_hold,
    intents::redirect_and_refusal,
    intents::withdrawal_answers_the_last_state,
    intents::deltas_bring_a_reader_up_to_date,
    intents::ended_action_takes_its_intents,
    events::are_in_order_and_resumable,
    events::repetitions_append_nothing,
    events::bad_positions_are_refused,
    events::changes_move_after_writes,
    retention::ended_actions_are_forgotten_by_age,
    retention::the_oldest_ended_actions_are_forgotten_beyond_a_number,
];

/// Cases in which many tasks share the store.
pub const SHARED_CASES: &[Case] = shared_cases![
    many::one_of_fifty_claimers_wins,
    many::one_of_many_submitters_with_a_key_wins,
    many::actions_are_shared_out_among_executors,
    many::exclusive_lock_is_held_by_one,
];

/// How long the contract waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);
