//! A private `redis-server` for one test: on a free port, in a temporary folder, writing every command to
//! its append-only file before it answers. Killed when dropped.

#![allow(dead_code, unreachable_pub)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// There is no `redis-server` here, or it does not start.
#[derive(Debug, Clone)]
pub struct Unavailable(pub String);

/// A running (or just now stopped) server.
pub struct Redis {
    port: u16,
    dir: tempfile::TempDir,
    options: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// Starts a server that keeps what it acknowledges.
    pub fn start() -> Result<Self, Unavailable> {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Starts a server with these options besides port and folder.
    pub fn start_with(options: &[&str]) -> Result<Self, Unavailable> {
        let mut dir = tempfile::tempdir().map_err(|problem| Unavailable(problem.to_string()))?;
        let mut last = String::new();
        // The free port may be taken by another before the server binds it.
        for _ in 0..5 {
            let port = free_port().map_err(|problem| Unavailable(problem.to_string()))?;
            let child = spawn(port, dir.path(), options)?;
            let mut server = Self {
                port,
                dir,
                options: options.iter().map(|&option| option.to_owned()).collect(),
                child: Some(child),
            };
            match server.wait_ready() {
                Ok(()) => return Ok(server),
                Err(problem) => last = problem,
            }
            server.stop();
            dir = tempfile::tempdir().map_err(|problem| Unavailable(problem.to_string()))?;
        }
        Err(Unavailable(last))
    }

    /// Starts a server, or says loudly that this suite did not run; in CI that is a failure.
    pub fn start_or_skip(suite: &str) -> Option<Self> {
        match Self::start() {
            Ok(server) => Some(server),
            Err(Unavailable(reason)) => {
                skip(suite, &reason);
                None
            }
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it (SIGKILL): nothing but what it has written remains.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same port with what is in its folder.
    pub fn resume(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        let child = spawn(self.port, self.dir.path(), &options).expect("it started before");
        self.child = Some(child);
        self.wait_ready().expect("it comes back");
    }

    /// Kills it and starts it again.
    pub fn restart(&mut self) {
        self.stop();
        self.resume();
    }

    /// Stops it in its tracks: connections stay, nothing is answered.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args([signal, &id]).status();
        assert!(status.expect("kill").success());
    }

    fn wait_ready(&mut self) -> Result<(), String> {
        for _ in 0..3000 {
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(format!("redis-server ended with {status}"));
            }
            if pings(self.port) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("redis-server does not answer".into())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Says loudly that a suite did not run. In CI (`CI=true`) that is a failure.
pub fn skip(suite: &str, reason: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "suite {suite} could not run: {reason}"
    );
    eprintln!("SKIPPED SUITE {suite}: {reason}");
    if let Some(path) = std::env::var_os("WAM_SKIPPED") {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path);
        if let Ok(mut file) = file {
            let _ = writeln!(file, "{suite}: {reason}");
        }
    }
}

fn spawn(port: u16, dir: &std::path::Path, options: &[&str]) -> Result<Child, Unavailable> {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--daemonize", "no", "--logfile", "redis.log"])
        .arg("--dir")
        .arg(dir)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|problem| Unavailable(format!("redis-server: {problem}")))
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Whether a server answers there and has read its data. One that wants a password answers too.
fn pings(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut answer = [0; 7];
    stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && (answer == *b"+PONG\r\n" || answer == *b"-NOAUTH")
}
