//! Every call shows an API key: `Authorization: Bearer lk_….…` or `x-api-key: lk_….…`.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, Request, header},
    middleware::Next,
    response::Response,
};
use leadline_domain::{Code, Failure};

use super::{is_grpc, origin};
use crate::{
    caller::{Call, Caller},
    failures::reject,
    keys::Keys,
};

const API_KEY: &str = "x-api-key";
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// The caller, in the request's extensions for the layers within.
#[derive(Debug, Clone)]
pub struct Identity(pub Caller);

pub async fn authenticate(State(keys): State<Arc<Keys>>, mut request: Request<Body>, next: Next) -> Response {
    match identify(&keys, request.headers()).await {
        Ok(call) => {
            request.extensions_mut().insert(Identity(call.caller.clone()));
            call.scope(next.run(request)).await
        }
        Err(failure) => reject(&failure, is_grpc(&request), &origin(&request)),
    }
}

async fn identify(keys: &Keys, headers: &HeaderMap) -> Result<Call, Failure> {
    let shown = shown_key(headers).ok_or_else(|| Failure::new(Code::Unauthenticated, "the request shows no API key"))?;
    let caller = keys.identify(shown).await?;
    Ok(Call { caller, idempotency_key: idempotency_key(headers)? })
}

/// One header counts. A request with an `Authorization` that is no key is not saved by an `x-api-key` besides: whoever wrote it
/// meant somebody, and it must not be left open whom.
pub fn shown_key(headers: &HeaderMap) -> Option<&str> {
    let Some(authorization) = headers.get(header::AUTHORIZATION) else {
        return headers.get(API_KEY)?.to_str().ok();
    };
    let (scheme, key) = authorization.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()));
    match key {
        Some(key) => Ok(Some(key.to_owned())),
        None => Err(Failure::new(Code::InvalidArgument, "an Idempotency-Key has 1 to 255 visible ASCII characters")),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_is_read_from_either_header() {
        let mut headers = HeaderMap::new();
        assert_eq!(shown_key(&headers), None);
        headers.insert(API_KEY, HeaderValue::from_static("lk_a.b"));
        assert_eq!(shown_key(&headers), Some("lk_a.b"));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("bearer lk_c.d"));
        assert_eq!(shown_key(&headers), Some("lk_c.d"));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Basic bGtfYS5i"));
        assert_eq!(shown_key(&headers), None);
    }

    #[test]
    fn an_idempotency_key_is_bounded() {
        let mut headers = HeaderMap::new();
        assert_eq!(idempotency_key(&headers), Ok(None));
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_static("order-7"));
        assert_eq!(idempotency_key(&headers), Ok(Some("order-7".to_owned())));
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(&"k".repeat(256)).unwrap());
        assert_eq!(idempotency_key(&headers).unwrap_err().code, Code::InvalidArgument);
    }
}
