//! What a reload takes over of a file that has changed, and what waits for the next start.

use super::{
    fault::ConfigError,
    given::{Resolved, Setting},
    keys::{Key, When},
    kind::Value,
};

/// A key whose value has changed.
#[derive(Debug, Clone)]
pub struct Change {
    /// What held; nothing where the machine made it.
    pub before: Option<Value>,
    /// What was given instead, and by whom.
    pub now: Setting,
}

impl Change {
    /// Which.
    pub fn key(&self) -> &'static Key {
        self.now.key
    }
}

impl Resolved {
    /// What holds once `read` has been taken over while the server runs, and every key that
    /// differs. Keys for the next start keep what they have.
    ///
    /// Errors: [`ConfigError::Invalid`] where what is taken over does not go with what stays.
    pub fn reloaded(&self, read: Resolved) -> Result<(Resolved, Vec<Change>), ConfigError> {
        let mut changes = Vec::new();
        let both = self.settings.iter().zip(read.settings);
        let settings = both
            .map(|(held, now)| {
                let stays = held.value != now.value && now.key.when == When::Start;
                if held.value != now.value {
                    changes.push(Change {
                        before: held.value.clone(),
                        now: now.clone(),
                    });
                }
                match stays {
                    true => held.clone(),
                    false => now,
                }
            })
            .collect();
        let taken = Resolved::of(settings, read.has_file, read.strangers)?;
        Ok((taken, changes))
    }
}
