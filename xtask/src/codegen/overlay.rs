//! Where a service answers otherwise than its model. Each entry says why, and where that is known from.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

use super::{Fault, model::Model};

/// One service's overlay file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Overlay {
    /// Changes to the constraints of a shape, wherever it is used.
    #[serde(default)]
    pub(crate) shapes: BTreeMap<String, ShapeOverlay>,
    /// Changes to an operation.
    #[serde(default)]
    pub(crate) operations: BTreeMap<String, OperationOverlay>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShapeOverlay {
    /// Constraints of the model that are not checked: `min`, `max`, `pattern`, `enum`.
    #[serde(default)]
    pub(crate) unchecked: Vec<String>,
    /// The pattern as the service prints it.
    pub(crate) pattern_text: Option<String>,
    /// An equal pattern without look-around, which the generator can compile.
    pub(crate) pattern_equal: Option<String>,
    /// The enumeration in the order in which the service prints it.
    pub(crate) enum_text: Option<Vec<String>>,
    pub(crate) why: String,
    pub(crate) source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperationOverlay {
    /// The status of success, where the model names another.
    pub(crate) status: Option<u16>,
    /// Checks in the service's hand-written module that run after the model's.
    #[serde(default)]
    pub(crate) checks: Vec<String>,
    pub(crate) why: String,
    pub(crate) source: String,
}

impl Overlay {
    /// Whether everything that is laid over exists, and says where it comes from.
    pub(crate) fn fits(&self, model: &Model) -> Result<(), Fault> {
        for (name, overlay) in &self.shapes {
            let shape = model.shape(name)?;
            sourced(name, &overlay.why, &overlay.source)?;
            for constraint in &overlay.unchecked {
                let there = match constraint.as_str() {
                    "min" => shape.min.is_some(),
                    "max" => shape.max.is_some(),
                    "pattern" => shape.pattern.is_some(),
                    "enum" => !shape.one_of.is_empty(),
                    _ => false,
                };
                if !there {
                    return Err(
                        format!("overlay: {name} has no {constraint} to leave unchecked").into(),
                    );
                }
            }
            if let Some(values) = &overlay.enum_text
                && (values.len() != shape.one_of.len()
                    || !values.iter().all(|value| shape.one_of.contains(value)))
            {
                return Err(format!("overlay: the values of {name} are not the model's").into());
            }
        }
        for (name, overlay) in &self.operations {
            if model.operations.get(name).is_none() {
                return Err(format!("overlay: no operation {name} is served").into());
            }
            sourced(name, &overlay.why, &overlay.source)?;
        }
        Ok(())
    }
}

fn sourced(name: &str, why: &str, source: &str) -> Result<(), Fault> {
    if why.is_empty() || source.is_empty() {
        return Err(format!("overlay: {name} does not say why, or where it is known from").into());
    }
    Ok(())
}

pub(crate) fn read(path: &Path) -> Result<Overlay, Fault> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}
