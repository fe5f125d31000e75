//! `serviceaccounts/token`: a token with the right shape. Nothing in the sandbox checks tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use serde_json::json;

use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::Error;
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::reply::Reply;
use crate::sandbox::types::table;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

const DEFAULT_EXPIRATION_SECONDS: i64 = 3600;

pub(crate) fn create(call: &Call) -> Result<Reply, Error> {
    let account = call.live()?;
    let schema = table()
        .schema_of_kind("authentication.k8s.io", "v1", "TokenRequest")
        .unwrap_or_default();
    let mut request = call.decode(schema, "authentication.k8s.io", "v1", "TokenRequest")?;
    let seconds =
        meta::int(&request, &["spec", "expirationSeconds"]).unwrap_or(DEFAULT_EXPIRATION_SECONDS);
    // pkg/apis/authentication/validation
    let why = match seconds {
        ..600 => Some("may not specify a duration less than 10 minutes"),
        4_294_967_297.. => Some("may not specify a duration larger than 2^32 seconds"),
        _ => None,
    };
    if let Some(why) = why {
        let error = FieldError::invalid("spec.expirationSeconds", seconds, why);
        return Err(Error::invalid(
            "authentication.k8s.io",
            "TokenRequest",
            meta::name(&request),
            &[error],
        ));
    }
    let expires = call
        .now
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(call.now);
    let spec = meta::map_mut(&mut request, "spec");
    spec.insert("expirationSeconds".to_owned(), json!(seconds));
    spec.entry("audiences").or_insert_with(|| json!([ISSUER]));
    spec.entry("boundObjectRef")
        .or_insert(serde_json::Value::Null);
    let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let token = format!(
        "{}.{}.{}",
        encode(json!({"alg": "none", "typ": "JWT"})),
        encode(json!({
            "iss": ISSUER,
            "sub": format!("system:serviceaccount:{}:{}", call.path.namespace, call.path.name),
            "aud": request["spec"]["audiences"],
            "iat": call.now.as_second(),
            "exp": expires.as_second(),
            "jti": call.server.new_uid(),
            "kubernetes.io": {"namespace": call.path.namespace,
                "serviceaccount": {"name": call.path.name, "uid": meta::uid(&account.value)}},
        })),
        URL_SAFE_NO_PAD.encode(call.server.new_uid()),
    );
    request["status"] = json!({"token": token, "expirationTimestamp": meta::time(expires)});
    meta::set(&mut request, "name", Some(json!(call.path.name)));
    meta::set(&mut request, "uid", Some(json!(meta::uid(&account.value))));
    meta::set(&mut request, "namespace", Some(json!(call.path.namespace)));
    meta::set(
        &mut request,
        "creationTimestamp",
        Some(meta::time(call.now)),
    );
    Ok(Reply::json(201, &request))
}
