//! `list`: selectors, pages, and which revision is answered.
//!
//! `resourceVersion` and `resourceVersionMatch` as in the API concepts' table: this server is always
//! up to date, so "any" and "not older than" are answered with the newest state (a revision from the
//! future was waited for before), "exact" and the pages of one list with the past one.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::sandbox::apiserver::accept::Accept;
use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::Error;
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::json_error::syntax_error;
use crate::sandbox::apiserver::query::Query;
use crate::sandbox::apiserver::reply::{JSON, Reply, partial, tabled, view, view_body};
use crate::sandbox::apiserver::rules::fields;
use crate::sandbox::apiserver::selector::{FieldSelector, LabelSelector};
use crate::sandbox::apiserver::store::{Fixed, Key, LABELS, Object};

/// Base64 as Go's `RawURLEncoding` reads it.
const TOKEN_CODEC: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Which objects a list, watch or collection delete speaks of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    pub(crate) namespace: String,
    /// `metadata.name=…`.
    pub(crate) name: Option<String>,
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Selection {
    pub(crate) fn parse(call: &Call) -> Result<Self, Error> {
        let facts = call.resource.facts;
        let labels =
            LabelSelector::parse(call.query.get("labelSelector")).map_err(Error::bad_request)?;
        let selector =
            FieldSelector::parse(call.query.get("fieldSelector")).map_err(Error::bad_request)?;
        if let Some(field) = selector
            .fields()
            .find(|f| !fields::supported(&facts.group, &facts.name, f))
        {
            return Err(Error::bad_request(format!(
                "field label not supported: {field}"
            )));
        }
        let name = selector.exact_name().map(str::to_owned);
        let group = facts.group.clone();
        Ok(Self {
            namespace: call.path.namespace.clone(),
            name,
            labels,
            fields: selector.map_fields(|f| fields::stored_name(&group, f)),
        })
    }

    /// Whether it selects all objects of its namespace.
    pub(crate) fn is_everything(&self) -> bool {
        self.name.is_none() && self.labels.is_empty() && self.fields.is_empty()
    }

    /// The fields and labels that must have one value, as the store's indexes name them.
    pub(crate) fn fixed(&self) -> Vec<Fixed<'_>> {
        let fields = self.fields.fixed().map(|(f, v)| (Cow::Borrowed(f), v));
        let labels = self.labels.fixed();
        let labels = labels.map(|(label, v)| (Cow::Owned(format!("{LABELS}/{label}")), v));
        fields.chain(labels).collect()
    }

    /// Whether an object inside the namespace is meant.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.name
            .as_deref()
            .is_none_or(|n| n == crate::sandbox::apiserver::meta::name(object))
            && self.labels.matches(object)
            && self.fields.matches(object)
    }

    /// The one key that can match, if the selection fixes it.
    fn single(&self, namespaced: bool) -> Option<Key> {
        let name = self.name.as_deref()?;
        (!namespaced || !self.namespace.is_empty()).then(|| Key::new(&self.namespace, name))
    }
}

/// What `resourceVersion` and `resourceVersionMatch` ask for.
pub(crate) fn revision(query: &Query) -> Result<Option<u64>, Error> {
    let text = query.get("resourceVersion");
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Error::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

struct Page {
    start: Option<Key>,
    /// `None`: newest.
    at: Option<u64>,
    limit: usize,
    continued: bool,
}

fn page(call: &Call) -> Result<Page, Error> {
    let query = &call.query;
    let limit = match query.get("limit") {
        "" => 0,
        text => text.parse::<i64>().map_err(|_| {
            Error::bad_request(format!(
                "strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))
        })?,
    };
    let limit = usize::try_from(limit)
        .ok()
        .filter(|l| *l > 0)
        .unwrap_or(usize::MAX);
    let revision = revision(query)?;
    let token = query.get("continue");
    let matching = query.get("resourceVersionMatch");
    let refuse = |detail: &str| {
        let error = FieldError::forbidden("resourceVersionMatch", detail);
        Err(Error::invalid("meta.k8s.io", "ListOptions", "", &[error]))
    };
    match matching {
        "" => {}
        _ if !token.is_empty() => {
            return refuse("resourceVersionMatch is forbidden when continue is provided");
        }
        "Exact" if revision == Some(0) => {
            return refuse("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
        "Exact" | "NotOlderThan" if revision.is_some() => {}
        "Exact" | "NotOlderThan" => {
            return refuse("resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        other => {
            let error = FieldError::not_supported(
                "resourceVersionMatch",
                other,
                &["Exact", "NotOlderThan", ""],
            );
            return Err(Error::invalid("meta.k8s.io", "ListOptions", "", &[error]));
        }
    }
    if !token.is_empty() {
        if revision.is_some_and(|r| r != 0) {
            return Err(Error::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let (start, at) = decode_token(token)?;
        return Ok(Page {
            start: Some(start),
            at,
            limit,
            continued: true,
        });
    }
    let exact = matching == "Exact" || (matching.is_empty() && limit != usize::MAX);
    let at = revision.filter(|r| exact && *r != 0);
    Ok(Page {
        start: None,
        at,
        limit,
        continued: false,
    })
}

/// A continue token: the revision of the list and the last key sent. Revision 0 in an inconsistent one.
fn encode_token(last: &Key, revision: Option<u64>) -> String {
    let start = format!("{}/{}\u{0}", last.namespace, last.name);
    let rv = revision.map_or(-1, |r| i64::try_from(r).unwrap_or(i64::MAX));
    TOKEN_CODEC.encode(json!({"v": "meta.k8s.io/v1", "rv": rv, "start": start}).to_string())
}

fn decode_token(token: &str) -> Result<(Key, Option<u64>), Error> {
    let invalid = |why: &str| {
        Error::bad_request(format!(
            "invalid continue token: continue key is not valid: {why}"
        ))
    };
    let bytes = TOKEN_CODEC
        .decode(token.trim_end_matches('='))
        .map_err(|_| invalid("illegal base64 data"))?;
    if let Some(error) = syntax_error(&bytes) {
        return Err(invalid(&error));
    }
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
    let start = value["start"]
        .as_str()
        .unwrap_or_default()
        .trim_end_matches('\u{0}');
    let (namespace, name) = start
        .split_once('/')
        .ok_or_else(|| invalid("invalid start"))?;
    let revision = value["rv"]
        .as_i64()
        .ok_or_else(|| invalid("invalid revision"))?;
    Ok((Key::new(namespace, name), u64::try_from(revision).ok()))
}

/// A chosen part of a collection.
pub(crate) struct Listed {
    pub(crate) objects: Vec<Arc<Object>>,
    pub(crate) metadata: Value,
}

/// Reads what the call selects.
pub(crate) fn read(call: &Call, selection: &Selection) -> Result<Listed, Error> {
    let store = &call.server.store;
    let collection = call.resource.collection;
    let page = page(call)?;
    let unpaged = page.start.is_none() && page.at.is_none() && page.limit == usize::MAX;
    if unpaged {
        let (objects, revision) = match selection.single(call.resource.facts.namespaced) {
            Some(key) => {
                let revision = store.revision();
                (store.get(collection, &key).into_iter().collect(), revision)
            }
            None => {
                let fixed = selection.fixed();
                let snapshot = store.list_fixed(collection, &selection.namespace, &fixed);
                let objects = snapshot
                    .objects
                    .into_iter()
                    .map(|(_, o)| o)
                    .collect::<Vec<_>>();
                (objects, snapshot.revision)
            }
        };
        let mut objects: Vec<Arc<Object>> = objects;
        if !selection.is_everything() {
            objects.retain(|o| selection.matches(&o.value));
        }
        let metadata = json!({"resourceVersion": revision.to_string()});
        return Ok(Listed { objects, metadata });
    }
    let revision = page.at.unwrap_or_else(|| store.revision());
    let keep = |o: &Object| selection.matches(&o.value);
    let listed = store.list_at(
        collection,
        &selection.namespace,
        page.start.as_ref(),
        revision,
        &selection.fixed(),
        keep,
        page.limit,
    );
    let (snapshot, rest) = listed.map_err(|_| expired(&page))?;
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if rest > 0
        && let Some((last, _)) = snapshot.objects.last()
    {
        metadata["continue"] = json!(encode_token(last, Some(revision)));
        if selection.is_everything() {
            metadata["remainingItemCount"] = json!(rest);
        }
    }
    Ok(Listed {
        objects: snapshot.objects.into_iter().map(|(_, o)| o).collect(),
        metadata,
    })
}

fn expired(page: &Page) -> Error {
    match &page.start {
        Some(start) if page.continued => Error::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        )
        .with_continue(encode_token(start, None)),
        _ => Error::expired("The resourceVersion for the provided list is too old."),
    }
}

pub(crate) fn list(call: &Call) -> Result<Reply, Error> {
    let selection = Selection::parse(call)?;
    let listed = read(call, &selection)?;
    Ok(render(call, &listed))
}

/// A list in the representation the client asked for.
pub(crate) fn render(call: &Call, listed: &Listed) -> Reply {
    let resource = &call.resource;
    let bytes = match call.accept {
        Accept::Table => {
            let values: Vec<Value> = listed.objects.iter().map(|o| view(resource, o)).collect();
            Bytes::from(tabled(call, &values, &listed.metadata, true).to_string())
        }
        Accept::Metadata => {
            let items: Vec<Value> = listed
                .objects
                .iter()
                .map(|o| partial(&o.value, true))
                .collect();
            let list = json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": listed.metadata, "items": items,
            });
            Bytes::from(list.to_string())
        }
        Accept::Object | Accept::Discovery { .. } => {
            let bodies: Vec<Bytes> = listed
                .objects
                .iter()
                .map(|o| view_body(resource, o))
                .collect();
            let size = bodies.iter().map(|b| b.len() + 1).sum::<usize>() + 256;
            let mut out = Vec::with_capacity(size);
            out.push(b'{');
            out.extend_from_slice(resource.list_type_meta.as_bytes());
            out.extend_from_slice(b",\"metadata\":");
            out.extend_from_slice(listed.metadata.to_string().as_bytes());
            out.extend_from_slice(b",\"items\":[");
            for (i, body) in bodies.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(body);
            }
            out.extend_from_slice(b"]}");
            Bytes::from(out)
        }
    };
    Reply::bytes(200, JSON, bytes)
}
