//! google.protobuf.Struct: any JSON object. Its fields are sorted by name, so that the same object is the same bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::{Number, Value as Json};

/// Up to this magnitude every whole number is a double of its own, and is written without a fraction.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// A JSON object.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: BTreeMap<String, Value>,
}

/// Any JSON value.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, ::prost::Oneof)]
pub enum Kind {
    #[prost(enumeration = "NullValue", tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Boolean(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(ListValue),
}

/// A JSON array.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ListValue {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

/// JSON's null.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum NullValue {
    NullValue = 0,
}

impl From<Json> for Value {
    fn from(json: Json) -> Self {
        let kind = match json {
            Json::Null => Kind::Null(0),
            Json::Bool(b) => Kind::Boolean(b),
            // Every JSON number is a double in a Struct, as in JavaScript.
            Json::Number(n) => Kind::Number(n.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Kind::Text(text),
            Json::Array(items) => Kind::List(ListValue { values: items.into_iter().map(Self::from).collect() }),
            Json::Object(fields) => Kind::Struct(Struct::from_iter(fields)),
        };
        Self { kind: Some(kind) }
    }
}

impl FromIterator<(String, Json)> for Struct {
    fn from_iter<I: IntoIterator<Item = (String, Json)>>(fields: I) -> Self {
        Self { fields: fields.into_iter().map(|(name, value)| (name, Value::from(value))).collect() }
    }
}

/// A number that JSON cannot write: not a number, or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a Struct holds a number that JSON cannot write")]
pub struct NotFinite;

impl TryFrom<&Value> for Json {
    type Error = NotFinite;

    fn try_from(value: &Value) -> Result<Self, NotFinite> {
        Ok(match &value.kind {
            None | Some(Kind::Null(_)) => Self::Null,
            Some(Kind::Boolean(b)) => Self::Bool(*b),
            Some(Kind::Number(n)) => Self::Number(number(*n)?),
            Some(Kind::Text(text)) => Self::String(text.clone()),
            Some(Kind::List(list)) => Self::Array(list.values.iter().map(Self::try_from).collect::<Result<_, _>>()?),
            Some(Kind::Struct(object)) => object.try_into()?,
        })
    }
}

impl TryFrom<&Struct> for Json {
    type Error = NotFinite;

    fn try_from(object: &Struct) -> Result<Self, NotFinite> {
        let field = |(name, value): (&String, &Value)| Ok((name.clone(), Self::try_from(value)?));
        Ok(Self::Object(object.fields.iter().map(field).collect::<Result<_, _>>()?))
    }
}

fn number(n: f64) -> Result<Number, NotFinite> {
    if n.fract() == 0.0 && n.abs() < MAX_WHOLE && !(n == 0.0 && n.is_sign_negative()) {
        return Ok(Number::from(n as i64));
    }
    Number::from_f64(n).ok_or(NotFinite)
}

macro_rules! as_json {
    ($type:ty, $read:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Json::try_from(self).map_err(S::Error::custom)?.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let read: fn(Json) -> Option<Self> = $read;
                read(Json::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("not a JSON object"))
            }
        }
    };
}

as_json!(Value, |json| Some(Self::from(json)));
as_json!(Struct, |json| match json {
    Json::Object(fields) => Some(Self::from_iter(fields)),
    _ => None,
});

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn an_object_reads_back_in_order_with_whole_numbers_whole() {
        let text = r#"{"b":[1,null,true,"x",{"y":-0.5}],"a":8000,"c":9007199254740993}"#;
        let object: Struct = serde_json::from_str(text).unwrap();
        let written = serde_json::to_string(&object).unwrap();
        assert_eq!(written, r#"{"a":8000,"b":[1,null,true,"x",{"y":-0.5}],"c":9007199254740992.0}"#);
        assert_eq!(Struct::decode(&*object.encode_to_vec()).unwrap(), object);
        assert_eq!(
            pbjson_types::Struct::decode(&*object.encode_to_vec()).unwrap().fields.len(),
            3,
            "the wire form is protobuf's"
        );
    }

    #[test]
    fn what_is_no_object_or_no_json_is_refused() {
        assert!(serde_json::from_str::<Struct>("[]").is_err());
        assert!(serde_json::from_str::<Struct>("7").is_err());
        let infinite = Struct { fields: [("a".to_owned(), Value { kind: Some(Kind::Number(f64::INFINITY)) })].into() };
        assert!(serde_json::to_string(&infinite).is_err());
        let negative_zero: Struct = serde_json::from_str(r#"{"a":-0.0}"#).unwrap();
        assert_eq!(serde_json::to_string(&negative_zero).unwrap(), r#"{"a":-0.0}"#);
    }
}
