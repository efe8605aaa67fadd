//! Greets whoever the event names: a program that reads the event and writes the answer.

use serde::{Deserialize, Serialize};
use std::io;

#[derive(Deserialize)]
struct Event {
    name: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    message: String,
}

fn main() -> Result<(), serde_json::Error> {
    let event: Event = serde_json::from_reader(io::stdin())?;
    let name = event.name.unwrap_or_else(|| "world".to_owned());
    // Standard error is the log, standard output the answer.
    eprintln!("greeting {name}");
    let message = format!("Hello, {name}!");
    serde_json::to_writer(io::stdout(), &Answer { message })
}
