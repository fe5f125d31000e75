//! The query string of a request, and percent-encoding.

/// Decoded query parameters in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(raw: &str) -> Self {
        Self(
            raw.split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (unescape(key, true), unescape(value, true))
                })
                .collect(),
        )
    }

    /// The first value of `key`; empty if absent, which is what Kubernetes takes it for.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v)
    }

    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    /// A boolean as `k8s.io/apimachinery/pkg/runtime/converter.go` reads it: anything but `0` and
    /// `false` is true, also the empty value of a key that is present.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        let value = self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v)?;
        Some(!(value == "0" || value.eq_ignore_ascii_case("false")))
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.all("dryRun").any(|v| v == "All")
    }
}

/// Decodes `%XX` (and `+` in queries); a broken escape stays as it is, bad UTF-8 becomes U+FFFD.
pub(crate) fn unescape(raw: &str, plus_is_space: bool) -> String {
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'+' if plus_is_space => out.push(b' '),
            b'%' => {
                let hex = bytes
                    .get(i + 1..i + 3)
                    .and_then(|h| std::str::from_utf8(h).ok());
                match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
                    Some(byte) => {
                        out.push(byte);
                        i += 2;
                    }
                    None => out.push(b'%'),
                }
            }
            byte => out.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_and_tolerates() {
        let query = Query::parse("labelSelector=app%3Dweb%2Ctier+in+(a)&watch&x=%zz&y=%e2%82&n=0");
        assert_eq!(query.get("labelSelector"), "app=web,tier in (a)");
        assert_eq!(query.flag("watch"), Some(true));
        assert_eq!(query.flag("n"), Some(false));
        assert_eq!(query.flag("absent"), None);
        assert_eq!(query.get("x"), "%zz");
        assert_eq!(query.get("y"), "\u{fffd}");
    }
}
