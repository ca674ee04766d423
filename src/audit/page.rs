//! Reading back, newest first, a page at a time.
//!
//! A cursor is the file's number and the byte where the last line looked at begins. Lines appended
//! meanwhile are newer, so they neither shift nor repeat others; a file that has gone is skipped.

use std::fmt;
use std::io;

use serde_json::Value;
use thiserror::Error;

use super::Trail;

/// Bytes read at once.
const BLOCK: u64 = 64 << 10;
/// Bytes looked at for one page: where a filter lets little through, a page is short.
const SCAN: u64 = 4 << 20;

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    /// Most lines.
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// Only lines of this action.
    pub action: Option<String>,
    /// Only lines that name this user, as the one who did it or whose data it was about.
    pub user: Option<String>,
}

/// A place in the trail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    file: u64,
    offset: u64,
}

impl Cursor {
    /// Reads what [`fmt::Display`] wrote; `None` where it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (file, offset) = text.split_once('-')?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten()
        };
        Some(Self { file: number(file)?, offset: number(offset)? })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.file, self.offset)
    }
}

/// A page: lines as they were written, and where the next one begins, where there may be one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// JSON objects.
    pub lines: Vec<String>,
    /// For [`Query::after`].
    pub next: Option<Cursor>,
}

/// Why there is no page.
#[derive(Debug, Error)]
pub enum PageError {
    /// The files cannot be read.
    #[error("the audit trail cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads a page. Blocking.
///
/// # Errors
/// [`PageError`].
pub fn read(trail: &Trail, query: &Query) -> Result<Page, PageError> {
    let mut found = Page { lines: Vec::new(), next: None };
    let mut left = SCAN;
    let mut numbers = trail.files()?;
    numbers.reverse();
    for file in numbers {
        if query.after.is_some_and(|after| file > after.file) {
            continue;
        }
        let Some(open) = trail.open(file)? else { continue };
        let len = open.len()?;
        let mut at = match query.after {
            Some(after) if after.file == file => after.offset.min(len),
            _ => len,
        };
        // What of a line was found so far: its end, without its beginning.
        let mut rest: Vec<u8> = Vec::new();
        while at > 0 {
            let from = at.saturating_sub(BLOCK);
            let size = usize::try_from(at - from).map_err(io::Error::other)?;
            let mut block = vec![0; size];
            open.read_exact_at(&mut block, from)?;
            block.append(&mut rest);
            let head = if from == 0 {
                0
            } else {
                block.iter().position(|b| *b == b'\n').map_or(block.len(), |at| at + 1)
            };
            let mut end = block.len();
            while end > head {
                let line = block.get(head..end).unwrap_or_default();
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                let begin = line.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
                let text = line.get(begin..).unwrap_or_default();
                let offset = from + (head + begin) as u64;
                if let Some(text) = wanted(text, query) {
                    found.lines.push(text.to_owned());
                    if found.lines.len() >= query.limit {
                        found.next = Some(Cursor { file, offset });
                        return Ok(found);
                    }
                }
                end = head + begin;
            }
            left = left.saturating_sub(at - from);
            at = from;
            block.truncate(head);
            rest = block;
            if left == 0 {
                let offset = at + rest.len() as u64;
                found.next = Some(Cursor { file, offset });
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// The line, where it is whole and the query asks for it.
fn wanted<'a>(line: &'a [u8], query: &Query) -> Option<&'a str> {
    let text = std::str::from_utf8(line).ok()?;
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else { return None };
    let holds = |name: &str, wanted: &str| fields.get(name).is_some_and(|v| v == wanted);
    let action = query.action.as_deref().is_none_or(|action| holds("action", action));
    let user =
        query.user.as_deref().is_none_or(|user| holds("by_user", user) || holds("user_id", user));
    (action && user).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Bounds;
    use super::*;
    use crate::env::OsFileSystem;

    fn trail(file_bytes: u64) -> (tempfile::TempDir, Trail) {
        let folder = tempfile::tempdir().expect("folder");
        let bounds = Some(Bounds { file_bytes, files: 1000 });
        let trail = Trail::new(Arc::new(OsFileSystem), folder.path(), bounds);
        (folder, trail)
    }

    fn line(n: usize) -> String {
        let (by, of) = (n % 3, n % 5);
        format!(
            "{{\"n\":{n},\"action\":\"a{}\",\"by_user\":\"u{by}\",\"user_id\":\"v{of}\"}}\n",
            n % 2
        )
    }

    fn all(trail: &Trail, mut query: Query) -> Vec<usize> {
        let mut numbers = Vec::new();
        loop {
            let page = read(trail, &query).expect("page");
            assert!(page.lines.len() <= query.limit);
            numbers.extend(page.lines.iter().map(|line| {
                let json: Value = serde_json::from_str(line).expect("JSON");
                usize::try_from(json["n"].as_u64().expect("n")).expect("n")
            }));
            match page.next {
                Some(next) => query.after = Cursor::parse(&next.to_string()),
                None => return numbers,
            }
        }
    }

    #[test]
    fn every_line_comes_once_newest_first_over_files_and_blocks() {
        for file_bytes in [200, 150_000, 10_000_000] {
            let (_folder, trail) = trail(file_bytes);
            let count = if file_bytes == 200 { 60 } else { 4_000 };
            for chunk in (0..count).collect::<Vec<_>>().chunks(if count == 60 { 1 } else { 500 }) {
                let lines: String = chunk.iter().map(|n| line(*n)).collect();
                trail.append(lines.as_bytes(), false).expect("append");
            }
            let expected: Vec<usize> = (0..count).rev().collect();
            for limit in [1, 7, 1000] {
                let limit = if count > 60 { limit.max(7) } else { limit };
                let query = Query { limit, ..Query::default() };
                assert_eq!(all(&trail, query), expected, "{file_bytes} {limit}");
            }
            let query = Query {
                limit: 50,
                action: Some("a1".to_owned()),
                user: Some("u2".to_owned()),
                ..Query::default()
            };
            let filtered = expected.iter().copied().filter(|n| n % 2 == 1 && n % 3 == 2);
            assert_eq!(all(&trail, query), filtered.collect::<Vec<_>>());
            let query = Query { limit: 50, user: Some("v4".to_owned()), ..Query::default() };
            let filtered = expected.iter().copied().filter(|n| n % 5 == 4);
            assert_eq!(all(&trail, query), filtered.collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_page_looks_at_so_many_bytes_and_no_more() {
        let (_folder, trail) = trail(1 << 30);
        let lines: String = (0..100_000).map(line).collect();
        assert!(lines.len() as u64 > SCAN + BLOCK);
        trail.append(lines.as_bytes(), false).expect("append");
        let nobody = Query { limit: 10, user: Some("nobody".to_owned()), ..Query::default() };
        let page = read(&trail, &nobody).expect("page");
        assert!(page.lines.is_empty() && page.next.is_some(), "short, and there is more");
        assert_eq!(all(&trail, nobody), [0; 0]);
    }

    #[test]
    fn torn_lines_are_passed_over() {
        let (_folder, trail) = trail(1 << 20);
        for bytes in [line(0).as_bytes(), b"{\"n\":1,\"acti", line(2).as_bytes(), b"\xff\n\n"] {
            trail.append(bytes, false).expect("append");
        }
        assert_eq!(all(&trail, Query { limit: 10, ..Query::default() }), [2, 0]);
    }

    #[test]
    fn cursors_are_read_back_or_refused() {
        let cursor = Cursor { file: 3, offset: 1204 };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        for bad in ["", "-", "3", "3-", "-4", "3-x", "+3-1", "3-1-2", "99999999999999999999-1"] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}
