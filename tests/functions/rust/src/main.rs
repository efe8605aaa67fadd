//! Answers with what the call looked like from inside, or fails as it is told to.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (event, call) = event.into_parts();
    match event["do"].as_str() {
        Some("fail") => Err("some_error_msg".into()),
        Some("panic") => panic!("it panicked"),
        Some("exit") => std::process::exit(4),
        _ => Ok(json!({
            "event": event,
            "requestId": call.request_id,
            "arn": call.invoked_function_arn,
            "function": call.env_config.function_name,
            "memory": call.env_config.memory,
        })),
    }
}
