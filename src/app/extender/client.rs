//! The HTTP client of an extender: its timeout and its TLS (`makeTransport` in `pkg/scheduler/extender.go`).

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, Identity};

use crate::scheduler::config::{ExtenderConfig, ExtenderTls};

/// Makes it.
///
/// # Errors
/// What cannot be read, or makes no sense together.
pub(super) fn new(config: &ExtenderConfig) -> Result<Client, String> {
    let timeout = config
        .http_timeout
        .to_std()
        .ok_or("httpTimeout is negative")?;
    let mut builder = Client::builder().timeout(timeout).no_proxy();
    let none = ExtenderTls::default();
    let tls = config.tls.as_ref().unwrap_or(&none);
    let authority = pem(&tls.ca_data, &tls.ca_file, "caFile")?;
    if authority.is_some() && tls.insecure {
        return Err(
            "specifying a root certificates file with the insecure flag is not allowed".to_owned(),
        );
    }
    match authority {
        Some(pem) => {
            let certificates =
                Certificate::from_pem_bundle(&pem).map_err(|e| format!("caFile: {e}"))?;
            builder = builder.tls_certs_only(certificates);
        }
        // As upstream: HTTPS without an authority to ask trusts whoever answers.
        None if tls.insecure || config.enable_https => {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        None => {}
    }
    let certificate = pem(&tls.cert_data, &tls.cert_file, "certFile")?;
    let key = pem(&tls.key_data, &tls.key_file, "keyFile")?;
    match (certificate, key) {
        (Some(mut pem), Some(key)) => {
            pem.push(b'\n');
            pem.extend_from_slice(&key);
            let identity =
                Identity::from_pem(&pem).map_err(|e| format!("certFile and keyFile: {e}"))?;
            builder = builder.identity(identity);
        }
        (None, None) => {}
        _ => return Err("a certificate needs its key, and a key its certificate".to_owned()),
    }
    if !tls.server_name.is_empty() {
        builder = builder.dns_resolver(Arc::new(Renamed {
            name: tls.server_name.clone(),
            host: host_of(&config.url_prefix).to_owned(),
        }));
    }
    builder.build().map_err(|error| super::causes(&error))
}

/// The URL to call: with `serverName` the host is that name, which [`Renamed`] leads to the host that was meant.
pub(super) fn url_prefix(config: &ExtenderConfig) -> String {
    let name = config
        .tls
        .as_ref()
        .map_or("", |tls| tls.server_name.as_str());
    let host = host_of(&config.url_prefix);
    if name.is_empty() || host.is_empty() {
        config.url_prefix.clone()
    } else {
        config.url_prefix.replacen(host, name, 1)
    }
}

/// The host in a URL, without its port.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Resolves a server's name to the address of another host.
struct Renamed {
    name: String,
    host: String,
}

impl Resolve for Renamed {
    fn resolve(&self, name: Name) -> Resolving {
        let asked = name.as_str().to_owned();
        let host = if asked == self.name {
            self.host.clone()
        } else {
            asked
        };
        Box::pin(async move {
            let host = host.trim_matches(['[', ']']);
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// What is given as data, else what the file contains.
fn pem(data: &[u8], file: &str, field: &str) -> Result<Option<Vec<u8>>, String> {
    if !data.is_empty() {
        return Ok(Some(data.to_vec()));
    }
    if file.is_empty() {
        return Ok(None);
    }
    let read = std::fs::read(file);
    read.map(Some)
        .map_err(|error| format!("{field} {file}: {error}"))
}
