//! Calls over the wire.

use std::error::Error as _;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::args::ServerArgs;

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a call may take.
const CALL: Duration = Duration::from_secs(60);

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The address makes no sense.
    #[error("--server {server:?}: {problem}")]
    Address {
        /// As it was given.
        server: String,
        /// What is wrong.
        problem: String,
    },
    /// Nobody answers there.
    #[error(
        "cannot reach {server}: {problem}\n\
         Is `wam sandbox` or `wam serve` running there? --server or WAM_SERVER names another address."
    )]
    Unreachable {
        /// The address.
        server: String,
        /// Why.
        problem: String,
    },
    /// Somebody answers there, but not as `wam` does.
    #[error("{server} answered {status}: {text}")]
    Status {
        /// The address.
        server: String,
        /// The HTTP status.
        status: u16,
        /// The body.
        text: String,
    },
    /// The answer makes no sense.
    #[error("{server} does not answer as wam does: {problem}")]
    Garbled {
        /// The address.
        server: String,
        /// What is wrong.
        problem: String,
    },
    /// The method refused; its own words.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// Whether the same call may succeed later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Value,
}

/// A server to call.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    server: String,
}

impl Client {
    /// A client of the server that the arguments name.
    pub(super) fn new(args: &ServerArgs) -> Result<Self, Error> {
        let mut server = args.server.trim().trim_end_matches('/').to_owned();
        if let Some(base) = server.strip_suffix("/rpc") {
            server.truncate(base.len());
        }
        if !server.contains("://") {
            server.insert_str(0, "http://");
        }
        let address = |problem: String| Error::Address {
            server: args.server.clone(),
            problem,
        };
        match reqwest::Url::parse(&server) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {}
            Ok(_) => return Err(address("want http://HOST:PORT".to_owned())),
            Err(error) => return Err(address(error.to_string())),
        }
        // The binary has installed one already; a library's caller may not have.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .user_agent(concat!("wam/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| address(chain(&error)))?;
        Ok(Self { http, server })
    }

    /// Calls a method.
    pub(super) async fn call(&self, method: &str, argument: &Value) -> Result<Value, Error> {
        let body = json!({"method": method, "params": [argument], "id": 1});
        let response = self
            .http
            .post(format!("{}/rpc", self.server))
            .timeout(CALL)
            .json(&body)
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let response = self.ok(response).await?;
        let text = response
            .text()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let answer: Answer = serde_json::from_str(&text).map_err(|error| Error::Garbled {
            server: self.server.clone(),
            problem: error.to_string(),
        })?;
        match answer.error {
            Value::Null => Ok(answer.result),
            Value::String(text) => Err(Error::Refused(text)),
            other => Err(Error::Refused(other.to_string())),
        }
    }

    /// Opens the stream of events.
    pub(super) async fn events(
        &self,
        action: Option<&str>,
        last: Option<&str>,
        silence: Duration,
    ) -> Result<reqwest::Response, Error> {
        // Ids are hexadecimal; anything else is for the server to refuse.
        let mut url = reqwest::Url::parse(&format!("{}/events", self.server)).map_err(|error| {
            Error::Address {
                server: self.server.clone(),
                problem: error.to_string(),
            }
        })?;
        if let Some(action) = action {
            let id: String = action.chars().filter(char::is_ascii_alphanumeric).collect();
            url.set_query(Some(&format!("actionId={id}")));
        }
        let mut request = self.http.get(url).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let sending = crate::clock::timeout(silence, request.send()).await;
        let response = match sending {
            Ok(response) => response.map_err(|error| self.unreachable(&error))?,
            Err(elapsed) => {
                return Err(Error::Unreachable {
                    server: self.server.clone(),
                    problem: elapsed.to_string(),
                });
            }
        };
        self.ok(response).await
    }

    async fn ok(&self, response: reqwest::Response) -> Result<reqwest::Response, Error> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let text = response.text().await.unwrap_or_default();
        Err(Error::Status {
            server: self.server.clone(),
            status,
            text: text.trim().chars().take(500).collect(),
        })
    }

    pub(super) fn unreachable(&self, error: &reqwest::Error) -> Error {
        Error::Unreachable {
            server: self.server.clone(),
            problem: chain(error),
        }
    }
}

/// The innermost cause says what people understand ("Connection refused").
fn chain(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}
