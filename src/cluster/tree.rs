//! The order in which nodes are looked at: round robin over zones (`backend/cache/node_tree.go`), so
//! that a search that stops early has seen all zones.

use std::sync::Arc;

/// Zones in order of first appearance, nodes in order of arrival.
#[derive(Debug, Default)]
pub(super) struct NodeTree {
    zones: Vec<(Arc<str>, Vec<Arc<str>>)>,
}

impl NodeTree {
    /// Adds a node that is not in it.
    pub(super) fn add(&mut self, zone: &Arc<str>, name: Arc<str>) {
        match self.zones.iter_mut().find(|(z, _)| z == zone) {
            Some((_, names)) => names.push(name),
            None => self.zones.push((zone.clone(), vec![name])),
        }
    }

    /// Removes a node; a zone without nodes goes, too.
    pub(super) fn remove(&mut self, zone: &Arc<str>, name: &str) {
        if let Some((_, names)) = self.zones.iter_mut().find(|(z, _)| z == zone) {
            names.retain(|n| n.as_ref() != name);
        }
        self.zones.retain(|(_, names)| !names.is_empty());
    }

    /// The first node of every zone, then the second of every zone, and so on.
    pub(super) fn order(&self) -> Vec<Arc<str>> {
        let longest = self
            .zones
            .iter()
            .map(|(_, names)| names.len())
            .max()
            .unwrap_or(0);
        (0..longest)
            .flat_map(|i| {
                self.zones
                    .iter()
                    .filter_map(move |(_, names)| names.get(i).cloned())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_zones_in_turn() {
        let mut tree = NodeTree::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        for (zone, name) in [(&a, "a1"), (&a, "a2"), (&b, "b1"), (&a, "a3")] {
            tree.add(zone, name.into());
        }
        let order = |tree: &NodeTree| {
            tree.order()
                .iter()
                .map(|n| n.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(order(&tree), ["a1", "b1", "a2", "a3"]);
        tree.remove(&b, "b1");
        tree.remove(&a, "a1");
        assert_eq!(order(&tree), ["a2", "a3"]);
    }
}
