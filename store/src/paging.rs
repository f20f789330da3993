//! Lists in pages, by key and not by offset: what is inserted meanwhile neither repeats nor skips a row.

use chrono::{DateTime, Utc};
use leadline_domain::Code;

use crate::{Result, StoreError};

pub const DEFAULT_PAGE: u32 = 50;
pub const MAX_PAGE: u32 = 500;

/// Which page of a list, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// 1 to [`MAX_PAGE`]; 0 means [`DEFAULT_PAGE`], more is cut.
    pub size: u32,
    /// The `next_token` of the page before; empty means the first page.
    pub token: String,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Empty on the last page.
    pub next_token: String,
}

/// The last row of a page: the time and the id that its list is ordered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub at: DateTime<Utc>,
    pub id: String,
}

impl PageRequest {
    pub(crate) fn limit(&self) -> usize {
        match self.size {
            0 => DEFAULT_PAGE as usize,
            size => size.min(MAX_PAGE) as usize,
        }
    }

    /// One row more than the page holds: whether it came says whether there is a next page.
    pub(crate) fn fetch(&self) -> i64 {
        self.limit() as i64 + 1
    }

    pub(crate) fn cursor(&self) -> Result<Option<Cursor>> {
        if self.token.is_empty() {
            return Ok(None);
        }
        Cursor::decode(&self.token)
            .map(Some)
            .ok_or_else(|| StoreError::refused(Code::InvalidArgument, "the page token was not given out by this list"))
    }
}

impl<T> Page<T> {
    pub(crate) fn cut(mut items: Vec<T>, request: &PageRequest, cursor: impl Fn(&T) -> Cursor) -> Self {
        let more = items.len() > request.limit();
        items.truncate(request.limit());
        let next_token = match items.last() {
            Some(last) if more => cursor(last).encode(),
            _ => String::new(),
        };
        Self { items, next_token }
    }

    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next_token: self.next_token }
    }
}

impl Cursor {
    pub(crate) fn new(at: DateTime<Utc>, id: impl Into<String>) -> Self {
        Self { at, id: id.into() }
    }

    fn encode(&self) -> String {
        hex::encode(format!("{}:{}", self.at.timestamp_micros(), self.id))
    }

    fn decode(token: &str) -> Option<Self> {
        let text = String::from_utf8(hex::decode(token).ok()?).ok()?;
        let (micros, id) = text.split_once(':').filter(|(_, id)| !id.contains('\0'))?;
        Some(Self { at: DateTime::from_timestamp_micros(micros.parse().ok()?)?, id: id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_the_last_row_of_its_page_and_anything_else_is_refused() {
        let request = PageRequest { size: 2, token: String::new() };
        let rows: Vec<_> = (0..3).map(|n| (DateTime::from_timestamp_micros(1_700_000_000_123_456 - n).unwrap(), n)).collect();
        let cursor = |row: &(DateTime<Utc>, i64)| Cursor::new(row.0, format!("op_{}", row.1));
        let page = Page::cut(rows.clone(), &request, cursor);
        assert_eq!(page.items, rows[..2]);
        let next = PageRequest { size: 2, token: page.next_token };
        assert_eq!(next.cursor().unwrap(), Some(cursor(&rows[1])));
        assert_eq!(Page::cut(rows[..2].to_vec(), &request, cursor).next_token, "");

        let foreign = PageRequest { size: 0, token: "zz".into() };
        assert_eq!(foreign.cursor().unwrap_err().code(), Some(Code::InvalidArgument));
        let nul = PageRequest { size: 0, token: hex::encode("1700000000123456:op_\0") };
        assert_eq!(nul.cursor().unwrap_err().code(), Some(Code::InvalidArgument), "PostgreSQL takes no NUL");
        assert_eq!((foreign.limit(), PageRequest { size: 9_999, ..foreign }.limit()), (50, 500));
    }
}
