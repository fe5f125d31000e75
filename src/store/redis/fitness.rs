//! Looks at the server before it is trusted: would it lose what it acknowledges?

use std::collections::HashMap;

use super::link::{Call, Link};
use crate::store::{Error, Result};

/// Refuses what is unfit; answers and logs what is merely risky.
pub(super) async fn check(link: &Link) -> Result<Vec<String>> {
    let info: String = link
        .call(Call::Command(redis::cmd("INFO").arg("server")), "INFO")
        .await?;
    check_version(&info)?;
    let mut warnings = Vec::new();
    let replication: String = link
        .call(Call::Command(redis::cmd("INFO").arg("replication")), "INFO")
        .await?;
    if field(&replication, "role") == Some("slave") {
        return Err(Error::Unavailable(
            "this Redis is a read-only replica; the primary is wanted".into(),
        ));
    }
    if field(&replication, "connected_slaves").is_some_and(|count| count != "0") {
        warnings.push(
            "Redis has replicas, and we do not wait for them: a failover may lose what was \
             acknowledged in the last moments before it"
                .into(),
        );
    }
    match settings(link).await {
        Ok(settings) => warnings.extend(judge(&settings)?),
        Err(problem) => warnings.push(format!(
            "cannot see how Redis is set up (CONFIG GET: {problem}); make sure of maxmemory-policy \
             noeviction, appendonly yes and appendfsync always, else what was acknowledged can be lost"
        )),
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    Ok(warnings)
}

async fn settings(link: &Link) -> Result<HashMap<String, String>> {
    // One by one: some servers know some of them only.
    let mut all = HashMap::new();
    for name in ["maxmemory-policy", "appendonly", "appendfsync"] {
        let command = redis::cmd("CONFIG").arg("GET").arg(name).to_owned();
        let some: HashMap<String, String> =
            link.call(Call::Command(&command), "CONFIG GET").await?;
        all.extend(some);
    }
    Ok(all)
}

fn judge(settings: &HashMap<String, String>) -> Result<Vec<String>> {
    let get = |name: &str| settings.get(name).map(String::as_str);
    if let Some(policy) = get("maxmemory-policy").filter(|policy| *policy != "noeviction") {
        return Err(Error::Unfit(format!(
            "Redis is set to throw data away when it is full (maxmemory-policy {policy}): actions \
             would vanish. Set maxmemory-policy to noeviction"
        )));
    }
    let mut warnings = Vec::new();
    match (get("appendonly"), get("appendfsync")) {
        (Some("yes"), Some("always")) => {}
        (Some("yes"), Some(fsync)) => warnings.push(format!(
            "Redis writes to disk after it has answered (appendfsync {fsync}): 'acknowledged' means \
             that an action survives a crash of Redis, but not of its machine, which may lose the last \
             second or more. appendfsync always promises more"
        )),
        (Some(_), _) => warnings.push(
            "Redis keeps no append-only file (appendonly no): 'acknowledged' means that an action \
             survives a crash of ours, but not of Redis, which may lose all since its last snapshot. \
             Set appendonly yes and appendfsync always"
                .into(),
        ),
        _ => warnings.push("Redis does not say how it persists".into()),
    }
    Ok(warnings)
}

fn check_version(info: &str) -> Result<()> {
    let version = field(info, "redis_version").unwrap_or("unknown");
    let major = version
        .split('.')
        .next()
        .and_then(|n| n.parse::<u32>().ok());
    match major {
        Some(0..=6) => Err(Error::Unfit(format!(
            "Redis {version} is too old; 7.0 or newer is wanted"
        ))),
        _ => Ok(()),
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(policy: &str, appendonly: &str, fsync: &str) -> Result<Vec<String>> {
        let pairs = [
            ("maxmemory-policy", policy),
            ("appendonly", appendonly),
            ("appendfsync", fsync),
        ];
        judge(&pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into())
    }

    #[test]
    fn says_what_acknowledged_means() {
        assert!(judged("noeviction", "yes", "always").unwrap().is_empty());
        let warnings = judged("noeviction", "yes", "everysec").unwrap();
        assert!(warnings[0].contains("last second"), "{warnings:?}");
        let warnings = judged("noeviction", "no", "always").unwrap();
        assert!(warnings[0].contains("snapshot"), "{warnings:?}");
        assert!(matches!(
            judged("allkeys-lru", "yes", "always"),
            Err(Error::Unfit(_))
        ));
    }

    #[test]
    fn old_servers_are_refused() {
        assert!(check_version("# Server\r\nredis_version:7.0.15\r\n").is_ok());
        assert!(check_version("").is_ok());
        assert!(check_version("redis_version:6.2.14\r\n").is_err());
    }
}
