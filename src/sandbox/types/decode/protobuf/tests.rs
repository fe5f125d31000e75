//! The encoder here is for tests alone: it writes, from the same facts, what Kubernetes' clients write,
//! zero values of what is no pointer included.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::sandbox::types::table;

fn varint(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

fn bytes_field(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    varint(u64::from(number) << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn varint_field(number: u32, value: u64, out: &mut Vec<u8>) {
    varint(u64::from(number) << 3, out);
    varint(value, out);
}

fn encode_value(number: u32, ty: &ProtoType, value: &Value, out: &mut Vec<u8>) {
    let text = value.as_str().unwrap_or("");
    let mut inner = Vec::new();
    match ty {
        ProtoType::String => bytes_field(number, text.as_bytes(), out),
        ProtoType::Bool => varint_field(number, u64::from(value.as_bool().unwrap()), out),
        ProtoType::Int32 | ProtoType::Int64 => {
            varint_field(number, value.as_i64().unwrap() as u64, out);
        }
        ProtoType::Quantity => {
            bytes_field(1, text.as_bytes(), &mut inner);
            bytes_field(number, &inner, out);
        }
        ProtoType::Time | ProtoType::MicroTime => {
            let at: jiff::Timestamp = text.parse().unwrap();
            varint_field(1, at.as_second() as u64, &mut inner);
            varint_field(2, at.subsec_nanosecond() as u64, &mut inner);
            bytes_field(number, &inner, out);
        }
        ProtoType::IntOrString => {
            varint_field(1, u64::from(value.is_string()), &mut inner);
            varint_field(2, value.as_i64().unwrap_or(0) as u64, &mut inner);
            bytes_field(3, text.as_bytes(), &mut inner);
            bytes_field(number, &inner, out);
        }
        ProtoType::RawJson => {
            bytes_field(1, value.to_string().as_bytes(), &mut inner);
            bytes_field(number, &inner, out);
        }
        ProtoType::Message(id) => {
            let object = table().object(*id).unwrap();
            encode_message(object.proto.as_ref().unwrap(), value, &mut inner);
            bytes_field(number, &inner, out);
        }
        ProtoType::Map(of) => {
            for (key, value) in value.as_object().unwrap() {
                let mut entry = Vec::new();
                bytes_field(1, key.as_bytes(), &mut entry);
                encode_value(2, of, value, &mut entry);
                bytes_field(number, &entry, out);
            }
        }
        other => panic!("no encoder for {other:?}"),
    }
}

fn encode_message(message: &ProtoMessage, value: &Value, out: &mut Vec<u8>) {
    for (number, field) in &message.fields {
        if field.inline {
            encode_value(*number, &field.ty, value, out);
            continue;
        }
        match value.get(&*field.json) {
            Some(Value::Array(items)) => {
                items
                    .iter()
                    .for_each(|item| encode_value(*number, &field.ty, item, out));
            }
            Some(value) => encode_value(*number, &field.ty, value, out),
            // What is no pointer is always on the wire.
            None if field.omit_zero && !field.repeated => match &field.ty {
                ProtoType::String => bytes_field(*number, b"", out),
                ProtoType::Bool | ProtoType::Int32 | ProtoType::Int64 => {
                    varint_field(*number, 0, out);
                }
                ProtoType::Time | ProtoType::MicroTime => bytes_field(*number, b"", out),
                _ => {}
            },
            None => {}
        }
    }
}

fn encode(object: &Value) -> Vec<u8> {
    let (api_version, kind) = (
        object["apiVersion"].as_str().unwrap(),
        object["kind"].as_str().unwrap(),
    );
    let name = schema_of(table(), api_version, kind, b"").unwrap();
    let message = table()
        .object(table().schema(name).unwrap().ty)
        .unwrap()
        .proto
        .as_ref()
        .unwrap();
    let mut raw = Vec::new();
    encode_message(message, object, &mut raw);
    let mut meta = Vec::new();
    bytes_field(1, api_version.as_bytes(), &mut meta);
    bytes_field(2, kind.as_bytes(), &mut meta);
    let mut body = MAGIC.to_vec();
    bytes_field(1, &meta, &mut body);
    bytes_field(2, &raw, &mut body);
    bytes_field(3, b"", &mut body);
    bytes_field(4, b"", &mut body);
    body
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "p", "labels": {"a": "b"}, "finalizers": ["x/y", "z"], "generation": 7,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}],
            "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u", "controller": false}],
        },
        "spec": {
            "containers": [{
                "name": "c", "image": "i", "command": ["sh", "-c"],
                "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}},
                "readinessProbe": {"httpGet": {"path": "/", "port": "web"}, "initialDelaySeconds": 3},
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
            }],
            "volumes": [{"name": "v", "configMap": {"name": "cm", "defaultMode": 0}}],
            "terminationGracePeriodSeconds": 0,
            "nodeSelector": {"k": "v"},
            "tolerations": [{"key": "k", "operator": "Exists", "tolerationSeconds": 300}],
        },
        "status": {},
    })
}

#[test]
fn a_pod_comes_through_whole() {
    let decoded = decode(table(), "", &encode(&pod())).unwrap();
    assert_eq!(decoded.strict_errors, Vec::<String>::new());
    assert_eq!(decoded.object, pod());
    assert_eq!(
        type_meta(&encode(&pod())).unwrap(),
        ("v1".to_owned(), "Pod".to_owned())
    );
}

#[test]
fn zero_behind_a_pointer_is_kept_and_other_zeros_are_not() {
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 0, "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}}},
    });
    let got = decode(table(), "", &encode(&deployment)).unwrap().object;
    assert_eq!(got, deployment);
    assert!(got["spec"].get("minReadySeconds").is_none());
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    digits
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

/// What kubectl v1.36.3 sent for `kubectl create namespace x`.
#[test]
fn kubectls_namespace() {
    let body = hex(
        "6b3873000a0f0a02763112094e616d65737061636512190a110a017812001a0022002a0032003800\
        420012001a020a001a002200",
    );
    let got = decode(table(), "io.k8s.api.core.v1.Namespace", &body)
        .unwrap()
        .object;
    assert_eq!(
        got,
        json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}, "spec": {}, "status": {},
        })
    );
}

/// What kubectl v1.36.3 sent for `kubectl create deployment d --image=nginx --replicas=0`.
#[test]
fn kubectls_deployment() {
    let body = hex(
        "6b3873000a150a07617070732f7631120a4465706c6f796d656e7412a3010a1b0a016412001a0022\
        002a003200380042005a080a0361707012016412760800120a0a080a036170701201641a5e0a1a0a\
        0012001a0022002a003200380042005a080a03617070120164124012220a056e67696e7812056e67\
        696e782a0042006a007200800100880100900100a201001a00320042004a00520058006000680082\
        01008a01009a0100c2010022020a00280038001a0c0800100018002000280038001a002200",
    );
    let got = decode(table(), "io.k8s.api.apps.v1.Deployment", &body).unwrap();
    assert_eq!(got.strict_errors, Vec::<String>::new());
    assert_eq!(
        got.object,
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "d", "labels": {"app": "d"}},
            "spec": {
                "replicas": 0, "strategy": {}, "selector": {"matchLabels": {"app": "d"}},
                "template": {
                    "metadata": {"labels": {"app": "d"}},
                    "spec": {"containers": [{"name": "nginx", "image": "nginx", "resources": {}}]},
                },
            },
            "status": {},
        })
    );
}

#[test]
fn what_is_no_message_is_an_error() {
    let error = |body: &[u8]| decode(table(), "", body).unwrap_err().to_string();
    assert!(error(b"{}").contains("does not appear to be a protobuf message"));
    assert_eq!(error(b"k8s\0\x0a\xff"), "unexpected EOF");
    assert_eq!(error(b"k8s\0\x0b"), "proto: illegal wireType 3");
    assert!(matches!(
        decode(table(), "", b"k8s\0").unwrap_err(),
        DecodeError::MissingKind(_)
    ));
}

proptest! {
    #[test]
    fn damaged_bodies_never_panic(cut in 0usize..400, at in 0usize..400, byte in any::<u8>()) {
        let mut body = encode(&pod());
        let last = body.len() - 1;
        body[at.min(last)] = byte;
        body.truncate(cut.max(4));
        let _ = decode(table(), "", &body);
    }

    #[test]
    fn numbers_and_labels_round_trip(
        replicas in any::<i32>(),
        labels in prop::collection::btree_map("[a-z]{1,4}", "[a-z]{0,4}", 1..4),
    ) {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"labels": labels},
            "spec": {"replicas": replicas}, "status": {"replicas": 0},
        });
        prop_assert_eq!(decode(table(), "", &encode(&object)).unwrap().object, object);
    }
}
