//! `GET /events`: how actions go, as server-sent events (WHATWG HTML, "Server-sent events").
//!
//! `id` is the event's place in the store's stream, `event` the CloudEvent's type, `data` the CloudEvent
//! on one line. A reader that gives its last id back (`Last-Event-ID`, or `?lastEventId=` where headers
//! cannot be set) goes on after it; `0` is the beginning. Without it the stream starts now, which is:
//! before the answer's first byte, so that whoever has read `: listening` misses nothing of what it then
//! submits. `?actionId=` leaves out the events of other actions.
//!
//! The store keeps a bounded number of events. If those right after the reader's id are gone, or the id
//! lies beyond the newest event (a store that lost its end), the reader gets one `wam.stream.gap.v1`
//! (without an id) whose data `{requested, resumed, reason}` says after which id the stream goes on, and
//! must ask `action.Get` for what it may have missed.
//!
//! While the store is away the stream stays open, says so in a comment, and goes on when it is back.
//! A comment every fifteen seconds keeps connections alive. Nothing is kept here: a slow reader is one
//! that asks the store later.

mod follow;
mod frame;
mod position;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};

use self::follow::Follower;
use self::position::Position;
use super::{ApiState, plain_text};
use crate::store::ActionId;

/// Serves one reader.
pub(super) async fn serve(
    State(state): State<ApiState>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let (from, filter) = match wishes(&headers, query.as_deref()) {
        Ok(wishes) => wishes,
        Err(text) => return plain_text(StatusCode::BAD_REQUEST, text),
    };
    let client = state.metrics.event_client();
    let mut follower = Follower::new(state.store, from, filter, state.shutdown);
    // Where "now" is must be known before the answer begins.
    let first = follower.open().await;
    let rest = stream::unfold((follower, client), |(mut follower, client)| async move {
        let frames = follower.next().await?;
        Some((frames, (follower, client)))
    });
    let body = stream::once(async move { first })
        .chain(rest)
        .map(Ok::<_, std::convert::Infallible>);
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        // nginx would collect the events before it passes them on.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(body)).into_response()
}

/// Reads where to start and what to show.
fn wishes(
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<(Option<Position>, Option<ActionId>), String> {
    let mut from = match headers.get("last-event-id") {
        None => None,
        Some(value) => Some(
            value
                .to_str()
                .map_err(|_| "Last-Event-ID: not a position: not ASCII\n".to_owned())?,
        ),
    };
    let mut filter = None;
    for pair in query.unwrap_or_default().split('&') {
        match pair.split_once('=') {
            // A header is what a browser sends when it reconnects to the same URL: it is the newer.
            Some(("lastEventId", value)) if from.is_none() => from = Some(value),
            Some(("actionId", value)) if !value.is_empty() => {
                let id = value
                    .parse()
                    .map_err(|error| format!("actionId: {error}\n"))?;
                filter = Some(id);
            }
            _ => {}
        }
    }
    let from = from
        .filter(|text| !text.is_empty())
        .map(|text| {
            text.parse()
                .map_err(|error| format!("Last-Event-ID: {error}\n"))
        })
        .transpose()?;
    Ok((from, filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read_and_bad_ones_are_named() {
        let id = "0190a6e0c0de7000800000000000abcd";
        let mut headers = HeaderMap::new();
        assert_eq!(wishes(&headers, None), Ok((None, None)));
        assert_eq!(
            wishes(&headers, Some("lastEventId=&actionId=&x")),
            Ok((None, None))
        );
        let (from, filter) =
            wishes(&headers, Some(&format!("lastEventId=12-3&actionId={id}"))).unwrap();
        assert_eq!(from.unwrap().to_string(), "12-3");
        assert_eq!(filter.unwrap().to_string(), id);
        headers.insert("last-event-id", "14".parse().unwrap());
        let (from, _) = wishes(&headers, Some("lastEventId=12-3")).unwrap();
        assert_eq!(from.unwrap().to_string(), "14-0");
        headers.insert("last-event-id", "new".parse().unwrap());
        assert_eq!(
            wishes(&headers, None),
            Err(
                "Last-Event-ID: \"new\" is not a position: want <milliseconds>-<sequence>\n".into()
            )
        );
        assert_eq!(
            wishes(&HeaderMap::new(), Some("actionId=x")),
            Err("actionId: \"x\" is not an action id\n".into())
        );
    }
}
