//! The addresses of nodes and pods. Pure.

/// The address of the node with this number: 172.18.0.2 and on.
#[must_use]
pub fn node_address(index: usize) -> String {
    let index = index + 2;
    format!(
        "172.{}.{}.{}",
        18 + (index >> 16) % 14,
        (index >> 8) % 256,
        index % 256
    )
}

/// An address of a pod on the node with this number: 10.244.0.0/24, 10.244.1.0/24 and on; past
/// 10.255 from 10.128.
pub(super) fn pod_address(index: usize, last: u8) -> String {
    format!(
        "10.{}.{}.{last}",
        128 + (116 + (index >> 8)) % 128,
        index % 256
    )
}
