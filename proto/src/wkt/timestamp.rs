//! google.protobuf.Timestamp with the JSON form that proto3 asks for.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

/// An instant. In JSON: RFC 3339 in UTC with `Z` and 0, 3, 6 or 9 fractional digits (pbjson-types writes `+00:00`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// A timestamp outside the years 1 to 9999, or with nanoseconds outside 0 to 999,999,999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an instant between the years 1 and 9999")]
pub struct OutOfRange;

impl From<DateTime<Utc>> for Timestamp {
    fn from(instant: DateTime<Utc>) -> Self {
        // A leap second counts more than 999,999,999 nanoseconds in chrono; protobuf has no leap seconds.
        let nanos = instant.timestamp_subsec_nanos().min(999_999_999);
        Self { seconds: instant.timestamp(), nanos: i32::try_from(nanos).unwrap_or(i32::MAX) }
    }
}

impl TryFrom<Timestamp> for DateTime<Utc> {
    type Error = OutOfRange;

    fn try_from(stamp: Timestamp) -> Result<Self, OutOfRange> {
        // 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, the range of google.protobuf.Timestamp.
        if !(-62_135_596_800..=253_402_300_799).contains(&stamp.seconds) {
            return Err(OutOfRange);
        }
        let nanos = u32::try_from(stamp.nanos).map_err(|_| OutOfRange)?;
        if nanos > 999_999_999 {
            return Err(OutOfRange);
        }
        Self::from_timestamp(stamp.seconds, nanos).ok_or(OutOfRange)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let instant = DateTime::<Utc>::try_from(*self).map_err(S::Error::custom)?;
        serializer.serialize_str(&instant.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let instant = DateTime::parse_from_rfc3339(&text).map_err(|_| D::Error::custom("not an RFC 3339 time"))?;
        let stamp = Self::from(instant.with_timezone(&Utc));
        DateTime::<Utc>::try_from(stamp).map_err(D::Error::custom)?;
        Ok(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_with_z_and_read_in_any_zone() {
        let read: Timestamp = serde_json::from_str("\"2026-03-01T02:00:00.5+02:00\"").unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), "\"2026-03-01T00:00:00.500Z\"");
        assert_eq!(serde_json::to_string(&Timestamp { seconds: 0, nanos: 0 }).unwrap(), "\"1970-01-01T00:00:00Z\"");
        assert!(serde_json::from_str::<Timestamp>("\"yesterday\"").is_err());
        assert!(serde_json::from_str::<Timestamp>("1700000000").is_err());
        assert!(serde_json::to_string(&Timestamp { seconds: i64::MAX, nanos: 0 }).is_err());
        assert!(DateTime::<Utc>::try_from(Timestamp { seconds: 0, nanos: -1 }).is_err());
    }
}
