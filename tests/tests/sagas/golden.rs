//! The golden histories: tests/histories/{workflow}/{scenario}.json, one for each course that a saga can take.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use leadline_domain::OperationKind;
use leadline_tests::tools;
use leadline_worker::replay::RecordedRun;
use serde_json::Value as Json;
use temporalio_common::protos::temporal::api::history::v1::History;

/// A golden history with its name: its workflow's folder, and the file's without its ending.
pub struct Golden {
    pub workflow: String,
    pub scenario: String,
    pub run: RecordedRun,
}

pub fn folder() -> PathBuf {
    tools::repository().join("tests/histories")
}

pub fn all() -> Vec<Golden> {
    let mut golden: Vec<Golden> =
        entries(&folder()).iter().flat_map(|workflow| entries(workflow)).map(|file| read(&file)).collect();
    golden.sort_by(|a, b| (&a.workflow, &a.scenario).cmp(&(&b.workflow, &b.scenario)));
    golden
}

pub fn one(workflow: OperationKind, scenario: &str) -> RecordedRun {
    read(&folder().join(workflow.as_str()).join(scenario).with_extension("json")).run
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}: run `make histories`", folder.display()));
    listed.map(|entry| entry.expect("an entry of a folder").path()).collect()
}

fn read(file: &Path) -> Golden {
    let text = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}: run `make histories`", file.display()));
    let run = RecordedRun::from_json(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let name = |path: Option<&Path>| path.and_then(Path::file_stem).expect("a name").to_string_lossy().into_owned();
    Golden { workflow: name(file.parent()), scenario: name(Some(file)), run }
}

/// Puts a history in the place of what was recorded under the same name before.
pub fn write(workflow: OperationKind, scenario: &str, history: History) {
    let run = RecordedRun::new(history).expect("a recorded history is whole");
    let mut events = run.to_json()["events"].as_array().expect("a history has events").clone();
    events.iter_mut().for_each(forget_machine);
    events.iter().for_each(assert_no_machine);
    // One event a line: small, and two recordings can be compared.
    let lines: Vec<String> = events.iter().map(Json::to_string).collect();
    let file = folder().join(workflow.as_str()).join(scenario).with_extension("json");
    fs::create_dir_all(file.parent().expect("a folder")).expect("the folder of histories is writable");
    fs::write(&file, format!("{{\"events\": [\n{}\n]}}\n", lines.join(",\n"))).expect("the folder of histories is writable");
}

/// Takes out which worker carried a task out: `pid@host`, and the sticky queue that is named after it.
fn forget_machine(json: &mut Json) {
    match json {
        Json::String(text) => {
            let of_worker = text.split_once('@').filter(|(pid, _)| !pid.is_empty() && pid.bytes().all(|c| c.is_ascii_digit()));
            match of_worker.and_then(|(_, rest)| rest.strip_prefix(&host())) {
                Some("") => *text = "worker".to_owned(),
                Some(_) => *text = "sticky".to_owned(),
                None => {}
            }
        }
        Json::Object(fields) => fields.values_mut().for_each(forget_machine),
        Json::Array(entries) => entries.iter_mut().for_each(forget_machine),
        _ => {}
    }
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").expect("the kernel names its host").trim().to_owned()
}

/// # Panics
/// When a text, or the data of a payload, names this host or a path of this checkout.
fn assert_no_machine(json: &Json) {
    let host = format!("@{}", host());
    let checkout = tools::repository();
    let checkout = checkout.to_string_lossy();
    texts(json, &mut |text| {
        let decoded = BASE64.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        for said in [text, decoded.as_str()] {
            assert!(!said.contains(&host) && !said.contains(&*checkout), "a history says {said}");
        }
    });
}

fn texts(json: &Json, see: &mut impl FnMut(&str)) {
    match json {
        Json::String(text) => see(text),
        Json::Array(entries) => entries.iter().for_each(|entry| texts(entry, see)),
        Json::Object(fields) => fields.values().for_each(|field| texts(field, see)),
        _ => {}
    }
}
