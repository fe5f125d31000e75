//! Where Redis is and how patient to be with it.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use crate::store::{Error, Result};

/// Where Redis is. Either `url`, or `host` and `port`; what is given besides a `url` stands above it. The
/// password is never shown, by `Debug` neither.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[user[:password]@]host[:port][/db]` or `unix:///path`.
    pub url: Option<String>,
    /// Name or address, when there is no `url`; `127.0.0.1` if empty.
    pub host: String,
    /// Port, when there is no `url`; usually 6379.
    pub port: u16,
    /// The user of Redis' access control lists.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The number of the database.
    pub db: Option<i64>,
    /// The word that all keys begin with, `<prefix>:{<prefix>}:`; two installations on one Redis need two.
    pub prefix: String,
    /// How long one call may take with all its repetitions, before it is [`Error::Unavailable`].
    pub timeout: Duration,
    /// About how many events are kept.
    pub events_kept: usize,
    /// How many withdrawn intents are remembered for readers that lag behind.
    pub withdrawals_kept: usize,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            url: None,
            host: "127.0.0.1".into(),
            port: 6379,
            username: None,
            password: None,
            db: None,
            prefix: "wam".into(),
            timeout: Duration::from_secs(5),
            events_kept: 100_000,
            withdrawals_kept: 10_000,
        }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.connection_info().map_or_else(
            |problem| problem.to_string(),
            |info| info.addr().to_string(),
        );
        f.debug_struct("RedisOptions")
            .field("address", &address)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl RedisOptions {
    /// The defaults with this URL.
    #[must_use]
    pub fn from_url(url: impl Into<String>) -> Self {
        Self {
            url: Some(url.into()),
            ..Self::default()
        }
    }

    /// What every key begins with.
    pub(super) fn root(&self) -> Result<String> {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.prefix.is_empty() || !self.prefix.chars().all(good) {
            return Err(Error::Unfit(format!(
                "the key prefix {:?} is not made of letters, digits, '-', '_' and '.'",
                self.prefix
            )));
        }
        Ok(format!("{0}:{{{0}}}", self.prefix))
    }

    pub(super) fn connection_info(&self) -> Result<ConnectionInfo> {
        let info = match &self.url {
            Some(url) => url
                .as_str()
                .into_connection_info()
                // The error is not passed on: it might show the URL, and with it the password.
                .map_err(|_| {
                    Error::Unfit(
                        "the Redis URL cannot be read; it looks like redis://host:6379/0 \
                         (a password in it is percent-encoded)"
                            .into(),
                    )
                })?,
            None => {
                let host = if self.host.is_empty() {
                    "127.0.0.1"
                } else {
                    &self.host
                };
                (host, self.port)
                    .into_connection_info()
                    .map_err(|problem| Error::Unfit(problem.to_string()))?
            }
        };
        if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Err(Error::Unfit(
                "this build does not speak TLS to Redis: use redis://, not rediss://".into(),
            ));
        }
        let settings = self.settings(info.redis_settings());
        Ok(info.set_redis_settings(settings))
    }

    fn settings(&self, given: &RedisConnectionInfo) -> RedisConnectionInfo {
        let mut settings = given.clone().set_lib_name("wam", env!("CARGO_PKG_VERSION"));
        if let Some(username) = self.username.as_ref().filter(|name| !name.is_empty()) {
            settings = settings.set_username(username);
        }
        // An empty REDIS_PASSWORD means none.
        if let Some(password) = self.password.as_ref().filter(|word| !word.is_empty()) {
            settings = settings.set_password(password);
        }
        if let Some(db) = self.db {
            settings = settings.set_db(db);
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_not_shown() {
        let options = RedisOptions {
            password: Some("sesame-2".into()),
            ..RedisOptions::from_url("redis://user:sesame-1@redis.example:6380/3")
        };
        let shown = format!("{options:?}");
        assert!(shown.contains("redis.example:6380"), "{shown}");
        assert!(!shown.contains("sesame"), "{shown}");
        let info = options.connection_info().unwrap();
        let settings = info.redis_settings();
        assert_eq!(settings.password(), Some("sesame-2"));
        assert_eq!((settings.username(), settings.db()), (Some("user"), 3));
    }

    #[test]
    fn bad_urls_are_refused_without_being_shown() {
        for url in [
            "",
            "redis://:sesame@",
            "http://:sesame@host",
            "rediss://:sesame@host",
            "redis://:sesame@host/nine",
            "redis://:sesame@host:99999",
        ] {
            let problem = RedisOptions::from_url(url).connection_info().unwrap_err();
            assert!(matches!(problem, Error::Unfit(_)), "{url}: {problem}");
            assert!(!problem.to_string().contains("sesame"), "{url}: {problem}");
        }
    }

    #[test]
    fn keys_share_one_hash_tag() {
        let with = |prefix: &str| RedisOptions {
            prefix: prefix.into(),
            ..RedisOptions::default()
        };
        assert_eq!(with("wam").root().unwrap(), "wam:{wam}");
        for bad in ["", "a b", "{x}", "a:b"] {
            assert!(with(bad).root().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn host_port_and_empty_password() {
        let options = RedisOptions {
            host: "redis".into(),
            port: 7000,
            password: Some(String::new()),
            ..RedisOptions::default()
        };
        let info = options.connection_info().unwrap();
        assert_eq!(info.addr().to_string(), "redis:7000");
        assert_eq!(info.redis_settings().password(), None);
    }
}
