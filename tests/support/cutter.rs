//! A TCP proxy that can lose a reply: the request arrives and is carried out, the answer never comes.

#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

pub struct Cutter {
    port: u16,
    lose: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Cutter {
    /// Stands before the server at `target`.
    pub async fn before(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let lose = Arc::new(AtomicUsize::new(0));
        let losing = Arc::clone(&lose);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, target, Arc::clone(&losing)));
            }
        });
        Self {
            port,
            lose,
            task: task.abort_handle(),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Loses the next `count` replies, and with each the connection.
    pub fn lose_replies(&self, count: usize) {
        self.lose.store(count, Ordering::SeqCst);
    }

    /// How many are still to be lost.
    pub fn left(&self) -> usize {
        self.lose.load(Ordering::SeqCst)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, target: u16, lose: Arc<AtomicUsize>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async { tokio::io::copy(&mut from_client, &mut to_server).await.ok() };
    let replies = async {
        let mut buffer = vec![0; 64 * 1024];
        // What says hello (CLIENT SETINFO) and what blocks (XREAD) is not what a test means to lose.
        let mut greeted = false;
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            let losable = std::mem::replace(&mut greeted, true) && !is_stream(&buffer[..count]);
            let lost = losable
                && lose
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                    .is_ok();
            if lost || to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = requests => {}
        () = replies => {}
    }
}

/// An answer to the listener on the stream of changes.
fn is_stream(reply: &[u8]) -> bool {
    reply.starts_with(b"*-1\r\n") || reply.windows(9).any(|part| part == b":changes\r")
}
