//! The durable plane: what is accepted now and run later. Functions are run through the `Invoke`
//! port and no other way; what is kept is kept through the storage seam.

pub mod queue;
