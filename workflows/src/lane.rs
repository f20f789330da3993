//! Where a step runs: light steps beside the workflows, extraction and compute on task queues of their own, so that a long
//! export or a training run never holds the slot that another tenant's short step needs.

pub use leadline_domain::operation::SAGA_QUEUE;

/// The task queue of steps that move rows.
pub const EXTRACTION_QUEUE: &str = "leadline-extraction";
/// The task queue of steps that train.
pub const COMPUTE_QUEUE: &str = "leadline-compute";

/// The kind of work a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// A few calls; seconds at most.
    Light,
    /// Moves rows; hours at most, resumes from its committed cursor.
    Extraction,
    /// Keeps processors busy.
    Compute,
}

impl Lane {
    pub const ALL: [Self; 3] = [Self::Light, Self::Extraction, Self::Compute];

    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Extraction => "extraction",
            Self::Compute => "compute",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Light => "sagas",
            heavy => heavy.name(),
        }
    }

    /// The lane's queue beside the workflow's own: `leadline-sagas` has `leadline-extraction`, and a test's `t7-sagas` has
    /// `t7-extraction`. One family of queues is one set of workers.
    pub fn queue(self, workflow_queue: &str) -> String {
        let family = workflow_queue.strip_suffix("-sagas").unwrap_or(workflow_queue);
        format!("{family}-{}", self.suffix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_finds_its_queue_beside_the_workflows_own() {
        assert_eq!(Lane::Light.queue(SAGA_QUEUE), SAGA_QUEUE);
        assert_eq!(Lane::Extraction.queue(SAGA_QUEUE), EXTRACTION_QUEUE);
        assert_eq!(Lane::Compute.queue(SAGA_QUEUE), COMPUTE_QUEUE);
        assert_eq!(Lane::Extraction.queue("t7-sagas"), "t7-extraction");
    }
}
