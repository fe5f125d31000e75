//! What integration tests need from outside the program: a real control plane, kubectl, Redis.
//!
//! Nothing here is a mock. What cannot be had on a machine is not replaced: the test says so by way of
//! [`missing`], loudly, and in CI that is a failure.
// Every test binary compiles this module and uses its own part of it.
#![allow(dead_code, unreachable_pub, unused_imports)]
// Clippy's exemption for tests does not reach their helper functions.
#![allow(clippy::unwrap_used)]

pub mod account;
pub mod audit;
pub mod kubectl;
pub mod process;
pub mod redis;
// It talks to other processes: their time is the real one.
#[allow(clippy::disallowed_methods)]
pub mod rpc;
#[allow(clippy::disallowed_methods)]
pub mod scene;
pub mod testbed;

pub use redis::Unavailable;

/// Says that a suite does not run, if there is a reason: on stderr, and in the file that `WAM_SKIPPED`
/// names (the test command prints it at its end). Answers whether there was one.
///
/// # Panics
/// With `CI=true`: there a suite that did not run is a failure.
pub fn missing(suite: &str, reason: Option<Unavailable>) -> bool {
    if let Some(Unavailable(reason)) = &reason {
        redis::skip(suite, reason);
    }
    reason.is_some()
}

/// What a suite needs, or nothing, and the reason said as [`missing`] says it.
pub fn require<T>(suite: &str, needed: Result<T, Unavailable>) -> Option<T> {
    match needed {
        Ok(value) => Some(value),
        Err(reason) => {
            missing(suite, Some(reason));
            None
        }
    }
}
