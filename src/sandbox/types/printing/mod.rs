//! Server-side printing: `meta.k8s.io/v1` `Table`.
//!
//! Columns and cells are those of pkg/printers/internalversion/printers.go; kinds without a printer
//! there show name and time of creation.

mod admin;
mod cluster;
mod network;
mod pods;
mod scaling;
mod storage;
mod text;
mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

/// What a row carries of its object (`includeObject` of `TableOptions`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// A `PartialObjectMetadata`; what the API server does unless told otherwise.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

/// A column: name, type, and whether it is shown only with `-o wide`.
#[derive(Clone, Copy, Debug)]
struct Column(&'static str, &'static str, bool);

const NAME: Column = Column("Name", "string", false);
const AGE: Column = Column("Age", "string", false);

/// How one kind prints.
struct Printer {
    columns: &'static [Column],
    cells: fn(&Value, Timestamp) -> Vec<Value>,
}

const PLAIN: Printer = Printer {
    columns: &[NAME, AGE],
    cells: |object, now| vec![text::name(object), text::age(object, now)],
};

/// `rest.NewDefaultTableConvertor`: what kinds without a printer show.
const BARE: Printer = Printer {
    columns: &[NAME, Column("Created At", "date", false)],
    cells: |o, _| {
        let created = text::at(o, "/metadata/creationTimestamp");
        vec![text::name(o), Value::from(created)]
    },
};

fn printer(group: &str, kind: &str) -> Printer {
    let found = match group {
        "" if kind == "Pod" => Some(pods::PRINTER),
        "autoscaling" if kind == "HorizontalPodAutoscaler" => Some(scaling::AUTOSCALER),
        "apps" | "batch" | "policy" | "autoscaling" => workloads::printer(kind),
        group => cluster::printer(group, kind)
            .or_else(|| storage::printer(group, kind))
            .or_else(|| network::printer(group, kind))
            .or_else(|| admin::printer(group, kind)),
    };
    found
        .or_else(|| workloads::core(group, kind))
        .unwrap_or(BARE)
}

/// Renders objects of one kind as a `Table`. `list_meta` becomes the table's metadata. Without
/// headers (watch events after the first) `columnDefinitions` is null.
#[must_use]
pub fn render_table(
    (group, kind): (&str, &str),
    objects: &[Value],
    list_meta: &Value,
    include_object: IncludeObject,
    with_headers: bool,
    now: Timestamp,
) -> Value {
    let printer = printer(group, kind);
    let definition = |Column(name, of, wide): &Column| {
        json!({
            "name": name,
            "type": of,
            "format": if *name == "Name" { "name" } else { "" },
            "description": "",
            "priority": i32::from(*wide),
        })
    };
    let definitions = if with_headers {
        Value::Array(printer.columns.iter().map(definition).collect())
    } else {
        Value::Null
    };
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut row = json!({
                "cells": (printer.cells)(object, now),
                "object": included(object, include_object),
            });
            if (group, kind) == ("", "Pod")
                && let Some(conditions) = pods::row_conditions(object)
            {
                row["conditions"] = conditions;
            }
            row
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_meta,
        "columnDefinitions": definitions,
        "rows": rows,
    })
}

fn included(object: &Value, include: IncludeObject) -> Value {
    match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Object => object.clone(),
        IncludeObject::Metadata => json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
        }),
    }
}

#[cfg(test)]
mod tests;
