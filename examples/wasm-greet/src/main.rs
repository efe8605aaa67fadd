//! Greets whoever the event names: `{"name": "Ada"}`, or a request to its function URL with `?name=Ada`.

use serde_json::{Value, json};
use std::io::{Read, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut event = String::new();
    std::io::stdin().read_to_string(&mut event)?;
    let event: Value = serde_json::from_str(&event)?;
    let is_url = event["version"] == "2.0";
    let name = match is_url {
        true => &event["queryStringParameters"]["name"],
        false => &event["name"],
    };
    let greeting = format!("Hello, {}!", name.as_str().unwrap_or("world"));
    // Standard error is the log.
    eprintln!("greeting in request {}", std::env::var("FREEHOLD_REQUEST_ID")?);
    let answer = match is_url {
        true => json!({ "statusCode": 200, "body": greeting }),
        false => json!(greeting),
    };
    std::io::stdout().write_all(answer.to_string().as_bytes())?;
    Ok(())
}
