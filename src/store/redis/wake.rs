//! Listens to the stream of changes on a connection of its own, since a blocking read stalls all that
//! share it. It only wakes: what changed is read from the state.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult, Value};
use tokio::sync::watch;

use super::link::{Call, Link};
use super::scripts::Scripts;
use crate::clock;

/// How long one read blocks on the server.
const BLOCK: Duration = Duration::from_secs(5);
/// The pause before connecting anew; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What XREAD answers: for each stream its new entries, or nothing when the time is up.
type Streams = Option<Vec<(String, Vec<(String, Value)>)>>;

pub(super) struct Waker {
    pub(super) client: Client,
    pub(super) root: String,
    pub(super) changes: watch::Sender<u64>,
    pub(super) link: std::sync::Arc<Link>,
    pub(super) scripts: std::sync::Arc<Scripts>,
}

impl Waker {
    /// Runs until it is aborted.
    pub(super) async fn run(self) {
        let mut pause = FIRST_PAUSE;
        let mut connected_before = false;
        loop {
            match self.connect().await {
                Ok(mut connection) => {
                    if connected_before {
                        tracing::info!("listening to Redis again");
                        self.rebase().await;
                    }
                    connected_before = true;
                    pause = FIRST_PAUSE;
                    if let Err(problem) = self.listen(&mut connection).await {
                        tracing::debug!(%problem, "the connection that listens to Redis broke");
                    }
                }
                Err(problem) => tracing::debug!(%problem, "cannot listen to Redis"),
            }
            // Whoever waits should look for itself, and will see that the store is away.
            self.wake();
            clock::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(BLOCK))
            .set_response_timeout(None);
        self.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    async fn listen(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let stream = format!("{}:changes", self.root);
        let mut last: Option<String> = None;
        loop {
            // Known anew now and then: a server that has lost its data counts from before.
            if last.is_none() {
                let mut newest = redis::cmd("XREVRANGE");
                newest.arg(&stream).arg("+").arg("-").arg("COUNT").arg(1);
                let entries: Vec<(String, Value)> = answer(&newest, connection).await?;
                let id = entries.into_iter().next().map(|(id, _)| id);
                last = Some(id.unwrap_or_else(|| "0-0".into()));
                self.wake();
            }
            let mut read = redis::cmd("XREAD");
            read.arg("BLOCK").arg(BLOCK.as_millis() as u64);
            read.arg("STREAMS").arg(&stream).arg(last.as_deref());
            let streams: Streams = answer(&read, connection).await?;
            let newest = streams
                .and_then(|streams| streams.into_iter().next())
                .and_then(|(_, entries)| entries.into_iter().next_back());
            if newest.is_some() {
                self.wake();
            }
            last = newest.map(|(id, _)| id);
        }
    }

    /// The server may have been another one, or an older state of this one.
    async fn rebase(&self) {
        let call = Call::Script(&self.scripts.rebase, &self.root, &[]);
        if let Err(problem) = self.link.call::<i64>(call, &self.root).await {
            tracing::warn!(%problem, "cannot make the readers of intents read anew");
        }
    }

    fn wake(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

/// A peer that vanished without a word must not hold us for ever.
async fn answer<T: redis::FromRedisValue>(
    command: &redis::Cmd,
    connection: &mut MultiplexedConnection,
) -> RedisResult<T> {
    match clock::timeout(BLOCK * 2, command.query_async(connection)).await {
        Ok(answer) => answer,
        Err(elapsed) => {
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed.to_string()).into())
        }
    }
}
