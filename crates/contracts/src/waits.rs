//! What tests of both contracts wait for.

use freehold_domain::answers::Answers;
use std::time::Duration;
use tokio::time;

/// Until so many bytes are held.
pub async fn until_held(answers: &Answers, bytes: usize) {
    let held = async {
        while answers.held_bytes() != bytes as u64 {
            time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = time::timeout(Duration::from_secs(20), held).await;
    in_time.unwrap_or_else(|_| panic!("{} is held, not {bytes}", answers.held_bytes()));
}

/// Time in which something would have happened.
pub async fn a_while() {
    time::sleep(Duration::from_millis(50)).await;
}
