//! The part of SOQL that this org answers.

use chrono::{DateTime, NaiveDate, Utc};

/// A field, reached through zero or more parent relationships: `["Account", "Owner", "Name"]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Path {
    pub steps: Vec<String>,
    pub at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Count,
    CountDistinct,
    Sum,
    Avg,
    Min,
    Max,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Selected {
    Field(Path),
    /// `COUNT()` has no argument and no alias.
    Aggregate {
        function: Function,
        argument: Option<Path>,
        alias: Option<String>,
    },
    /// `FIELDS(ALL)`, `FIELDS(STANDARD)`, `FIELDS(CUSTOM)`.
    Fields {
        scope: String,
        at: usize,
    },
    /// `(SELECT ... FROM children)`.
    Children {
        query: Box<Query>,
        at: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Boolean(bool),
    Number(f64),
    Text(String),
    Date(NaiveDate),
    Instant(DateTime<Utc>),
    /// `TODAY`, `LAST_N_DAYS:30`, ...: from the first day to before the last, UTC.
    Days {
        from: NaiveDate,
        until: NaiveDate,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Compare {
        field: Path,
        operator: Operator,
        value: Literal,
    },
    Like {
        field: Path,
        pattern: String,
    },
    In {
        field: Path,
        values: Vec<Literal>,
        negated: bool,
    },
    /// `field IN (SELECT other FROM object ...)`.
    InQuery {
        field: Path,
        query: Box<Query>,
        negated: bool,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ordering {
    pub field: Path,
    pub descending: bool,
    pub nulls_last: Option<bool>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    pub select: Vec<Selected>,
    pub object: String,
    pub object_at: usize,
    pub condition: Option<Condition>,
    pub group_by: Vec<Path>,
    pub order_by: Vec<Ordering>,
    pub limit: Option<u64>,
    pub offset: Option<u64>,
    /// `ALL ROWS`: deleted records too.
    pub all_rows: bool,
}

impl Query {
    pub fn is_aggregate(&self) -> bool {
        !self.group_by.is_empty() || self.select.iter().any(|item| matches!(item, Selected::Aggregate { .. }))
    }

    /// `SELECT COUNT() FROM ...`, which answers with a number and no records.
    pub fn is_bare_count(&self) -> bool {
        matches!(self.select.as_slice(), [Selected::Aggregate { function: Function::Count, argument: None, .. }])
    }
}
