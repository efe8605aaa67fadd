//! `freehold new`: a folder with a small function in it, which `freehold deploy` takes as it is.
//!
//! Speaks with no server and runs nothing. Writes into a folder that is empty or not there yet and
//! nowhere else; what it could not finish it takes away again.

mod templates;

use super::{Failure, deploy::file, print, print_json, text};
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use freehold_domain::ids::FunctionName;
use serde_json::json;
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};
use templates::Template;

/// Stands for the function's name in a template's text.
const NAME_MARK: &str = "{{name}}";

/// Arguments of `freehold new`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  freehold new python hello
  freehold deploy hello
  freehold invoke hello --payload @hello/event.json

The folder's name becomes the function's. Its README.md says what the machine that deploys needs.")]
pub struct NewArgs {
    /// Language of the function
    #[arg(value_name = "LANG", value_parser = languages())]
    language: &'static Template,
    /// Folder to make; one that is there must be empty [default: hello-LANG]
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reads a language by its name or another name of it; clap says which there are and the nearest.
fn languages() -> impl TypedValueParser<Value = &'static Template> {
    PossibleValuesParser::new(templates::ALL.iter().map(Template::value)).map(|word| {
        templates::named(&word).expect("clap lets pass the names that the table gave it")
    })
}

pub fn run(args: NewArgs) -> Result<ExitCode, Failure> {
    let template = args.language;
    let folder = args
        .folder
        .unwrap_or_else(|| PathBuf::from(format!("hello-{}", template.name)));
    let was_there = must_be_empty(&folder)?;
    let name = function_name(&folder)?;
    write(template, &folder, &name, was_there)?;
    let shown = folder.display().to_string();
    let next: Vec<String> = template
        .build
        .iter()
        .map(|script| format!("sh {}", text::word(&format!("{shown}/{script}"))))
        .chain([
            format!("freehold deploy {}", text::word(&shown)),
            format!(
                "freehold invoke {name} --payload {}",
                text::word(&format!("@{shown}/event.json"))
            ),
        ])
        .collect();
    let files: Vec<&str> = template.files.iter().map(|(path, _)| *path).collect();
    if args.json {
        print_json(&json!({
            "function": name.as_str(), "language": template.name, "folder": shown,
            "files": files, "next": next,
        }))?;
    } else {
        print(&format!(
            "{name}: a function in {}\n  {}\n\n  {}\n",
            template.title,
            files.join("  "),
            next.join("\n  ")
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the folder is there; one with something in it is refused.
fn must_be_empty(folder: &Path) -> Result<bool, Failure> {
    let mut entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // A link that leads nowhere is there as well, and no folder can be made of it.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_symlink() => {
            return Ok(false);
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(Failure::refused(
                format!("{} is there and is not a folder", folder.display()),
                "name a folder that is not there yet, or an empty one",
            ));
        }
        Err(source) => return Err(file("read", folder)(source)),
    };
    match entries.next() {
        None => Ok(true),
        Some(Err(source)) => Err(file("read", folder)(source)),
        Some(Ok(entry)) => Err(Failure::refused(
            format!(
                "{} is not empty: it has {}",
                folder.display(),
                text::escape(&entry.file_name().to_string_lossy())
            ),
            "name a folder that is not there yet, or an empty one",
        )),
    }
}

/// The folder's own name, which must be one that a function may have.
fn function_name(folder: &Path) -> Result<FunctionName, Failure> {
    let resolved = folder.canonicalize();
    let word = resolved.as_deref().unwrap_or(folder).file_name();
    let word = word.unwrap_or_default().to_string_lossy();
    word.parse::<FunctionName>().map_err(|error| {
        Failure::usage(
            format!("the folder's name becomes the function's: {error}"),
            "name a folder such as hello or order-mail",
        )
    })
}

/// Writes the template's files; takes away what it made if one of them cannot be written.
fn write(
    template: &Template,
    folder: &Path,
    name: &FunctionName,
    was_there: bool,
) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(file("make", folder))?;
    let mut made = Vec::new();
    let written = template.files.iter().try_for_each(|(below, content)| {
        let path = folder.join(below);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(file("make", parent))?;
        // A script says by which program it is run.
        let mode = if content.starts_with("#!") {
            0o777
        } else {
            0o666
        };
        let mut open = fs::OpenOptions::new();
        open.write(true).create_new(true).mode(mode);
        let mut opened = open.open(&path).map_err(file("make", &path))?;
        made.push(path.clone());
        opened
            .write_all(content.replace(NAME_MARK, name.as_str()).as_bytes())
            .map_err(file("write", &path))
    });
    if written.is_err() {
        undo(folder, &made, was_there);
    }
    written
}

/// Best effort: what is in the way of it was in the way before.
fn undo(folder: &Path, made: &[PathBuf], was_there: bool) {
    for path in made {
        let _ = fs::remove_file(path);
        let parents = path.ancestors().skip(1).take_while(|one| *one != folder);
        for parent in parents {
            // Fails where something is left in it, which then is not ours.
            let _ = fs::remove_dir(parent);
        }
    }
    if !was_there {
        let _ = fs::remove_dir(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_template_is_whole() {
        let mut names = BTreeSet::new();
        for template in templates::ALL {
            let all = [template.name].into_iter();
            for name in all.chain(template.other_names.iter().copied()) {
                assert!(names.insert(name), "{name} stands for two languages");
                assert_eq!(
                    templates::named(name).map(|one| one.name),
                    Some(template.name)
                );
            }
            let paths: BTreeSet<_> = template.files.iter().map(|(path, _)| *path).collect();
            assert_eq!(paths.len(), template.files.len(), "{}", template.name);
            for wanted in ["README.md", "event.json", "freehold.toml"] {
                assert!(paths.contains(wanted), "{} has no {wanted}", template.name);
            }
            assert!(template.build.is_none_or(|script| paths.contains(script)));
            for (path, content) in template.files {
                let below = Path::new(path);
                assert!(below.is_relative() && !path.contains(".."), "{path}");
                assert!(content.ends_with('\n'), "{}: {path}", template.name);
                // Go and shell have braces of their own; no other mark may look like ours.
                let marks = content.matches("{{").count();
                assert_eq!(marks, content.matches(NAME_MARK).count(), "{path}");
            }
        }
    }

    #[test]
    fn a_folder_gives_the_name_that_the_function_will_have() {
        let name = |folder: &str| function_name(Path::new(folder)).map(|name| name.to_string());
        assert_eq!(name("/no/such/hello_2-x/").unwrap(), "hello_2-x");
        assert_eq!(name("hello").unwrap(), "hello");
        for bad in ["my function", "a.b", "/", "x/..", "", &"x".repeat(65)] {
            assert!(name(bad).is_err(), "{bad}");
        }
        let message = name("a.b").unwrap_err().to_string();
        assert!(message.contains("\"a.b\""), "{message}");
    }

    #[test]
    fn what_could_not_be_finished_is_taken_away() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("hello");
        let broken = Template {
            files: &[("src/a", "x\n"), ("b", "x\n"), ("src/a", "twice\n")],
            ..templates::ALL[0]
        };
        let name: FunctionName = "hello".parse().unwrap();
        assert!(write(&broken, &folder, &name, false).is_err());
        assert!(!folder.exists());
        fs::create_dir(&folder).unwrap();
        assert!(write(&broken, &folder, &name, true).is_err());
        assert!(!must_be_empty(&place.path().join("none")).unwrap());
        assert!(must_be_empty(&folder).unwrap());
    }
}
