//! Trims botocore's models: served operations with every shape they reach, the others by name.
//!
//! `pip download --no-deps botocore`, unzip the wheel, then
//! `cargo xtask codegen --import botocore/data 1.44.5`.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use super::{
    Fault,
    model::{Model, Ordered},
};

/// The model's folder in botocore, and what is served of it. A name added here is an operation
/// gained, once `api` answers it.
const SERVED: [(&str, &str, &[&str]); 3] = [
    (
        "lambda",
        "lambda/2015-03-31",
        &[
            "AddPermission",
            "CreateAlias",
            "CreateFunction",
            "CreateFunctionUrlConfig",
            "DeleteAlias",
            "DeleteFunction",
            "DeleteFunctionConcurrency",
            "DeleteFunctionUrlConfig",
            "GetAccountSettings",
            "GetAlias",
            "GetFunction",
            "GetFunctionConcurrency",
            "GetFunctionConfiguration",
            "GetFunctionUrlConfig",
            "GetPolicy",
            "Invoke",
            "ListAliases",
            "ListFunctions",
            "ListFunctionUrlConfigs",
            "ListTags",
            "ListVersionsByFunction",
            "PublishVersion",
            "PutFunctionConcurrency",
            "RemovePermission",
            "TagResource",
            "UntagResource",
            "UpdateAlias",
            "UpdateFunctionCode",
            "UpdateFunctionConfiguration",
            "UpdateFunctionUrlConfig",
        ],
    ),
    (
        "logs",
        "logs/2014-03-28",
        &[
            "DeleteLogGroup",
            "DescribeLogGroups",
            "DescribeLogStreams",
            "FilterLogEvents",
            "GetLogEvents",
            "PutRetentionPolicy",
        ],
    ),
    ("sts", "sts/2011-06-15", &["GetCallerIdentity"]),
];

pub(crate) fn import(root: &Path, data: &Path, version: &str) -> Result<(), Fault> {
    for (service, folder, served) in SERVED {
        let packed = data.join(folder).join("service-2.json.gz");
        let output = Command::new("gzip").arg("-dc").arg(&packed).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{}: {said}", packed.display()).into());
        }
        let mut model: Model = serde_json::from_slice(&output.stdout)?;
        model.source = format!("botocore {version}, {folder}/service-2.json, Apache-2.0");
        trim(&mut model, served)?;
        let mut text = serde_json::to_string_pretty(&model)?;
        text.push('\n');
        fs::write(
            root.join(format!("crates/wire/models/{service}.json")),
            text,
        )?;
    }
    Ok(())
}

fn trim(model: &mut Model, served: &[&str]) -> Result<(), Fault> {
    if let Some(name) = served
        .iter()
        .find(|name| model.operations.get(name).is_none())
    {
        return Err(format!("the model has no operation {name}").into());
    }
    let all = std::mem::take(&mut model.operations.0);
    let (kept, others) = all
        .into_iter()
        .partition(|(name, _)| served.contains(&name.as_str()));
    model.operations.0 = kept;
    model.others = Ordered(
        others
            .into_iter()
            .map(|(name, operation): (String, super::model::Operation)| (name, operation.http))
            .collect(),
    );

    let mut reached = BTreeSet::new();
    let mut open: Vec<String> = Vec::new();
    for (_, operation) in model.operations.iter() {
        let ends = operation
            .input
            .iter()
            .chain(&operation.output)
            .chain(&operation.errors);
        open.extend(ends.map(|reference| reference.shape.clone()));
    }
    while let Some(name) = open.pop() {
        if reached.insert(name.clone()) {
            open.extend(model.shape(&name)?.reached().map(str::to_owned));
        }
    }
    model.shapes.0.retain(|(name, _)| reached.contains(name));
    Ok(())
}
