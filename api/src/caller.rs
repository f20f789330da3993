//! Who calls, and what they may reach.
//!
//! The REST bridge drops the extensions of an HTTP request, so the caller reaches the services of both transports as a
//! task-local, set by the authentication layer around them.

use std::sync::Arc;

use leadline_domain::{ApiKeyId, Code, Failure, TenantId};

use crate::layers::observation::note_tenant;

/// What a key opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every tenant, and what belongs to none.
    Operator,
    Tenant(TenantId),
}

/// The holder of a valid key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub key: ApiKeyId,
    pub scope: Scope,
}

/// One authenticated call.
#[derive(Debug)]
pub struct Call {
    pub caller: Caller,
    /// The `Idempotency-Key` header, or the metadata of that name.
    pub idempotency_key: Option<String>,
}

tokio::task_local! {
    static CALL: Arc<Call>;
}

impl Call {
    /// Runs `work` as part of this call.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CALL.scope(Arc::new(self), work).await
    }

    /// The call that this task serves.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] outside of [`Call::scope`]: a service that was mounted past the authentication layer
    /// refuses everything.
    pub fn current() -> Result<Arc<Self>, Failure> {
        CALL.try_with(Arc::clone).map_err(|_| Failure::new(Code::Unauthenticated, "the call carries no identity"))
    }
}

impl Caller {
    /// The tenant named in a path, if this caller may reach it. Another tenant's path is refused before anything is looked
    /// up, so the answer does not tell whether that tenant exists.
    ///
    /// # Errors
    /// [`Code::Forbidden`] for another tenant's; [`Code::TenantNotFound`] when an operator names something that is no tenant.
    pub fn tenant(&self, named: &str) -> Result<TenantId, Failure> {
        let tenant: TenantId = match &self.scope {
            Scope::Tenant(own) if own.as_str() == named => own.clone(),
            Scope::Tenant(_) => return Err(Failure::new(Code::Forbidden, "the key does not open this tenant")),
            Scope::Operator => named.parse().map_err(|_| Failure::new(Code::TenantNotFound, "no such tenant"))?,
        };
        note_tenant(tenant.as_str());
        Ok(tenant)
    }

    /// # Errors
    /// [`Code::Forbidden`] unless the key is an operator's.
    pub fn require_operator(&self) -> Result<(), Failure> {
        match self.scope {
            Scope::Operator => Ok(()),
            Scope::Tenant(_) => Err(Failure::new(Code::Forbidden, "only operators may do this")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_reaches_itself_and_nothing_else() {
        let own = TenantId::random();
        let caller = Caller { key: ApiKeyId::random(), scope: Scope::Tenant(own.clone()) };
        assert_eq!(caller.tenant(own.as_str()), Ok(own));
        assert_eq!(caller.tenant(TenantId::random().as_str()).unwrap_err().code, Code::Forbidden);
        assert_eq!(caller.tenant("nonsense").unwrap_err().code, Code::Forbidden);
        assert_eq!(caller.require_operator().unwrap_err().code, Code::Forbidden);
    }

    #[test]
    fn an_operator_reaches_every_tenant() {
        let caller = Caller { key: ApiKeyId::random(), scope: Scope::Operator };
        let any = TenantId::random();
        assert_eq!(caller.tenant(any.as_str()), Ok(any));
        assert_eq!(caller.tenant("nonsense").unwrap_err().code, Code::TenantNotFound);
        assert!(caller.require_operator().is_ok());
    }

    #[tokio::test]
    async fn a_call_without_an_identity_is_refused() {
        assert_eq!(Call::current().unwrap_err().code, Code::Unauthenticated);
        let call = Call { caller: Caller { key: ApiKeyId::random(), scope: Scope::Operator }, idempotency_key: None };
        call.scope(async { assert!(Call::current().is_ok()) }).await;
    }
}
