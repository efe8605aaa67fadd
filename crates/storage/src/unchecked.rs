//! The one read that crosses tenants. Whoever adds another adds it here, behind the same check.

use crate::{
    failure::{platform_only, read_failed},
    meta,
};
use freehold_domain::{
    Principal,
    ports::{ReadError, Stored},
    record::{Key, Kind},
};
use rusqlite::Connection;

/// Errors: [`ReadError::Denied`] for everybody but the platform.
pub(crate) fn check(who: &Principal) -> Result<(), ReadError> {
    platform_only(who)
}

/// Records of one kind of every tenant, in key order.
pub(crate) fn list_all(
    conn: &Connection,
    kind: Kind,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<Stored>, ReadError> {
    let after = after.map_or(Vec::new(), Key::encode);
    let rows: rusqlite::Result<Vec<_>> = (|| {
        let mut list = conn.prepare_cached(
            "SELECT key, version, bytes FROM records
             WHERE kind = ?1 AND key > ?2 ORDER BY key LIMIT ?3",
        )?;
        list.query_map((kind as u8, after, meta::clamp(limit)), meta::row)?
            .collect()
    })();
    let rows = rows.map_err(|error| read_failed(&error))?;
    rows.into_iter().map(meta::stored).collect()
}
