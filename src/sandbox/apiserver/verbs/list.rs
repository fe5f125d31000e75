//! `list`: selectors, pages, and which revision is answered.
//!
//! `resourceVersion` and `resourceVersionMatch` as in the API concepts' table: this server is always
//! up to date, so "any" and "not older than" are answered with the newest state (a revision from the
//! future was waited for before), "exact" and the pages of one list with the past one.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::sandbox::apiserver::accept::Accept;
use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::Error;
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::query::Query;
use crate::sandbox::apiserver::reply::{JSON, Reply, partial, tabled, view, view_body};
use crate::sandbox::apiserver::rules::fields;
use crate::sandbox::apiserver::selector::{FieldSelector, LabelSelector};
use crate::sandbox::apiserver::store::{Fixed, Key, LABELS, Object};
use crate::sandbox::apiserver::verbs::token;

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
        let refusal = selector
            .fields()
            .find_map(|f| fields::refusal(&facts.group, &facts.name, f));
        if let Some(why) = refusal {
            return Err(Error::bad_request(why));
        }
        // A watch of one object by the old path.
        let named = (!call.path.name.is_empty()).then(|| call.path.name.clone());
        let name = named.or_else(|| selector.exact_name().map(str::to_owned));
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
    text.parse()
        .map(Some)
        .map_err(|_| Error::bad_request(format!("invalid resource version: {}", unparsable(text))))
}

/// Why a text is no revision.
pub(crate) fn unparsable(text: &str) -> String {
    let why = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        "value out of range"
    } else {
        "invalid syntax"
    };
    format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: {why}")
}

struct Page {
    start: Option<Key>,
    /// `None`: newest.
    at: Option<u64>,
    limit: usize,
    continued: bool,
}

/// An integer among the options.
fn integer(query: &Query, key: &str) -> Result<Option<i64>, Error> {
    match query.get(key) {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            Error::bad_request(format!(
                "strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))
        }),
    }
}

/// What makes the options of a list or watch invalid: `ValidateListOptions`.
pub(crate) fn validate(query: &Query, watch: bool) -> Result<(), Error> {
    integer(query, "limit")?;
    integer(query, "timeoutSeconds")?;
    let matching = query.get("resourceVersionMatch");
    let revision = query.get("resourceVersion");
    let continued = !query.get("continue").is_empty();
    let initial_events = query.flag("sendInitialEvents");
    let mut errors = Vec::new();
    let mut refuse = |detail: &str| {
        errors.push(FieldError::forbidden("resourceVersionMatch", detail));
    };
    if watch {
        // A watch without a revision, or from 0, is one that sends what is there first.
        let implied =
            initial_events.is_none() && matching.is_empty() && matches!(revision, "" | "0");
        if initial_events.is_some() && matching != "NotOlderThan" {
            refuse("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if !matching.is_empty() && initial_events.is_none() {
            refuse(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            );
        }
        if continued && (implied || !matching.is_empty()) {
            refuse("resourceVersionMatch is forbidden when continue is provided");
        }
        if !matching.is_empty() && matching != "NotOlderThan" {
            let at = errors.len() - usize::from(continued);
            errors.insert(
                at,
                FieldError::not_supported("resourceVersionMatch", matching, &["NotOlderThan"]),
            );
        }
    } else {
        if !matching.is_empty() && revision.is_empty() {
            refuse("resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if !matching.is_empty() && continued {
            refuse("resourceVersionMatch is forbidden when continue is provided");
        }
        if matching == "Exact" && revision == "0" {
            refuse("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
        if !["", "Exact", "NotOlderThan"].contains(&matching) {
            errors.push(FieldError::not_supported(
                "resourceVersionMatch",
                matching,
                &["Exact", "NotOlderThan", ""],
            ));
        }
        if initial_events.is_some() {
            let detail = "sendInitialEvents is forbidden for list";
            errors.push(FieldError::forbidden("sendInitialEvents", detail));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Error::invalid("meta.k8s.io", "ListOptions", "", &errors))
    }
}

fn page(call: &Call) -> Result<Page, Error> {
    let query = &call.query;
    let limit = integer(query, "limit")?
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|l| *l > 0)
        .unwrap_or(usize::MAX);
    let revision = revision(query)?;
    let token = query.get("continue");
    if !token.is_empty() {
        if revision.is_some_and(|r| r != 0) {
            return Err(Error::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let namespaced = call.resource.facts.namespaced;
        let (start, at) = token::decode(token, &call.path.namespace, namespaced)?;
        return Ok(Page {
            start: Some(start),
            at,
            limit,
            continued: true,
        });
    }
    let matching = query.get("resourceVersionMatch");
    let exact = matching == "Exact" || (matching.is_empty() && limit != usize::MAX);
    let at = revision.filter(|r| exact && *r != 0);
    Ok(Page {
        start: None,
        at,
        limit,
        continued: false,
    })
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
    let single = selection.single(call.resource.facts.namespaced);
    let whole = page.limit == usize::MAX || single.is_some();
    let unpaged = page.start.is_none() && page.at.is_none() && whole;
    if unpaged {
        let (objects, revision) = match single {
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
    let (snapshot, rest) = listed.map_err(|_| expired(&page, &selection.namespace))?;
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if rest > 0
        && let Some((last, _)) = snapshot.objects.last()
    {
        metadata["continue"] = json!(token::encode(&selection.namespace, last, Some(revision)));
        if selection.is_everything() {
            metadata["remainingItemCount"] = json!(rest);
        }
    }
    Ok(Listed {
        objects: snapshot.objects.into_iter().map(|(_, o)| o).collect(),
        metadata,
    })
}

fn expired(page: &Page, namespace: &str) -> Error {
    match &page.start {
        Some(start) if page.continued => Error::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        )
        .with_continue(token::encode(namespace, start, None)),
        _ => Error::expired("The resourceVersion for the provided list is too old."),
    }
}

pub(crate) fn list(call: &Call) -> Result<Reply, Error> {
    validate(&call.query, false)?;
    let selection = Selection::parse(call)?;
    check_table(call)?;
    let listed = read(call, &selection)?;
    Ok(render(call, &listed))
}

/// A Table has as much of each object as the client asks for, if it asks in words that exist.
pub(crate) fn check_table(call: &Call) -> Result<(), Error> {
    let include = call.query.get("includeObject");
    if call.accept == Accept::Table && !["", "None", "Metadata", "Object"].contains(&include) {
        return Err(Error::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: {include:?}: must be 'Metadata', 'Object', 'None', or empty"
        )));
    }
    Ok(())
}

/// A list in the representation the client asked for.
pub(crate) fn render(call: &Call, listed: &Listed) -> Reply {
    let resource = &call.resource;
    let bytes = match call.accept {
        Accept::Table => {
            let mut out = Vec::new();
            table(call, listed, &mut out);
            Bytes::from(out)
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

/// A Table, row by row: of 50,000 objects no copies are held at once.
fn table(call: &Call, listed: &Listed, out: &mut Vec<u8>) {
    let resource = &call.resource;
    let empty = tabled(call, &[], &listed.metadata, true).to_string();
    // `rows` is the last member.
    let Some(head) = empty.strip_suffix("]}") else {
        out.extend_from_slice(empty.as_bytes());
        return;
    };
    out.extend_from_slice(head.as_bytes());
    for (i, object) in listed.objects.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let viewed;
        let value = if resource.is_stored_version() {
            &object.value
        } else {
            viewed = view(resource, object);
            &viewed
        };
        let table = tabled(call, std::slice::from_ref(value), &Value::Null, false);
        out.extend_from_slice(table["rows"][0].to_string().as_bytes());
    }
    out.extend_from_slice(b"]}");
}
