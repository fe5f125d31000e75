//! The chart's Redis as a local process: its own start script, its own configuration, its own password.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// It is killed when dropped.
pub struct ChartRedis {
    child: Child,
    pub port: u16,
    pub password: String,
    _folder: tempfile::TempDir,
}

impl ChartRedis {
    /// Runs `start.sh` of the ConfigMap with the paths of the container in a folder.
    pub fn start(config: &Value, password: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let here = |path: &str| folder.path().join(path).display().to_string();
        for part in ["etc", "run", "data"] {
            std::fs::create_dir(here(part)).expect("a folder");
        }
        for (name, text) in config["data"].as_object().expect("files") {
            let mut text = text
                .as_str()
                .expect("text")
                .replace("/etc/redis", &here("etc"))
                .replace("/run/redis", &here("run"))
                .replace("dir /data", &format!("dir {}", here("data")));
            if name == "redis.conf" {
                text.push_str(&format!("port {port}\nbind 127.0.0.1\n"));
            }
            std::fs::write(here("etc") + "/" + name, text).expect("written");
        }
        let child = Command::new("sh")
            .arg(here("etc") + "/start.sh")
            .env("REDIS_PASSWORD", password)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell");
        let server = Self {
            child,
            port,
            password: password.to_owned(),
            _folder: folder,
        };
        server.wait();
        server
    }

    fn wait(&self) {
        for _ in 0..600 {
            if self.ping(&self.password) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the chart's Redis does not answer");
    }

    /// Whether this password is the right one.
    pub fn ping(&self, password: &str) -> bool {
        redis::Client::open(format!("redis://:{password}@127.0.0.1:{}", self.port))
            .and_then(|client| client.get_connection())
            .and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection))
            .is_ok()
    }

    /// A setting as the server has it.
    pub fn setting(&self, name: &str) -> String {
        let url = format!("redis://:{}@127.0.0.1:{}", self.password, self.port);
        let answer: Vec<String> = redis::Client::open(url)
            .and_then(|client| client.get_connection())
            .and_then(|mut connection| {
                redis::cmd("CONFIG")
                    .arg("GET")
                    .arg(name)
                    .query(&mut connection)
            })
            .expect("an answer");
        answer.get(1).cloned().unwrap_or_default()
    }
}

impl Drop for ChartRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether there is a `redis-server` to run.
pub fn is_there() -> bool {
    let found = Command::new("redis-server").arg("--version").output();
    found.is_ok_and(|output| output.status.success()) && Path::new("/bin/sh").exists()
}
