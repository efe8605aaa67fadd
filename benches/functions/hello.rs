//! A custom runtime in the standard library alone, linked statically: what is left of a cold start
//! when the language costs nothing. Compiled with `--cfg work` it is the second handler.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

/// What each invocation is answered with.
fn said() -> String {
    if cfg!(work) {
        format!(r#"{{"text":"{}"}}"#, "x".repeat(20_000))
    } else {
        r#"{"hello":"world"}"#.to_owned()
    }
}

fn main() -> std::io::Result<()> {
    let api = env::var("AWS_LAMBDA_RUNTIME_API").expect("run by the platform");
    let mut to = TcpStream::connect(&api)?;
    to.set_nodelay(true)?;
    let mut from = BufReader::new(to.try_clone()?);
    let said = said();
    loop {
        write!(to, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: {api}\r\n\r\n")?;
        let (id, length) = answer(&mut from)?;
        if cfg!(work) {
            println!("one: the event has {length} bytes");
            println!("two: the request is {id}");
            println!("three: done");
        }
        // One write: two would wait for each other's acknowledgement.
        let head = format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: {api}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{said}",
            said.len()
        );
        to.write_all(head.as_bytes())?;
        answer(&mut from)?;
    }
}

/// Reads one answer whole and returns the request id that it may bear, and its length.
fn answer(from: &mut impl BufRead) -> std::io::Result<(String, u64)> {
    let (mut id, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            std::process::exit(0);
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line == "\r\n" {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "lambda-runtime-aws-request-id" => id = value.to_owned(),
            "content-length" => length = value.parse().expect("a length"),
            _ => {}
        }
    }
    from.take(length).read_to_end(&mut Vec::new())?;
    Ok((id, length))
}
