//! Keeps the descriptors of a history's messages, so that a history can be read as Temporal prints it.

use std::{collections::BTreeSet, env, error::Error, fs, path::Path};

use prost::Message as _;
use prost_reflect::{
    DescriptorPool, FileDescriptor,
    prost_types::{FileDescriptorProto, FileDescriptorSet},
};

const HISTORY: &str = "temporal/api/history/v1/message.proto";
const PUBLISHED: &str = "DEP_TEMPORALIO_PROTOS_DESCRIPTOR_PATH";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={PUBLISHED}");
    let all = DescriptorPool::decode(fs::read(env::var(PUBLISHED)?)?.as_slice())?;
    let history = all.get_file_by_name(HISTORY).ok_or_else(|| format!("temporalio-protos has no {HISTORY}"))?;
    let mut files = Vec::new();
    collect(&history, &mut files, &mut BTreeSet::new());
    let kept = FileDescriptorSet { file: files }.encode_to_vec();
    fs::write(Path::new(&env::var("OUT_DIR")?).join("history.binpb"), kept)?;
    Ok(())
}

/// A file after those it depends on, without its comments.
fn collect(file: &FileDescriptor, files: &mut Vec<FileDescriptorProto>, seen: &mut BTreeSet<String>) {
    if !seen.insert(file.name().to_owned()) {
        return;
    }
    for dependency in file.dependencies() {
        collect(&dependency, files, seen);
    }
    files.push(FileDescriptorProto { source_code_info: None, ..file.file_descriptor_proto().clone() });
}
