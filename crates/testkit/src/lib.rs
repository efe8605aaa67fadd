//! What tests share: fakes of the seams and one suite per seam, run against every implementation.

pub mod storage;
