//! What an error of Redis means for us: wait and repeat, connect anew, or say it.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::Error;

/// What to do about an error.
#[derive(Debug)]
pub(super) enum Problem {
    /// The connection is not to be used again; repeat on another one.
    Connection(String),
    /// The server is busy with itself; repeat.
    Busy(String),
    /// Repeating does not help.
    Final(Error),
}

impl Problem {
    /// Reads an error that came while working on `key`.
    pub(super) fn of(error: &RedisError, key: &str) -> Self {
        let detail = error.detail().unwrap_or_default();
        let unavailable = |text: String| Self::Final(Error::Unavailable(text));
        match error.kind() {
            ErrorKind::Io => Self::Connection(format!("cannot reach Redis: {error}")),
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::Connection(
                "this Redis is a read-only replica; the primary is wanted (after a failover it may \
                 take a moment)"
                    .into(),
            ),
            ErrorKind::Server(ServerErrorKind::MasterDown) => {
                Self::Connection("this Redis is a replica that has lost its primary".into())
            }
            ErrorKind::Server(ServerErrorKind::BusyLoading) => {
                Self::Busy("Redis is still loading its data".into())
            }
            ErrorKind::Server(ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown) => {
                Self::Busy(format!("Redis asks to try again: {error}"))
            }
            ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => unavailable(
                "this Redis is a node of a cluster that does not hold our keys".into(),
            ),
            ErrorKind::AuthenticationFailed => {
                unavailable("Redis does not accept the user name or password".into())
            }
            ErrorKind::Server(ServerErrorKind::NoPerm) => unavailable(format!(
                "the Redis user may not do what is needed: {}",
                without_script(detail)
            )),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Final(Error::Corrupt {
                key: key.to_owned(),
                problem: "what Redis answered has not the expected form".into(),
            }),
            _ => Self::of_code(error, key),
        }
    }

    fn of_code(error: &RedisError, key: &str) -> Self {
        let detail = without_script(error.detail().unwrap_or_default());
        let unavailable = |text: String| Self::Final(Error::Unavailable(text));
        match error.code().unwrap_or_default() {
            // What our scripts say: the key, then the problem.
            "CORRUPT" => {
                let (key, problem) = detail.split_once(' ').unwrap_or((key, detail));
                Self::Final(Error::Corrupt {
                    key: key.to_owned(),
                    problem: problem.to_owned(),
                })
            }
            "WRONGTYPE" => Self::Final(Error::Corrupt {
                key: key.to_owned(),
                problem: "holds another type than ours".into(),
            }),
            "OOM" => unavailable(
                "Redis is full (maxmemory) and refuses writes; nothing was lost, nothing was stored"
                    .into(),
            ),
            "MISCONF" => unavailable(format!(
                "Redis refuses writes because it cannot persist them: {detail}"
            )),
            "NOREPLICAS" => Self::Busy(
                "Redis refuses writes because too few replicas are connected (min-replicas-to-write)"
                    .into(),
            ),
            "NOAUTH" => unavailable("Redis wants a password".into()),
            "WRONGPASS" => unavailable("Redis does not accept the user name or password".into()),
            "BUSY" => Self::Busy("Redis is busy with a script".into()),
            "UNBLOCKED" => Self::Connection("Redis changes its role".into()),
            _ => unavailable(format!("Redis refuses: {error}")),
        }
    }

    /// As the caller is told when there is no more time to repeat.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Connection(text) | Self::Busy(text) => Error::Unavailable(text),
            Self::Final(error) => error,
        }
    }
}

/// Redis adds where in which script an error arose.
fn without_script(detail: &str) -> &str {
    detail
        .rfind(" script: ")
        .map_or(detail, |end| &detail[..end])
}
