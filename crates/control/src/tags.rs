//! Tags of functions.

use crate::{
    Control, ControlError, Field, rules,
    store::{self, function_key},
};
use freehold_domain::{FunctionRef, Principal, network::TAG};
use std::collections::BTreeMap;

impl Control {
    /// A function's tags.
    pub async fn tags_list(
        &self,
        who: &Principal,
        of: &FunctionRef,
    ) -> Result<BTreeMap<String, String>, ControlError> {
        Ok(self.function(who, of).await?.record.tags)
    }

    /// Adds tags, over those of the same key.
    ///
    /// Errors: [`ControlError::Invalid`] for none; [`ControlError::LimitExceeded`] past 50.
    pub async fn tags_add(
        &self,
        who: &Principal,
        of: &FunctionRef,
        tags: BTreeMap<String, String>,
    ) -> Result<(), ControlError> {
        if tags.is_empty() {
            return Err(ControlError::invalid(Field::Tags, "at least one tag"));
        }
        self.tags_change(who, of, |present| {
            present.extend(tags.clone());
            rules::tags(present)
        })
        .await
    }

    /// Removes tags; keys that are not there are fine.
    pub async fn tags_remove(
        &self,
        who: &Principal,
        of: &FunctionRef,
        keys: &[String],
    ) -> Result<(), ControlError> {
        self.tags_change(who, of, |present| {
            present.retain(|key, _| !keys.contains(key));
            Ok(())
        })
        .await
    }

    async fn tags_change(
        &self,
        who: &Principal,
        of: &FunctionRef,
        edit: impl Fn(&mut BTreeMap<String, String>) -> Result<(), ControlError>,
    ) -> Result<(), ControlError> {
        let mut attempts = self.turns.attempts(&of.tenant);
        while let Some(_turn) = attempts.next().await {
            let present = self.function(who, of).await?;
            let expect = present.expect();
            let mut function = present.record;
            let before = function.tags.get(TAG).cloned();
            edit(&mut function.tags)?;
            if before.as_ref() != function.tags.get(TAG) {
                self.take_tagged_network(of, &mut function)?;
            }
            let ops = vec![store::put(function_key(of), expect, &function)];
            if self.try_commit(who, ops).await? {
                return Ok(());
            }
        }
        Err(ControlError::Contended {
            name: of.name.to_string(),
        })
    }
}
