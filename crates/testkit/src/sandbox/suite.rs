//! What every sandbox driver keeps, said once.

use freehold_domain::ports::{ExitCause, InstanceSpec, SandboxDriver};
use freehold_domain::time::Mono;

/// Runs the rules of the seam against `driver`. `spec` makes a new instance each time, one whose
/// process lives until it is destroyed; `deadline` is far enough for a start.
pub async fn driver_suite(
    driver: &dyn SandboxDriver,
    spec: impl Fn() -> InstanceSpec,
    deadline: impl Fn() -> Mono,
) {
    // Its descriptors are handed out once.
    let instance = driver.start(spec(), deadline()).await.expect("a start");
    assert!(instance.take_io().is_some(), "the first time");
    assert!(instance.take_io().is_none(), "the second time");

    // Freezing and thawing are idempotent; usage can be read in every state.
    for _ in 0..2 {
        instance.freeze().await.expect("freeze");
        instance.usage().await.expect("usage of a frozen instance");
    }
    for _ in 0..2 {
        instance.thaw().await.expect("thaw");
        assert!(instance.usage().await.expect("usage").pids > 0);
    }

    // A frozen instance can be destroyed; destroying again tells the same; whoever waited hears.
    instance.freeze().await.expect("freeze");
    let waited = instance.exited();
    let report = instance.destroy().await;
    assert_eq!(report.cause, ExitCause::Destroyed);
    assert_eq!(instance.destroy().await, report);
    assert_eq!(waited.await, report);
    assert_eq!(instance.exited().await, report, "and whoever asks later");

    // Nothing can be done with an instance that has ended.
    assert!(instance.freeze().await.is_err());
    assert!(instance.thaw().await.is_err());
    assert!(instance.usage().await.is_err());

    // Dropping the last handle destroys.
    let instance = driver.start(spec(), deadline()).await.expect("a start");
    let exited = instance.exited();
    drop(instance);
    assert_eq!(exited.await.cause, ExitCause::Destroyed);
    assert!(driver.capacity().memory_bytes > 0);
}
