//! A future that goes on when nobody waits for it any more.
//!
//! Whoever awaits it runs it, with no task, queue or wake-up between the two; when that is dropped
//! half way, what is left is handed to whoever can run it to its end. It spawns nothing itself.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// See the module.
pub struct Onward<F, S>
where
    F: Future,
    S: FnOnce(Pin<Box<F>>) + Unpin,
{
    rest: Option<(Pin<Box<F>>, S)>,
}

impl<F, S> Onward<F, S>
where
    F: Future,
    S: FnOnce(Pin<Box<F>>) + Unpin,
{
    /// `take_over` gets what is left of `future` when this is dropped before its end. A future
    /// that panicked is not handed on.
    pub fn new(future: F, take_over: S) -> Self {
        Self {
            rest: Some((Box::pin(future), take_over)),
        }
    }
}

impl<F, S> Future for Onward<F, S>
where
    F: Future,
    S: FnOnce(Pin<Box<F>>) + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out while it is polled: after a panic nothing is left to go on with.
        let (mut future, take_over) = self.rest.take().expect("polled after its end");
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            self.rest = Some((future, take_over));
        }
        polled
    }
}

impl<F, S> Drop for Onward<F, S>
where
    F: Future,
    S: FnOnce(Pin<Box<F>>) + Unpin,
{
    fn drop(&mut self) {
        if let Some((rest, take_over)) = self.rest.take() {
            take_over(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, future, task::Waker};

    /// Ready at its third poll.
    fn third() -> impl Future<Output = u32> {
        let mut polls = 0;
        future::poll_fn(move |_| {
            polls += 1;
            if polls < 3 {
                Poll::Pending
            } else {
                Poll::Ready(polls)
            }
        })
    }

    #[test]
    fn what_is_dropped_half_way_is_handed_on_and_what_ended_is_not() {
        let mut cx = Context::from_waker(Waker::noop());
        for polls in 0..4 {
            let handed = RefCell::new(None);
            let mut onward = Onward::new(third(), |rest| *handed.borrow_mut() = Some(rest));
            for poll in 1..=polls.min(3) {
                let polled = Pin::new(&mut onward).poll(&mut cx);
                assert_eq!(
                    polled,
                    if poll < 3 {
                        Poll::Pending
                    } else {
                        Poll::Ready(3)
                    }
                );
            }
            drop(onward);
            let handed = handed.into_inner();
            assert_eq!(handed.is_some(), polls < 3);
            if let Some(mut rest) = handed {
                let mut more = polls;
                while rest.as_mut().poll(&mut cx).is_pending() {
                    more += 1;
                }
                assert_eq!(more, 2, "it goes on where it was");
            }
        }
    }

    #[test]
    fn what_panicked_is_not_handed_on() {
        let handed = RefCell::new(false);
        let panics = future::poll_fn(|_| -> Poll<()> { panic!("in the middle") });
        let mut onward = Onward::new(panics, |_| *handed.borrow_mut() = true);
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Pin::new(&mut onward).poll(&mut Context::from_waker(Waker::noop()))
        }));
        assert!(polled.is_err());
        drop(onward);
        assert!(!handed.into_inner());
    }
}
