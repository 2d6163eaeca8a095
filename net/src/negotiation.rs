//! How client and broker agree on versions: ApiVersions (KIP-511).

use crate::api::api_versions::{ApiVersion, Request, Response};
use crate::{ApiKey, Empty, ErrorCode, Outgoing, ReplyTo, VersionRange, each};

/// Answers an ApiVersions request with every API that the schemas advertise, or with
/// `INVALID_REQUEST` if the client gives itself an impossible name.
pub fn answer(out: &mut Outgoing, to: ReplyTo, request: Request<'_>) {
    let Request { client_software_name, client_software_version } = request;
    let is_named = 3 <= to.version;
    let names = [client_software_name, client_software_version];
    if is_named && !names.into_iter().all(is_software_name) {
        return respond(out, to, ErrorCode::InvalidRequest, |_| false);
    }
    respond(out, to, ErrorCode::None, |_| true);
}

/// Answers ApiVersions in a version that we do not speak: in version 0, which every client reads,
/// naming only the range of ApiVersions itself, so that the client asks again.
pub fn refuse(out: &mut Outgoing, correlation_id: i32) {
    let to = ReplyTo { version: 0, correlation_id };
    respond(out, to, ErrorCode::UnsupportedVersion, |api| api == ApiKey::ApiVersions);
}

fn respond(out: &mut Outgoing, to: ReplyTo, error_code: ErrorCode, listed: fn(ApiKey) -> bool) {
    let row = |api: ApiKey| {
        let VersionRange { min, max } = api.advertised().filter(|_| listed(api))?;
        Some(ApiVersion { api_key: api as i16, min_version: min, max_version: max })
    };
    let mut rows = [ApiVersion::default(); ApiKey::ALL.len()];
    let mut count = 0;
    for row in ApiKey::ALL.into_iter().filter_map(row) {
        rows[count] = row;
        count += 1;
    }
    let body = Response {
        error_code,
        api_keys: each(rows[..count].iter().copied()),
        throttle_time_ms: 0,
        supported_features: Empty,
        finalized_features_epoch: -1,
        finalized_features: Empty,
        zk_migration_ready: false,
    };
    out.respond(to, body);
}

/// Letters and digits, with dots and dashes between them.
fn is_software_name(name: &str) -> bool {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let ends = [name.bytes().next(), name.bytes().next_back()];
    ends.into_iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
        && name.as_bytes().iter().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kip_511() {
        for name in ["librdkafka", "apache-kafka-java", "2.15.1", "a"] {
            assert!(is_software_name(name), "{name}");
        }
        for name in ["", "-a", "a-", ".", "a b", "a\u{e9}a"] {
            assert!(!is_software_name(name), "{name}");
        }
    }

    #[test]
    fn an_unknown_version_is_told_ours() {
        let mut out = Outgoing::default();
        refuse(&mut out, 7);
        let golden = [
            &[0, 0, 0, 16, 0, 0, 0, 7][..],          // length, correlation id
            &[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4], // error, one API: key 18, versions 0 to 4
        ];
        assert_eq!(out.bytes(), golden.concat());
    }

    #[test]
    fn an_impossible_name_lists_nothing() {
        let mut out = Outgoing::default();
        let request = Request { client_software_name: "?", client_software_version: "1" };
        answer(&mut out, ReplyTo { version: 3, correlation_id: 7 }, request);
        assert_eq!(out.bytes(), [0, 0, 0, 12, 0, 0, 0, 7, 0, 42, 1, 0, 0, 0, 0, 0]);
        out.clear();
        answer(&mut out, ReplyTo { version: 0, correlation_id: 7 }, Request::default());
        assert_eq!(out.bytes()[8..10], [0, 0], "version 0 has no names to check");
    }
}
