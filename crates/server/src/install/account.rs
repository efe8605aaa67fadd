//! User and group `freehold`: a name for the number that the server drops to, so that `ls` and `ps`
//! show who it is and nobody else gets the number. The server itself needs the number alone.

use super::{Root, step::run};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Of both.
pub(super) const NAME: &str = "freehold";

/// What is there of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// Both, with the right number.
    There,
    /// These commands make what is missing.
    Missing(Vec<Vec<String>>),
    /// Nothing here makes accounts, and nothing hangs on it.
    NotHere(&'static str),
}

/// The numbers of a name, and the name of a number, in a file like `/etc/passwd`: name first,
/// number third.
fn find(text: &str, name: &str, number: u32) -> (Option<u32>, Option<String>) {
    let rows = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        Some((name, number))
    });
    let (mut number_of_name, mut name_of_number) = (None, None);
    for (found, id) in rows {
        if found == name {
            number_of_name.get_or_insert(id);
        }
        if id == number {
            name_of_number.get_or_insert_with(|| found.to_owned());
        }
    }
    (number_of_name, name_of_number)
}

/// Whether `name` is there with `number`. Errors: either belongs to something else.
fn is_there(text: &str, kind: &str, number: u32) -> Result<bool, String> {
    let remedy = format!("give the server another by server.uid in {}", super::CONFIG);
    match find(text, NAME, number) {
        (Some(found), _) if found == number => Ok(true),
        (Some(found), _) => Err(format!(
            "the {kind} {NAME} has the number {found} and the server is to have {number}: rename it, or {remedy}"
        )),
        (None, Some(other)) => Err(format!(
            "the number {number} is that of the {kind} {other}: {remedy}"
        )),
        (None, None) => Ok(false),
    }
}

impl Account {
    /// What is there, and what would make the rest.
    ///
    /// Errors: name or number belong to something else.
    pub(super) fn look(root: &Root, uid: u32, data: &Path) -> Result<Self, String> {
        let read = |path: &str| fs::read_to_string(root.at(Path::new(path)));
        let (Ok(users), Ok(groups)) = (read("/etc/passwd"), read("/etc/group")) else {
            return Ok(Self::NotHere("there is no etc/passwd and etc/group"));
        };
        let has_user = is_there(&users, "user", uid)?;
        let has_group = is_there(&groups, "group", uid)?;
        if has_user && has_group {
            return Ok(Self::There);
        }
        let tools = (program("groupadd"), program("useradd"));
        let (Some(groupadd), Some(useradd)) = tools else {
            return Ok(Self::NotHere(
                "useradd and groupadd are not on this machine",
            ));
        };
        let mut commands = Vec::new();
        let number = uid.to_string();
        let of = |program: String, arguments: &[&str]| {
            let mut words = vec![program];
            if !root.is_system() {
                words.extend(["--prefix".to_owned(), root.path().display().to_string()]);
            }
            words.extend(arguments.iter().map(|&word| word.to_owned()));
            words.push(NAME.to_owned());
            words
        };
        if !has_group {
            commands.push(of(groupadd, &["--system", "--gid", &number]));
        }
        if !has_user {
            let (shell, home) = (closed_shell(), data.display().to_string());
            let arguments: [&str; 13] = [
                "--system",
                "--no-log-init",
                "--no-create-home",
                "--uid",
                &number,
                "--gid",
                &number,
                "--home-dir",
                &home,
                "--shell",
                &shell,
                "--comment",
                "Freehold",
            ];
            commands.push(of(useradd, &arguments));
        }
        Ok(Self::Missing(commands))
    }
}

/// Removes user and group from the tree at `root`, as far as they are there.
pub(super) fn remove(root: &Path) -> io::Result<()> {
    for (file, tool) in [("etc/passwd", "userdel"), ("etc/group", "groupdel")] {
        // On most machines the user has taken its group along.
        let text = fs::read_to_string(root.join(file)).unwrap_or_default();
        if find(&text, NAME, u32::MAX).0.is_none() {
            continue;
        }
        let missing = || io::Error::other(format!("{tool} is not on this machine"));
        let mut words = vec![program(tool).ok_or_else(missing)?];
        if root != Path::new("/") {
            words.extend(["--prefix".to_owned(), root.display().to_string()]);
        }
        words.push(NAME.to_owned());
        run(&words)?;
    }
    Ok(())
}

/// Where distributions put what makes accounts. Not from `PATH`: it runs as root.
fn program(name: &str) -> Option<String> {
    let places = ["/usr/sbin", "/sbin", "/usr/bin"].map(|folder| PathBuf::from(folder).join(name));
    let found = places.into_iter().find(|path| path.exists())?;
    Some(found.display().to_string())
}

fn closed_shell() -> String {
    let places = ["/usr/sbin/nologin", "/sbin/nologin", "/bin/false"];
    let found = places.iter().find(|path| Path::new(path).exists());
    found.unwrap_or(&"/bin/false").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_number_belong_together_or_are_refused() {
        let check = |text: &str, expected: Result<bool, &str>| {
            let found = is_there(text, "user", 2_146_000_000);
            match expected {
                Ok(there) => assert_eq!(found, Ok(there), "{text:?}"),
                Err(says) => {
                    let error = found.expect_err(text);
                    assert!(error.contains(says), "{error}");
                }
            }
        };
        check("", Ok(false));
        check("root:x:0:0:root:/root:/bin/bash\n", Ok(false));
        check("freeholder:x:5:5::/:/x\nnonsense\n\n:::\n", Ok(false));
        check("freehold:x:2146000000:2146000000::/:/x\n", Ok(true));
        check("freehold:x:999:999::/:/x\n", Err("has the number 999"));
        check("ada:x:2146000000:1::/:/x\n", Err("the user ada"));
    }

    #[test]
    fn what_is_missing_is_made_and_a_tree_without_accounts_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::open(Some(folder.path())).expect("a folder");
        let look = || Account::look(&root, 2_146_000_000, Path::new("/var/lib/freehold"));
        assert!(matches!(look(), Ok(Account::NotHere(_))));

        let etc = folder.path().join("etc");
        fs::create_dir(&etc).expect("made");
        fs::write(etc.join("passwd"), "root:x:0:0::/root:/bin/sh\n").expect("written");
        fs::write(etc.join("group"), "root:x:0:\n").expect("written");
        if program("useradd").is_none() {
            assert!(matches!(look(), Ok(Account::NotHere(_))));
            return;
        }
        let Ok(Account::Missing(commands)) = look() else {
            panic!("nothing is there yet");
        };
        let prefix = folder.path().display().to_string();
        assert_eq!(commands.len(), 2);
        assert!(
            commands.iter().all(|words| words.contains(&prefix)),
            "{commands:?}"
        );

        fs::write(etc.join("group"), "root:x:0:\nfreehold:x:2146000000:\n").expect("written");
        assert!(matches!(look(), Ok(Account::Missing(commands)) if commands.len() == 1));
    }
}
