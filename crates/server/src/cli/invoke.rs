//! `freehold invoke`: one event to one function. The answer goes to stdout as it came.

use super::{Common, EXIT_FUNCTION, Failure, print, print_json, text::escape};
use crate::client::lambda::InvokeOptions;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::Args;
use serde_json::{Value, json};
use std::{io::IsTerminal, io::Read, path::PathBuf, process::ExitCode, time::Duration};

/// Largest event that is read, bytes. The server's ceiling is lower; this one keeps a wrong file
/// from filling the memory.
const PAYLOAD_BYTES_MAX: u64 = 64 << 20;

/// Arguments of `freehold invoke`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  freehold invoke hello --payload '{\"name\":\"Ada\"}'
  freehold invoke hello --payload @event.json --log
  echo '{}' | freehold invoke hello --payload -

Exit code 1 says that the function failed; its error is on stdout all the same.")]
pub struct InvokeArgs {
    /// Name or ARN of the function
    #[arg(value_name = "NAME")]
    name: String,
    /// The event: JSON, @FILE, or - for stdin
    #[arg(long, short, value_name = "JSON|@FILE|-", default_value = "{}")]
    payload: String,
    /// Only hand the event over; the server keeps it until it is done
    #[arg(long = "async")]
    asynchronous: bool,
    /// Show the end of the log, on stderr
    #[arg(long)]
    log: bool,
    /// Version, or $LATEST
    #[arg(long, value_name = "NAME")]
    qualifier: Option<String>,
    /// How long to wait for the answer, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 960, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    wait: u64,
    #[command(flatten)]
    common: Common,
}

pub async fn run(args: InvokeArgs) -> Result<ExitCode, Failure> {
    let payload = payload(&args.payload)?;
    let client = args.common.client()?;
    let options = InvokeOptions {
        qualifier: args.qualifier.clone(),
        asynchronous: args.asynchronous,
        log: args.log && !args.asynchronous,
        limit: Duration::from_secs(args.wait),
    };
    let answer = client.invoke(&args.name, payload, &options).await?;
    let tail = answer
        .log
        .as_deref()
        .and_then(|log| STANDARD.decode(log).ok())
        .map(|log| String::from_utf8_lossy(&log).into_owned());
    if args.common.json {
        let shown = serde_json::from_slice::<Value>(&answer.payload)
            .unwrap_or_else(|_| json!(String::from_utf8_lossy(&answer.payload)));
        print_json(&json!({
            "function_error": answer.function_error, "version": answer.version,
            "request_id": answer.request_id, "log": tail,
            "payload": if args.asynchronous { Value::Null } else { shown },
        }))?;
    } else {
        for line in tail.iter().flat_map(|tail| tail.lines()) {
            eprintln!("{}", escape(line));
        }
        if args.asynchronous {
            let id = answer.request_id.as_deref().unwrap_or("-");
            eprintln!("Accepted, request {}.", escape(id));
        } else {
            print(&shown(&answer.payload, std::io::stdout().is_terminal()))?;
        }
    }
    Ok(match answer.function_error {
        Some(kind) => {
            eprintln!("freehold: the function failed ({}).", escape(&kind));
            ExitCode::from(EXIT_FUNCTION)
        }
        None => ExitCode::SUCCESS,
    })
}

/// The answer as it came, with a line feed; on a terminal without its control characters.
fn shown(payload: &[u8], terminal: bool) -> String {
    let text = String::from_utf8_lossy(payload);
    if !terminal {
        return format!("{text}\n");
    }
    let lines: Vec<_> = text.lines().map(|line| escape(line)).collect();
    format!("{}\n", lines.join("\n"))
}

fn payload(text: &str) -> Result<Bytes, Failure> {
    let read = |from: &mut dyn Read, path: PathBuf| -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let read = from.take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut bytes);
        read.map_err(|source| Failure::File {
            what: "read",
            path,
            source,
        })?;
        if bytes.len() as u64 > PAYLOAD_BYTES_MAX {
            return Err(Failure::usage(
                format!("the event is larger than {PAYLOAD_BYTES_MAX} bytes"),
                "put large data where the function can fetch it, and send its name",
            ));
        }
        Ok(bytes)
    };
    let bytes = if text == "-" {
        read(&mut std::io::stdin().lock(), "stdin".into())?
    } else if let Some(path) = text.strip_prefix('@') {
        let path = PathBuf::from(path);
        let mut file = std::fs::File::open(&path).map_err(|source| Failure::File {
            what: "open",
            path: path.clone(),
            source,
        })?;
        read(&mut file, path)?
    } else {
        text.as_bytes().to_vec()
    };
    // The server would refuse it as well; here the place of the error can be named.
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes) {
        return Err(Failure::usage(
            format!("the event is not JSON: {error}"),
            r#"quote it for the shell: --payload '{"key": "value"}', or give a file: --payload @event.json"#,
        ));
    }
    Ok(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_text_or_a_file_and_always_json() {
        assert_eq!(&payload("{\"a\":1}").unwrap()[..], b"{\"a\":1}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.json");
        std::fs::write(&path, "[1]").unwrap();
        assert_eq!(
            &payload(&format!("@{}", path.display())).unwrap()[..],
            b"[1]"
        );
        for bad in ["{a:1}", "", "@/nowhere/at/all"] {
            assert_eq!(payload(bad).unwrap_err().code(), super::super::EXIT_USAGE);
        }
    }

    #[test]
    fn a_terminal_sees_no_control_characters_and_a_pipe_every_byte() {
        assert_eq!(shown(b"a\x1b\nb", true), "a\\x1b\nb\n");
        assert_eq!(shown(b"a\x1b\nb", false), "a\x1b\nb\n");
    }
}
