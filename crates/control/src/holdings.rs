//! What accounts hold, counted as it changes.
//!
//! Every upload asks what an account has stored already. Reading all of its records for that makes
//! the thousandth function a thousand times as dear as the first; so an account is read once, when
//! it is first asked about, and followed by the store's watch from then on. Sums alone would not
//! do: the watch tells what a record is, not what it was.
//!
//! ```text
//!   (unknown) ──asked──▶ Reading ──all read──▶ Known
//!       ▲                 │ changes on top         │
//!       └─ a record that does not read ────────────┘
//! ```

use crate::{Place, account::AccountUsage};
use freehold_domain::{
    ports::{Stored, Watcher},
    record::{self, FunctionV1, Key, Kind, RecordError, RevisionV1},
};
use parking_lot::Mutex;
use std::collections::HashMap;

/// See the module.
#[derive(Default)]
pub(crate) struct Holdings {
    accounts: Mutex<HashMap<Place, Account>>,
}

enum Account {
    /// Is being read; what has changed meanwhile, and is newer than what is read.
    Reading(HashMap<Item, Option<Has>>),
    Known(Known),
}

/// Whether it is a function, else a revision, and its name within its account.
pub(crate) type Item = (bool, Box<str>);

/// What one record adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Has {
    code_bytes: u64,
    reserved: u32,
}

#[derive(Default)]
struct Known {
    items: HashMap<Item, Has>,
    sum: AccountUsage,
}

impl Known {
    fn set(&mut self, item: Item, has: Option<Has>) {
        let is_function = item.0;
        let before = match has {
            Some(has) => self.items.insert(item, has),
            None => self.items.remove(&item),
        };
        let sum = &mut self.sum;
        if let Some(before) = before {
            sum.functions -= u64::from(is_function);
            sum.versions -= u64::from(!is_function);
            sum.code_bytes -= before.code_bytes;
            sum.reserved_concurrency -= u64::from(before.reserved);
        }
        if let Some(has) = has {
            sum.functions += u64::from(is_function);
            sum.versions += u64::from(!is_function);
            sum.code_bytes += has.code_bytes;
            sum.reserved_concurrency += u64::from(has.reserved);
        }
    }
}

/// Which item of which account a record is.
fn item(key: &Key) -> Option<Item> {
    match key.kind() {
        Kind::Function => Some((true, key.name().first()?.as_str().into())),
        Kind::Revision => Some((false, key.name().join("/").into())),
        _ => None,
    }
}

fn has(key: &Key, stored: &Stored) -> Result<Has, RecordError> {
    Ok(match key.kind() {
        Kind::Function => {
            let function: FunctionV1 = record::decode(&stored.bytes)?;
            Has {
                code_bytes: function.head.package.zip_bytes,
                reserved: function.reserved_concurrency.unwrap_or(0),
            }
        }
        _ => {
            let revision: RevisionV1 = record::decode(&stored.bytes)?;
            Has {
                code_bytes: revision.spec.package.zip_bytes,
                reserved: 0,
            }
        }
    })
}

/// What a stored record adds, of which item; nothing for other kinds.
///
/// Errors: a record that does not read.
pub(crate) fn read(stored: &Stored) -> Result<Option<(Item, Has)>, RecordError> {
    let Some(item) = item(&stored.key) else {
        return Ok(None);
    };
    Ok(Some((item, has(&stored.key, stored)?)))
}

impl Holdings {
    /// What an account has; `None` when it is to be read: [`Holdings::learn`] then wants all of
    /// its functions and revisions as they are from now on.
    pub(crate) fn of(&self, place: &Place) -> Option<AccountUsage> {
        let mut accounts = self.accounts.lock();
        match accounts.get(place) {
            Some(Account::Known(known)) => Some(known.sum),
            Some(Account::Reading(_)) => None,
            None => {
                let reading = Account::Reading(HashMap::new());
                accounts.insert(place.clone(), reading);
                None
            }
        }
    }

    /// Takes over what was read, and says what the account has.
    pub(crate) fn learn(&self, place: &Place, read: Vec<(Item, Has)>) -> AccountUsage {
        let mut learnt = Known::default();
        for (item, has) in read {
            learnt.set(item, Some(has));
        }
        let mut accounts = self.accounts.lock();
        match accounts.remove(place) {
            Some(Account::Reading(changed)) => {
                for (item, has) in changed {
                    learnt.set(item, has);
                }
            }
            // Somebody else was faster, and has followed it since.
            Some(Account::Known(known)) => learnt = known,
            // A record that does not read came in between: what was read stands for this once.
            None => return learnt.sum,
        }
        let sum = learnt.sum;
        accounts.insert(place.clone(), Account::Known(learnt));
        sum
    }
}

impl Watcher for Holdings {
    fn changed(&self, changes: &[(Key, Option<Stored>)]) {
        let mut accounts = self.accounts.lock();
        for (key, stored) in changes {
            let Some(item) = item(key) else {
                continue;
            };
            let place = Place {
                tenant: key.tenant().clone(),
                region: key.region().clone(),
            };
            let Some(account) = accounts.get_mut(&place) else {
                continue;
            };
            let Ok(has) = stored.as_ref().map(|stored| has(key, stored)).transpose() else {
                accounts.remove(&place);
                continue;
            };
            match account {
                Account::Known(known) => known.set(item, has),
                Account::Reading(changed) => {
                    changed.insert(item, has);
                }
            }
        }
    }
}
