//! What volumes a pod brings along, as far as its placement depends on them.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1 as api;

/// In-tree volume plugins whose volumes a CSI driver serves, with that driver
/// (`k8s.io/csi-translation-lib/plugins`; those of which the scheduler asks whether they are migrated).
const MIGRATED: [(&str, &str); 5] = [
    ("kubernetes.io/aws-ebs", "ebs.csi.aws.com"),
    ("kubernetes.io/gce-pd", "pd.csi.storage.gke.io"),
    ("kubernetes.io/azure-disk", "disk.csi.azure.com"),
    ("kubernetes.io/cinder", "cinder.csi.openstack.org"),
    ("kubernetes.io/portworx-volume", "pxd.portworx.com"),
];

/// The CSI driver that serves the volumes of an in-tree plugin.
#[must_use]
pub fn driver_of(plugin: &str) -> Option<&'static str> {
    let found = MIGRATED.iter().find(|(name, _)| *name == plugin);
    found.map(|(_, driver)| *driver)
}

/// A use of a PersistentVolumeClaim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimUse {
    /// The claim's name, in the pod's namespace.
    pub name: String,
    /// A generic ephemeral volume: the claim is made for the pod, and must be owned by it.
    pub ephemeral: bool,
}

/// A disk that not every pod of a node may mount at the same time (`plugins/volumerestrictions`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disk {
    /// A GCE persistent disk.
    Gce {
        /// Its name.
        name: String,
        /// Mounted read-only.
        read_only: bool,
    },
    /// An EBS volume: never twice, by its id.
    Aws(String),
    /// An iSCSI target.
    Iscsi {
        /// Its qualified name.
        iqn: String,
        /// Mounted read-only.
        read_only: bool,
    },
    /// A Ceph RBD image.
    Rbd {
        /// Ceph's monitors.
        monitors: BTreeSet<String>,
        /// The pool.
        pool: String,
        /// The image.
        image: String,
        /// Mounted read-only.
        read_only: bool,
    },
}

impl Disk {
    /// Whether two pods with these cannot share a node.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Gce {
                    name: a,
                    read_only: x,
                },
                Self::Gce {
                    name: b,
                    read_only: y,
                },
            )
            | (
                Self::Iscsi {
                    iqn: a,
                    read_only: x,
                },
                Self::Iscsi {
                    iqn: b,
                    read_only: y,
                },
            ) => a == b && !(*x && *y),
            (Self::Aws(a), Self::Aws(b)) => a == b,
            (
                Self::Rbd {
                    monitors,
                    pool,
                    image,
                    read_only,
                },
                Self::Rbd {
                    monitors: m,
                    pool: p,
                    image: i,
                    read_only: r,
                },
            ) => pool == p && image == i && !(*read_only && *r) && !monitors.is_disjoint(m),
            _ => false,
        }
    }

    fn from_api(volume: &api::Volume) -> Vec<Self> {
        let mut disks = Vec::new();
        if let Some(v) = &volume.gce_persistent_disk {
            disks.push(Self::Gce {
                name: v.pd_name.clone(),
                read_only: v.read_only.unwrap_or_default(),
            });
        }
        if let Some(v) = &volume.aws_elastic_block_store {
            disks.push(Self::Aws(v.volume_id.clone()));
        }
        if let Some(v) = &volume.iscsi {
            disks.push(Self::Iscsi {
                iqn: v.iqn.clone(),
                read_only: v.read_only.unwrap_or_default(),
            });
        }
        if let Some(v) = &volume.rbd {
            disks.push(Self::Rbd {
                monitors: v.monitors.iter().cloned().collect(),
                pool: v.pool.clone().unwrap_or_else(|| "rbd".to_owned()),
                image: v.image.clone(),
                read_only: v.read_only.unwrap_or_default(),
            });
        }
        disks
    }
}

/// An in-tree volume that counts against the limit of the CSI driver it is migrated to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InTree {
    /// The in-tree plugin's name.
    pub plugin: &'static str,
    /// The volume's handle, as the CSI driver calls it.
    pub handle: String,
}

impl InTree {
    fn from_api(volume: &api::Volume) -> Option<Self> {
        let (plugin, handle) = if let Some(v) = &volume.aws_elastic_block_store {
            ("kubernetes.io/aws-ebs", aws_handle(&v.volume_id))
        } else if let Some(v) = &volume.gce_persistent_disk {
            let handle = format!("projects/UNSPECIFIED/zones/UNSPECIFIED/disks/{}", v.pd_name);
            ("kubernetes.io/gce-pd", handle)
        } else if let Some(v) = &volume.azure_disk {
            ("kubernetes.io/azure-disk", v.disk_uri.clone())
        } else if let Some(v) = &volume.cinder {
            ("kubernetes.io/cinder", v.volume_id.clone())
        } else if let Some(v) = &volume.portworx_volume {
            ("kubernetes.io/portworx-volume", v.volume_id.clone())
        } else {
            return None;
        };
        Some(Self { plugin, handle })
    }
}

/// `vol-1` of `aws://zone/vol-1`.
pub(super) fn aws_handle(id: &str) -> String {
    let id = id.strip_prefix("aws://").unwrap_or(id);
    id.rsplit('/').next().unwrap_or(id).to_owned()
}

/// The volumes of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodVolumes {
    /// Whether there are volumes of any kind.
    pub any: bool,
    /// Claims, in the order of the volumes.
    pub claims: Vec<ClaimUse>,
    /// Disks.
    pub disks: Vec<Disk>,
    /// In-tree volumes that a CSI driver serves.
    pub in_tree: Vec<InTree>,
}

impl PodVolumes {
    /// Reads those of a pod of this name.
    #[must_use]
    pub fn from_api(spec: &api::PodSpec, pod: &str) -> Self {
        let mut read = Self::default();
        for volume in spec.volumes.iter().flatten() {
            read.any = true;
            if let Some(claim) = &volume.persistent_volume_claim {
                read.claims.push(ClaimUse {
                    name: claim.claim_name.clone(),
                    ephemeral: false,
                });
            } else if volume.ephemeral.is_some() {
                read.claims.push(ClaimUse {
                    name: format!("{pod}-{}", volume.name),
                    ephemeral: true,
                });
            } else {
                read.in_tree.extend(InTree::from_api(volume));
            }
            read.disks.extend(Disk::from_api(volume));
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn volumes(list: serde_json::Value) -> PodVolumes {
        let spec = json!({"containers":[],"volumes":list});
        PodVolumes::from_api(&serde_json::from_value(spec).unwrap(), "p")
    }

    #[test]
    fn reads_claims_and_disks() {
        let v = volumes(json!([
            {"name":"a","persistentVolumeClaim":{"claimName":"x"}},
            {"name":"b","ephemeral":{}},
            {"name":"c","awsElasticBlockStore":{"volumeID":"aws://z/vol-1"}},
            {"name":"d","emptyDir":{}}]));
        let names: Vec<_> = v
            .claims
            .iter()
            .map(|c| (c.name.as_str(), c.ephemeral))
            .collect();
        assert_eq!(names, [("x", false), ("p-b", true)]);
        assert_eq!(v.disks, [Disk::Aws("aws://z/vol-1".into())]);
        assert_eq!(v.in_tree[0].handle, "vol-1");
    }

    #[test]
    fn read_only_disks_are_shared() {
        let gce = |read_only: bool| {
            let disk =
                json!([{"name":"a","gcePersistentDisk":{"pdName":"d","readOnly":read_only}}]);
            volumes(disk).disks.remove(0)
        };
        assert!(gce(false).conflicts(&gce(true)));
        assert!(!gce(true).conflicts(&gce(true)));
        let rbd = |monitor: &str| {
            let disk = json!([{"name":"a","rbd":{"monitors":[monitor,"shared"],"image":"i"}}]);
            volumes(disk).disks.remove(0)
        };
        assert!(rbd("m").conflicts(&rbd("n")) && !rbd("m").conflicts(&gce(false)));
    }
}
