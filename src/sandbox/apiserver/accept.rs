//! What the client wants to be answered with, from its `Accept` header.

use super::error::Error;

/// The representation of an answer. Encoded always as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accept {
    Object,
    /// `meta.k8s.io` Table, for people.
    Table,
    /// `PartialObjectMetadata` and its list.
    Metadata,
    /// `apidiscovery.k8s.io/v2`; the flag says `v2beta1` was asked.
    Discovery {
        beta: bool,
    },
}

impl Accept {
    /// The first media range that can be served wins. Kinds of documents that the place does not have
    /// (`transforms`: Tables; `discovery`: aggregated discovery) are skipped like unknown ones.
    pub(crate) fn negotiate(
        header: &str,
        transforms: bool,
        discovery: bool,
    ) -> Result<Self, Error> {
        if header.trim().is_empty() {
            return Ok(Self::Object);
        }
        let mut untransformable = false;
        for range in header.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            if !matches!(media, "application/json" | "application/*" | "*/*") {
                continue;
            }
            let (mut kind, mut group, mut version) = ("", "", "");
            for (key, value) in parts.filter_map(|p| p.split_once('=')) {
                match key {
                    "as" => kind = value,
                    "g" => group = value,
                    "v" => version = value,
                    _ => {}
                }
            }
            match (kind, group, version) {
                ("", ..) => return Ok(Self::Object),
                ("Table", "meta.k8s.io", "v1" | "v1beta1") if transforms => return Ok(Self::Table),
                (
                    "PartialObjectMetadata" | "PartialObjectMetadataList",
                    "meta.k8s.io",
                    "v1" | "v1beta1",
                ) if transforms => return Ok(Self::Metadata),
                ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") if discovery => {
                    return Ok(Self::Discovery { beta: false });
                }
                ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") if discovery => {
                    return Ok(Self::Discovery { beta: true });
                }
                _ => untransformable = true,
            }
        }
        Err(if untransformable && transforms {
            Error::not_transformable()
        } else {
            Error::not_acceptable()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_servable_range_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(
            Accept::negotiate(table, true, false).unwrap(),
            Accept::Table
        );
        assert_eq!(
            Accept::negotiate(table, false, false).unwrap(),
            Accept::Object
        );
        let describe = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(
            Accept::negotiate(describe, true, false).unwrap(),
            Accept::Object
        );
        let discovery =
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        assert_eq!(
            Accept::negotiate(discovery, false, true).unwrap(),
            Accept::Discovery { beta: false }
        );
        let protobuf = Accept::negotiate("application/vnd.kubernetes.protobuf", true, false);
        assert_eq!(protobuf.unwrap_err().code(), 406);
        assert_eq!(Accept::negotiate("", true, true).unwrap(), Accept::Object);
    }
}
