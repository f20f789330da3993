//! One page of keys, in the order of their UTF-8 bytes.
//!
//! Siblings are sorted with a directory's closing slash in place, which makes a depth-first walk visit keys in order; so a
//! page stops as soon as it is full, and subtrees before its start or outside its prefix are never read.

use std::{fs, io, path::Path, time::SystemTime};

use super::{disk::is_absent, layout::Entry, object::Stored};

#[derive(Debug, Default)]
pub(super) struct Query {
    pub prefix: String,
    /// Only what sorts after this.
    pub after: Option<String>,
    /// Roll what lies below the next slash after the prefix up into one common prefix.
    pub by_directory: bool,
    pub limit: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Object { key: String, length: u64, e_tag: String, modified: SystemTime },
    CommonPrefix(String),
}

impl Item {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Object { key, .. } => key,
            Self::CommonPrefix(prefix) => prefix,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Page {
    pub items: Vec<Item>,
    /// More follows after the last item.
    pub truncated: bool,
}

/// # Errors
/// Only of the disk; what vanishes during the walk is left out.
pub(super) fn list(bucket: &Path, query: &Query) -> io::Result<Page> {
    let mut page = Page::default();
    if query.limit > 0 {
        walk(bucket, "", query, &mut page)?;
        page.truncated = page.items.len() > query.limit;
        page.items.truncate(query.limit);
    }
    Ok(page)
}

/// Adds up to one item more than the page takes, to know whether it is truncated.
fn walk(directory: &Path, at: &str, query: &Query, page: &mut Page) -> io::Result<()> {
    for (entry, path) in sorted_entries(directory)? {
        if page.items.len() > query.limit {
            break;
        }
        let text = format!("{at}{}", entry.text());
        match entry {
            Entry::Object(_) => {
                if text.starts_with(&query.prefix) && query.after.as_deref().is_none_or(|after| text.as_str() > after) {
                    push_object(text, &path, page)?;
                }
            }
            Entry::Directory(_) => {
                let inside = text.starts_with(&query.prefix);
                let rolled_up = query.by_directory && inside && text != query.prefix;
                if !(inside || query.prefix.starts_with(&text)) || is_before(&text, rolled_up, query) {
                    continue;
                }
                if !rolled_up {
                    walk(&path, &text, query, page)?;
                } else if holds_object(&path)? {
                    page.items.push(Item::CommonPrefix(text));
                }
            }
        }
    }
    Ok(())
}

/// Whether everything that the directory can contribute sorts at or before the page's start.
fn is_before(directory: &str, rolled_up: bool, query: &Query) -> bool {
    match query.after.as_deref() {
        None => false,
        Some(after) if rolled_up && after == directory => true,
        Some(after) => after > directory && !after.starts_with(directory),
    }
}

fn push_object(key: String, path: &Path, page: &mut Page) -> io::Result<()> {
    match Stored::open(path) {
        Ok(Stored { length, modified, meta, .. }) => page.items.push(Item::Object { key, length, e_tag: meta.e_tag, modified }),
        Err(error) if is_absent(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

fn sorted_entries(directory: &Path) -> io::Result<Vec<(Entry, std::path::PathBuf)>> {
    let names = match fs::read_dir(directory) {
        Ok(names) => names,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut entries = Vec::new();
    for name in names {
        let name = name?;
        if let Some(entry) = Entry::read(&name.file_name()) {
            entries.push((entry, name.path()));
        }
    }
    entries.sort_by(|(a, _), (b, _)| a.text().cmp(b.text()));
    Ok(entries)
}

/// Directories are pruned with their last object; one may still be found empty between its creation and its first object.
fn holds_object(directory: &Path) -> io::Result<bool> {
    for (entry, path) in sorted_entries(directory)? {
        if matches!(entry, Entry::Object(_)) || holds_object(&path)? {
            return Ok(true);
        }
    }
    Ok(false)
}
