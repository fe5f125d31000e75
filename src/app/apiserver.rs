//! Whether the API server answers, for `/readyz`: the watches alone are silent for minutes when nothing
//! happens, and cannot tell that from a server that hangs.
//!
//! One probe at a time, however often `/readyz` is asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::kube::call::Call;
use crate::kube::transport::Transport;

/// Between two probes.
const PAUSE: Duration = Duration::from_secs(2);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the last probe said.
pub(super) type Answer = Result<(), String>;

/// Probes until `stop`. The receiver has the last answer.
pub(super) fn probe(
    transport: Arc<Transport>,
    stop: CancellationToken,
) -> (watch::Receiver<Answer>, impl Future<Output = ()> + Send) {
    let (sender, receiver) = watch::channel(Err("not asked yet".to_owned()));
    let probing = async move {
        let call = Call::get("/readyz".to_owned());
        loop {
            let answer = match clock::timeout(PATIENCE, Box::pin(transport.send_once(&call))).await
            {
                Ok(Ok(_)) => Ok(()),
                // Whoever says no is there.
                Ok(Err(failure)) if failure.code().is_some_and(|code| code < 500) => Ok(()),
                Ok(Err(failure)) => Err(failure.to_string()),
                Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
            };
            // The last answer is of no interest.
            drop(sender.send_replace(answer));
            tokio::select! {
                () = stop.cancelled() => return,
                () = clock::sleep(PAUSE) => {}
            }
        }
    };
    (receiver, probing)
}
