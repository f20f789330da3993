//! What the demo has shown so far: each step with its operation, its duration and its link into the Temporal UI.

use std::time::{Duration, Instant};

use leadline_proto::v1::Operation;
use serde::Serialize;
use url::Url;

use crate::{
    client::{Answer, Client},
    command::random_key,
    error::Result,
    follow, output,
};

/// Tells the story and keeps its table of contents.
pub struct Journal {
    temporal_ui: Url,
    started: Instant,
    entries: Vec<Entry>,
}

struct Entry {
    step: &'static str,
    operation: String,
    took: Duration,
    link: String,
}

impl Journal {
    pub fn new(temporal_ui: Url) -> Self {
        Self { temporal_ui, started: Instant::now(), entries: Vec::new() }
    }

    /// Begins a chapter.
    pub fn heading(&self, text: &str) {
        println!("\n== {text}");
    }

    /// Starts an operation, follows it to its end, and notes it down, however it ends.
    pub async fn operation(
        &mut self,
        client: &Client,
        step: &'static str,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<Answer<Operation>> {
        let begun = Instant::now();
        let started: Answer<Operation> = client.post(path, body, Some(&random_key())).await?;
        let operation_id = started.message.operation_id;
        println!("operation {operation_id}");
        let ended = follow::to_end(client, &operation_id).await;
        // Read again rather than taken from the end: a failed operation has its run in Temporal too.
        let now: Answer<Operation> = client.get(&["v1", "operations", &operation_id], &[]).await?;
        let took = begun.elapsed();
        let link = self.link(&now.message);
        println!("took {}; in Temporal: {link}", output::duration(took));
        self.entries.push(Entry { step, operation: operation_id, took, link });
        let ended = ended?;
        follow::success(&ended.message)?;
        Ok(ended)
    }

    /// Notes a step that is no operation.
    pub fn note(&mut self, step: &'static str, took: Duration) {
        self.entries.push(Entry { step, operation: String::new(), took, link: String::new() });
    }

    /// Where the Temporal UI shows the run.
    fn link(&self, operation: &Operation) -> String {
        let mut url = self.temporal_ui.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            // The workflow id holds slashes; as one segment they are escaped.
            path.pop_if_empty().extend(["namespaces", "default", "workflows", &operation.workflow_id]);
            if !operation.run_id.is_empty() {
                path.extend([&operation.run_id, "history"]);
            }
        }
        url.to_string()
    }

    pub fn print_summary(&self) {
        if self.entries.is_empty() {
            return;
        }
        self.heading("What was done");
        let mut table = output::table(["step", "operation", "took", "in the Temporal UI"]);
        for entry in &self.entries {
            let took = output::duration(entry.took);
            table.add_row([entry.step, entry.operation.as_str(), took.as_str(), entry.link.as_str()]);
        }
        // Links must stay in one piece, however narrow the terminal is.
        table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        output::print(&table);
        println!("in all {}", output::duration(self.started.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_holds_the_workflow_id_in_one_piece() {
        let journal = Journal::new("http://127.0.0.1:8233/".parse().unwrap());
        let operation =
            Operation { workflow_id: "train_model/tn_1/op_2".to_owned(), run_id: "0199".to_owned(), ..Operation::default() };
        let expected = "http://127.0.0.1:8233/namespaces/default/workflows/train_model%2Ftn_1%2Fop_2/0199/history";
        assert_eq!(journal.link(&operation), expected);
    }
}
