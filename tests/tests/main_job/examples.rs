//! The examples of README and API guide work as they are printed.

use std::{fs, os::unix::fs::symlink, process::Command};

use leadline_tests::{dev_stack::DevStack, tools};

/// Where the examples expect the API; a test's stack has ports of its own.
const PRINTED: &str = "http://127.0.0.1:7200";

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_api_guide_and_readme_run_as_printed() {
    let stack = DevStack::start(&["--records", "12000"], &[]).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    symlink(stack.state_dir(), directory.path().join(".leadline")).expect("a link to the state");
    let read = |path: &str| fs::read_to_string(tools::repository().join(path)).expect("the document is part of the repository");
    let readme = read("README.md");
    let (_, use_it) = readme.split_once("## Use it").expect("the README says how to use it");
    let (use_it, _) = use_it.split_once("\n## ").expect("something follows");
    // The guide connects the org; the README then asks about its tenant.
    for (name, text) in [("docs/api.md", read("docs/api.md").as_str()), ("README.md", use_it)] {
        let script = examples(text).replace(PRINTED, &stack.endpoint("/api_url"));
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(directory.path())
            .env_remove("LEADLINE_URL")
            .env_remove("LEADLINE_KEY")
            .output()
            .expect("bash starts");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{name}: {}\n{out}\n{err}", output.status);
        assert!(out.contains("\"operationId\"") && !out.contains("\"FAILED\""), "{name}:\n{out}");
        if name == "docs/api.md" {
            let shown =
                ["OPERATION_NOT_FOUND", "\"committed\":true", "\"STAGED\"", "\"reasons\":[{", "\"COMPLETED\"", "\"CANCELLED\""];
            assert!(shown.iter().all(|text| out.contains(text)), "{name}:\n{out}");
        }
    }
}

/// The shell blocks of a Markdown text, one after the other.
fn examples(markdown: &str) -> String {
    let mut blocks = markdown.split("```sh\n");
    blocks.next();
    blocks.map(|block| block.split("```").next().unwrap_or_default()).collect()
}
