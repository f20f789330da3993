//! The search attributes that sagas set: a namespace must know them, or every workflow task fails.

use std::collections::HashMap;

use leadline_workflows::course::{KIND_ATTRIBUTE, REASON_ATTRIBUTE, STATE_ATTRIBUTE, TENANT_ATTRIBUTE};
use temporalio_client::{Client, tonic::IntoRequest as _};
use temporalio_common::protos::temporal::api::{
    enums::v1::IndexedValueType,
    operatorservice::v1::{AddSearchAttributesRequest, ListSearchAttributesRequest},
};

use crate::run::WorkerError;

/// Adds the missing ones to the client's namespace; names what it added.
///
/// # Errors
/// [`WorkerError::Setup`] when the server does not let this client administer the namespace, as Temporal Cloud does not: there
/// they are added with `tcld namespace search-attributes add`, all of type Keyword.
pub async fn ensure_search_attributes(client: &Client) -> Result<Vec<String>, WorkerError> {
    let namespace = client.options().namespace.clone();
    let refused = |action: &str, status: &temporalio_client::tonic::Status| WorkerError::Setup {
        queue: format!("namespace {namespace}"),
        reason: format!("cannot {action} search attributes: {}: {}", status.code(), status.message()),
    };
    let mut operator = client.connection().operator_service();
    let list = ListSearchAttributesRequest { namespace: namespace.clone() };
    let known = operator.list_search_attributes(list.into_request()).await.map_err(|e| refused("list", &e))?.into_inner();
    let missing: HashMap<String, i32> = [TENANT_ATTRIBUTE, KIND_ATTRIBUTE, STATE_ATTRIBUTE, REASON_ATTRIBUTE]
        .iter()
        .map(|attribute| attribute.name().to_owned())
        .filter(|name| !known.custom_attributes.contains_key(name))
        .map(|name| (name, IndexedValueType::Keyword.into()))
        .collect();
    let names: Vec<String> = missing.keys().cloned().collect();
    if !missing.is_empty() {
        let add = AddSearchAttributesRequest { search_attributes: missing, namespace: namespace.clone() };
        operator.add_search_attributes(add.into_request()).await.map_err(|e| refused("add", &e))?;
    }
    Ok(names)
}
