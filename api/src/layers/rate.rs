//! One tenant's burst is answered 429 and slows down nobody else.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::State, http::Request, middleware::Next, response::Response};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use leadline_domain::{Code, Failure};

use super::{authentication::Identity, is_grpc, origin};
use crate::{
    caller::{Caller, Scope},
    config::RateLimit,
    failures::reject,
};

/// How many callers may be remembered before those whose quota is full again are forgotten.
const SHRINK_ABOVE: usize = 10_000;

/// A token bucket for each tenant, whatever the number of its keys, and for each operator's key.
pub struct Limiter {
    buckets: DefaultKeyedRateLimiter<String>,
}

impl Limiter {
    pub fn new(rate: RateLimit) -> Arc<Self> {
        Arc::new(Self { buckets: RateLimiter::keyed(Quota::per_second(rate.per_second).allow_burst(rate.burst)) })
    }

    /// # Errors
    /// [`Code::RateLimited`] with the seconds until the next token.
    fn take(&self, caller: &Caller) -> Result<(), Failure> {
        let bucket = match &caller.scope {
            Scope::Tenant(tenant) => tenant.to_string(),
            Scope::Operator => caller.key.to_string(),
        };
        if self.buckets.len() > SHRINK_ABOVE {
            self.buckets.retain_recent();
        }
        self.buckets.check_key(&bucket).map_err(|refused| {
            let wait: Duration = refused.wait_time_from(self.buckets.clock().now());
            Failure::new(Code::RateLimited, "too many requests").retry_after(wait.as_secs_f64().ceil().max(1.0) as u64)
        })
    }
}

pub async fn limit_rate(State(limiter): State<Arc<Limiter>>, request: Request<Body>, next: Next) -> Response {
    let taken = match request.extensions().get::<Identity>() {
        Some(Identity(caller)) => limiter.take(caller),
        None => Err(Failure::new(Code::Unauthenticated, "the call carries no identity")),
    };
    match taken {
        Ok(()) => next.run(request).await,
        Err(failure) => reject(&failure, is_grpc(&request), &origin(&request)),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use leadline_domain::{ApiKeyId, TenantId};

    use super::*;

    #[test]
    fn the_keys_of_one_tenant_share_a_bucket_and_another_tenant_has_its_own() {
        let one = NonZeroU32::new(1).unwrap();
        let limiter = Limiter::new(RateLimit { per_second: one, burst: one });
        let tenant = TenantId::random();
        let key_of = |tenant: &TenantId| Caller { key: ApiKeyId::random(), scope: Scope::Tenant(tenant.clone()) };
        assert!(limiter.take(&key_of(&tenant)).is_ok());
        let refused = limiter.take(&key_of(&tenant)).unwrap_err();
        assert_eq!((refused.code, refused.retry_after_seconds), (Code::RateLimited, Some(1)));
        assert!(limiter.take(&key_of(&TenantId::random())).is_ok());
    }
}
