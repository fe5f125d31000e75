//! The store in Redis.
//!
//! Every method is one Lua script or one command, so it happens whole or not at all, and every one
//! recognises its own repetition, so that a lost connection is ridden out by asking again. All keys
//! begin with `<prefix>:{<prefix>}:` and lie in one slot:
//!
//! - `action:<id>` (hash): record, version, fence, mark of the last write; `index` (sorted set): all by
//!   acceptance; `queue`: unfinished ones that nobody holds; `held`: by the end of their lease, on the
//!   server's clock; `owners` (hash): who holds which
//! - `idem:<digest>` (string, expires): the action that an idempotency key stands for
//! - `lock-queue:<name>`, `lock-alone:<name>` (sorted sets by ticket): all that wait or hold, and those of
//!   them that want to be alone; `locks-of:<holder>` (set)
//! - `intent:<id>` (hash); `intents`, `intents-gone` (sorted sets by revision); `intents-of:<action>` (set)
//! - `events` (stream, bounded): what callers listen to; `changes` (stream, short): wakes pollers
//!
//! What "acknowledged" promises depends on the server's settings; [`RedisStore::warnings`] says what.

mod fitness;
mod form;
mod link;
mod methods;
mod options;
mod problem;
mod scripts;
mod wake;

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use redis::{Client, FromRedisValue, Script};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use uuid::Uuid;

use self::form::{IntentFields, escape};
use self::link::{Call, Link};
pub use self::options::RedisOptions;
use self::scripts::Scripts;
use super::{Error, Intent, NewEvent, Result};

/// See the module's documentation.
#[derive(Debug)]
pub struct RedisStore {
    link: Arc<Link>,
    scripts: Arc<Scripts>,
    root: String,
    options: RedisOptions,
    changes: watch::Sender<u64>,
    waker: AbortHandle,
    warnings: Vec<String>,
    /// Names this process in the attempts it makes.
    process: Uuid,
    attempts: AtomicU64,
    /// Keys that were found unreadable, so that each is logged once.
    unreadable: Mutex<HashSet<String>>,
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.waker.abort();
    }
}

impl RedisStore {
    /// Connects, looks whether the server is fit, and begins to listen for changes. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when Redis cannot be reached within the timeout (worth trying again),
    /// [`Error::Unfit`] when it would lose what it acknowledges or the options are wrong.
    pub async fn connect(options: RedisOptions) -> Result<Self> {
        let root = options.root()?;
        let info = options.connection_info()?;
        let client = Client::open(info).map_err(|problem| Error::Unfit(problem.to_string()))?;
        let link = Arc::new(Link::new(client.clone(), options.timeout));
        let warnings = fitness::check(&link).await?;
        let scripts = Arc::new(Scripts::new());
        let changes = watch::Sender::new(0);
        let waker = wake::Waker {
            client,
            root: root.clone(),
            changes: changes.clone(),
            link: Arc::clone(&link),
            scripts: Arc::clone(&scripts),
        };
        Ok(Self {
            link,
            scripts,
            root,
            options,
            changes,
            waker: tokio::spawn(waker.run()).abort_handle(),
            warnings,
            process: Uuid::new_v4(),
            attempts: AtomicU64::new(0),
            unreadable: Mutex::default(),
        })
    }

    /// What is risky about the server's settings, for people; empty when all is as it should be.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How many keys were found unreadable so far; each was logged.
    #[must_use]
    pub fn unreadable(&self) -> usize {
        self.unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.root)
    }

    async fn run<T: FromRedisValue>(&self, script: &Script, args: &[Vec<u8>]) -> Result<T> {
        let call = Call::Script(script, &self.root, args);
        self.link.call(call, &self.root).await
    }

    async fn command<T: FromRedisValue>(&self, command: &redis::Cmd, key: &str) -> Result<T> {
        self.link.call(Call::Command(command), key).await
    }

    /// One key that cannot be read must not keep the others.
    fn skip(&self, key: String, problem: &str) {
        let mut unreadable = self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !unreadable.contains(&key) {
            tracing::error!(%key, %problem, "unreadable content in the store; left out");
            unreadable.insert(key);
        }
    }

    fn corrupt(key: String, problem: String) -> Error {
        Error::Corrupt { key, problem }
    }

    /// The length that the log may have, and the events, as the scripts want them.
    fn event_args(&self, events: &[NewEvent]) -> Result<Vec<Vec<u8>>> {
        let mut args = vec![self.options.events_kept.to_string().into_bytes()];
        for event in events {
            args.push(event.id.clone().into_bytes());
            args.push(event.kind.clone().into_bytes());
            args.push(json(&event.body)?);
        }
        Ok(args)
    }

    fn withdrawals_kept(&self) -> Vec<u8> {
        self.options.withdrawals_kept.to_string().into_bytes()
    }

    fn read_intent(&self, id: &str, fields: &IntentFields) -> Result<Option<Intent>> {
        if fields.is_empty() {
            return Ok(None);
        }
        form::intent(fields)
            .map(Some)
            .map_err(|problem| Self::corrupt(self.key(&format!("intent:{}", escape(id))), problem))
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|problem| Error::Unfit(format!("cannot be kept: {problem}")))
}
