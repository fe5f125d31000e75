//! `wam watch`: follows `/events`, resuming where the stream was cut.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::args::WatchArgs;
use super::output::{Format, text};
use super::rpc::{self, Client};
use super::stream::{Event, Item, Parser};
use super::wait::{self, Progress};
use crate::clock;

/// The server says something every fifteen seconds; after three times that the line is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// How soon to connect again.
const RETRY: Duration = Duration::from_secs(1);

/// Why following ended.
enum End {
    /// The action has ended, in this state.
    Final,
    /// The stream was cut.
    Cut(String),
}

/// `wam watch`.
pub(super) async fn watch(
    args: WatchArgs,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let client = Client::new(&args.server)?;
    let mut watch = Watch {
        id: args.id,
        last: args.since,
        format: args.server.output,
        progress: Progress::default(),
    };
    let mut answered = None;
    loop {
        let problem = match watch.follow(&client, out, err).await {
            Ok(End::Final) => {
                let action = watch.look(&client).await?;
                if watch.format != Format::Json {
                    wait::finish(watch.format, &action, out)?;
                }
                return Ok(text(&action, "state") == "Succeeded");
            }
            Ok(End::Cut(problem)) => {
                answered = Some(clock::instant());
                problem
            }
            Err(error) => {
                let again = error
                    .downcast_ref::<rpc::Error>()
                    .is_some_and(rpc::Error::is_transient)
                    && answered.is_some_and(|at| at.elapsed() < wait::PATIENCE);
                if !again {
                    return Err(error);
                }
                error.to_string()
            }
        };
        tracing::debug!(problem, "the stream was cut; connecting again");
        clock::sleep(RETRY).await;
    }
}

struct Watch {
    id: Option<String>,
    /// Resume after this event.
    last: Option<String>,
    format: Format,
    progress: Progress,
}

impl Watch {
    async fn look(&self, client: &Client) -> Result<Value, rpc::Error> {
        let id = self.id.as_deref().unwrap_or_default();
        client.call("action.Get", &json!({"actionId": id})).await
    }

    async fn has_ended(&self, client: &Client) -> Result<bool, rpc::Error> {
        if self.id.is_none() {
            return Ok(false);
        }
        let action = self.look(client).await?;
        Ok(wait::is_final(text(&action, "state")))
    }

    /// Follows one connection to its end.
    async fn follow(
        &mut self,
        client: &Client,
        out: &mut (dyn Write + Send),
        err: &mut (dyn Write + Send),
    ) -> anyhow::Result<End> {
        let mut response = client
            .events(self.id.as_deref(), self.last.as_deref(), SILENCE)
            .await?;
        // Looked at after the stream stands, so that no end can fall in between.
        if self.id.is_some() {
            let action = self.look(client).await?;
            if self.format != Format::Json {
                self.progress.tell(&action, err)?;
            }
            if self.last.is_none() && wait::is_final(text(&action, "state")) {
                return Ok(End::Final);
            }
        }
        let mut parser = Parser::default();
        loop {
            let bytes = match clock::timeout(SILENCE, response.chunk()).await {
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None)) => return Ok(End::Cut("the server ended the stream".to_owned())),
                Ok(Err(error)) => return Ok(End::Cut(client.unreachable(&error).to_string())),
                Err(elapsed) => return Ok(End::Cut(elapsed.to_string())),
            };
            for item in parser.push(&bytes) {
                let event = match item {
                    Item::Comment(comment) => {
                        if let Some(at) = comment.strip_prefix("listening after ") {
                            self.last.get_or_insert_with(|| at.to_owned());
                        } else if comment == "keep-alive" && self.has_ended(client).await? {
                            // Its last event lies before the place where we began.
                            return Ok(End::Final);
                        }
                        continue;
                    }
                    Item::Event(event) => event,
                };
                self.tell(&event, out, err)?;
                if event.id.is_some() {
                    self.last.clone_from(&event.id);
                }
                if self.id.is_some() && ends(&event.kind) {
                    return Ok(End::Final);
                }
                // The end may lie in a gap.
                if event.id.is_none() && self.has_ended(client).await? {
                    return Ok(End::Final);
                }
            }
        }
    }

    fn tell(
        &self,
        event: &Event,
        out: &mut (dyn Write + Send),
        err: &mut (dyn Write + Send),
    ) -> std::io::Result<()> {
        if event.id.is_none() {
            return writeln!(err, "some events are lost: {}", event.data);
        }
        if self.format == Format::Json {
            return writeln!(out, "{}", event.data);
        }
        let body: Value = serde_json::from_str(&event.data).unwrap_or_default();
        writeln!(out, "{}", line(event, &body))
    }
}

/// One line for people: when, which action, what.
fn line(event: &Event, body: &Value) -> String {
    let kind = event
        .kind
        .strip_prefix("wam.action.")
        .unwrap_or(&event.kind);
    let kind = kind.strip_suffix(".v1").unwrap_or(kind);
    let data = &body["data"];
    let time = text(body, "time");
    let mut words = vec![
        format!("{:<20}", time.get(..19).unwrap_or(time)),
        text(body, "subject").to_owned(),
        format!("{kind:<11}"),
    ];
    let step = &data["step"];
    for (from, member) in [
        (data, "method"),
        (step, "name"),
        (step, "state"),
        (step, "detail"),
        (data, "reason"),
        (data, "message"),
    ] {
        let word = text(from, member);
        if !word.is_empty() {
            words.push(word.replace('\n', " "));
        }
    }
    words.join("  ").trim_end().to_owned()
}

/// Whether an event of this type is an action's last.
fn ends(kind: &str) -> bool {
    matches!(
        kind,
        "wam.action.succeeded.v1"
            | "wam.action.failed.v1"
            | "wam.action.compensated.v1"
            | "wam.action.cancelled.v1"
    )
}
