//! Prices a basket.

mod basket;

use basket::{Basket, Receipt};
use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Basket>) -> Result<Receipt, Diagnostic> {
    let receipt = event.payload.receipt().map_err(|problem| Diagnostic {
        error_type: "InvalidBasket".to_owned(),
        error_message: problem.to_string(),
    })?;
    println!("priced {} rates of tax", receipt.vat.len());
    Ok(receipt)
}
