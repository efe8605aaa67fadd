//! What the table promises, for every key; and what is said of what was given wrongly.

use super::{
    ConfigError, Given, Resolved, When,
    fault::{Fault, Origin},
    given::FILE_BYTES_MAX,
    keys::{KEYS, Key, Preset},
    kind::{Bounds, Kind},
    measure::Span,
};
use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

/// A data folder with this file.
fn folder(text: &str) -> (tempfile::TempDir, Given) {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("freehold.toml"), text).unwrap();
    let given = Given::new(None, data.path());
    (data, given)
}

fn faults(given: &Given) -> Vec<Fault> {
    match given.resolve() {
        Err(ConfigError::Invalid(faults)) => faults,
        other => panic!("it is judged as {other:?}"),
    }
}

fn said(given: &Given) -> Vec<String> {
    faults(given).iter().map(Fault::to_string).collect()
}

fn of(resolved: &Resolved, dotted: &str) -> (String, String) {
    let found = resolved
        .settings
        .iter()
        .find(|one| one.key.dotted() == dotted);
    let found = found.expect("the table has the key");
    let value = found.value.as_ref().map(ToString::to_string);
    (value.unwrap_or_default(), found.origin.to_string())
}

fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> + use<> {
    let pairs = pairs.iter();
    let owned: Vec<_> = pairs
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    owned.into_iter()
}

/// What a key may not be, as the file would have it: of another type, unit, range.
fn wrong(kind: Kind) -> Vec<String> {
    let mut wrong: Vec<String> = ["1.5", "1979-05-27", "[[1]]", "99999999999999999999"]
        .map(str::to_owned)
        .into();
    let outside = |Bounds { least, most, step }: Bounds| {
        let below = least.checked_sub(1);
        let between = (step > 1).then_some(least + 1);
        [below, Some(most + 1), between].into_iter().flatten()
    };
    let numbers = kind
        .bounds()
        .map(|bounds| outside(bounds).collect::<Vec<_>>());
    let numbers = numbers.unwrap_or_default().into_iter();
    match kind {
        Kind::Flag => wrong.extend(["\"true\"", "1"].map(str::to_owned)),
        Kind::Count(_) => {
            wrong.extend(["\"12\"", "-1", "true"].map(str::to_owned));
            wrong.extend(numbers.map(|n| n.to_string()));
        }
        Kind::CountOr(..) => {
            wrong.extend(["\"12\"", "\"nothing\"", "\"\"", "-1", "true"].map(str::to_owned));
            wrong.extend(numbers.map(|n| n.to_string()));
        }
        Kind::Size(_) => {
            wrong.extend(["\"1MB\"", "\"6 parsecs\"", "\"\"", "-1", "\"15m\""].map(str::to_owned));
            wrong.extend(numbers.clone().map(|n| n.to_string()));
            wrong.extend(numbers.map(|n| format!("\"{n}B\"")));
        }
        Kind::Span(_) | Kind::SpanOr(..) => {
            wrong.extend(
                ["\"1w\"", "\"2 fortnights\"", "\"5\"", "5", "\"6MiB\""].map(str::to_owned),
            );
            wrong.extend(numbers.map(|n| format!("\"{n}ms\"")));
        }
        Kind::Spans(_, most) => {
            wrong.extend(["[]", "\"1m\"", "[\"1w\"]", "[60]"].map(str::to_owned));
            wrong.push(format!("[{}]", vec!["\"1m\""; most + 1].join(", ")));
            wrong.extend(numbers.map(|n| format!("[\"1m\", \"{n}ms\"]")));
        }
        Kind::Word(_) => wrong.extend(["\"fast\"", "\"\"", "true"].map(str::to_owned)),
        Kind::Address => {
            wrong.extend(
                [
                    "\"127.0.0.1\"",
                    "\"localhost:80\"",
                    "7070",
                    "\"1.2.3.4:65536\"",
                ]
                .map(str::to_owned),
            );
        }
        Kind::Account => {
            wrong.extend(["\"123\"", "123456789012", "\"000000000000\""].map(str::to_owned));
        }
        Kind::Region => wrong.extend(["\"\"", "\"US EAST\"", "1"].map(str::to_owned)),
        Kind::Regions(most) => {
            wrong.extend(["\"us-east-1\"", "[\"US\"]", "[1]"].map(str::to_owned));
            wrong.push(format!("[{}]", vec!["\"r\""; most + 1].join(", ")));
        }
        Kind::Domain => wrong.extend(["\"\"", "\"a b\"", "\"a..b\"", "1"].map(str::to_owned)),
        Kind::Hosts(most) => {
            wrong.extend(["\"a\"", "[\"a b\"]", "[\"*\"]", "[\"a:80\"]", "[1]"].map(str::to_owned));
            wrong.push(format!("[{}]", vec!["\"a\""; most + 1].join(", ")));
        }
        Kind::Url => wrong.extend(
            [
                "\"\"",
                "\"acme.example.org\"",
                "\"http://acme.example.org/\"",
                "\"https://\"",
                "\"https://me@acme.example.org/\"",
                "\"https://a b/\"",
                "[\"https://a/\"]",
            ]
            .map(str::to_owned),
        ),
        Kind::Mail => wrong.extend(
            [
                "\"\"",
                "\"ops\"",
                "\"@a.b\"",
                "\"a@b@c\"",
                "\"a b@c\"",
                "\"mailto:a@b\"",
                "1",
            ]
            .map(str::to_owned),
        ),
        Kind::Networks(most) => {
            wrong.extend(["\"::1\"", "[\"a\"]", "[\"10.0.0.0/33\"]", "[1]"].map(str::to_owned));
            wrong.push(format!("[{}]", vec!["\"::1\""; most + 1].join(", ")));
        }
        Kind::File => {
            wrong.extend(["\"tls.pem\"", "\"\"", "\"~/tls.pem\"", "[\"/a\"]"].map(str::to_owned));
        }
        Kind::Paths => wrong.extend(["\"x\"", "true"].map(str::to_owned)),
        Kind::Network => wrong.extend(["\"\"", "\"A B\"", "1", "true"].map(str::to_owned)),
        Kind::Policies => wrong.extend(["1", "true", "[\"a\"]"].map(str::to_owned)),
    }
    wrong
}

/// The same as texts of the environment and the command line.
fn wrong_text(kind: Kind) -> Vec<String> {
    let is_quoted = |text: &&String| text.starts_with('"') && text.ends_with('"');
    let mut texts: Vec<String> = match kind {
        // Text is their only form there, so that these are right.
        Kind::Flag => vec!["True".to_owned(), "1".to_owned(), String::new()],
        Kind::Count(_) | Kind::CountOr(..) => {
            vec!["many".to_owned(), "1.5".to_owned(), String::new()]
        }
        Kind::Spans(..) => vec![String::new(), "1m,1w".to_owned(), "1m 2m".to_owned()],
        Kind::Regions(_) => vec!["US,eu".to_owned()],
        Kind::Hosts(_) => vec!["a b".to_owned(), "a,*".to_owned()],
        Kind::Networks(_) => vec!["localhost".to_owned(), "::1,10.0.0.0/33".to_owned()],
        Kind::Paths => vec!["python3.12".to_owned()],
        Kind::Policies => vec!["orders".to_owned(), "orders=10.0.0.5".to_owned()],
        _ => {
            let quoted = wrong(kind).into_iter().filter(|text| is_quoted(&text));
            quoted
                .map(|text| text.trim_matches('"').to_owned())
                .collect()
        }
    };
    if let Kind::Count(bounds) | Kind::CountOr(_, bounds) = kind {
        texts.push((bounds.most + 1).to_string());
    }
    texts
}

#[test]
fn every_key_is_described_and_its_default_is_one_that_it_allows() {
    let mut names = BTreeSet::new();
    for key in KEYS {
        let name = key.dotted();
        assert!(names.insert(name.clone()), "{name} is there twice");
        assert!(
            !key.section.contains('_'),
            "{name}: its variable would be ambiguous"
        );
        assert!(
            !key.about().is_empty() && !key.about().ends_with('.'),
            "{name}"
        );
        let Preset::Is(value) = key.preset() else {
            continue;
        };
        assert_eq!(
            key.kind.read_text(&value.to_string()).as_ref(),
            Some(&value),
            "{name}"
        );
        // And as the file has it.
        let json = value.json();
        let text = match &json {
            serde_json::Value::Object(_) => "{}".to_owned(),
            json => json.to_string(),
        };
        let (_data, given) = folder(&format!("[{}]\n{} = {text}\n", key.section, key.name));
        let (read, origin) = of(&given.resolve().unwrap(), &name);
        assert_eq!(read, value.to_string(), "{name}");
        assert!(origin.ends_with("freehold.toml:2"), "{origin}");
    }
    assert!(names.len() >= 50);
}

#[test]
fn every_key_refuses_other_types_units_and_ranges_in_the_file() {
    let mut tried = 0;
    for key in KEYS {
        for text in wrong(key.kind) {
            let (_data, given) = folder(&format!("[{}]\n{} = {text}\n", key.section, key.name));
            let said = said(&given);
            let [said] = said.as_slice() else {
                panic!("{} = {text}: {said:?}", key.dotted());
            };
            let begins = format!("freehold.toml:2: {} is ", key.dotted());
            assert!(said.contains(&begins), "{said}");
            assert!(
                said.ends_with(&format!("; allowed: {}", key.kind.allowed())),
                "{said}"
            );
            tried += 1;
        }
    }
    assert!(tried > 6 * KEYS.len(), "{tried}");
}

#[test]
fn every_key_refuses_them_in_the_environment_and_as_a_flag() {
    let (_data, empty) = folder("");
    for key in KEYS {
        let texts = wrong_text(key.kind);
        assert!(!texts.is_empty(), "{}", key.dotted());
        for text in texts {
            let variable = key.variable();
            let given = empty.clone();
            let given = given.with_variables(variables(&[(variable.as_str(), text.as_str())]));
            let set = format!("{}={text}", key.dotted());
            let flagged = empty.clone().with_sets(&[set]);
            for (given, at) in [
                (given, variable),
                (flagged, format!("--set {}", key.dotted())),
            ] {
                if let Kind::Policies = key.kind {
                    // The part that is wrong is named, and what may stand there.
                    let begins = format!("{at}: {}", key.dotted());
                    let said = said(&given);
                    assert!(said.len() == 1 && said[0].starts_with(&begins), "{said:?}");
                    continue;
                }
                let expected = format!(
                    "{at}: {} is {:?}; allowed: {}",
                    key.dotted(),
                    text.trim(),
                    key.kind.allowed()
                );
                assert_eq!(said(&given), [expected]);
            }
        }
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let sections: BTreeSet<_> = KEYS.iter().map(|key| key.section).collect();
    let mut text = "surprise = true\n".to_owned();
    for section in &sections {
        text.push_str(&format!("[{section}]\nno_such_key_at_all = 1\n"));
        for key in KEYS.iter().filter(|key| key.section == *section) {
            text.push_str(&format!("{} = 1.5\n", key.name));
        }
    }
    let (_data, given) = folder(&text);
    let given = given.with_variables(variables(&[("FREEHOLD_AUDIT_KEP", "1d")]));
    let given = given.with_sets(&["audit.keep".to_owned(), "audit.kep=1d".to_owned()]);
    assert_eq!(faults(&given).len(), 1 + sections.len() + KEYS.len() + 3);
    // And the message names each on a line of its own, up to a bound.
    let message = given.resolve().unwrap_err().to_string();
    assert!(
        message.starts_with("the configuration is not valid"),
        "{message}"
    );
    assert!(message.lines().count() > KEYS.len());
}

#[test]
fn later_sources_go_over_earlier_ones_in_every_pair() {
    const KEY: &str = "limits.header";
    let (_data, file) = folder("[limits]\n\nheader = \"10KiB\"\n");
    let (_other, none) = folder("");
    let variable =
        |given: Given| given.with_variables(variables(&[("FREEHOLD_LIMITS_HEADER", "11KiB")]));
    let flag = |given: Given| given.with_sets(&[format!("{KEY}=12KiB")]);
    let has = |given: Given, value: &str, origin: &str| {
        let found = of(&given.resolve().unwrap(), KEY);
        assert_eq!(found.0, value);
        assert!(found.1.ends_with(origin), "{found:?}");
    };
    has(none.clone(), "64KiB", "default");
    has(file.clone(), "10KiB", "freehold.toml:3");
    has(variable(none.clone()), "11KiB", "FREEHOLD_LIMITS_HEADER");
    has(variable(file.clone()), "11KiB", "FREEHOLD_LIMITS_HEADER");
    has(flag(none.clone()), "12KiB", "--set limits.header");
    has(flag(file.clone()), "12KiB", "--set limits.header");
    has(flag(variable(none)), "12KiB", "--set limits.header");
    has(flag(variable(file.clone())), "12KiB", "--set limits.header");
    // What something goes over is judged all the same.
    let (_third, wrong) = folder("[limits]\nheader = \"10 leagues\"\n");
    assert_eq!(faults(&flag(variable(wrong))).len(), 1);
    let named = file.with_flag("--listen", "server.listen", Some("127.0.0.1:1"));
    assert_eq!(
        of(&named.resolve().unwrap(), "server.listen"),
        ("127.0.0.1:1".to_owned(), "--listen".to_owned())
    );
    // A flag that was not given says nothing.
    let silent = named.with_flag("--region", "server.region", None::<&str>);
    let region = of(&silent.resolve().unwrap(), "server.region");
    assert_eq!(region, ("us-east-1".to_owned(), "default".to_owned()));
}

#[test]
fn what_is_not_known_is_refused_with_its_line_and_the_nearest_name() {
    for (text, line, says) in [
        (
            "[limits]\nfunction_timeot = \"2h\"",
            2,
            "limits.function_timeot is no key; the nearest is limits.function_timeout",
        ),
        (
            "\n\n[audit]\nkeeps = \"1d\"",
            4,
            "audit.keeps is no key; the nearest is audit.keep",
        ),
        (
            "[limits]\nkeep_done = \"1d\"",
            2,
            "limits.keep_done is no key; the nearest is events.keep_done",
        ),
        (
            "listen = \"127.0.0.1:1\"",
            1,
            "listen is no key; the nearest is server.listen",
        ),
        (
            "limits.haeder = 5",
            1,
            "limits.haeder is no key; the nearest is limits.header",
        ),
        (
            "[sever]\nlisten = \"x\"",
            1,
            "[sever] is no section; the nearest is [server]",
        ),
        (
            "[limits]\nzzzzzzzz = 1",
            2,
            "limits.zzzzzzzz is no key; `freehold config show` lists all",
        ),
        ("limits = 5", 1, "limits is 5; allowed: the table [limits]"),
        (
            "[[audit]]\nkeep = \"1d\"",
            1,
            "audit is [a table]; allowed: the table [audit]",
        ),
    ] {
        let (data, given) = folder(text);
        let path = data.path().join("freehold.toml");
        assert_eq!(said(&given), [format!("{}:{line}: {says}", path.display())]);
    }
}

#[test]
fn variables_and_flags_that_may_have_meant_a_key_are_refused_and_foreign_ones_are_not() {
    let (_data, empty) = folder("");
    let nearest = |name: &str, nearest: &str| {
        let given = empty.clone().with_variables(variables(&[(name, "1")]));
        let expected = format!("{name}: {name} is no variable of a key; the nearest is {nearest}");
        assert_eq!(said(&given), [expected]);
    };
    nearest("FREEHOLD_LIMITS_HEADERS", "FREEHOLD_LIMITS_HEADER");
    nearest("FREEHOLD_LIMIT_HEADER", "FREEHOLD_LIMITS_HEADER");
    nearest("FREEHOLD_SERVER_LISTEN_ADDRESS", "FREEHOLD_SERVER_LISTEN");
    nearest("FREEHOLD_INSTANCE_MAX", "FREEHOLD_INSTANCES_MAX");
    let foreign = [
        ("FREEHOLD_PORT", "tcp://10.0.0.1:7070"),
        ("FREEHOLD_SERVER_SERVICE_HOST", "10.0.0.1"),
        ("FREEHOLD_SERVER_SERVICE_PORT_HTTP", "7070"),
        ("FREEHOLD_SERVER_PORT", "tcp://10.0.0.1:7070"),
        ("FREEHOLD_SERVER_PORT_7070_TCP_ADDR", "10.0.0.1"),
        ("FREEHOLD_TEAM", "orders"),
    ];
    let ours = [
        ("FREEHOLD_LOG", "debug"),
        ("FREEHOLD_BIN", "x"),
        ("FREEHOLD_TEST_X", "x"),
    ];
    let all: Vec<_> = foreign.iter().chain(&ours).copied().collect();
    let resolved = empty
        .clone()
        .with_variables(variables(&all))
        .resolve()
        .unwrap();
    let mut strangers: Vec<_> = foreign.iter().map(|(name, _)| *name).collect();
    strangers.sort_unstable();
    assert_eq!(resolved.strangers, strangers);

    let flags = [
        "limits.haeder=5",
        "header=5",
        "limits.header",
        "audit.keep=1d",
        "audit.keep=2d",
    ];
    let flags = flags.map(str::to_owned);
    let given = empty.with_sets(&flags);
    let given = given.with_flag("--listen", "server.listen", Some("127.0.0.1:1"));
    let given = given.with_sets(&["server.listen=127.0.0.1:2".to_owned()]);
    assert_eq!(
        said(&given),
        [
            "--set limits.header: it is written section.key=value",
            "--set limits.haeder: limits.haeder is no key; the nearest is limits.header",
            "--set header: header is no key; the nearest is limits.header",
            "--set audit.keep: audit.keep is given twice: --set audit.keep has it too",
            "--set server.listen: server.listen is given twice: --listen has it too",
        ]
    );
}

#[test]
fn no_variable_that_this_project_uses_for_something_else_is_refused() {
    // Tests run in the folder of their package.
    let root = Path::new("../..");
    let mut names = BTreeSet::new();
    for part in [
        "scripts", "benches", "runtimes", "examples", "xtask", "tests", "Makefile", ".ci",
    ] {
        let files = walkdir::WalkDir::new(root.join(part)).into_iter().flatten();
        for file in files.filter(|file| file.file_type().is_file()) {
            // What is misspelt there on purpose is to be refused.
            if file.path().ends_with("tests/config_test.py") {
                continue;
            }
            let text = fs::read(file.path()).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            for (at, _) in text.match_indices("FREEHOLD_") {
                let is_of_it = |c: char| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit();
                let name: String = text[at..].chars().take_while(|c| is_of_it(*c)).collect();
                names.insert(name.trim_end_matches('_').to_owned());
            }
        }
    }
    assert!(names.len() > 15, "{names:?}");
    let (_data, empty) = folder("");
    for name in names {
        // Limits are lifted so, and flags set; other keys refuse both as they refuse anything.
        let is_taken = |text: &str| {
            let given = empty.clone().with_variables(variables(&[(&name, text)]));
            given.resolve().is_ok()
        };
        assert!(is_taken("none") || is_taken("true"), "{name}");
    }
}

#[test]
fn lines_that_do_not_read_are_told_with_the_others() {
    let (_data, given) = folder(
        "[limits]\nheader == 5\nfunction_timeot = \"2h\"\n[audit]\nkeep = \"1d\"\nkeep = \"2d\"\n",
    );
    let said = said(&given);
    let has = |part: &str| said.iter().filter(|one| one.contains(part)).count();
    assert_eq!(has("freehold.toml:2: "), 1, "{said:?}");
    assert_eq!(
        has("freehold.toml:3: limits.function_timeot is no key"),
        1,
        "{said:?}"
    );
    assert_eq!(has("freehold.toml:6: "), 1, "{said:?}");

    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("freehold.toml");
    fs::write(&path, b"[limits]\nheader = \"\xff\"\n").unwrap();
    let given = Given::new(None, data.path());
    assert_eq!(
        faults(&given)[0].to_string(),
        format!("{}:2: the file is not UTF-8", path.display())
    );
    assert_eq!(faults(&given)[0].at, Origin::File(Arc::new(path), 2));
}

#[test]
fn what_stands_in_a_file_moves_no_cursor_and_is_cut() {
    let (_data, given) = folder(&format!(
        "[instances]\ncpu = \"\\u001b[2J{}\"\n[\"a\\nb\"]\n",
        "x".repeat(5000)
    ));
    let message = given.resolve().unwrap_err().to_string();
    assert!(
        !message.contains('\u{1b}') && message.len() < 1000,
        "{message}"
    );
    assert_eq!(message.lines().count(), 3, "{message}");
}

#[test]
fn a_file_that_is_missing_too_large_or_a_folder_is_refused_by_its_name() {
    let data = tempfile::tempdir().unwrap();
    let none = Given::new(None, data.path());
    assert!(!none.resolve().unwrap().has_file);
    let missing = Given::new(Some(&data.path().join("other.toml")), data.path());
    assert!(
        matches!(missing.resolve(), Err(ConfigError::Missing(path)) if path.ends_with("other.toml"))
    );
    assert!(matches!(
        none.again(true).resolve(),
        Err(ConfigError::Missing(_))
    ));
    let folder = Given::new(Some(data.path()), data.path());
    assert!(matches!(
        folder.resolve(),
        Err(ConfigError::Unreadable { .. })
    ));
    let path = data.path().join("freehold.toml");
    let mut text = "#".repeat(FILE_BYTES_MAX as usize);
    fs::write(&path, &text).unwrap();
    assert!(none.resolve().unwrap().has_file);
    text.push('#');
    fs::write(&path, &text).unwrap();
    assert!(
        matches!(none.resolve(), Err(ConfigError::TooLarge { limit_bytes, .. }) if limit_bytes == FILE_BYTES_MAX)
    );
    let endless = Given::new(Some(Path::new("/dev/zero")), data.path());
    assert!(matches!(
        endless.resolve(),
        Err(ConfigError::TooLarge { .. })
    ));
}

#[test]
fn a_running_server_waits_for_no_pipe_and_misses_a_file_that_it_had() {
    let (data, given) = folder("");
    let file = given.file().to_owned();
    assert!(given.again(true).resolve().is_ok());
    fs::remove_file(&file).unwrap();
    assert!(given.again(false).resolve().is_ok());
    assert!(matches!(
        given.again(true).resolve(),
        Err(ConfigError::Missing(_))
    ));
    let pipe = std::process::Command::new("mkfifo").arg(&file).status();
    assert!(pipe.unwrap().success());
    let named = Given::new(Some(&file), data.path());
    for refused in [
        given.resolve(),
        given.again(true).resolve(),
        named.again(true).resolve(),
    ] {
        assert!(
            matches!(refused, Err(ConfigError::Unreadable { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn many_faults_are_told_by_line_and_a_long_name_is_cut() {
    let unknown: Vec<_> = (0..2000).rev().map(|n| format!("header_{n} = 1")).collect();
    let (_data, given) = folder(&format!(
        "[limits]\nheadr = 1\n{}\n{} = 1\n",
        unknown.join("\n"),
        "x".repeat(9999)
    ));
    let found = faults(&given);
    assert_eq!(found.len(), 2002);
    let line = |fault: &Fault| match &fault.at {
        Origin::File(_, line) => *line,
        other => panic!("{other}"),
    };
    assert!(found.iter().map(line).eq(2..2004));
    assert!(
        found[0]
            .to_string()
            .contains("the nearest is limits.header")
    );
    assert!(found[2001].to_string().len() < 300);
}

#[test]
fn keys_that_do_not_go_together_are_refused() {
    for (text, says) in [
        (
            "[audit]\nsize = \"3MiB\"",
            "freehold.toml:2: audit.size is 3MiB; with audit.file_size = 1MiB it has to be 4MiB at the least",
        ),
        (
            "[audit]\nfile_size = \"512MiB\"",
            "default: audit.size is 1GiB; with audit.file_size = 512MiB it has to be 2GiB at the least",
        ),
        (
            "[tls]\ncertificate = \"/a.pem\"",
            "freehold.toml:2: tls.certificate wants its key beside it, tls.key",
        ),
        (
            "[tls]\nkey = \"/a.key\"",
            "freehold.toml:2: tls.key wants its certificate beside it, tls.certificate",
        ),
        (
            "[tls]\ncertificate = \"/a.pem\"\nkey = \"/a.key\"\n[server]\ninsecure = true",
            "freehold.toml:5: server.insecure serves in clear, and tls.certificate is given",
        ),
        (
            "[tls]\ncertificate = \"/a.pem\"\nkey = \"/a.key\"\nself_signed = true",
            "freehold.toml:4: tls.self_signed makes a certificate, and tls.certificate is given",
        ),
        (
            "[tls]\nacme_names = [\"a.example\"]",
            "default: tls.acme_accept_terms has to be true for an order: it says that you agree to the terms of service of the authority at https://acme-v02.api.letsencrypt.org/directory",
        ),
        (
            "[tls]\nacme_accept_terms = true\nacme_names = [\"a.example\", \"*.a.example\"]",
            "freehold.toml:3: tls.acme_names has *.a.example: tls-alpn-01 proves no name with an asterisk",
        ),
        (
            "[tls]\nacme_accept_terms = true\nacme_names = [\"10.0.0.5\"]",
            "freehold.toml:3: tls.acme_names has 10.0.0.5: certificates are ordered for names alone",
        ),
        (
            "[tls]\nacme_accept_terms = true\nacme_names = [\"a.example\"]\nself_signed = true",
            "freehold.toml:4: tls.self_signed makes a certificate, and tls.acme_names is given",
        ),
        (
            "[tls]\nacme_accept_terms = true\nacme_names = [\"a.example\"]\n[server]\ninsecure = true",
            "freehold.toml:5: server.insecure serves in clear, and tls.acme_names is given",
        ),
        (
            "[tls]\nacme_accept_terms = true\nacme_names = [\"a.example\"]\ncertificate = \"/a\"\nkey = \"/b\"",
            "freehold.toml:4: tls.certificate is shown, and tls.acme_names is given",
        ),
        (
            "[server]\nlisten = \"127.0.0.1:7071\"",
            "default: server.admin_listen is 127.0.0.1:7071, and server.listen = 127.0.0.1:7071 leaves no room for it",
        ),
        (
            "[server]\nlisten = \"[::]:80\"\nadmin_listen = \"127.0.0.1:80\"",
            "freehold.toml:3: server.admin_listen is 127.0.0.1:80, and server.listen = [::]:80 leaves no room for it",
        ),
        (
            "[server]\nlisten = \"10.0.0.1:80\"\nadmin_listen = \"0.0.0.0:80\"",
            "freehold.toml:3: server.admin_listen is 0.0.0.0:80",
        ),
        (
            "[server]\nuid = 1879048192",
            "server.uid is 1879048192, which is an instance's",
        ),
    ] {
        let (_data, given) = folder(text);
        let said = said(&given);
        assert!(said.len() == 1 && said[0].contains(says), "{said:?}");
    }
    let together = "[server]\nlisten = \"0.0.0.0:1\"\n[tls]\ncertificate = \"/a\"\nkey = \"/b\"\n";
    assert!(folder(together).1.resolve().is_ok());
    for (listen, admin) in [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("127.0.0.1:80", "127.0.0.2:80"),
        ("0.0.0.0:80", "[::1]:80"),
    ] {
        let text = format!("[server]\nlisten = \"{listen}\"\nadmin_listen = \"{admin}\"\n");
        assert!(folder(&text).1.resolve().is_ok(), "{text}");
    }
}

#[test]
fn what_does_not_go_together_is_told_beside_other_faults_and_not_because_of_them() {
    let (_data, given) = folder(
        "[server]\nlisten = \"127.0.0.1:7071\"\n[audit]\nsize = \"3MiB\"\nkeep = \"1w\"\n\
         [tls]\ncertificate = \"/a\"\nkee = \"/b\"\n[network]\ndefault = \"orders\"\n\
         [network.policies.orders]\nallw = []\n",
    );
    let said = said(&given);
    let parts = [
        "toml:5: audit.keep is",
        "toml:8: tls.kee is no key; the nearest is tls.key",
        "toml:12: network.policies.orders.allw is no key",
        "toml:4: audit.size is 3MiB; with",
        "default: server.admin_listen is 127.0.0.1:7071, and",
    ];
    assert_eq!(said.len(), parts.len(), "{said:?}");
    for (said, part) in said.iter().zip(parts) {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_reload_takes_over_what_can_change_and_names_the_rest() {
    let (data, given) = folder("[audit]\nkeep = \"2d\"\n[server]\ncores = 2\n");
    let held = given.resolve().unwrap();
    let write = |text: &str| fs::write(data.path().join("freehold.toml"), text).unwrap();

    write("[server]\ncores = 3\nregions = [\"eu-central-1\"]\n[limits]\nheader = \"16KiB\"\n");
    let (taken, changes) = held.reloaded(given.resolve().unwrap()).unwrap();
    let changed = |when: When| {
        let of = changes.iter().filter(|change| change.key().when == when);
        of.map(|change| change.key().dotted()).collect::<Vec<_>>()
    };
    assert_eq!(changed(When::Reload), ["audit.keep", "limits.header"]);
    assert_eq!(changed(When::Start), ["server.regions", "server.cores"]);
    assert_eq!(
        of(&taken, "audit.keep"),
        ("90d".to_owned(), "default".to_owned())
    );
    assert_eq!(taken.config.limits.header.0, 16 << 10);
    assert_eq!(
        (taken.config.server.cores, taken.config.server.regions.len()),
        (Some(2), 0)
    );
    assert!(
        of(&taken, "server.cores").1.ends_with(":4"),
        "where it was at the start"
    );

    // The same again names what waits again, and nothing that has been applied.
    let (_, changes) = taken.reloaded(given.resolve().unwrap()).unwrap();
    let names: Vec<_> = changes.iter().map(|change| change.key().dotted()).collect();
    assert_eq!(names, ["server.regions", "server.cores"]);

    // What is taken over has to go with what stays, too: files of 1 MiB, whatever the new file says.
    write("[audit]\nsize = \"256KiB\"\nfile_size = \"64KiB\"\n");
    let refused = taken
        .reloaded(given.resolve().unwrap())
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("audit.size is 256KiB; with audit.file_size = 1MiB"),
        "{refused}"
    );
}

/// `FREEHOLD_BLESS=1 cargo test -p freehold config` writes the book's table.
#[test]
fn the_book_has_every_key_as_the_table_has_it() {
    const BEGIN: &str = "<!-- keys: written by the test of config/tests.rs from the table -->\n";
    const END: &str = "<!-- end of keys -->";
    crate::book::check_table("configuration.md", [BEGIN, END], &page());
}

fn page() -> String {
    let mut page =
        "| key | default | allowed | changes at | what it is |\n|---|---|---|---|---|\n".to_owned();
    for key in KEYS {
        let preset = match key.preset() {
            Preset::Made(words) => words.to_owned(),
            Preset::Is(value) => match value.to_string() {
                none if none.is_empty() => "none".to_owned(),
                value => format!("`{value}`"),
            },
        };
        let when = match key.when {
            When::Reload => "reload",
            When::Start => "start",
        };
        page.push_str(&format!(
            "| `{}` | {preset} | {} | {when} | {} |\n",
            key.dotted(),
            bounds(key),
            key.about()
        ));
    }
    page
}

/// What a key may be, shorter than a message has it.
fn bounds(key: &Key) -> String {
    let times = |Bounds { least, most, .. }| format!("{} to {}", Span::ms(least), Span::ms(most));
    match key.kind {
        Kind::Count(Bounds { least, most, .. }) => format!("{least} to {most}"),
        Kind::CountOr(word, Bounds { least, most, .. }) => {
            format!("`{word}`, or {least} to {most}")
        }
        Kind::Span(bounds) => times(bounds),
        Kind::SpanOr(word, bounds) => format!("`{word}`, or {}", times(bounds)),
        Kind::Spans(bounds, most) => format!("1 to {most} times, {}", times(bounds)),
        kind => {
            let allowed = kind.allowed();
            let short = allowed.split(", such as").next().unwrap_or_default();
            short.trim_start_matches("a size from ").to_owned()
        }
    }
}

#[test]
fn policies_are_read_and_what_is_wrong_with_them_has_its_line_and_the_nearest_word() {
    let (_data, given) = folder(
        "[network]\ndefault = \"orders\"\nbandwidth = \"1MiB\"\n\n[network.policies.orders]\n\
         allow = [\"10.0.0.5:5432\", \"*.example.com:443\"]\n[network.policies.nobody]\nallow = []\n",
    );
    let network = given.resolve().unwrap().config.network;
    assert_eq!(network.policies.len(), 2);
    assert_eq!(network.policies["orders"].rules.len(), 2);
    for (text, expected) in [
        (
            "[network]\ndefault = \"order\"\n[network.policies.orders]\nallow = []\n",
            "freehold.toml:2: network.default is \"order\", and there is no \
             [network.policies.order]; the nearest is \"orders\"",
        ),
        (
            "[network]\n[network.policy.orders]\nallow = []\n",
            "freehold.toml:2: network.policy is no key; the nearest is network.policies",
        ),
        (
            "\n[network.policies.orders]\nallows = []\n",
            "freehold.toml:3: network.policies.orders.allows is no key; the nearest is \
             network.policies.orders.allow",
        ),
        (
            "\n[network.policies.orders]\nallow = [\"10.0.0.5:5432\", \"db\"]\n",
            "freehold.toml:3: network.policies.orders.allow[1] is \"db\"; allowed: ADDRESS:PORT, \
             RANGE:PORT, NAME:PORT, *.NAME:PORT or \"internet\"; it has no port; write HOST:PORT or \
             HOST:FIRST-LAST",
        ),
    ] {
        let (_data, given) = folder(text);
        let said = said(&given);
        assert!(said.len() == 1 && said[0].ends_with(expected), "{said:?}");
    }
}

#[test]
fn everything_that_is_wrong_with_policies_is_told_at_once() {
    let at = |part: &str, found: &str| format!("network.policies{part} is {found}; allowed: ");
    let line = |line: usize, part: &str, found: &str| format!("toml:{line}: {}", at(part, found));
    let (_data, given) = folder(
        "[network.policies.Orders]\nallow = []\n[network.policies.a]\nallow = [\"db\", \"10.0.0.5:1\", 7]\n\
         deny = []\n[network.policies.b]\n[network.policies.c]\nallow = \"10.0.0.5:1\"\n",
    );
    let said = |given: &Given, parts: &[String]| {
        let said = said(given);
        assert_eq!(said.len(), parts.len(), "{said:?}");
        for part in parts {
            assert!(
                said.iter().any(|line| line.contains(part)),
                "{part} {said:?}"
            );
        }
    };
    said(
        &given,
        &[
            line(1, "", "\"Orders\""),
            line(4, ".a.allow[0]", "\"db\""),
            line(4, ".a.allow[2]", "7"),
            "toml:5: network.policies.a.deny is no key; the nearest is network.policies.a.allow"
                .to_owned(),
            line(6, ".b", "a table"),
            line(8, ".c.allow", "\"10.0.0.5:1\""),
        ],
    );
    let (_other, empty) = folder("");
    let texts = variables(&[(
        "FREEHOLD_NETWORK_POLICIES",
        "orders, A=10.0.0.5:1, b=db 10.0.0.5",
    )]);
    said(
        &empty.with_variables(texts),
        &[
            at("", "\"orders\""),
            at("", "\"A\""),
            at(".b.allow[0]", "\"db\""),
            at(".b.allow[1]", "\"10.0.0.5\""),
        ],
    );
}

#[test]
fn parts_of_tables_are_told_where_they_stand_and_faults_by_line() {
    let (_data, given) = folder(
        "[network.policies.a]\nallow = [\n  \"10.0.0.5:1\",\n  \"db\",\n]\n\n[runtimes.paths]\n\
         java17 = \"/j\"\n\"python9\" = \"/x\"\n\"python3.12\" = \"x\"\n[audit]\nkeep = \"1w\"\n\
         [network.policies.b]\nallw = []\n[network]\nconnections = 0\n[runtimes]\nsubstitute = 1\n",
    );
    let said = said(&given);
    let expected = [
        "toml:4: network.policies.a.allow[1] is \"db\"; allowed: ",
        "toml:9: runtimes.paths.python9 is no runtime that has an interpreter; the nearest is python3.9",
        "toml:10: runtimes.paths.python3.12 is \"x\"; allowed: a path from the root",
        "toml:12: audit.keep is \"1w\"; allowed: ",
        "toml:14: network.policies.b.allw is no key; the nearest is network.policies.b.allow",
        "toml:16: network.connections is 0; allowed: ",
        "toml:18: runtimes.substitute is 1; allowed: ",
    ];
    assert_eq!(said.len(), expected.len(), "{said:?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn of_a_table_whose_header_does_not_read_nothing_else_is_told() {
    for (text, lines) in [
        (
            "[server\nlisten = \"127.0.0.1:1\"\nsurprise = 1\n[audit]\nkep = 1\n",
            &[1, 5][..],
        ),
        (
            "[audit]\nkeep = \"1d\"\n[network.policies.a\nallow = []\n",
            &[3],
        ),
        (
            "[network.policies.a]\nallow == []\n[audit]\nkep = 1\n",
            &[2, 4],
        ),
        ("[network.policies.a]\nallow\n", &[2]),
    ] {
        let (_data, given) = folder(text);
        let found = faults(&given);
        let told: Vec<_> = found.iter().filter_map(|fault| fault.at.line()).collect();
        assert_eq!(told, lines, "{text}: {:?}", said(&given));
    }
}
