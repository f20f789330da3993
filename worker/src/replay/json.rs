//! Histories in protobuf's own JSON, as Temporal's CLI and UI print them. The SDK (1.1.1) reads and writes a JSON of its own instead,
//! which nothing else understands.

use std::sync::LazyLock;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor};
use serde_json::Value;
use temporalio_common::protos::temporal::api::history::v1::History;

static HISTORY: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let files = include_bytes!(concat!(env!("OUT_DIR"), "/history.binpb"));
    let pool = DescriptorPool::decode(files.as_slice()).expect("the build script keeps whole descriptors");
    pool.get_message_by_name("temporal.api.history.v1.History").expect("the build script keeps histories")
});

/// A newer server may say more than this build knows; what it does not know is left out.
pub(super) fn read(text: &[u8]) -> Result<History, String> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let message = DynamicMessage::deserialize_with_options(HISTORY.clone(), &mut json, &options).map_err(|e| e.to_string())?;
    json.end().map_err(|e| e.to_string())?;
    History::decode(message.encode_to_vec().as_slice()).map_err(|e| e.to_string())
}

pub(super) fn write(history: &History) -> Value {
    let message = DynamicMessage::decode(HISTORY.clone(), history.encode_to_vec().as_slice());
    let message = message.expect("the descriptor is the one that the type was made from");
    serde_json::to_value(message).expect("a history is made of what JSON has")
}
