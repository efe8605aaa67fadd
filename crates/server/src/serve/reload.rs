//! The configuration of a running server: shown, and read again.
//!
//! A reload reads the file; environment and flags stay those of the start. It takes over all of what
//! can change or, where anything is wrong with the file, nothing. Users of a value ask for it each
//! time ([`Cells`]), so the next request meets the new one; calls that run keep what they began with.
//!
//! The server has given root up by then: a file that only root can read is refused, by name.

use super::{chain, front_door::FrontDoor, settings::Cells};
use crate::config::{Change, ConfigError, Given, Resolved, Setting, When};
use freehold_api::{
    ChangeRow, ConfigurationRow, ConfigurationView, ReloadRefused, ReloadRow, SettingRow,
};
use freehold_domain::BoxFuture;
use freehold_engine::Engine;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};

/// What the server runs with.
pub(crate) struct Running {
    given: Given,
    held: Mutex<Resolved>,
    /// Held for a whole reload: the next one begins with what it left.
    turn: Mutex<()>,
    cells: Cells,
    door: Arc<FrontDoor>,
    engine: OnceLock<Arc<Engine>>,
}

impl Running {
    /// `held` was put together from `given`.
    pub(crate) fn new(
        given: Given,
        held: Resolved,
        cells: Cells,
        door: Arc<FrontDoor>,
    ) -> Arc<Self> {
        Arc::new(Self {
            given,
            held: Mutex::new(held),
            turn: Mutex::default(),
            cells,
            door,
            engine: OnceLock::new(),
        })
    }

    /// Who is told that its settings have changed.
    pub(crate) fn set_engine(&self, engine: Arc<Engine>) {
        let _ = self.engine.set(engine);
    }

    /// Blocks while the file is read.
    fn read_again(&self) -> Result<ReloadRow, ReloadRefused> {
        let _turn = self.turn.lock();
        let refused = |error: ConfigError| ReloadRefused(chain(&error));
        let had_file = self.held.lock().has_file;
        let read = self.given.again(had_file).resolve();
        let read = read.map_err(refused)?;
        let reloaded = self.held.lock().reloaded(read);
        let (taken, changes) = reloaded.map_err(refused)?;
        let renewed = self.door.renewed(&taken.config);
        let renewed = renewed.map_err(|error| ReloadRefused(chain(&error)))?;
        self.cells.set(&taken.config);
        let certificate = self.door.renew(renewed, &taken.config);
        *self.held.lock() = taken;
        if let Some(engine) = self.engine.get() {
            engine.reconfigured();
        }
        let rows = |when: When| {
            let of = changes.iter().filter(|change| change.key().when == when);
            of.map(change_row).collect()
        };
        let mut row = ReloadRow {
            file: self.given.file().display().to_string(),
            applied: rows(When::Reload),
            needs_restart: rows(When::Start),
        };
        row.applied.extend(certificate);
        tell(&row);
        Ok(row)
    }
}

impl ConfigurationView for Running {
    fn show(&self) -> ConfigurationRow {
        ConfigurationRow {
            file: self.given.file().display().to_string(),
            settings: self.held.lock().settings.iter().map(row).collect(),
        }
    }

    fn reload(self: Arc<Self>) -> BoxFuture<'static, Result<ReloadRow, ReloadRefused>> {
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || self.read_again()).await;
            let done = done.unwrap_or_else(|error| Err(ReloadRefused(error.to_string())));
            if let Err(ReloadRefused(why)) = &done {
                tracing::error!(why, "the configuration stays as it was");
            }
            done
        })
    }
}

/// A setting as the API shows it.
fn row(setting: &Setting) -> SettingRow {
    SettingRow {
        key: setting.key.dotted(),
        value: setting.value.as_ref().map(ToString::to_string),
        origin: setting.origin.to_string(),
        reloads: setting.key.when == When::Reload,
    }
}

fn change_row(change: &Change) -> ChangeRow {
    let now = row(&change.now);
    ChangeRow {
        key: now.key,
        before: change.before.as_ref().map(ToString::to_string),
        now: now.value,
        origin: now.origin,
    }
}

fn tell(row: &ReloadRow) {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unset".to_owned());
    for change in &row.applied {
        let (key, before, now) = (&change.key, text(&change.before), text(&change.now));
        tracing::info!(key, before, now, "reloaded");
    }
    for change in &row.needs_restart {
        let (key, held, given) = (&change.key, text(&change.before), text(&change.now));
        tracing::warn!(key, held, given, "the next start has it");
    }
    if row.applied.is_empty() && row.needs_restart.is_empty() {
        tracing::info!("reloaded: nothing has changed");
    }
}
