//! Host ports and when two of them conflict (`framework/types.go`, `HostPortInfo`).

use k8s_openapi::api::core::v1 as api;

use super::requests::is_sidecar;

const ANY: &str = "0.0.0.0";

/// A port of the host that a pod occupies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// The port.
    pub port: i32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The address; `0.0.0.0` is all of them.
    pub ip: String,
}

impl HostPort {
    /// Whether both cannot be had on one node.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || self.ip == ANY || other.ip == ANY)
    }
}

/// The host ports of a pod's containers and sidecars.
#[must_use]
pub fn host_ports(spec: &api::PodSpec) -> Vec<HostPort> {
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|c| is_sidecar(c));
    let or = |text: Option<&String>, default: &str| match text.map_or("", String::as_str) {
        "" => default.to_owned(),
        text => text.to_owned(),
    };
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|c| c.ports.iter().flatten())
        .filter_map(|p| {
            let port = p.host_port.filter(|port| *port > 0)?;
            Some(HostPort {
                port,
                protocol: or(p.protocol.as_ref(), "TCP"),
                ip: or(p.host_ip.as_ref(), ANY),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts() {
        let p = |port, protocol: &str, ip: &str| HostPort {
            port,
            protocol: protocol.into(),
            ip: ip.into(),
        };
        for (a, b, expected) in [
            (p(80, "TCP", ANY), p(80, "TCP", "1.2.3.4"), true),
            (p(80, "TCP", "1.2.3.4"), p(80, "TCP", ANY), true),
            (p(80, "TCP", "1.2.3.4"), p(80, "TCP", "1.2.3.5"), false),
            (p(80, "TCP", ANY), p(80, "UDP", ANY), false),
            (p(80, "TCP", ANY), p(81, "TCP", ANY), false),
        ] {
            assert_eq!(a.conflicts(&b), expected);
        }
    }
}
