//! The connection that commands and scripts go over: one, shared, made anew when it breaks.
//!
//! We keep the connection ourselves rather than in `redis::aio::ConnectionManager`, because that one
//! stays on a server that has become a read-only replica, and because each call must end within its own
//! time, reconnecting included. Blocking reads never go over this connection: they would stall it.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisResult, Script};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::problem::Problem;
use crate::clock;
use crate::store::{Error, Result};

/// The first pause before a repetition; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    /// How long a call may take with all its repetitions.
    patience: Duration,
    current: Mutex<Current>,
}

#[derive(Debug, Default)]
struct Current {
    /// Counts the connections made.
    number: u64,
    connection: Option<MultiplexedConnection>,
}

/// What is asked of Redis.
pub(super) enum Call<'a> {
    Command(&'a Cmd),
    Script(&'a Script, &'a str, &'a [Vec<u8>]),
}

impl Call<'_> {
    async fn make<T: FromRedisValue>(&self, con: &mut MultiplexedConnection) -> RedisResult<T> {
        match self {
            Self::Command(command) => command.query_async(con).await,
            Self::Script(script, root, args) => {
                let mut invocation = script.key(*root);
                for arg in *args {
                    invocation.arg(arg.as_slice());
                }
                invocation.invoke_async(con).await
            }
        }
    }
}

impl Link {
    pub(super) fn new(client: Client, patience: Duration) -> Self {
        Self {
            client,
            patience,
            current: Mutex::default(),
        }
    }

    /// Makes the call, again and again while that may help and there is time. So a call may be carried
    /// out more than once: what is called must recognise its own repetition.
    pub(super) async fn call<T: FromRedisValue>(&self, call: Call<'_>, key: &str) -> Result<T> {
        self.call_within(self.patience, call, key).await
    }

    pub(super) async fn call_within<T: FromRedisValue>(
        &self,
        patience: Duration,
        call: Call<'_>,
        key: &str,
    ) -> Result<T> {
        let give_up = clock::instant() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let problem = match self.attempt(&call, key, give_up).await {
                Ok(value) => return Ok(value),
                Err(Problem::Final(error)) => return Err(error),
                Err(problem) => problem,
            };
            if clock::instant() + pause >= give_up {
                return Err(problem.into_error());
            }
            clock::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        call: &Call<'_>,
        key: &str,
        give_up: Instant,
    ) -> std::result::Result<T, Problem> {
        let left = give_up.saturating_duration_since(clock::instant());
        let (number, mut connection) = match clock::timeout(left, self.connection()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(Problem::of(&error, key)),
            Err(_) => return Err(silent(self.patience)),
        };
        let left = give_up.saturating_duration_since(clock::instant());
        let problem = match clock::timeout(left, call.make(&mut connection)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => Problem::of(&error, key),
            Err(_) => silent(self.patience),
        };
        if matches!(
            problem,
            Problem::Connection(_) | Problem::Final(Error::Unavailable(_))
        ) {
            self.abandon(number).await;
        }
        Err(problem)
    }

    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((current.number, connection.clone()));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT.min(self.patience)))
            // Each call has its own end, see `attempt`.
            .set_response_timeout(None);
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        current.number += 1;
        current.connection = Some(connection.clone());
        Ok((current.number, connection))
    }

    /// Uses connection `number` no more, if that is still the one in use.
    async fn abandon(&self, number: u64) {
        let mut current = self.current.lock().await;
        if current.number == number {
            current.connection = None;
        }
    }
}

fn silent(patience: Duration) -> Problem {
    Problem::Connection(format!("Redis did not answer within {patience:?}"))
}
