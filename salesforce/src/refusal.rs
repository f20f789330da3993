//! Reads the vendor's error bodies: an array of coded errors from REST, one object from OAuth.
//!
//! One HTTP status stands for many causes and one code for two of them (`REQUEST_LIMIT_EXCEEDED` is both a daily limit and a
//! concurrency limit), so the message decides where the code does not. It is read here and goes no further.

use serde::{Deserialize, Deserializer};

use crate::error::{BulkLimit, Missing, SalesforceError, TokenRejection};

/// One error of the vendor, as REST (`errorCode`) and collections (`statusCode`) write it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct VendorError {
    #[serde(default, deserialize_with = "null_as_default")]
    message: String,
    #[serde(default, rename = "errorCode", alias = "statusCode")]
    code: String,
    #[serde(default, deserialize_with = "null_as_default")]
    fields: Vec<String>,
}

fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct OauthError {
    error: String,
    #[serde(default, deserialize_with = "null_as_default")]
    error_description: String,
}

/// The error that a REST answer with this status and body stands for.
pub(crate) fn rest_refusal(what: &str, missing: Missing, status: u16, body: &[u8]) -> SalesforceError {
    let what = || what.to_owned();
    let errors: Vec<VendorError> = serde_json::from_slice(body).unwrap_or_default();
    match (status, errors.first()) {
        (300, _) => SalesforceError::AmbiguousExternalId { what: what() },
        (414 | 431, _) => SalesforceError::UriTooLong { what: what() },
        (_, Some(error)) => error.meaning(&what(), missing, status),
        (404, None) => SalesforceError::NotFound { what: what(), missing },
        (420 | 500.., None) => SalesforceError::ServerUnavailable { what: what(), status },
        (429, None) => SalesforceError::ConcurrentLimit { what: what() },
        // The identity endpoint says it in plain words and with another status than the API.
        (403, None) if body.trim_ascii() == b"Bad_OAuth_Token" => SalesforceError::SessionExpired { what: what() },
        (403, None) => SalesforceError::AccessDenied { what: what(), code: "HTTP 403".to_owned() },
        (_, None) => SalesforceError::Refused { what: what(), status, code: "without a code".to_owned() },
    }
}

impl VendorError {
    /// The error of one record in a collections answer, which has no status of its own.
    pub(crate) fn of_record(&self, what: &str) -> SalesforceError {
        match self.meaning(what, Missing::Record, 400) {
            SalesforceError::Refused { what, code, .. } => {
                SalesforceError::RecordRefused { what, code, fields: self.field_names() }
            }
            other => other,
        }
    }

    fn meaning(&self, what: &str, missing: Missing, status: u16) -> SalesforceError {
        let what = what.to_owned();
        match self.code.as_str() {
            "INVALID_SESSION_ID" => SalesforceError::SessionExpired { what },
            "REQUEST_LIMIT_EXCEEDED" if self.says("concurrent") => SalesforceError::ConcurrentLimit { what },
            "REQUEST_LIMIT_EXCEEDED" => SalesforceError::DailyLimitExceeded { what },
            "LIMIT_EXCEEDED" | "EXCEEDED_QUOTA" | "EXCEEDEDQUOTA" => {
                SalesforceError::BulkLimit { what, limit: self.bulk_limit() }
            }
            "UNABLE_TO_LOCK_ROW" => SalesforceError::RowLocked { what },
            "SERVER_UNAVAILABLE" | "QUERY_TIMEOUT" => SalesforceError::ServerUnavailable { what, status },
            "INVALID_QUERY_LOCATOR" => SalesforceError::CursorExpired { what },
            "INVALID_TYPE" => SalesforceError::NotFound { what, missing: Missing::Object },
            "NOT_FOUND" | "ENTITY_IS_DELETED" => SalesforceError::NotFound { what, missing },
            "MALFORMED_QUERY" => SalesforceError::MalformedQuery { what },
            "INVALIDJOBSTATE" => SalesforceError::JobStateForbids { what },
            "ALL_OR_NONE_OPERATION_ROLLED_BACK" => SalesforceError::RolledBack { what },
            "FIELD_CUSTOM_VALIDATION_EXCEPTION" | "REQUIRED_FIELD_MISSING" | "STRING_TOO_LONG" => {
                SalesforceError::RecordRefused { what, code: self.code.clone(), fields: self.field_names() }
            }
            "INVALIDENTITY" => SalesforceError::EntityNotBulkable { what },
            // The same refusal comes under different codes, by API and age of the org.
            "INVALID_FIELD" | "FUNCTIONALITY_NOT_ENABLED" | "API_ERROR" if self.says("compound") => {
                SalesforceError::CompoundField { what }
            }
            _ if self.says("does not support query") || self.says("not supported by the bulk api") => {
                SalesforceError::EntityNotBulkable { what }
            }
            "API_ERROR" if self.says("implementation restriction") => SalesforceError::EntityNotBulkable { what },
            "INVALID_FIELD" | "INVALIDFIELD" => SalesforceError::InvalidField { what, field: self.column() },
            code if denies_access(code) => SalesforceError::AccessDenied { what, code: code.to_owned() },
            _ if status >= 500 || status == 420 => SalesforceError::ServerUnavailable { what, status },
            _ if status == 429 => SalesforceError::ConcurrentLimit { what },
            _ if status == 404 => SalesforceError::NotFound { what, missing },
            _ if status == 403 => SalesforceError::AccessDenied { what, code: clean_code(&self.code) },
            _ => SalesforceError::Refused { what, status, code: clean_code(&self.code) },
        }
    }

    fn says(&self, words: &str) -> bool {
        self.message.to_ascii_lowercase().contains(words)
    }

    fn bulk_limit(&self) -> BulkLimit {
        if self.says("query jobs") {
            BulkLimit::QueryJobs
        } else if self.says("result size") {
            BulkLimit::ResultVolume
        } else {
            BulkLimit::Other
        }
    }

    /// The column that the message says does not exist: an API name that leadline itself sent.
    fn column(&self) -> Option<String> {
        let (_, rest) = self.message.split_once("column '")?;
        let (name, _) = rest.split_once('\'')?;
        is_api_name(name).then(|| name.to_owned())
    }

    fn field_names(&self) -> Vec<String> {
        self.fields.iter().filter(|f| is_api_name(f)).cloned().collect()
    }
}

/// Codes that mean the user, its profile or the org must be changed by a person before the same call can succeed.
fn denies_access(code: &str) -> bool {
    code.starts_with("INSUFFICIENT_ACCESS")
        || matches!(
            code,
            "API_DISABLED_FOR_ORG"
                | "API_CURRENTLY_DISABLED"
                | "FUNCTIONALITY_NOT_ENABLED"
                | "FEATURENOTENABLED"
                | "INVALID_FIELD_FOR_INSERT_UPDATE"
                | "ORG_LOCKED"
                | "PASSWORD_LOCKOUT"
                | "TXN_SECURITY_NO_ACCESS"
                | "CLIENT_NOT_ACCESSIBLE_FOR_USER"
        )
}

/// The error that an answer of the token endpoint stands for.
pub(crate) fn token_refusal(status: u16, body: &[u8]) -> SalesforceError {
    let what = "a token request";
    let Ok(refusal) = serde_json::from_slice::<OauthError>(body) else {
        return rest_refusal(what, Missing::Resource, status, body);
    };
    let description = refusal.error_description.to_ascii_lowercase();
    let says = |words: &str| description.contains(words);
    let rejection = match refusal.error.as_str() {
        "server_error" | "temporarily_unavailable" | "unknown_error" => {
            return SalesforceError::ServerUnavailable { what: what.to_owned(), status };
        }
        _ if says("rate exceeded") => return SalesforceError::ConcurrentLimit { what: what.to_owned() },
        "invalid_client_id" | "invalid_client" => TokenRejection::UnknownClient,
        "invalid_app_access" => TokenRejection::NotAdminApproved,
        _ if says("approved this consumer") => TokenRejection::NotApproved,
        _ if says("audience") => TokenRejection::WrongAudience,
        _ if says("ip restricted") || says("login hours") => TokenRejection::OutsideLoginPolicy,
        _ if says("expired authorization code") => TokenRejection::AssertionExpired,
        _ if says("authentication failure") || says("invalid assertion") || says("inactive") || says("expired access") => {
            TokenRejection::AuthenticationFailure
        }
        other => TokenRejection::Other(clean_code(other)),
    };
    SalesforceError::TokenRejected(rejection)
}

/// A vendor code, if it looks like one; anything else could be text with data in it.
pub(crate) fn clean_code(code: &str) -> String {
    let plain = !code.is_empty() && code.len() <= 80 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain { code.to_owned() } else { "an unreadable code".to_owned() }
}

fn is_api_name(name: &str) -> bool {
    crate::soql::is_path(name)
}

#[cfg(test)]
mod tests {
    use leadline_domain::{Class, Code};
    use serde_json::json;

    use super::*;

    fn refusal(status: u16, code: &str, message: &str) -> SalesforceError {
        let body = json!([{ "message": message, "errorCode": code, "fields": [] }]).to_string();
        rest_refusal("query of Lead", Missing::Resource, status, body.as_bytes())
    }

    #[test]
    fn recorded_vendor_errors_fall_into_the_class_that_fits_them() {
        let cases = [
            (401, "INVALID_SESSION_ID", "Session expired or invalid", Class::Retryable),
            (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", Class::Quota),
            (403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded.", Class::Retryable),
            (400, "LIMIT_EXCEEDED", "Max bulk v2 query jobs (10000) per 24 hrs has been reached (10021).", Class::Quota),
            (400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record", Class::Retryable),
            (500, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record", Class::Retryable),
            (503, "SERVER_UNAVAILABLE", "Too many requests waiting for connections", Class::Retryable),
            (500, "UNKNOWN_EXCEPTION", "An unexpected error occurred", Class::Retryable),
            (403, "INSUFFICIENT_ACCESS", "insufficient access rights on object id", Class::NeedsOperator),
            (403, "API_DISABLED_FOR_ORG", "API is not enabled for this Organization", Class::NeedsOperator),
            (400, "INVALIDENTITY", "Entity 'X' is not supported by the Bulk API.", Class::Terminal),
            (400, "MALFORMED_QUERY", "unexpected token: 'ada@example.org'", Class::Terminal),
            (409, "VERSION_MISMATCH", "", Class::Terminal),
        ];
        for (status, code, message, class) in cases {
            let failure = refusal(status, code, message).failure();
            assert_eq!(failure.class(), class, "{code} {message}");
            assert!(!failure.message.contains("ada@"), "{failure}");
            assert_eq!(failure.retry_after_seconds.is_some(), class == Class::Quota, "{code}");
        }
    }

    #[test]
    fn one_code_with_two_meanings_is_told_apart_by_its_message() {
        let bulk = |message| refusal(400, "LIMIT_EXCEEDED", message);
        assert!(matches!(bulk("Max bulk v2 query jobs (10000)"), SalesforceError::BulkLimit { limit: BulkLimit::QueryJobs, .. }));
        assert!(matches!(
            bulk("Max bulk v2 query result size stored (1000000000) kb per 24 hrs has been exceeded"),
            SalesforceError::BulkLimit { limit: BulkLimit::ResultVolume, .. }
        ));
        for code in ["FUNCTIONALITY_NOT_ENABLED", "INVALID_FIELD", "API_ERROR"] {
            let error = refusal(400, code, "Selecting compound data not supported in Bulk Query");
            assert!(matches!(error, SalesforceError::CompoundField { .. }), "{code}");
        }
        let field = refusal(400, "INVALID_FIELD", "\nSELECT Nope FROM Lead\n ^\nNo such column 'Nope' on entity 'Lead'.");
        assert_eq!(field, SalesforceError::InvalidField { what: "query of Lead".into(), field: Some("Nope".into()) });
        assert_eq!(field.failure().code, Code::FieldNotFound);
    }

    #[test]
    fn an_answer_without_the_vendors_error_shape_is_judged_by_its_status() {
        let plain = |status| rest_refusal("describe of Lead", Missing::Object, status, b"<html>gateway</html>");
        assert!(matches!(plain(502), SalesforceError::ServerUnavailable { status: 502, .. }));
        assert!(matches!(plain(414), SalesforceError::UriTooLong { .. }));
        assert_eq!(plain(404).failure().code, Code::ObjectNotFound);
        assert!(matches!(plain(401), SalesforceError::Refused { status: 401, .. }), "only the vendor's code ends a session");
        let identity = rest_refusal("userinfo", Missing::Resource, 403, b"Bad_OAuth_Token");
        assert!(matches!(identity, SalesforceError::SessionExpired { .. }));
        assert!(matches!(plain(403), SalesforceError::AccessDenied { .. }));
    }

    #[test]
    fn token_refusals_name_what_a_person_must_mend() {
        let rejected = |error: &str, description: &str| {
            let body = json!({ "error": error, "error_description": description }).to_string();
            token_refusal(400, body.as_bytes())
        };
        let cases = [
            ("invalid_grant", "user hasn't approved this consumer", TokenRejection::NotApproved),
            ("invalid_grant", "audience is invalid", TokenRejection::WrongAudience),
            ("invalid_grant", "expired authorization code", TokenRejection::AssertionExpired),
            ("invalid_grant", "authentication failure - Invalid Password", TokenRejection::AuthenticationFailure),
            ("invalid_grant", "invalid assertion", TokenRejection::AuthenticationFailure),
            ("invalid_grant", "expired access/refresh token", TokenRejection::AuthenticationFailure),
            ("invalid_grant", "ip restricted or invalid login hours", TokenRejection::OutsideLoginPolicy),
            ("invalid_client_id", "client identifier invalid", TokenRejection::UnknownClient),
            ("invalid_app_access", "user is not admin approved to access this app", TokenRejection::NotAdminApproved),
            ("unsupported_grant_type", "grant type not supported", TokenRejection::Other("unsupported_grant_type".into())),
        ];
        for (error, description, expected) in cases {
            let found = rejected(error, description);
            assert_eq!(found, SalesforceError::TokenRejected(expected));
            assert_eq!(found.failure().class(), Class::NeedsOperator);
        }
        assert_eq!(token_refusal(503, b"").failure().class(), Class::Retryable);
    }

    #[test]
    fn a_record_error_keeps_code_and_field_names_only() {
        let error: VendorError = serde_json::from_value(json!({
            "statusCode": "NUMBER_OUTSIDE_VALID_RANGE", "message": "value 12345 too large", "fields": ["Score__c", "not a name"],
        }))
        .unwrap();
        let error = error.of_record("update of Lead");
        assert_eq!(
            error,
            SalesforceError::RecordRefused {
                what: "update of Lead".into(),
                code: "NUMBER_OUTSIDE_VALID_RANGE".into(),
                fields: vec!["Score__c".into()],
            }
        );
        assert_eq!(error.failure().code, Code::WriteBackRefused);
    }
}
