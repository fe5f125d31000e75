//! What a kubelet asks before it starts a pod that was bound to its node: the scheduler may have been
//! wrong, or another one (pkg/kubelet/lifecycle/predicate.go, in the order of its checks). Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::affinity;
use super::quantity::{milli, units};

/// Amounts by resource name: CPU in thousandths, pods as one each, everything else in units.
pub type Amounts = BTreeMap<String, i128>;

/// Reads a list of quantities.
#[must_use]
pub fn amounts(quantities: &BTreeMap<String, Quantity>) -> Amounts {
    let amount = |name: &str, text: &str| {
        if name == "cpu" {
            milli(text)
        } else {
            units(text)
        }
    };
    quantities
        .iter()
        .map(|(name, quantity)| (name.clone(), amount(name, &quantity.0).unwrap_or(0)))
        .collect()
}

/// What a pod requests: of its containers and sidecars together, or its init containers one by one,
/// the larger; pod-level requests instead where there are any; and the overhead
/// (component-helpers/resource/helpers.go).
#[must_use]
pub fn requests(spec: &PodSpec) -> Amounts {
    let of = |container: &Container| {
        let resources = container.resources.as_ref();
        resources
            .and_then(|resources| resources.requests.as_ref())
            .map_or_else(Amounts::new, amounts)
    };
    let mut total = Amounts::new();
    for container in &spec.containers {
        add(&mut total, &of(container));
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let mut wanted = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sidecars, &wanted);
            add(&mut total, &wanted);
            wanted.clone_from(&sidecars);
        } else {
            add(&mut wanted, &sidecars);
        }
        most(&mut peak, wanted);
    }
    most(&mut total, peak);
    let pod_level = spec
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    for (name, amount) in pod_level.map(amounts).into_iter().flatten() {
        total.insert(name, amount);
    }
    if let Some(overhead) = &spec.overhead {
        add(&mut total, &amounts(overhead));
    }
    total
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *total.entry(name.clone()).or_default() += amount;
    }
}

fn most(total: &mut Amounts, other: Amounts) {
    for (name, amount) in other {
        let entry = total.entry(name).or_default();
        *entry = amount.max(*entry);
    }
}

/// A port of the node that a pod takes: protocol, address, number.
type HostPort = (String, String, i32);

fn host_ports(spec: &PodSpec) -> BTreeSet<HostPort> {
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars =
        sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let containers = spec.containers.iter().chain(sidecars);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
            let address = port.host_ip.clone().filter(|address| !address.is_empty());
            Some((
                protocol,
                address.unwrap_or_else(|| "0.0.0.0".into()),
                number,
            ))
        })
        .collect()
}

fn clash(a: &HostPort, b: &HostPort) -> bool {
    let anywhere = "0.0.0.0";
    a.0 == b.0 && a.2 == b.2 && (a.1 == b.1 || a.1 == anywhere || b.1 == anywhere)
}

/// A node as admission sees it.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// What pods may have of it.
    pub allocatable: Amounts,
    used: Amounts,
    ports: Vec<HostPort>,
    pods: usize,
}

/// Why a pod was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The pod's `status.reason`.
    pub reason: String,
    /// The pod's `status.message`.
    pub message: String,
}

impl Room {
    /// An empty node of this name, of which nothing else is known yet.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Whether the pod may run here.
    ///
    /// # Errors
    /// Why not, in the kubelet's words.
    pub fn admit(&self, pod: &Pod) -> Result<(), Rejection> {
        let Some(spec) = &pod.spec else { return Ok(()) };
        let wanted = requests(spec);
        let of = |amounts: &Amounts, name: &str| amounts.get(name).copied().unwrap_or(0);
        let capacity = of(&self.allocatable, "pods");
        let present = i128::try_from(self.pods).unwrap_or(i128::MAX);
        if present + 1 > capacity {
            return Err(out_of("pods", 1, present, capacity));
        }
        let first = ["cpu", "memory", "ephemeral-storage"];
        let others = wanted
            .keys()
            .map(String::as_str)
            .filter(|name| !first.contains(name));
        for name in first.into_iter().chain(others) {
            // An extended resource that the node does not have at all is left to its device plugin.
            if !first.contains(&name) && !self.allocatable.contains_key(name) {
                continue;
            }
            let (want, used) = (of(&wanted, name), of(&self.used, name));
            let capacity = of(&self.allocatable, name);
            if want > 0 && want > capacity - used {
                return Err(out_of(name, want, used, capacity));
            }
        }
        let refused = if !affinity::suits(spec, &self.name, &self.labels) {
            Some("NodeAffinity")
        } else if host_ports(spec)
            .iter()
            .any(|port| self.ports.iter().any(|b| clash(port, b)))
        {
            Some("NodePorts")
        } else if self.repels(spec) {
            Some("TaintToleration")
        } else {
            None
        };
        refused.map_or(Ok(()), |predicate| {
            Err(Rejection {
                reason: predicate.into(),
                message: format!("Pod was rejected: Predicate {predicate} failed"),
            })
        })
    }

    fn repels(&self, spec: &PodSpec) -> bool {
        let tolerations = spec.tolerations.as_deref().unwrap_or_default();
        self.taints
            .iter()
            .filter(|taint| taint.effect == "NoExecute")
            .any(|taint| {
                !tolerations
                    .iter()
                    .any(|toleration| tolerates(toleration, taint))
            })
    }

    /// The pod takes its share.
    pub fn take(&mut self, pod: &Pod) {
        self.pods += 1;
        if let Some(spec) = &pod.spec {
            add(&mut self.used, &requests(spec));
            self.ports.extend(host_ports(spec));
        }
    }

    /// The pod gives back what it took.
    pub fn free(&mut self, pod: &Pod) {
        self.pods = self.pods.saturating_sub(1);
        let Some(spec) = &pod.spec else { return };
        for (name, amount) in requests(spec) {
            *self.used.entry(name).or_default() -= amount;
        }
        for port in host_ports(spec) {
            if let Some(place) = self.ports.iter().position(|taken| *taken == port) {
                self.ports.swap_remove(place);
            }
        }
    }
}

/// Whether the toleration covers the taint (core/v1 `Toleration.ToleratesTaint`).
#[must_use]
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let covers = |asked: &Option<String>, actual: &str| {
        asked
            .as_deref()
            .is_none_or(|asked| asked.is_empty() || asked == actual)
    };
    if !covers(&toleration.effect, &taint.effect) || !covers(&toleration.key, &taint.key) {
        return false;
    }
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => {
            toleration.value.as_deref().unwrap_or_default()
                == taint.value.as_deref().unwrap_or_default()
        }
        Some(_) => false,
    }
}

fn out_of(name: &str, requested: i128, used: i128, capacity: i128) -> Rejection {
    Rejection {
        reason: format!("OutOf{name}"),
        message: format!(
            "Pod was rejected: Node didn't have enough resource: {name}, requested: {requested}, \
             used: {used}, capacity: {capacity}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn cpu(amount: &str) -> Pod {
        pod(json!({"containers": [
            {"name": "c", "resources": {"requests": {"cpu": amount}}}]}))
    }

    fn room() -> Room {
        let allocatable = [("cpu", 4000), ("memory", 1 << 30), ("pods", 3)];
        Room {
            name: "n1".into(),
            allocatable: allocatable
                .map(|(name, amount)| (name.to_owned(), amount))
                .into(),
            ..Room::default()
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_in_the_kubelets_words() {
        let mut room = room();
        assert_eq!(room.admit(&cpu("3")), Ok(()));
        room.take(&cpu("3"));
        let refused = room.admit(&cpu("3")).unwrap_err();
        assert_eq!(refused.reason, "OutOfcpu");
        assert_eq!(
            refused.message,
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 3000, used: 3000, \
             capacity: 4000"
        );
        assert_eq!(room.admit(&cpu("1")), Ok(()));
        room.free(&cpu("3"));
        assert_eq!(room.admit(&cpu("3")), Ok(()));
    }

    #[test]
    fn the_number_of_pods_is_a_resource() {
        let mut room = room();
        for _ in 0..3 {
            room.take(&cpu("0"));
        }
        assert_eq!(room.admit(&cpu("0")).unwrap_err().reason, "OutOfpods");
    }

    #[test]
    fn init_containers_count_by_their_peak_and_sidecars_stay() {
        let spec = pod(json!({
            "initContainers": [
                {"name": "s", "restartPolicy": "Always",
                 "resources": {"requests": {"cpu": "100m"}}},
                {"name": "i", "resources": {"requests": {"cpu": "2"}}}],
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}],
            "overhead": {"cpu": "10m"},
        }));
        assert_eq!(requests(spec.spec.as_ref().unwrap())["cpu"], 2110);
    }

    #[test]
    fn ports_affinity_and_taints_are_predicates() {
        let mut room = room();
        let port = |address: &str| {
            pod(json!({"containers": [{"name": "c", "ports": [
                {"containerPort": 80, "hostPort": 80, "hostIP": address}]}]}))
        };
        room.take(&port("10.0.0.1"));
        assert_eq!(room.admit(&port("10.0.0.2")), Ok(()));
        let refused = room.admit(&port("")).unwrap_err();
        assert_eq!(
            refused.message,
            "Pod was rejected: Predicate NodePorts failed"
        );
        let choosy = pod(json!({"containers": [], "nodeSelector": {"a": "b"}}));
        assert_eq!(room.admit(&choosy).unwrap_err().reason, "NodeAffinity");
        room.taints = vec![Taint {
            key: "k".into(),
            effect: "NoExecute".into(),
            ..Taint::default()
        }];
        assert_eq!(room.admit(&cpu("0")).unwrap_err().reason, "TaintToleration");
        let tolerant = pod(json!({"containers": [], "tolerations": [{"operator": "Exists"}]}));
        assert_eq!(room.admit(&tolerant), Ok(()));
    }
}
