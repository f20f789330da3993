//! The org's allowances: `/limits`, and the usage header that every REST answer carries.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::call::Call;
use crate::client::OrgClient;
use crate::error::SalesforceError;

/// API calls of the last 24 hours, of the whole org.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiUsage {
    pub used: u64,
    pub max: u64,
}

impl ApiUsage {
    /// Reads `api-usage=18/5000; per-app-api-usage=17/250(appName=x)`; only the org's own figure is kept.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let usage = header.split([';', ',']).find_map(|part| part.trim().strip_prefix("api-usage="))?;
        let (used, max) = usage.split_once('/')?;
        Some(Self { used: used.trim().parse().ok()?, max: max.trim().parse().ok()? })
    }

    pub fn remaining(&self) -> u64 {
        self.max.saturating_sub(self.used)
    }
}

/// One allowance. The vendor lets some be overdrawn, so `remaining` may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Limit {
    #[serde(rename = "Max")]
    pub max: i64,
    #[serde(rename = "Remaining")]
    pub remaining: i64,
}

/// The answer of `/limits`, by the vendor's names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Limits(pub BTreeMap<String, Limit>);

impl Limits {
    pub fn daily_api_requests(&self) -> Option<Limit> {
        self.0.get("DailyApiRequests").copied()
    }

    pub fn daily_bulk_query_jobs(&self) -> Option<Limit> {
        self.0.get("DailyBulkV2QueryJobs").copied()
    }

    /// In megabytes.
    pub fn daily_bulk_query_storage(&self) -> Option<Limit> {
        self.0.get("DailyBulkV2QueryFileStorageMB").copied()
    }
}

impl OrgClient {
    /// What is left of the org's allowances.
    ///
    /// # Errors
    /// As any call: see [`SalesforceError`].
    pub async fn limits(&self) -> Result<Limits, SalesforceError> {
        self.send_for_json(&Call::get("limits", self.data_path("/limits"))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_header_is_read_in_all_its_forms() {
        let usage = Some(ApiUsage { used: 18, max: 5000 });
        assert_eq!(ApiUsage::parse("api-usage=18/5000"), usage);
        assert_eq!(ApiUsage::parse("api-usage=18/5000; per-app-api-usage=17/250(appName=sample)"), usage);
        assert_eq!(ApiUsage::parse("per-app-api-usage=17/250(appName=sample), api-usage=18/5000"), usage);
        assert_eq!(ApiUsage::parse("per-app-api-usage=17/250(appName=sample)"), None);
        assert_eq!(ApiUsage::parse("api-usage=many"), None);
    }

    #[test]
    fn limits_keep_the_vendors_names_and_ignore_the_share_of_single_apps() {
        let answer = r#"{"DailyApiRequests":{"Max":5000,"Remaining":-3,"Dataloader":{"Max":0,"Remaining":0}},
            "DailyBulkV2QueryJobs":{"Max":10000,"Remaining":9999}}"#;
        let limits: Limits = serde_json::from_str(answer).unwrap();
        assert_eq!(limits.daily_api_requests(), Some(Limit { max: 5000, remaining: -3 }));
        assert_eq!(limits.daily_bulk_query_jobs().map(|l| l.remaining), Some(9999));
        assert_eq!(limits.daily_bulk_query_storage(), None);
    }
}
