//! The REST side: transcoding into the gRPC services, and what HTTP asks for beyond it (404, 405, 202, problems).

use axum::{
    body::{Body, to_bytes},
    response::Response,
};
use http::{HeaderValue, Request, StatusCode, Uri, header};
use leadline_domain::{Code, Failure};
use leadline_proto::rest::{ACCEPTING, allowed_methods, rpc};
use rest_over_grpc::{serving::serve_http_with_max_body_bytes, transcoding::Transcode};

use crate::failures::{self, CODE_HEADER, Origin};

/// Errors that the transcoder makes itself are short texts.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// Serves one REST request.
pub async fn serve<T: Transcode>(mut request: Request<Body>, transcoder: &T, max_body: usize, origin: &Origin) -> Response {
    let path = escape_request_id(request.uri());
    let method = request.method().as_str();
    let Some(name) = rpc(method, path.split('?').next().unwrap_or_default()) else {
        return no_such_route(method, &path, origin);
    };
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
    let mut response = serve_http_with_max_body_bytes(request, max_body, transcoder).await.map(Body::new);
    if response.status() == StatusCode::OK && ACCEPTING.contains(&name.as_str()) {
        *response.status_mut() = StatusCode::ACCEPTED;
    }
    if response.status().is_client_error() || response.status().is_server_error() {
        return as_problem(response, origin).await;
    }
    response
}

/// A request id may hold a colon, which the router would take for the beginning of a verb; no route below `predictions`
/// has one.
fn escape_request_id(uri: &Uri) -> String {
    let path = uri.path();
    let escaped = match path.strip_prefix("/v1/predictions/") {
        Some(id) => format!("/v1/predictions/{}", id.replace(':', "%3A")),
        None => path.to_owned(),
    };
    match uri.query() {
        Some(query) => format!("{escaped}?{query}"),
        None => escaped,
    }
}

fn no_such_route(method: &str, target: &str, origin: &Origin) -> Response {
    let allowed = allowed_methods(target.split('?').next().unwrap_or_default());
    if allowed.is_empty() {
        return failures::problem(&Failure::new(Code::NotFound, "no such path"), origin);
    }
    let failure = Failure::new(Code::MethodNotAllowed, format!("{method} is not a method of this path"));
    let mut response = failures::problem(&failure, origin);
    if let Ok(allow) = HeaderValue::from_str(&allowed.join(", ")) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

/// Rewrites the transcoder's `google.rpc.Status` JSON. The code of a service's error stands in a header; an error without
/// it was made by the transcoder, which saw no service.
async fn as_problem(response: Response, origin: &Origin) -> Response {
    let (parts, body) = response.into_parts();
    let coded = parts.headers.get(CODE_HEADER).and_then(|v| v.to_str().ok()?.parse::<Code>().ok());
    let retry_after = parts.headers.get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
    let body = to_bytes(body, MAX_ERROR_BYTES).await.unwrap_or_default();
    let status: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = status["message"].as_str().unwrap_or_default();
    let mut failure = match coded {
        Some(code) => Failure::new(code, message),
        None => Failure::new(code_of(parts.status), without_values(message)),
    };
    failure.retry_after_seconds = retry_after;
    failures::problem(&failure, origin)
}

fn code_of(status: StatusCode) -> Code {
    match status.as_u16() {
        401 => Code::Unauthenticated,
        403 => Code::Forbidden,
        404 => Code::NotFound,
        405 => Code::MethodNotAllowed,
        413 => Code::PayloadTooLarge,
        429 => Code::RateLimited,
        400..=499 => Code::InvalidArgument,
        _ => Code::Internal,
    }
}

/// Takes the quoted values out of a decoder's message: `invalid type: string "…", expected f64` may quote personal data.
/// What stands in backticks stays; those are names of fields and enum values.
fn without_values(message: &str) -> String {
    let mut kept = String::with_capacity(message.len());
    let mut quoted = false;
    let mut escaped = false;
    for character in message.chars() {
        match character {
            '"' if !escaped => {
                quoted = !quoted;
                if quoted {
                    kept.push('…');
                }
            }
            _ if !quoted => kept.push(character),
            _ => {}
        }
        escaped = character == '\\' && !escaped;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoders_message_loses_the_values_it_quotes() {
        let message = r#"invalid type: string "jane \"doe\" <j@x>", expected f64 at line 1"#;
        assert_eq!(without_values(message), "invalid type: string …, expected f64 at line 1");
        assert_eq!(without_values("unknown field `foo`"), "unknown field `foo`");
        assert_eq!(without_values("an open \"quote"), "an open …");
    }

    #[test]
    fn a_colon_in_a_request_id_is_no_verb() {
        let uri: Uri = "/v1/predictions/lead:00Q?tenantId=tn_1".parse().unwrap();
        let path = escape_request_id(&uri);
        assert_eq!(path, "/v1/predictions/lead%3A00Q?tenantId=tn_1");
        assert_eq!(rpc("GET", path.split('?').next().unwrap()).as_deref(), Some("GetPrediction"));
        assert_eq!(escape_request_id(&"/v1/operations/op_1:cancel".parse().unwrap()), "/v1/operations/op_1:cancel");
    }
}
