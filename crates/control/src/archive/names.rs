//! Names of entries: each on its own, then all together.

use super::{
    ArchiveError, EntryRule, UnpackLimits,
    directory::{Entry, EntryKind},
    error::{DEPTH_MAX, PART_BYTES_MAX, PATH_BYTES_MAX},
};
use std::collections::HashMap;

/// The path that a name means, without `.` parts and without a slash at its end; empty for the
/// package itself.
pub(super) fn normal(name: &[u8]) -> Result<String, ArchiveError> {
    let refuse = |rule| Err(ArchiveError::entry(name, rule));
    if name.len() > PATH_BYTES_MAX {
        return refuse(EntryRule::NameTooLong);
    }
    let Ok(text) = std::str::from_utf8(name) else {
        return refuse(EntryRule::NotUtf8);
    };
    if text.is_empty() {
        return refuse(EntryRule::Empty);
    }
    if text.chars().any(char::is_control) {
        return refuse(EntryRule::ControlCharacter);
    }
    if text.contains('\\') {
        return refuse(EntryRule::Backslash);
    }
    let bytes = text.as_bytes();
    if bytes[0] == b'/' || (bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':') {
        return refuse(EntryRule::Absolute);
    }
    let mut parts = Vec::new();
    for part in text.strip_suffix('/').unwrap_or(text).split('/') {
        match part {
            "" => return refuse(EntryRule::Empty),
            ".." => return refuse(EntryRule::Parent),
            "." => {}
            _ if part.len() > PART_BYTES_MAX => return refuse(EntryRule::NameTooLong),
            _ => parts.push(part),
        }
    }
    if parts.len() > DEPTH_MAX {
        return refuse(EntryRule::TooDeep);
    }
    Ok(parts.join("/"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    /// A folder that only paths name so far.
    Implied,
    Folder,
    File,
    Link,
}

/// Judges all paths together: twice the same, the same but for case, a file that is a folder too,
/// anything behind a link, and the number of everything.
pub(super) fn judge(entries: &[Entry], limits: &UnpackLimits) -> Result<(), ArchiveError> {
    // By the path in lower case: two paths that meet there are one on a system that folds case.
    let mut nodes: HashMap<String, (&str, Node)> = HashMap::new();
    for entry in entries {
        let refuse = |rule| Err(ArchiveError::entry(entry.path.as_bytes(), rule));
        let ends = entry.path.match_indices('/').map(|(at, _)| at);
        for parent in ends.map(|at| &entry.path[..at]) {
            match nodes.get(&parent.to_lowercase()) {
                None => {
                    nodes.insert(parent.to_lowercase(), (parent, Node::Implied));
                }
                Some((known, _)) if *known != parent => return refuse(EntryRule::CaseCollision),
                Some((_, Node::File)) => return refuse(EntryRule::FileAndFolder),
                Some((_, Node::Link)) => return refuse(EntryRule::ThroughLink),
                Some((_, Node::Implied | Node::Folder)) => {}
            }
        }
        let node = match entry.kind {
            EntryKind::File { .. } => Node::File,
            EntryKind::Folder => Node::Folder,
            EntryKind::Link => Node::Link,
        };
        let path = entry.path.as_str();
        match nodes.get(&path.to_lowercase()) {
            None => {}
            Some((known, _)) if *known != path => return refuse(EntryRule::CaseCollision),
            Some((_, Node::Implied)) if node == Node::Folder => {}
            Some((_, Node::Implied)) if node == Node::Link => {
                return refuse(EntryRule::ThroughLink);
            }
            Some((_, Node::Implied)) => return refuse(EntryRule::FileAndFolder),
            Some((_, known)) if *known == node => return refuse(EntryRule::Duplicate),
            Some(_) => return refuse(EntryRule::FileAndFolder),
        }
        nodes.insert(path.to_lowercase(), (path, node));
        if nodes.len() as u64 > limits.entries {
            return Err(ArchiveError::TooManyEntries {
                limit: limits.entries,
            });
        }
    }
    Ok(())
}
