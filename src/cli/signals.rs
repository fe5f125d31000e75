//! Ctrl-C and SIGTERM.

use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first Ctrl-C or SIGTERM; the second one ends the process at once.
#[must_use]
pub fn shutdown() -> CancellationToken {
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        received().await;
        cancel.cancel();
        received().await;
        std::process::exit(130);
    });
    token
}

#[cfg(unix)]
async fn received() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(not(unix))]
async fn received() {
    let _ = tokio::signal::ctrl_c().await;
}
